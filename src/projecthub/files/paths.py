"""Paths beneath a home, resolved by directory file descriptors.

A running project may rename, swap and link whatever its home holds at any moment. So no path of a home is ever used
as a name on the machine: it is opened beneath a file descriptor of the home, and what is done then is done relative
to the descriptor that came of it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Iterator
from functools import cache
from urllib.parse import quote

from projecthub.errors import InvalidArgument

MAX_PATH_BYTES = 4095
"""Longest path that the kernel takes at once."""

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
"""Flags to open a directory for reading its names."""

_MAX_LINKS = 40
_MAX_RACES = 32
_MAX_CLIMB = 2 * MAX_PATH_BYTES


class LeavesHomeError(Exception):
    """A path leads out of the home it was given for."""


class PendingDirectories:
    """Directories still to visit, depth first.

    They are kept as names beside the one path of their parent, so that what is held grows with the names of a tree
    and not with the square of its depth.
    """

    def __init__(self, parent: str = "", name: str = "") -> None:
        self._levels: list[tuple[str, list[str]]] = [(parent, [name])]

    def add(self, parent: str, names: list[str]) -> None:
        """Visit ``names`` of ``parent`` next. Takes the list over."""
        if names:
            self._levels.append((parent, names))

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Parent and name of each directory; both are empty for the root."""
        while self._levels:
            parent, names = self._levels[-1]
            name = names.pop()
            if not names:
                self._levels.pop()
            yield parent, name


def join(parent: str, name: str) -> str:
    """``parent/name``, where either may be empty."""
    return f"{parent}/{name}" if parent and name else parent or name


def split(path: str) -> tuple[str, str]:
    """Parent and last name of a reduced path."""
    parent, _, name = path.rpartition("/")
    return parent, name


def shown(path: str) -> str:
    r"""``path`` for people and for JSON: bytes that are no UTF-8 become ``\xff``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def encoded(name: str) -> str | None:
    """The bytes of a name that is no UTF-8, percent-encoded; None: it is text."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return quote(os.fsencode(name), safe="")
    return None


def reduced(path: str) -> str:
    """``path`` relative to a home without ``.``, ``..``, or needless slashes; empty for the home itself.

    Args:
        path: As a caller gave it. A leading slash means the home.

    Raises:
        LeavesHomeError: A ``..`` leads out of the home.
        InvalidArgument: It is no path: a zero character, half a character, or too long.
    """
    try:
        encoded = os.fsencode(path)
    except UnicodeEncodeError as error:
        raise InvalidArgument(f"path {path!a} is no valid text: it holds half of a character") from error
    if b"\0" in encoded:
        raise InvalidArgument(f"path {path!a} holds a zero character, which no file name can")
    if len(encoded) > MAX_PATH_BYTES:
        raise InvalidArgument(f"path of {len(encoded)} bytes is too long: at most {MAX_PATH_BYTES} bytes")
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if not parts:
                raise LeavesHomeError
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def open_beneath(root_fd: int, path: str, flags: int, *, follow: bool) -> int:
    """Open what is at ``path`` beneath a directory, whatever is renamed meanwhile.

    Args:
        root_fd: The directory.
        path: A reduced path; empty for the directory itself.
        flags: As for `os.open`; it makes nothing new.
        follow: Follow symlinks, the last one too, as long as they stay beneath. Otherwise every symlink is an error.

    Returns:
        A file descriptor, which the caller closes. It is not inherited by programs that are started.

    Raises:
        LeavesHomeError: The path leads out of the directory through symlinks; never without ``follow``.
        OSError: As `os.open`; ``EAGAIN`` if the directories change too fast.
    """
    if not _kernel_resolves():
        return open_by_hand(root_fd, path, flags, follow=follow)
    return open_by_kernel(root_fd, path, flags, follow=follow)


class _OpenHow(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


_SYS_OPENAT2 = 437  # the same on every architecture that Python is shipped for
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08

_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(_OpenHow), ctypes.c_size_t]


def open_by_kernel(root_fd: int, path: str, flags: int, *, follow: bool) -> int:
    """`open_beneath` by the system call that was made for it (``openat2``, Linux 5.6)."""
    resolve = _RESOLVE_BENEATH | (_RESOLVE_NO_MAGICLINKS if follow else _RESOLVE_NO_SYMLINKS)
    how = _OpenHow(flags | os.O_CLOEXEC, 0, resolve)
    encoded = os.fsencode(path) or b"."
    for _ in range(_MAX_RACES):
        fd: int = _syscall(_SYS_OPENAT2, root_fd, encoded, ctypes.byref(how), ctypes.sizeof(how))
        if fd >= 0:
            return fd
        code = ctypes.get_errno()
        if code == errno.EXDEV:
            if follow:
                raise LeavesHomeError
            code = errno.ENOENT  # no link was followed: what the walk had reached was moved away under it
        # EAGAIN: something was renamed while a ".." of a symlink was followed, and the kernel could not be sure.
        if code not in (errno.EAGAIN, errno.EINTR):
            break
    raise OSError(code, os.strerror(code))


@cache
def _kernel_resolves() -> bool:
    root_fd = os.open("/", os.O_PATH | os.O_CLOEXEC)
    try:
        os.close(open_by_kernel(root_fd, "", os.O_PATH, follow=False))
    except OSError:  # ENOSYS: an older kernel; EPERM: a container's filter that does not know the call
        return False
    finally:
        os.close(root_fd)
    return True


def open_by_hand(root_fd: int, path: str, flags: int, *, follow: bool) -> int:
    """`open_beneath` where the kernel does not offer it: one component after the other.

    A ``..``, which only symlinks bring, is taken by walking again from the root: that of the file system may lead
    anywhere by the time it is followed.
    """
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    todo = path.split("/")[::-1] if path else []
    done: list[str] = []
    links = 0
    fd = os.open(".", os.O_PATH | os.O_DIRECTORY, dir_fd=root_fd)
    try:
        while todo:
            name = todo.pop()
            if name == "..":
                if not done:
                    raise LeavesHomeError
                done.pop()
                fd = _moved(fd, _descend(root_fd, done))
                continue
            next_fd = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=fd)
            mode = os.fstat(next_fd).st_mode
            if stat.S_ISDIR(mode):
                fd = _moved(fd, next_fd)
                done.append(name)
            elif stat.S_ISLNK(mode):
                links += 1
                todo += _link_parts(next_fd, usable=follow and links <= _MAX_LINKS)
            else:
                os.close(next_fd)
                if todo:
                    raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
                return os.open(name, flags | os.O_NOFOLLOW, dir_fd=fd)
        return os.open(".", flags, dir_fd=fd)
    finally:
        os.close(fd)


def _moved(old_fd: int, new_fd: int) -> int:
    os.close(old_fd)
    return new_fd


def _descend(root_fd: int, names: list[str]) -> int:
    fd = os.open(".", os.O_PATH | os.O_DIRECTORY, dir_fd=root_fd)
    try:
        for name in names:
            fd = _moved(fd, os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd))
    except BaseException:
        os.close(fd)
        raise
    return fd


def _link_parts(link_fd: int, *, usable: bool) -> list[str]:
    """The names a symlink stands for, last one first. Closes the descriptor."""
    try:
        if not usable:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        text = os.readlink("", dir_fd=link_fd)
    finally:
        os.close(link_fd)
    if text.startswith("/"):
        raise LeavesHomeError
    return [part for part in reversed(text.split("/")) if part not in ("", ".")]


def set_mode(directory_fd: int, name: str, mode: int) -> None:
    """Change the mode of a file or directory, whatever its mode is now. A symlink is refused, not followed."""
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=directory_fd)
    try:
        if stat.S_ISLNK(os.fstat(fd).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        os.chmod(f"/proc/self/fd/{fd}", mode)  # noqa: PTH101 - the descriptor itself cannot: it opens nothing
    finally:
        os.close(fd)


def same(one: os.stat_result, other: os.stat_result) -> bool:
    """Whether both tell of one and the same file or directory."""
    return one.st_ino == other.st_ino and one.st_dev == other.st_dev


def is_within(directory_fd: int, ancestor: os.stat_result, home: os.stat_result) -> bool:
    """Whether a directory of a home is ``ancestor``, or lies in it."""
    fd = os.open(".", os.O_PATH | os.O_DIRECTORY, dir_fd=directory_fd)
    try:
        for _ in range(_MAX_CLIMB):
            here = os.fstat(fd)
            if same(here, ancestor):
                return True
            if same(here, home):
                return False
            fd = _moved(fd, os.open("..", os.O_PATH | os.O_DIRECTORY, dir_fd=fd))
        return False
    finally:
        os.close(fd)


_RENAME_NOREPLACE = 1
_renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)


def rename_to_free(source_fd: int, source: str, target_fd: int, target: str) -> None:
    """Rename to a name that is free; what has it already stays, and keeps it.

    Raises:
        FileExistsError: The name is taken.
        OSError: It cannot be renamed.
    """
    if _renameat2 is not None:
        arguments = (source_fd, os.fsencode(source), target_fd, os.fsencode(target), _RENAME_NOREPLACE)
        if _renameat2(*arguments) == 0:
            return
        code = ctypes.get_errno()
        if code not in (errno.EINVAL, errno.ENOSYS):
            raise OSError(code, os.strerror(code))
    # A kernel or file system without it: a name that is taken between these two calls is lost only if it is an empty
    # directory's.
    try:
        os.stat(target, dir_fd=target_fd, follow_symlinks=False)
    except FileNotFoundError:
        os.rename(source, target, src_dir_fd=source_fd, dst_dir_fd=target_fd)
    else:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))


_RENAME_EXCHANGE = 2


def exchange(source_fd: int, source: str, target_fd: int, target: str) -> None:
    """Let two names change places at once, so that there is no moment at which one of them is missing.

    Raises:
        OSError: They cannot; ``EINVAL`` or ``ENOSYS``: the file system or the kernel does not know how.
    """
    if _renameat2 is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if _renameat2(source_fd, os.fsencode(source), target_fd, os.fsencode(target), _RENAME_EXCHANGE) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


_PIECE_BYTES = 4000


def open_deep(root_fd: int, path: str, flags: int) -> int:
    """`open_beneath` without following symlinks, for a path of any length: it is walked in pieces."""
    encoded = os.fsencode(path)
    if len(encoded) <= _PIECE_BYTES:
        return open_beneath(root_fd, path, flags, follow=False)
    fd = root_fd
    try:
        while len(encoded) > _PIECE_BYTES:
            cut = encoded.rindex(b"/", 0, _PIECE_BYTES)
            piece, encoded = os.fsdecode(encoded[:cut]), encoded[cut + 1 :]
            inner = open_beneath(fd, piece, os.O_PATH | os.O_DIRECTORY, follow=False)
            if fd != root_fd:
                os.close(fd)
            fd = inner
        return open_beneath(fd, os.fsdecode(encoded), flags, follow=False)
    finally:
        if fd != root_fd:
            os.close(fd)
