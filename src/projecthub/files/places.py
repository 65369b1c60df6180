"""Places in a home: from a path that a caller gave to descriptors beneath the home.

A path is relative to the home, or absolute as the project itself sees it. Symlinks on the way are followed as long as
they stay beneath the home; the last name of what is moved, replaced or deleted is that of the thing itself.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from projecthub.errors import Conflict, HubError, InvalidArgument, NotFound
from projecthub.files.failures import unreadable, unwritable
from projecthub.files.paths import DIRECTORY, LeavesHomeError, open_beneath, reduced, set_mode, shown, split

SEEN_HOME: Final = "/home/user"
"""Where a project sees its home, in a sandbox."""

HOLD: Final = os.O_PATH | os.O_DIRECTORY
"""Flags to hold a directory without reading its names."""


def within_home(given: str, seen_homes: Sequence[str] = (SEEN_HOME,)) -> str:
    """The path relative to the home, reduced; empty for the home itself.

    Args:
        given: As a caller gave it: relative to the home, or absolute.
        seen_homes: The absolute paths that stand for the home.

    Raises:
        InvalidArgument: It is no path, or leads out of the home.
    """
    try:
        path = reduced(given)
        if not given.startswith("/"):
            return path
        for home in seen_homes:
            if path == home[1:]:
                return ""
            if path.startswith(f"{home[1:]}/"):
                return path[len(home) :]
    except LeavesHomeError:
        pass
    raise outside(given)


def outside(given: str) -> InvalidArgument:
    """The refusal of a path that leads out of the home."""
    return InvalidArgument(
        f"path '{shown(given)}' is outside of the project's home; give one relative to the home, or below {SEEN_HOME}"
    )


@contextlib.contextmanager
def told(path: str, *, writing: bool = False) -> Iterator[None]:
    """What the system refuses in here, about ``path``, in the words of the house."""
    try:
        yield
    except LeavesHomeError as error:
        raise outside(path) from error
    except OSError as error:
        raise refusal(error, path, writing=writing) from error


def refusal(error: OSError, path: str, *, writing: bool = False) -> HubError:
    """The error for what the system refuses about a path."""
    name = shown(path) or "."
    if error.errno == errno.ENOENT:
        return NotFound(f"ENOENT: no such file or directory '{name}'")
    if error.errno == errno.ENOTDIR:
        return Conflict(f"'{name}' leads through something that is no directory; choose another path")
    if error.errno == errno.EISDIR:
        return Conflict(f"'{name}' is a directory; give the path of a file")
    if error.errno == errno.EEXIST:
        return Conflict(f"'{name}' already exists; move it away, or choose another path", exists=True)
    return unwritable(error, name) if writing else unreadable(error, name)


@contextlib.contextmanager
def opened_home(home: Path) -> Iterator[int]:
    """The home, open.

    Raises:
        HubError: It cannot be.
    """
    try:
        fd = os.open(home, DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise unreadable(error, "the home of the project") from error
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def closing(fd: int) -> Iterator[int]:
    """A descriptor, closed in the end."""
    try:
        yield fd
    finally:
        os.close(fd)


def open_file(home_fd: int, path: str) -> int:
    """Open a regular file for reading. Never waits for what is at the other end of a pipe.

    Raises:
        LeavesHomeError: A symlink leads out of the home.
        Conflict: It is something else.
        OSError: It cannot be opened.
    """
    with closing(open_beneath(home_fd, path, os.O_PATH, follow=True)) as held:
        mode = os.fstat(held).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(mode):
            raise Conflict(f"'{shown(path)}' is a pipe, socket or device, which cannot be read as a file")
        return os.open(f"/proc/self/fd/{held}", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)


@contextlib.contextmanager
def opened_parent(home_fd: int, path: str) -> Iterator[tuple[int, str]]:
    """The directory that holds ``path``, and the last name of the path.

    Raises:
        InvalidArgument: It is the home itself.
        LeavesHomeError: A symlink leads out of the home.
        OSError: The directory is not there.
    """
    parent, name = split(path)
    if not name:
        raise InvalidArgument("the home itself cannot be moved, replaced or deleted; give a path in it")
    with closing(open_beneath(home_fd, parent, HOLD, follow=True)) as fd:
        yield fd, name


def status_of(directory_fd: int, name: str) -> os.stat_result | None:
    """Of what has the name, a symlink itself; None: nothing has."""
    try:
        return os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def movable(directory_fd: int, name: str) -> Iterator[None]:
    """Let a directory be moved in here that its owner, if that is the hub's user, may not write to."""
    status = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
    stubborn = os.geteuid() != 0 and stat.S_ISDIR(status.st_mode) and status.st_mode & 0o700 != 0o700
    if not stubborn:
        yield
        return
    with closing(os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=directory_fd)) as held:
        set_mode(directory_fd, name, stat.S_IMODE(status.st_mode) | 0o700)
        try:
            yield
        finally:
            os.chmod(f"/proc/self/fd/{held}", stat.S_IMODE(status.st_mode))  # noqa: PTH101 - it opens nothing
