"""What the system refuses, told in the words of the house. No path of the machine gets into a text."""

from __future__ import annotations

import errno
import os

from projecthub.errors import Conflict, HubError, InternalError, InvalidArgument, LimitError, PermissionDenied

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_UNWRITABLE = frozenset({errno.EROFS, errno.EIO})
_SHORT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM})
_OCCUPIED = frozenset({errno.EISDIR, errno.ENOTEMPTY, errno.EEXIST})
_CHANGED = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EAGAIN, errno.ESTALE})


def unreadable(error: OSError, path: str) -> HubError:
    """A failure to open or read ``path``, relative to the source's home."""
    if error.errno in _FORBIDDEN:
        return PermissionDenied(f"cannot read '{path}': permission denied; give its owner the right to read it")
    return _failure(error, f"cannot read '{path}'")


def unwritable(error: OSError, path: str) -> HubError:
    """A failure to make, replace or delete ``path``, relative to the target's home."""
    what = f"cannot write '{path}'"
    if error.errno in _FORBIDDEN:
        return PermissionDenied(f"{what}: permission denied; give its owner the right to write to its directory")
    if error.errno in _OCCUPIED:
        return Conflict(
            f"{what}: a directory that is not empty is in its place; move that away, "
            "or set delete_missing without backup and exclude"
        )
    return _failure(error, what)


def is_for_room(error: HubError) -> bool:
    """Whether the system refused something because a disk or a quota is full, and for no other reason."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno in _FULL


def _failure(error: OSError, what: str) -> HubError:
    code = error.errno
    if code == errno.ENOSPC:
        return LimitError(f"{what}: no space left: the hub's disk is full; ask the hub's operator to make room")
    if code == errno.EDQUOT:
        return LimitError(f"{what}: no space left; delete something in the target project, or ask for more space")
    if code in _UNWRITABLE:
        return LimitError(f"{what}: the hub's disk takes no writes at present; ask the hub's operator to look at it")
    if code in _SHORT:
        return LimitError(f"{what}: the hub has too much to do; try again later")
    if code in _CHANGED:
        return Conflict(f"{what}: it, or a directory that holds it, was changed meanwhile; copy again")
    if code == errno.EXDEV:
        return Conflict(f"{what}: it lies on another file system than the rest of its home; choose another path")
    if code == errno.EINVAL:
        return InvalidArgument(f"{what}: a directory would go into itself, or the disk takes no such name")
    if code == errno.ENAMETOOLONG:
        return InvalidArgument(f"{what}: its name or path is too long")
    if code == errno.ELOOP:
        return InvalidArgument(f"{what}: too many symlinks lead to one another")
    return InternalError(f"{what}: {os.strerror(code or errno.EIO)}")
