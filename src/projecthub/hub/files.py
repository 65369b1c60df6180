"""The files of projects, read and changed by the hub itself, whether a project runs or not.

Every method is for callers who are known to be on the project. Paths are relative to its home, or absolute as the
project sees it.

Source: Wire contract 5.5.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from projecthub.errors import CallTimeout, Conflict, InvalidArgument
from projecthub.files import changes, views
from projecthub.files.changes import Dress, StagedFile
from projecthub.files.paths import shown
from projecthub.files.places import open_file, opened_home, opened_parent, status_of, told
from projecthub.hub.workplaces import path_in, require_few

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence

    from projecthub.files import Allowance, Home
    from projecthub.hub.principals import Principal
    from projecthub.hub.workplaces import Workplaces
    from projecthub.store.records import Project

T = TypeVar("T")

MAX_TEXT_BYTES: Final = 8_000_000
"""A text file that is read or written by one call holds at most so many bytes."""
MAX_SUMMED_BYTES: Final = 4 * 2**30
"""A file that is read gets a checksum if it has no more."""
MAX_SILENCE_S: Final = 60.0
"""A sender of whom nothing comes for so long is gone."""
MOVED: Final = "moved"
"""The event with which the history of a file begins that got another path."""
_PIECE_BYTES: Final = 1024 * 1024


@dataclass(slots=True)
class OpenFile:
    """A file that is being read.

    Attributes:
        home: The home that it is in.
        fd: The file; whoever has it closes it.
        status: As it was when it was opened.
        etag: Names this state of it.
    """

    home: Home
    fd: int
    status: os.stat_result
    etag: str


@dataclass(frozen=True, slots=True)
class Written:
    """What was written.

    Attributes:
        path: Relative to the home.
        bytes: How many.
        created: Whether nothing was there before.
        etag: Names the new state of the file.
    """

    path: str
    bytes: int
    created: bool
    etag: str


@dataclass(frozen=True, slots=True)
class Precondition:
    """What has to hold of a file for it to be replaced.

    Attributes:
        etags: It is in one of these states; ``*``: in any; None: whatever.
        absent: It is not there.
    """

    etags: tuple[str, ...] | None = None
    absent: bool = False

    def check(self, before: os.stat_result | None) -> bool:
        """Look at what is there; tells whether nothing may be replaced.

        Raises:
            Conflict: It does not hold; with ``precondition`` in its details.
        """
        etag = None if before is None else etag_of(before)
        fits = self.etags is None or (etag is not None and ("*" in self.etags or etag in self.etags))
        if not fits or (self.absent and before is not None):
            state = "is not there" if etag is None else f"is there, in state {etag}"
            raise Conflict(f"the condition does not hold: the file {state}; read it again", precondition=True)
        return self.absent


ANY: Final = Precondition()
AS_IT_WAS: Final = Dress()


def etag_of(status: os.stat_result) -> str:
    """A name for one state of a file: every write to it changes its ctime, which no process can set."""
    return f'"{status.st_ino:x}-{status.st_ctime_ns:x}-{status.st_size:x}"'


class Files:
    """Reads and changes."""

    def __init__(self, workplaces: Workplaces) -> None:
        """Make the service."""
        self._workplaces = workplaces

    async def listing(
        self,
        caller: Principal,
        project: Project,
        path: str,
        made: Callable[[Iterator[views.Entry]], T],
        *,
        hidden: bool,
        after: str = "",
        most: int = views.MAX_ENTRIES,
    ) -> T:
        """What is made of what a directory holds, where that is looked at: beside the event loop.

        See `views.entries_of`.
        """
        home = await self._workplaces.home(caller, project)

        def work(home_fd: int, inner: str) -> T:
            with contextlib.closing(views.entries_of(home_fd, inner, hidden=hidden, after=after, most=most)) as entries:
                return made(entries)

        return await self._look(home, path, work)

    async def stat(self, caller: Principal, project: Project, path: str) -> views.Entry:
        """What is at a path. See `views.entry_at`."""
        home = await self._workplaces.home(caller, project)
        return await self._look(home, path, views.entry_at)

    async def read_text(self, caller: Principal, project: Project, path: str) -> str:
        """The text of a file of at most `MAX_TEXT_BYTES`. See `views.read_text`."""
        home = await self._workplaces.home(caller, project)
        return await self._look(home, path, lambda fd, inner: views.read_text(fd, inner, MAX_TEXT_BYTES))

    async def real_path(self, caller: Principal, project: Project, path: str) -> str:
        """Where a path leads. See `views.real_path`."""
        home = await self._workplaces.home(caller, project)
        try:
            return await self._look(home, path, lambda fd, inner: views.real_path(fd, path, inner))
        except InvalidArgument:
            if "\0" in path:
                raise
            return path  # outside, as the wire has it

    async def canonical_paths(self, caller: Principal, project: Project, paths: Sequence[str]) -> list[str]:
        """One name for each path. See `views.canonical_path`."""
        require_few(paths)
        home = await self._workplaces.home(caller, project)

        def work() -> list[str]:
            with opened_home(home.path) as fd:
                return [views.canonical_path(fd, path, home.seen_homes) for path in paths]

        return await self._workplaces.run(home, work)

    async def open(self, caller: Principal, project: Project, path: str) -> OpenFile:
        """Open a file to be read in pieces.

        Raises:
            NotFound: Nothing is there.
            Conflict: It is no file.
        """
        home = await self._workplaces.home(caller, project)

        def work(home_fd: int, inner: str) -> OpenFile:
            with told(inner):
                fd = open_file(home_fd, inner)
                status = os.fstat(fd)
                return OpenFile(home, fd, status, etag_of(status))

        return await self._look(home, path, work)

    def content(self, file: OpenFile, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """The bytes of a file from ``start`` up to ``stop``. To be closed before the file is."""
        return self._workplaces.pieces(file.home, views.content(file.fd, start, stop))

    async def sha256(self, file: OpenFile) -> bytes | None:
        """The checksum of a file as it was opened, which stays open; None: it has more than `MAX_SUMMED_BYTES`."""
        if file.status.st_size > MAX_SUMMED_BYTES:
            return None

        def work() -> bytes:
            digest = hashlib.sha256()
            for piece in views.content(file.fd, 0, file.status.st_size):
                digest.update(piece)
            return digest.digest()

        return await self._workplaces.run(file.home, work)

    async def write(
        self,
        caller: Principal,
        project: Project,
        path: str,
        chunks: AsyncIterator[bytes],
        *,
        length: int | None = None,
        dress: Dress = AS_IT_WAS,
        condition: Precondition = ANY,
        sha256: bytes | None = None,
    ) -> Written:
        """Write a file whole, or not at all. Missing directories are made.

        Args:
            caller: Who.
            project: Where.
            path: Where in its home.
            chunks: The bytes.
            length: How many they are, if known.
            dress: Mode and time.
            condition: What has to hold before.
            sha256: The checksum that the bytes have to have.

        Raises:
            InvalidArgument: The checksum is another, or the path leads out of the home.
            Conflict: The condition does not hold, or a directory is in its place.
            LimitError: It would not fit into the quota or on the disk.
            CallTimeout: Nothing came for long.
        """
        home = await self._workplaces.home(caller, project)
        inner = path_in(home, path)
        before = await self._workplaces.run(home, lambda: _status_at(home, inner))
        condition.check(before)
        freed = _freed(before)
        allowance = await self._workplaces.homes.reserve(project, length or 0, freed)
        with contextlib.closing(allowance):
            staged = await self._workplaces.run(home, lambda: StagedFile(home))
            try:
                size = await self._receive(home, staged, chunks, allowance, sha256)

                async with self._workplaces.histories.recording(
                    project.project_id, caller.account_id, "written"
                ) as keeper:

                    def place() -> str:
                        staged.place(inner, dress, condition.check, keeper)
                        return etag_of(os.fstat(staged.fd))

                    etag = await self._workplaces.run(home, place)
            finally:
                await self._workplaces.run(None, staged.close)
        await self._workplaces.note(caller, project, {"event": "file_written", "path": shown(inner), "bytes": size})
        return Written(shown(inner), size, before is None, etag)

    async def _receive(
        self, home: Home, staged: StagedFile, chunks: AsyncIterator[bytes], allowance: Allowance, sha256: bytes | None
    ) -> int:
        """Write what comes in, in pieces of a size that a thread is worth waking for; tells how much that was."""
        digest, size = hashlib.sha256() if sha256 is not None else None, 0

        def write(piece: bytes) -> None:
            allowance.take(len(piece))
            staged.write(piece)
            if digest is not None:
                digest.update(piece)

        async for piece in gathered(chunks):
            size += len(piece)
            await self._workplaces.run(home, lambda piece=piece: write(piece))  # type: ignore[misc]
        if digest is not None and digest.digest() != sha256:
            raise InvalidArgument(f"what came has the SHA-256 {digest.hexdigest()}, not the one given; send it again")
        return size

    async def make_directory(self, caller: Principal, project: Project, path: str) -> bool:
        """Make a directory, and those above it. Tells whether it was not there before."""
        home = await self._workplaces.home(caller, project)
        inner = path_in(home, path)
        made = await self._workplaces.run(home, lambda: changes.make_directory(home, inner))
        if made:
            await self._workplaces.note(caller, project, {"event": "directory_made", "path": shown(inner)})
        return made

    async def move(self, caller: Principal, project: Project, paths: Sequence[str], directory: str) -> None:
        """Move things into a directory; never overwrites. See `changes.move_into`."""
        require_few(paths)
        home = await self._workplaces.home(caller, project)
        inner, target = [path_in(home, path) for path in paths], path_in(home, directory)
        async with self._workplaces.histories.recording(project.project_id, caller.account_id, MOVED) as keeper:
            await self._workplaces.run(home, lambda: changes.move_into(home, inner, target, keeper))
        event = {"event": "files_moved", "paths": [shown(path) for path in inner], "dest": shown(target)}
        await self._workplaces.note(caller, project, event)

    async def rename(self, caller: Principal, project: Project, source: str, target: str) -> None:
        """Give something another path; never overwrites. See `changes.rename`."""
        home = await self._workplaces.home(caller, project)
        one, other = path_in(home, source), path_in(home, target)

        def work() -> None:
            with opened_home(home.path) as fd:
                changes.rename(fd, one, other)

        async with self._workplaces.histories.recording(project.project_id, caller.account_id, MOVED) as keeper:
            await self._workplaces.run(home, work)
            keeper.changed(other)
        event = {"event": "file_renamed", "path": shown(one), "dest": shown(other)}
        await self._workplaces.note(caller, project, event)

    async def inner_path(self, project: Project, path: str) -> str:
        """A path that a caller gave, relative to the home.

        Raises:
            InvalidArgument: It leads out of the home.
        """
        return path_in(await self._workplaces.homes.opened(project), path)

    async def _look(self, home: Home, path: str, work: Callable[[int, str], T]) -> T:
        inner = path_in(home, path)

        def look() -> T:
            with opened_home(home.path) as fd:
                return work(fd, inner)

        return await self._workplaces.run(home, look)


async def gathered(chunks: AsyncIterator[bytes], *, silence_s: float = MAX_SILENCE_S) -> AsyncIterator[bytes]:
    """The same bytes in pieces of about 1 MiB.

    Args:
        chunks: The bytes as they come.
        silence_s: How long to wait for the next ones, in seconds.

    Raises:
        CallTimeout: None came for so long.
    """
    waiting: list[bytes] = []
    size = 0
    while (chunk := await _next(chunks, silence_s)) is not None:
        waiting.append(chunk)
        size += len(chunk)
        if size >= _PIECE_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    if size:
        yield b"".join(waiting)


async def _next(chunks: AsyncIterator[bytes], silence_s: float) -> bytes | None:
    try:
        async with asyncio.timeout(silence_s):
            return await anext(chunks, None)
    except TimeoutError as error:
        raise CallTimeout(f"nothing came for {silence_s:g} seconds; send the rest again") from error


def _freed(before: os.stat_result | None) -> int:
    """Bytes of disk that come free when a file is replaced: none of one that has other names."""
    return before.st_blocks * 512 if before is not None and before.st_nlink == 1 else 0


def _status_at(home: Home, path: str) -> os.stat_result | None:
    """Of what a write would replace; None: nothing."""
    with opened_home(home.path) as home_fd, told(path, writing=True):
        try:
            with opened_parent(home_fd, path) as (fd, name):
                return status_of(fd, name)
        except FileNotFoundError:
            return None
