"""What changes in a home, kept beside it until the hub has written it into histories.

Whoever changes a home tells a `Keeper`: which file is about to be replaced, what was written, which paths have changed.
That is a journal in ``projects/<id>/changes``, which no project sees. It is there before the change is answered, and
needs no transaction; a hub that is killed finds it again. What a journal says is read later, by `Journal`.

Texts alone are kept: UTF-8, of at most `MAX_TEXT_BYTES`. Nothing here ever keeps a change from being made: where a
journal cannot be written, as on a full disk, the histories lack it.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from projecthub.errors import HubError
from projecthub.files.backlog import FILE_BYTES, Backlog
from projecthub.files.changes import Home, write_all
from projecthub.files.paths import (
    DIRECTORY,
    LeavesHomeError,
    PendingDirectories,
    join,
    open_beneath,
    split,
)
from projecthub.files.places import HOLD, closing, open_file, opened_home, told
from projecthub.files.views import canonical_path

MAX_TEXT_BYTES: Final = 1_000_000
"""A larger file is no text."""
MAX_FILES: Final = 10_000
"""Of one copy, archive or move, so many files are kept; those beyond begin their histories with their next change."""
OWN: Final = ".projecthub"
"""In a home, what the hub keeps for its project: no files of people."""

_DIRECTORY: Final = "changes"
_KEPT: Final = ".kept"
"""The end of the name of a directory that holds what a journal has no room for."""
_LINKED: Final = "="
"""In that directory, the beginning of a name that is a path."""
_MAX_NAME: Final = 255
_MAX_INLINE: Final = 32_768
_CHANGED_A_LINE: Final = 256
_FEW: Final = 16
"""So many small files that are replaced are read at once, and stand in the journal; those after them are linked."""
_BEGUN_WITHIN_S: Final = 60.0
_FOR_EVER_NS: Final = 2**63
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class State:
    """What a file held.

    Attributes:
        path: The file, relative to the home, by the one name that it has.
        text: Its text.
        at_ms: When, in milliseconds since the epoch.
        number: Which entry of the journal says so.
        was_there: Whether it was found, made by nobody knows whom; otherwise who the journal names has made it.
    """

    path: str
    text: str
    at_ms: int
    number: int
    was_there: bool


class Keeper:
    """Keeps what one call changes in one home. Not for several threads at once."""

    def __init__(
        self,
        home: Path,
        event: str,
        account_id: str | None,
        now_ms: Callable[[], int],
        job_id: str = "",
        *,
        backlog: Backlog,
    ) -> None:
        """Make ready; nothing is written before there is something to keep.

        Args:
            home: The home.
            event: A word for what is done: ``copied``.
            account_id: Who does it; None: nobody knows.
            now_ms: Tells the time.
            job_id: The job that does it; until that has ended the journal is looked at again and again.
            backlog: Tells whether there may be more.
        """
        self._home = home
        self._top = home.with_name(_DIRECTORY)
        self._backlog = backlog
        self._token = secrets.token_hex(4)
        self._header = {"event": event, "account_id": account_id, "job_id": job_id, "at": now_ms()}
        self._now_ms = now_ms
        self._name = ""
        self._fd = self._kept = -1
        self._count = 0
        self._changed: list[str] = []

    @property
    def is_empty(self) -> bool:
        """Whether there was nothing to keep."""
        return self._fd < 0 and not self._changed

    def replaced(self, directory_fd: int, name: str, path: str, status: os.stat_result) -> None:
        """Keep a file that is about to lose its name in a directory.

        Args:
            directory_fd: The directory.
            name: Its name there.
            path: Its path, reduced.
            status: Its own.
        """
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_TEXT_BYTES or not self._has_room(path):
            return
        with contextlib.suppress(OSError):
            is_one_of_many = self._count >= _FEW or status.st_size > _MAX_INLINE
            if is_one_of_many and status.st_nlink == 1:
                with contextlib.suppress(PermissionError):  # of a file of another user
                    if self._link(directory_fd, name, path, status.st_size):
                        return
            with closing(os.open(name, _READ, dir_fd=directory_fd)) as fd:
                self._copy("was", fd, path)

    def replaced_directory(self, directory_fd: int, name: str, path: str) -> None:
        """Keep the files of a directory that is about to go with all that is in it."""
        with (
            contextlib.suppress(OSError),
            closing(os.open(name, DIRECTORY | os.O_NOFOLLOW, dir_fd=directory_fd)) as fd,
            contextlib.closing(_files_in(fd)) as files,
        ):
            for parent_fd, file, inner, status in files:
                self.replaced(parent_fd, file, join(path, inner), status)

    def found(self, home_fd: int, path: str) -> None:
        """Keep a file as it is, before it is changed by others or goes away; nothing, if there is none."""
        with contextlib.suppress(HubError, OSError, LeavesHomeError), closing(open_file(home_fd, path)) as fd:
            if self._has_room(path):
                self._copy("was", fd, path)

    def written(self, fd: int, path: str) -> None:
        """Keep what was written to a path: the file ``fd``, which can be read."""
        with contextlib.suppress(OSError):
            if self._has_room(path):
                self._copy("is", fd, path)

    def changed(self, path: str) -> None:
        """Note that a file, or a directory with all that is in it, is new or another. What it holds is read later."""
        if len(self._changed) < MAX_FILES and is_of_people(path):
            self._changed.append(path)

    def close(self) -> None:
        """Let go: what was kept is to be read from now on."""
        if self._changed:
            with contextlib.suppress(OSError):
                self._note_changed()
        if self._fd < 0:
            self._backlog.written_down(self._home, self._token)
        for fd in (self._fd, self._kept):
            if fd >= 0:
                os.close(fd)
        self._fd = self._kept = -1

    def _note_changed(self) -> None:
        self._open()
        os.utime(self._fd)  # by the clock that the files beside it are dated by
        until_ns = 0 if self._header["job_id"] else os.fstat(self._fd).st_ctime_ns
        for start in range(0, len(self._changed), _CHANGED_A_LINE):
            paths = self._changed[start : start + _CHANGED_A_LINE]
            if self._may_take(sum(map(len, paths))):
                self._note("new", paths, until_ns)

    def _has_room(self, path: str) -> bool:
        return self._count < MAX_FILES and is_of_people(path)

    def _may_take(self, size: int) -> bool:
        return self._backlog.take(self._home, self._token, size + FILE_BYTES)

    def _copy(self, kind: str, fd: int, path: str) -> None:
        """Keep the text of a file: a small one in the journal itself."""
        self._count += 1
        if (text := _text_of(fd)) is None or not self._may_take(len(text.encode())):
            return
        if len(text) <= _MAX_INLINE:
            self._open()
            self._note(kind, path, text)
            return
        with closing(os.open(str(self._count), _CREATE, 0o600, dir_fd=self._beside())) as target:
            write_all(target, text.encode())
        self._note(kind, path, self._count)

    def _link(self, directory_fd: int, name: str, path: str, size: int) -> bool:
        """Keep a file without reading it, by a name that tells its path; False: that is too long."""
        told = _LINKED + path.replace("%", "%25").replace("/", "%2F")  # what `quote` does takes ten times as long
        if len(told.encode()) > _MAX_NAME:
            return False
        if not self._may_take(size):
            return True
        os.link(name, told, src_dir_fd=directory_fd, dst_dir_fd=self._beside(), follow_symlinks=False)
        self._count += 1
        return True

    def _beside(self) -> int:
        """The directory for what is kept beside the journal."""
        self._open()
        if self._kept < 0:
            directory = self._top / f"{self._name}{_KEPT}"
            directory.mkdir(mode=0o700)
            self._kept = os.open(directory, DIRECTORY)
        return self._kept

    def _note(self, kind: str, path: str | list[str], what: int | str) -> None:
        """Add to the journal: at last, what is noted is there."""
        write_all(self._fd, json.dumps([kind, path, self._now_ms(), what]).encode() + b"\n")

    def _open(self) -> None:
        if self._fd >= 0:
            return
        self._top.mkdir(mode=0o700, exist_ok=True)
        name = f"{time.time_ns():020}-{self._token}"
        hidden = self._top / f".{name}"  # from readers, until it is locked
        fd = os.open(hidden, _CREATE | os.O_APPEND, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            write_all(fd, json.dumps(self._header).encode() + b"\n")
            hidden.rename(self._top / name)
        except BaseException:
            os.close(fd)
            raise
        self._fd, self._name = fd, name


class Journal:
    """A journal that is being read, and nobody else's until it is closed.

    Attributes:
        name: Its name; later ones sort behind.
        event: What was done.
        account_id: Who did it; None: nobody knows.
        job_id: The job that does it; empty: none.
    """

    def __init__(self, home: Home, name: str) -> None:
        """Open it.

        Raises:
            BlockingIOError: It is being written, or read.
            OSError: It is gone.
        """
        self.name = name
        self._home = home
        self._path = home.path.with_name(_DIRECTORY) / name
        self.account_id: str | None
        self._file = self._path.open("rb")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            self._file.close()
            raise
        match _parsed(self._file.readline()):
            case {"event": str(event), "account_id": account_id, "job_id": str(job_id), "at": int(at)}:
                self.event, self.account_id, self.job_id, self._at = event, account_id, job_id, at
            case _:
                self.event, self.account_id, self.job_id, self._at = "", None, "", 0

    def close(self) -> None:
        """Let go of it; it stays. Idempotent."""
        self._file.close()

    def remove(self) -> None:
        """It is not needed any more, nor what was kept beside it."""
        if self._kept.is_dir():
            shutil.rmtree(self._kept, ignore_errors=True)
        self._path.unlink(missing_ok=True)

    @property
    def token(self) -> str:
        """What tells it from those of the same moment."""
        return self.name.rpartition("-")[2]

    @property
    def _kept(self) -> Path:
        return self._path.with_name(f"{self.name}{_KEPT}")

    def states(self) -> Generator[State, None, None]:
        """What it says that files held, in the order of the changes. Blocks."""
        names = _Names(self._home)
        with contextlib.ExitStack() as opened:
            home_fd = opened.enter_context(opened_home(self._home.path))
            kept_fd = -1
            if self._kept.is_dir():
                kept_fd = opened.enter_context(closing(os.open(self._kept, DIRECTORY)))
            entries = enumerate(map(_parsed, self._file), 1)  # read one by one: they may be long together
            for number, entry in itertools.chain(self._linked(kept_fd), entries):
                with contextlib.closing(self._told(home_fd, kept_fd, entry, number)) as told:
                    for state in told:
                        if (name := names.of(home_fd, state.path)) is not None:
                            yield replace(state, path=name)

    def _linked(self, kept_fd: int) -> list[tuple[int, object]]:
        """What is kept beside the journal under names that tell paths, as entries that come first."""
        names = sorted(os.listdir(kept_fd)) if kept_fd >= 0 else []
        return [(0, ["linked", name, self._at]) for name in names if name.startswith(_LINKED)]

    def _told(self, home_fd: int, kept_fd: int, entry: object, number: int) -> Generator[State, None, None]:
        """What one entry says, by the paths that it names."""
        match entry:
            case ["linked", str(name), int(at)]:
                if (found := _text_at(kept_fd, name)) is not None:
                    yield State(unquote(name.removeprefix(_LINKED)), found, at, number, True)
            case ["was" | "is" as kind, str(path), int(at), str(text)]:
                yield State(path, text, at, number, kind == "was")
            case ["was" | "is" as kind, str(path), int(at), int(kept)]:
                if (found := _text_at(kept_fd, str(kept))) is not None:
                    yield State(path, found, at, number, kind == "was")
            case ["new", list(paths), int(at), int(until_ns)]:
                for path in paths:
                    with contextlib.closing(_texts_at(home_fd, str(path), until_ns or _FOR_EVER_NS)) as texts:
                        for inner, text in texts:
                            yield State(inner, text, at, number, False)


class _Names:
    """The one name of a file, however a path came to it; that of its directory is remembered."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._last: tuple[str, str] | None = None

    def of(self, home_fd: int, path: str) -> str | None:
        """The name; None: it leads elsewhere."""
        parent, name = split(path)
        if self._last is None or self._last[0] != parent:
            self._last = parent, name_of_directory(home_fd, parent, self._home)
        whole = join(self._last[1], name)
        return whole if is_of_people(whole) and not self._last[1].startswith("/") else None


def name_of_directory(home_fd: int, path: str, home: Home) -> str:
    """The one name of a directory, relative to the home; absolute if it leads outside."""
    return canonical_path(home_fd, path, home.seen_homes) if path else ""


def name_of(home: Home, path: str) -> str:
    """The one name of a file, whether it is there or not: symlinks on the way to it are followed, itself is not."""
    parent, name = split(path)
    with opened_home(home.path) as home_fd:
        return join(name_of_directory(home_fd, parent, home), name)


def text_now(home: Home, path: str) -> str | None:
    """What a file holds; None: it is no text.

    Raises:
        NotFound, Conflict, InvalidArgument: There is no such file.
    """
    with opened_home(home.path) as home_fd, told(path), closing(open_file(home_fd, path)) as fd:
        return _text_of(fd)


def pending(home: Path) -> list[str]:
    """The names of journals that are still to be read, oldest first. Removes what killed hubs did not finish."""
    top, names = home.with_name(_DIRECTORY), list[str]()
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(top):  # noqa: PTH208
            if name.startswith("."):
                if age_s(name[1:]) > _BEGUN_WITHIN_S:
                    (top / name).unlink(missing_ok=True)
            elif not name.endswith(_KEPT):
                names.append(name)
    return sorted(names)


def forget(home: Path) -> None:
    """Remove all journals of a home that goes itself."""
    shutil.rmtree(home.with_name(_DIRECTORY), ignore_errors=True)


def age_s(name: str) -> float:
    """How old a journal is, in seconds, by its name."""
    digits = name.partition("-")[0]
    return time.time() - int(digits) / 1e9 if digits.isdecimal() else 0.0


def _parsed(line: bytes) -> Any:
    """The value of a line; None: it was cut off when the hub was killed."""
    with contextlib.suppress(ValueError):
        return json.loads(line)
    return None


def is_of_people(path: str) -> bool:
    """Whether a path is a name of a file of people, and text."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return path != OWN and not path.startswith(f"{OWN}/")


def _texts_at(home_fd: int, path: str, until_ns: int) -> Generator[tuple[str, str], None, None]:
    """The text of a file, or of all files of a directory, with their paths; of those that are as they were by then.

    What was changed since is not what the journal tells of: the next one has it as what was there before.
    """
    parent, name = split(path)
    with (
        contextlib.suppress(OSError, LeavesHomeError),
        closing(open_beneath(home_fd, parent, HOLD, follow=True)) as parent_fd,
    ):
        status = os.stat(name or ".", dir_fd=parent_fd, follow_symlinks=False)
        if stat.S_ISREG(status.st_mode):
            if status.st_ctime_ns <= until_ns and (text := _text_at(parent_fd, name)) is not None:
                yield path, text
        elif stat.S_ISDIR(status.st_mode):
            with (
                closing(os.open(name or ".", DIRECTORY | os.O_NOFOLLOW, dir_fd=parent_fd)) as fd,
                contextlib.closing(_files_in(fd)) as files,
            ):
                for directory_fd, file, inner, found in files:
                    whole = join(path, inner)
                    is_as_it_was = found.st_ctime_ns <= until_ns and is_of_people(whole)
                    if is_as_it_was and (text := _text_at(directory_fd, file)) is not None:
                        yield whole, text


def _files_in(root_fd: int) -> Generator[tuple[int, str, str, os.stat_result], None, None]:
    """The first small files in a directory and those below it: directory, name, path and status of each."""
    count = 0
    for parent, name in (directories := PendingDirectories()):
        path, below = join(parent, name), list[str]()
        with (
            contextlib.suppress(OSError),
            closing(open_beneath(root_fd, path, DIRECTORY, follow=False)) as fd,
            os.scandir(fd) as entries,
        ):
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    below.append(entry.name)
                elif entry.is_file(follow_symlinks=False):
                    status = entry.stat(follow_symlinks=False)
                    if status.st_size <= MAX_TEXT_BYTES:
                        yield fd, entry.name, join(path, entry.name), status
                        count += 1
                        if count == MAX_FILES:
                            return
        directories.add(path, sorted(below, reverse=True))


def _text_at(directory_fd: int, name: str) -> str | None:
    with contextlib.suppress(OSError), closing(os.open(name, _READ, dir_fd=directory_fd)) as fd:
        return _text_of(fd)
    return None


def _text_of(fd: int) -> str | None:
    status = os.fstat(fd)
    if stat.S_ISREG(status.st_mode) and status.st_size <= MAX_TEXT_BYTES:
        content = os.pread(fd, status.st_size + 1, 0)
        if len(content) <= MAX_TEXT_BYTES:
            with contextlib.suppress(UnicodeDecodeError):
                return content.decode()
    return None
