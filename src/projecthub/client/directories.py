"""Directories of this machine, as the tar files that they travel in."""

from __future__ import annotations

import contextlib
import os
import stat
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from projecthub.client.transfers import PIECE_BYTES
from projecthub.errors import Conflict, InvalidArgument, ProtocolError

_MODES: Final = 0o777
_UNREADABLE: Final = "PROJECTHUB.unreadable"
_NO_NAMES: Final = frozenset({"", ".", ".."})


@dataclass(frozen=True, slots=True)
class Transferred:
    """A directory that was uploaded or downloaded.

    Attributes:
        files: How many files and links.
        bytes: Of all files.
        left_out: What is not among them, such as pipes.
    """

    files: int
    bytes: int
    left_out: tuple[str, ...]


class DirectoryPacking:
    """Packs a directory.

    Attributes:
        total: Bytes of its files, as they were when it was made.
        done: How many of them have been packed.
        left_out: What is no file, directory or symlink, or cannot be read.
    """

    def __init__(self, source: str | os.PathLike[str]) -> None:
        """Look how much that will be.

        Raises:
            InvalidArgument: There is no such directory.
        """
        self._source = Path(source)
        if not self._source.is_dir():
            raise InvalidArgument(f"there is no directory '{source}' on this machine")
        self.left_out: list[str] = []
        self.total = sum(status.st_size for _, _, status in self._things() if stat.S_ISREG(status.st_mode))
        self.done = 0

    def pieces(self) -> Iterator[bytes]:
        """The archive."""
        self.left_out.clear()
        waiting = bytearray()
        for path, name, status in self._things():
            for piece in self._packed(path, name, status):
                waiting += piece
                if len(waiting) >= PIECE_BYTES:
                    yield bytes(waiting)
                    waiting.clear()
        yield bytes(waiting) + bytes(2 * tarfile.BLOCKSIZE)

    def _things(self) -> Iterator[tuple[Path, str, os.stat_result]]:
        pending = [""]
        while pending:
            parent = pending.pop()
            below = []
            for name in self._names(parent):
                inner = f"{parent}/{name}" if parent else name
                path = self._source / inner
                try:
                    status = path.lstat()
                except FileNotFoundError:
                    continue
                except OSError as error:  # its path is too long
                    self._leave_out(error)
                    continue
                yield path, inner, status
                if stat.S_ISDIR(status.st_mode):
                    below.append(inner)
            pending += reversed(below)

    def _names(self, parent: str) -> list[str]:
        try:
            return sorted(os.listdir(self._source / parent))  # noqa: PTH208 - names, not paths
        except OSError as error:
            self._leave_out(error)
            return []

    def _packed(self, path: Path, name: str, status: os.stat_result) -> Iterator[bytes]:
        info = tarfile.TarInfo(name)
        info.mode, info.mtime = status.st_mode & _MODES, status.st_mtime
        try:
            if stat.S_ISDIR(status.st_mode):
                info.type = tarfile.DIRTYPE
                yield _header(info)
            elif stat.S_ISLNK(status.st_mode):
                info.type, info.linkname = tarfile.SYMTYPE, os.readlink(path)  # noqa: PTH115 - a text, not a path
                yield _header(info)
            elif stat.S_ISREG(status.st_mode):
                with path.open("rb") as file:
                    info.size = os.fstat(file.fileno()).st_size
                    yield _header(info)
                    yield from self._content(file, info.size)
            else:
                self.left_out.append(f"{path}, which is no regular file")
        except OSError as error:
            if info.size and info.type == tarfile.REGTYPE:
                raise  # its header is on its way
            self._leave_out(error)

    def _leave_out(self, error: OSError) -> None:
        self.left_out.append(f"{error.filename}: {error.strerror}")

    def _content(self, file: IO[bytes], size: int) -> Iterator[bytes]:
        left = size
        while left:
            piece = file.read(min(left, PIECE_BYTES)) or bytes(min(left, PIECE_BYTES))  # it was cut short meanwhile
            left -= len(piece)
            self.done += len(piece)
            yield piece
        yield bytes(-size % tarfile.BLOCKSIZE)


def _header(info: tarfile.TarInfo) -> bytes:
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


@contextlib.contextmanager
def receiving(target: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A file without a name for an archive, on the file system of a directory that is made if it is missing."""
    Path(target).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=target) as file:
        yield file


def unpack(archive: IO[bytes], target: str | os.PathLike[str]) -> Transferred:
    """Unpack a tar that a hub has made into a directory. What people of the project chose in it is not believed.

    Nothing is written through a symlink that leads out of the directory, and no such symlink is made.

    Raises:
        ProtocolError: It is damaged, or of no sound hub.
        Conflict: Something on this machine is in the way.
    """
    archive.seek(0)
    unpacking = _Unpacking(Path(target))
    try:
        with tarfile.open(fileobj=archive, mode="r:", encoding="utf-8", errors="surrogateescape") as tar:
            while (info := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # it would remember them all
                unpacking.add(tar, info)
            _require_end(archive, tar.offset)  # a reader of tars takes any damage for its end
    except (tarfile.TarError, ValueError, OverflowError) as error:
        raise ProtocolError(f"the archive that came is damaged ({error}); download it again") from error
    except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        raise Conflict(f"'{error.filename}' on this machine is in the way; move it") from error
    unpacking.make_links()
    return Transferred(unpacking.files, unpacking.bytes, tuple(unpacking.left_out))


def _require_end(archive: IO[bytes], at: int) -> None:
    archive.seek(at)
    if archive.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("it ends too early")


class _Unpacking:
    """Symlinks come last, so that nothing is written through one that came along."""

    def __init__(self, target: Path) -> None:
        self.files = self.bytes = 0
        self.left_out: list[str] = []
        self._target = target
        self._real_target = target.resolve()
        self._checked: Path | None = None
        self._links: list[tuple[Path, str]] = []

    def add(self, tar: tarfile.TarFile, info: tarfile.TarInfo) -> None:
        if info.isdir() and info.name == "." and _UNREADABLE in info.pax_headers:
            self.left_out.append(f"{info.pax_headers[_UNREADABLE]} things that the hub may not read")
            return
        names = info.name.split("/")
        if _NO_NAMES.intersection(names) or "\0" in info.name:
            raise ProtocolError(f"the hub names {info.name!r}, which no file can be called")
        path = self._target.joinpath(*names)
        if info.isdir():
            self._check(path)
            if not path.is_dir():
                path.mkdir(parents=True)
                path.chmod(info.mode & _MODES | 0o700)
        elif info.isreg():
            self._check(path.parent)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._write(tar, info, path)
        elif info.issym() and _stays(info.linkname, len(names) - 1):
            self._links.append((path, info.linkname))
        else:
            self.left_out.append(f"{info.name}, which leads out of the directory, or is no regular file")

    def _check(self, directory: Path) -> None:
        if directory != self._checked and not directory.resolve().is_relative_to(self._real_target):
            raise Conflict(f"'{directory}' on this machine leads out of '{self._target}' by a symlink; remove that")
        self._checked = directory

    def _write(self, tar: tarfile.TarFile, info: tarfile.TarInfo, path: Path) -> None:
        source = tar.extractfile(info)
        assert source is not None
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".part-", delete=False) as file:
            try:
                while piece := source.read(PIECE_BYTES):
                    file.write(piece)
                os.fchmod(file.fileno(), info.mode & _MODES)
                file.flush()
                with contextlib.suppress(OverflowError, ValueError):
                    os.utime(file.fileno(), (info.mtime, info.mtime))
                Path(file.name).replace(path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
        self.files += 1
        self.bytes += info.size

    def make_links(self) -> None:
        """Make the symlinks."""
        for path, text in self._links:
            self._check(path.parent)
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_symlink() or path.is_file():
                path.unlink()
            elif path.exists():
                raise Conflict(f"'{path}' on this machine is in the way; move it")
            path.symlink_to(text)
            self._checked = None
            self.files += 1


def _stays(text: str, depth: int) -> bool:
    """Whether a symlink stays within the directory, whatever other symlinks it leads through: ``..`` comes first."""
    if not text or text.startswith("/") or "\0" in text:
        return False
    names = [name for name in text.split("/") if name not in ("", ".")]
    upwards = 0
    while upwards < len(names) and names[upwards] == "..":
        upwards += 1
    return upwards <= depth and ".." not in names[upwards:]
