"""Files of a project, and copies of a path. See `projecthub.wire.shapes`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NotRequired, TypedDict

# -- arguments -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyPath:
    """`projects.copyPathBetweenProjects`. Paths are relative to the homes; `timeout` is in seconds."""

    src_project_id: str | None = None
    src_path: str | None = None
    target_project_id: str | None = None
    target_path: str | None = None
    overwrite_newer: bool = False
    delete_missing: bool = False
    backup: bool = False
    exclude: list[str] | None = None
    timeout: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Arguments of `system.listing`."""

    path: str = ""
    hidden: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadTextFile:
    """Arguments of `system.readTextFileFromProject`."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteTextFile:
    """Arguments of `system.writeTextFileToProject`."""

    path: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteFiles:
    """Arguments of `system.deleteFiles`."""

    paths: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveFiles:
    """Arguments of `system.moveFiles`."""

    paths: list[str]
    dest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RenameFile:
    """Arguments of `system.renameFile`."""

    src: str
    dest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RealPath:
    """Argument of `system.realpath`, which is the path itself."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CanonicalPaths:
    """Argument of `system.canonicalPaths`, which is the list itself."""

    paths: list[str]


# -- replies ---------------------------------------------------------------------------------------


class CopySummary(TypedDict):
    """Reply of `projects.copyPathBetweenProjects`.

    `files` and `bytes` were written; `skipped` counts devices, sockets and pipes, `kept_newer` files that are newer in
    the target and were left (`kept_newer_paths` names the first 100), `unchanged` files that were equal already.
    `operation_id` is what `copies.undo` takes, if anything was changed.
    """

    files: int
    bytes: int
    skipped: int
    unchanged: int
    kept_newer: int
    kept_newer_paths: list[str]
    deleted: int
    backed_up: int
    seconds: float
    operation_id: NotRequired[str]


class FileEntry(TypedDict):
    """One entry of the reply of `system.listing`.

    `size` is in bytes, for a directory the number of its entries; `mtime` in seconds since the epoch. `isdir` holds for
    symlinks to directories, too.
    """

    name: str
    size: int
    mtime: float
    isdir: NotRequired[Literal[True]]
    issymlink: NotRequired[Literal[True]]
    link_target: NotRequired[str]
    error: NotRequired[str]


class FileInfo(TypedDict):
    """One thing in a home, as the native routes tell it: `kind` is file, directory, symlink or other; bytes of a file.

    `bytes` of a directory is the number of its entries; `modified_at` an ISO time. `encoded_name`, of a name that is no
    UTF-8, are its bytes, percent-encoded.
    """

    name: str
    kind: str
    bytes: int
    modified_at: str
    mode: int
    is_directory: bool
    link_target: str | None
    error: str | None
    encoded_name: str | None


class WrittenFile(TypedDict):
    """A file that was written; `etag` names this state of it."""

    path: str
    bytes: int
    etag: str


class TrashEntry(TypedDict):
    """One thing in the trash of a project; times are ISO times."""

    id: str
    path: str
    is_directory: bool
    bytes: int
    deleted_at: str
    deleted_by: str
    expires_at: str
