"""A home as one tar file, and back, by GNU tar.

An archive keeps modes, times, symlinks, hard links, holes, extended attributes (``user.*``) and names of any bytes. A
symlink is kept as what it is and never followed. The project may run and change its files meanwhile: what vanished or
changed while it was read is told, and the rest goes on.

A home is unpacked by a process of the project's own user, so that whatever a project has put into its archive, it can
reach nothing of others when it comes out.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from projecthub.errors import Conflict, InternalError, LimitError, NotFound
from projecthub.files.failures import unwritable

SUFFIX: Final = ".tar"
COMPRESSED_SUFFIX: Final = ".tar.zst"

_CHUNK_BYTES: Final = 1024 * 1024
_MAX_NOTES: Final = 20
_MAX_NOTE: Final = 500
_MAX_LINE: Final = 65_536
_DIFFERED: Final = 1
"""tar's exit code when files changed or vanished; the archive is whole."""
_FAILED_SOMEWHERE: Final = 2
_GAVE_UP: Final = (b"Error is not recoverable", b"This does not look like a tar archive")

_COMMON: Final = ("--xattrs", "--xattrs-include=user.*", "--quoting-style=escape", "--numeric-owner")


@dataclass(frozen=True, slots=True)
class Archived:
    """An archive that was written.

    Attributes:
        bytes: Its size.
        sha256: Its checksum, in hex.
        troubles: How many files vanished, changed or could not be read meanwhile.
        notes: What happened to the first of them, with their names; to be made fit for a terminal.
    """

    bytes: int
    sha256: str
    troubles: int
    notes: tuple[str, ...]


@dataclass(slots=True)
class _Complaints:
    """What tar says while it works, bounded: a project chooses how much that is."""

    count: int = 0
    notes: tuple[str, ...] = ()
    gave_up: bool = False

    def add(self, line: bytes) -> None:
        line = line.strip().removeprefix(b"tar: ")
        if not line or line.startswith(b"Exiting with failure status"):
            return
        self.gave_up = self.gave_up or line.startswith(_GAVE_UP)
        self.count += 1
        if len(self.notes) < _MAX_NOTES:
            if len(line) > _MAX_NOTE:  # a name may be of any length: what happened to it stands at the end
                line = line[: _MAX_NOTE // 2] + b"..." + line[-_MAX_NOTE // 2 :]
            self.notes += (line.decode(errors="backslashreplace"),)


def require_tools(*, compressed: bool) -> None:
    """Make sure that the programs are there.

    Raises:
        Conflict: One is not; with its name.
    """
    try:
        version = subprocess.run(["tar", "--version"], capture_output=True, check=False).stdout
    except OSError:
        version = b""
    if b"GNU tar" not in version:
        raise Conflict("GNU tar is not installed; install it, for backups keep files by it")
    if compressed and not has_zstd():
        raise Conflict("the backup is compressed and zstd is not installed; install it")


def has_zstd() -> bool:
    """Whether archives can be compressed here."""
    return shutil.which("zstd") is not None


async def archive(home: Path, target: Path, *, compressed: bool, files: Sequence[str] | None = None) -> Archived:
    """Write a home to a new file, for its owner only.

    Args:
        home: The home; it may be in use.
        target: The file.
        compressed: Whether by zstd.
        files: Only these, by names relative to it; None: all that is in it.

    Raises:
        NotFound: There is no such home.
        LimitError: No space is left.
        InternalError: tar failed.
    """
    if home.is_symlink() or not home.is_dir():
        raise NotFound("there is no such home")
    arguments = [
        "tar",
        "--create",
        *(["--zstd"] if compressed else []),
        *_COMMON,
        "--format=posix",
        "--pax-option=delete=atime,delete=ctime",
        "--sparse",
        "--one-file-system",
        "--ignore-failed-read",
        "--warning=no-file-ignored",  # sockets: there is nothing in them
        "--file=-",
        *(["."] if files is None else ["--no-recursion", "--null", "--verbatim-files-from", "--files-from=-"]),
    ]
    digest, size = hashlib.sha256(), 0
    try:
        with contextlib.ExitStack() as stack:
            made = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            out = stack.enter_context(os.fdopen(made, "wb"))
            named = stack.enter_context(_named(files))
            running = _running(arguments, cwd=home, stdin=named, stdout=subprocess.PIPE)
            async with running as (process, complaints):
                assert process.stdout is not None
                while chunk := await process.stdout.read(_CHUNK_BYTES):
                    digest.update(chunk)
                    size += len(chunk)
                    out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
    except OSError as error:
        raise unwritable(error, target.name) from error
    if process.returncode not in (0, _DIFFERED, _FAILED_SOMEWHERE) or complaints.gave_up:
        raise InternalError(f"a home could not be archived: {' '.join(complaints.notes) or process.returncode}")
    return Archived(size, digest.hexdigest(), complaints.count, complaints.notes)


@contextlib.contextmanager
def _named(files: Sequence[str] | None) -> Iterator[IO[bytes] | int]:
    """What tar is to read of standard input: names, in a file without one, so that neither waits for the other."""
    if files is None:
        yield subprocess.DEVNULL
        return
    with tempfile.TemporaryFile() as names:
        names.writelines(os.fsencode(name) + b"\0" for name in files)
        names.seek(0)
        yield names


async def unpack(source: Path, home: Path, *, uid: int | None, compressed: bool) -> tuple[str, ...]:
    """Make a home of an archive.

    Args:
        source: The archive, as it was written here.
        home: A directory that is new and empty.
        uid: The user and group that all of it is to belong to; None: this process's own.
        compressed: Whether by zstd.

    Returns:
        What could not be brought back, such as a path that is too long for the kernel; the first few.

    Raises:
        LimitError: No space is left.
        InternalError: The archive is no archive, or tar failed.
    """
    if uid is not None:
        os.chown(home, uid, uid)
    arguments = [
        "tar",
        "--extract",
        *(["--zstd"] if compressed else []),
        *_COMMON,
        "--no-same-owner",
        "--preserve-permissions",
        "--delay-directory-restore",
        "--file=-",
    ]
    with source.open("rb") as file:
        async with _running(arguments, cwd=home, stdin=file, uid=uid) as (process, complaints):
            await process.wait()
    if any("No space left" in note or "quota exceeded" in note for note in complaints.notes):
        raise LimitError("no space is left for the homes; make room and restore again")
    if process.returncode not in (0, _DIFFERED, _FAILED_SOMEWHERE) or complaints.gave_up:
        raise InternalError(f"a home could not be restored: {' '.join(complaints.notes) or process.returncode}")
    return complaints.notes


@contextlib.asynccontextmanager
async def _running(
    arguments: list[str],
    *,
    cwd: Path,
    stdin: IO[bytes] | int = subprocess.DEVNULL,
    uid: int | None = None,
    **pipes: Any,
) -> AsyncIterator[tuple[asyncio.subprocess.Process, _Complaints]]:
    """A program in a home; its complaints are complete when this ends, and so is the program."""
    # The directory is entered before the user is changed: its own user may not come past the hub's directories.
    as_user: dict[str, Any] = {} if uid is None else {"user": uid, "group": uid, "extra_groups": []}
    process = await asyncio.create_subprocess_exec(
        arguments[0],
        *arguments[1:],
        cwd=cwd,
        stdin=stdin,
        stderr=subprocess.PIPE,
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
        limit=_CHUNK_BYTES,
        start_new_session=True,
        **as_user,
        **pipes,
    )
    complaints = _Complaints()
    listening = asyncio.create_task(_listen(process, complaints))
    try:
        yield process, complaints
        await listening
        await process.wait()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # with the zstd that tar has started
        if process.stdout is not None:
            await process.stdout.read()  # its end is not seen before that
        await listening
        await process.wait()
        raise


async def _listen(process: asyncio.subprocess.Process, complaints: _Complaints) -> None:
    assert process.stderr is not None
    rest = b""
    while chunk := await process.stderr.read(_CHUNK_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            complaints.add(line)
        rest = rest[:_MAX_LINE]
    complaints.add(rest)
