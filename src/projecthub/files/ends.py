"""The two ends of a copy: the paths a caller gave, opened beneath their homes."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

from projecthub.errors import Conflict, InvalidArgument, NotFound
from projecthub.files.failures import unreadable, unwritable
from projecthub.files.paths import DIRECTORY, LeavesHomeError, open_beneath, reduced, shown, split

_HOLD = os.O_PATH | os.O_DIRECTORY


@dataclass(frozen=True, slots=True)
class Source:
    """What is copied.

    Attributes:
        fd: An open directory.
        name: The file or symlink in it that is copied; None: all that is in the directory.
        path: Of the directory, relative to the home.
    """

    fd: int
    name: str | None
    path: str


@dataclass(frozen=True, slots=True)
class Target:
    """Where it goes.

    Attributes:
        fd: An open directory that exists.
        missing: Directories to make first, each in the one before.
        name: What the copy is called in there; None: what is copied goes into the directory itself.
        path: Of the directory, with the missing ones, relative to the home.
    """

    fd: int
    missing: tuple[str, ...]
    name: str | None
    path: str


def open_source(home_fd: int, given: str) -> Source:
    """Find what is to be copied. Symlinks in the path are followed; one at its end only if it leads to a directory.

    Raises:
        InvalidArgument: The path leaves the home.
        NotFound: Nothing is there.
    """
    try:
        path = reduced(given)
        try:
            return Source(open_beneath(home_fd, path, DIRECTORY, follow=True), None, path)
        except NotADirectoryError:
            os.close(open_beneath(home_fd, path, os.O_PATH, follow=True))
        parent, name = split(path)
        return Source(open_beneath(home_fd, parent, _HOLD, follow=True), name, parent)
    except LeavesHomeError as error:
        raise InvalidArgument("source path must be contained in project home dir") from error
    except FileNotFoundError as error:
        raise NotFound(f"ENOENT: no such file or directory, stat '{shown(given)}'") from error
    except NotADirectoryError as error:
        raise NotFound(f"ENOTDIR: not a directory, stat '{shown(given)}'") from error
    except OSError as error:
        raise unreadable(error, shown(given)) from error


def open_target(home_fd: int, given: str, file_name: str | None) -> Target:
    """Find where a copy goes. Makes nothing.

    Args:
        home_fd: The home.
        given: The path as a caller gave it. Symlinks in it are followed.
        file_name: Name of the file that is copied, which lands in ``given`` if that is a directory; None: a directory
            is copied.

    Raises:
        InvalidArgument: The path leaves the home.
        Conflict: The path leads through a file, or a directory would take the place of one.
    """
    try:
        path = reduced(given)
        try:
            return Target(open_beneath(home_fd, path, DIRECTORY, follow=True), (), file_name, path)
        except (FileNotFoundError, NotADirectoryError):
            return _nearest(home_fd, path, is_directory=file_name is None)
    except LeavesHomeError as error:
        raise InvalidArgument("target path must be contained in target project home dir") from error
    except NotADirectoryError as error:
        raise Conflict(
            f"cannot write '{shown(given)}': something that is no directory is in its way; "
            "move that away, or choose another target path"
        ) from error
    except OSError as error:
        raise unwritable(error, shown(given)) from error


def _nearest(home_fd: int, path: str, *, is_directory: bool) -> Target:
    """The deepest directory on the way to ``path`` that exists."""
    parent, name = split(path)
    above = parent
    missing: list[str] = []
    while True:
        try:
            fd = open_beneath(home_fd, above, _HOLD, follow=True)
            break
        except FileNotFoundError:
            above, part = split(above)
            missing.insert(0, part)
    target = Target(fd, tuple(missing), name, parent)
    try:
        if (missing or is_directory) and _is_taken(fd, [*missing, name][0]):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    except BaseException:
        os.close(fd)
        raise
    return target


def _is_taken(fd: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
