"""Shapes of copies from one project to many or from many to one, as `shapes` for all else.

Source: docs/wire-extensions.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

# -- arguments -------------------------------------------------------------------------------------


class ProjectPath(TypedDict):
    """A path in the home of a project."""

    project_id: str
    path: NotRequired[str]


class TargetPath(TypedDict):
    """Where to hand something out. No `path` means that of the source; `source_path`: what, instead of its path."""

    project_id: str
    path: NotRequired[str]
    source_path: NotRequired[str]


class SharedPath(TypedDict):
    """What is shared, or a `path` below it."""

    public_path_id: str
    path: NotRequired[str]


class SourcePath(TypedDict):
    """A path to be collected; `target_path`: as what. Default: the target's path, and in it the source's project id."""

    project_id: str
    path: NotRequired[str]
    target_path: NotRequired[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanCopies:
    """`copies.plan`: `source` with `targets`, or `sources` with `target`. `source` may be a `SharedPath`."""

    source: dict[str, Any] | None = None
    targets: list[str | dict[str, Any]] | None = None
    sources: list[dict[str, Any]] | None = None
    target: dict[str, Any] | None = None
    policy: str = "update"
    overwrite_newer: bool = False
    delete_missing: bool = False
    backup: bool = False
    exclude: list[str] | None = None
    skip_missing: bool = False
    wait: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyPaths:
    """`projects.copyPaths`: as `copies.plan`, and applied at once unless it is a `dry_run`."""

    source: dict[str, Any] | None = None
    targets: list[str | dict[str, Any]] | None = None
    sources: list[dict[str, Any]] | None = None
    target: dict[str, Any] | None = None
    policy: str = "update"
    overwrite_newer: bool = False
    delete_missing: bool = False
    backup: bool = False
    exclude: list[str] | None = None
    skip_missing: bool = False
    dry_run: bool = False
    wait: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyFiles:
    """`copies.files`: of target `number`. `statuses`: only those; `after`: the last `number` of the page before."""

    id: str
    number: int = 0
    statuses: list[str] | None = None
    after: int = 0
    limit: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyCopies:
    """`copies.apply`. `only`: ``failed``, for what `copies.retry` does."""

    id: str
    only: str | None = None
    wait: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryCopies:
    """`copies.retry`."""

    id: str
    wait: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class GetCopies:
    """`copies.get`. `targets`: whether to tell of each target."""

    id: str
    targets: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ListCopies:
    """`copies.list`: the caller's, newest first; `plans`: also those never applied; `after`: the last one before."""

    project_id: str | None = None
    plans: bool = False
    limit: int = 100
    after: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelCopies:
    """`copies.cancel`."""

    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoCopies:
    """`copies.undo`. `targets`: their numbers; none: all."""

    id: str
    targets: list[int] | None = None
    wait: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetCopies:
    """`copies.forget`: of this operation, of all copies into this project, or of the one into the other."""

    id: str | None = None
    project_id: str | None = None


# -- replies ---------------------------------------------------------------------------------------


class CopyProgress(TypedDict):
    """How far an operation is. `bytes_per_s` and `seconds_left`: while it runs, and something is known."""

    files: int
    bytes: int
    targets_done: int
    targets: int
    bytes_per_s: NotRequired[int]
    seconds_left: NotRequired[int]


class CopyTotals(TypedDict):
    """Sums over targets: files by status; `files` and `bytes` that are to be written, or were; targets by state."""

    counts: dict[str, int]
    files: int
    bytes: int
    targets: int
    states: dict[str, int]


class UndoneCopy(TypedDict):
    """What undoing a copy did; `kept`: what was changed since, and stays."""

    restored: int
    removed: int
    kept: int
    kept_paths: list[str]


class CopyTargetRow(TypedDict):
    """One target. `files` and `bytes`: to write; once it is done, written. The rest only where it applies.

    `skipped`: pipes, sockets and devices; `vanished`: files of the plan that were gone from the source by then.
    """

    number: int
    source_project_id: str
    source_path: str
    target_project_id: str
    target_path: str
    state: str
    counts: NotRequired[dict[str, int]]
    files: NotRequired[int]
    bytes: NotRequired[int]
    over_quota: NotRequired[bool]
    skipped: NotRequired[int]
    unchanged: NotRequired[int]
    kept_newer: NotRequired[int]
    kept_newer_paths: NotRequired[list[str]]
    deleted: NotRequired[int]
    backed_up: NotRequired[int]
    error: NotRequired[str]
    error_code: NotRequired[str]
    can_undo: NotRequired[bool]
    undone: NotRequired[UndoneCopy]
    vanished: NotRequired[int]


class CopyEnd(TypedDict):
    """One end of an operation: how many projects; which one and which path, if these are the same for all targets."""

    projects: int
    project_id: NotRequired[str]
    path: NotRequired[str]
    public_path_id: NotRequired[str]


class CopyOperation(TypedDict):
    """An operation; times are ISO. `targets` is left out of lists. `applied`: whether it is more than a plan."""

    id: str
    state: str
    policy: str
    applied: bool
    source: NotRequired[CopyEnd]
    target: NotRequired[CopyEnd]
    created: str
    updated: str
    finished: NotRequired[str]
    expires: str
    undo_until: NotRequired[str]
    totals: CopyTotals
    progress: CopyProgress
    targets: NotRequired[list[CopyTargetRow]]


class ForgottenCopies(TypedDict):
    """Reply of `copies.forget`: how many targets cannot be undone any more, what that frees, and in which projects."""

    targets: int
    freed_bytes: int
    project_ids: list[str]


class PlannedFile(TypedDict):
    """One file of a plan; `size` in bytes and `mtime` in milliseconds are the source's. `beside`: its name there.

    `encoded_path`: the path percent-encoded, if it is no UTF-8.
    """

    number: int
    path: str
    encoded_path: NotRequired[str]
    status: str
    action: str
    size: int
    mtime: int
    beside: NotRequired[str]


class PlannedFiles(TypedDict):
    """Reply of `copies.files`; `next`: what to give as `after` for the next page; null: there is none."""

    files: list[PlannedFile]
    next: int | None
