"""Shapes of snapshots, as `shapes` for all else.

Source: docs/wire-extensions.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NotRequired, TypedDict

# -- arguments -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateSnapshot:
    """`snapshots.create`. `expire`: ISO string or milliseconds since the epoch."""

    project_id: str
    title: str = ""
    expire: str | int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListSnapshots:
    """`snapshots.list`."""

    project_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffSnapshot:
    """`snapshots.diff`. `other`: another snapshot, instead of the files as they are now; `after`: the last `next`."""

    project_id: str
    id: str
    other: str | None = None
    path: str = ""
    limit: int = 1000
    after: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreSnapshot:
    """`snapshots.restore`. `path`: what of it; all unless given. `to`: another place, where nothing is."""

    project_id: str
    id: str
    path: str = ""
    to: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteSnapshot:
    """`snapshots.delete`."""

    project_id: str
    id: str


# -- replies ---------------------------------------------------------------------------------------


class Snapshot(TypedDict):
    """One snapshot; times are ISO strings.

    `own_bytes`: what it added to what the project's snapshots take. `skipped`: pipes, sockets, devices and what could
    not be read. `changing`: files that were being written to, kept as they were read. `automatic` ones go when there
    are newer ones. `account_id` is null where the hub took it by itself.
    """

    id: str
    project_id: str
    account_id: str | None
    title: str
    automatic: bool
    files: int
    bytes: int
    own_bytes: int
    skipped: int
    changing: int
    created: str
    expires: str | None


class SnapshotUnderWay(TypedDict):
    """How far a snapshot is that is being taken."""

    files: int
    bytes: int


class SnapshotList(TypedDict):
    """Reply of `snapshots.list`, newest first: with what all of them take, and may take, in bytes."""

    snapshots: list[Snapshot]
    used_bytes: int
    quota_bytes: int
    under_way: SnapshotUnderWay | None


class SnapshotChange(TypedDict):
    """One path that is other later. `kind` and `bytes`: as it is later, or was if it is not there any more.

    `encoded_path`: the path percent-encoded, if it is no UTF-8.
    """

    path: str
    encoded_path: NotRequired[str]
    status: Literal["added", "removed", "changed"]
    kind: Literal["file", "directory", "symlink"]
    bytes: int
    bytes_before: int


class SnapshotDiff(TypedDict):
    """Reply of `snapshots.diff`. `next`: give it as `after` for the next page; null: that was the last one."""

    changes: list[SnapshotChange]
    next: str | None


class RestoredSnapshot(TypedDict):
    """Reply of `snapshots.restore`.

    `before`: the snapshot of what was there, whose restoring undoes this; null where nothing gave way. `in_trash`:
    paths of which what was there is in the trash, for `before` does not hold all of it: somebody changed it at the same
    time, or it is or holds a pipe, a socket or what cannot be read.
    """

    id: str
    path: str
    files: int
    bytes: int
    before: str | None
    in_trash: list[str]


class DeletedSnapshot(TypedDict):
    """Reply of `snapshots.delete`; `freed_bytes`: what the project's snapshots take less."""

    id: str
    deleted: bool
    freed_bytes: int
