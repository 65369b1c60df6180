"""Shapes of histories and uses of files, as `shapes` for all else.

Source: Wire contract 5.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NotRequired, TypedDict

# -- arguments -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class GetHistory:
    """`sync.history`. `start_seq`, `end_seq`: only versions with numbers from the one to the other."""

    project_id: str
    path: str
    start_seq: int | None = None
    end_seq: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeCheckpoint:
    """`sync.checkpoint`."""

    project_id: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Touch:
    """`db.touch`. `action`: what was done with the file `path`: `edit`, `open`, `chat` or another word."""

    project_id: str | None = None
    path: str | None = None
    action: str = "edit"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileUseTimes:
    """`db.fileUseTimes`. `target_account_id`: default: the caller; `limit`: times of each kind at most."""

    project_id: str
    path: str
    target_account_id: str | None = None
    limit: int = 1000
    access_times: bool = True
    edit_times: bool = False


# -- replies ---------------------------------------------------------------------------------------


class PatchMessage(TypedDict):
    """A version, as it stands in `sync.history`.

    `time` and `wall` are milliseconds since the epoch, and `time` names the version within its file; `parents` holds
    that of the version before. `user_id` says who made it: a place in `users` of `info`. `patch` is the JSON of a
    patch, see `projecthub.wire.patches`: from the version before, or, with `is_snapshot`, from the empty text.
    """

    time: int
    wall: int
    patch: str
    user_id: int
    is_snapshot: NotRequired[bool]
    parents: list[int]
    version: int
    event: str


class SyncPatch(TypedDict):
    """One entry of `sync.history`; `time` as in `mesg`."""

    seq: int
    time: int
    mesg: PatchMessage


class HistoryInfo(TypedDict, total=False):
    """What `sync.history` tells of a file that it knows.

    `users`: the project, for what the hub did not see being made, and then ids of accounts. `first_seq` and `last_seq`
    number the oldest and newest version that are kept; `sha256`, in hex, is of the newest text. `is_behind`: so much
    has changed just now that newer versions are still being written down; left out where that is not so.
    """

    project_id: str
    path: str
    users: list[str]
    first_seq: int
    last_seq: int
    sha256: str
    is_behind: bool


class SyncHistory(TypedDict):
    """Reply of `sync.history`; both are empty for a file that was never seen to change."""

    patches: list[SyncPatch]
    info: HistoryInfo


class FileVersion(TypedDict):
    """A version of a file, as the client tells it.

    `time` is in milliseconds since the epoch; `account_id`: who made it, None if the hub did not see that; `event`:
    how; `patch`: as in `PatchMessage`.
    """

    seq: int
    time: int
    account_id: str | None
    event: str
    is_snapshot: bool
    patch: str


class Checkpoint(TypedDict):
    """Reply of `sync.checkpoint`: the number and time (ms) of the newest version; `created`: it is new."""

    seq: int
    time: int
    created: bool


class UseTimes(TypedDict):
    """Reply of `db.fileUseTimes`; milliseconds since the epoch, newest first."""

    target_account_id: str
    access_times: NotRequired[list[int]]
    edit_times: NotRequired[list[int]]
