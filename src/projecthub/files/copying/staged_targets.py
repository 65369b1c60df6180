"""One target that is made ready: its contents in its record, and the steps by which they get their places."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from projecthub.errors import Conflict, HubError
from projecthub.files.contents import Contents, write_all
from projecthub.files.copying import plan_files, records
from projecthub.files.copying.manifests import DIRECTORY, LINKED, NAME, SYMLINK, encode
from projecthub.files.copying.plan_files import Plan, Row, rows_of
from projecthub.files.copying.policies import Action
from projecthub.files.copying.sources import BLOCK_BYTES, SourceFile, read_xattrs, set_xattrs
from projecthub.files.copying.states import identity, status_at
from projecthub.files.copying.walking import End, open_home
from projecthub.files.failures import unwritable
from projecthub.files.making import read_umask
from projecthub.files.paths import DIRECTORY as OPEN_DIRECTORY
from projecthub.files.paths import join, open_beneath, open_deep, shown
from projecthub.files.plans import Course
from projecthub.files.spreading import mark

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OWNER = 0o700
_MAX_TRIES = 3
T = TypeVar("T")
MOVED = "the target has changed since the plan: '{}'; plan again"


@dataclass(slots=True)
class Staging:
    """What one target is made ready from, and where.

    Attributes:
        record: Its record.
        target: Where the copy goes.
        plan: What it does.
        uid: Owner and group of what is made; None: the hub's own.
        course: Ends it, and counts it.
        error: Why it was given up; None: it was not.
    """

    record: Path
    target: End
    plan: Path
    uid: int | None
    course: Course
    error: HubError | None = None


class StagedTarget:
    """One target that is made ready."""

    def __init__(self, staging: Staging) -> None:
        self.staging = staging
        self.index = -1
        self.part: dict[str, Any] = {}
        self._opened = contextlib.ExitStack()
        self._contents = Contents(staging.course.check)
        self._umask = read_umask()
        self._number = 0
        self._root = ""
        self._linked: dict[str, str] = {}  # paths of the source with more names, and what was made of them
        self._unfinished: list[tuple[str, str, int, int | None]] = []  # directories that are being filled
        self._top = ""  # the topmost directory that is made, in the target
        self._top_number = 0
        self._top_counts = [0, 0]
        self._top_about: list[Any] = [None, None]
        self._is_met = False  # whether the directories that lead to what is copied have come into being by now
        self._made_fd: int | None = None  # the directory that is being filled
        self._into_new = False
        self._into = ""

    def open(self) -> None:
        """Open the plan, the target and an empty record."""
        staging = self.staging
        self._plan = Plan(staging.plan)
        self._opened.callback(self._plan.close)
        head = self._plan.head
        self._root = head.root
        self._parts = self._plan.parts()
        about = {
            "root": head.root,
            "identity": head.identity,
            "uid": staging.uid,
            "path": staging.target.path,
        }
        records.begin(staging.record, about, staging.plan)
        self._new_fd = self._closed(os.open(staging.record / records.NEW, OPEN_DIRECTORY))
        self._root_fd = self._closed(open_root(staging.target.home, head.root, head.identity, staging.target.path))
        self._file: IO[str] = self._opened.enter_context(
            (staging.record / f"{records.STEPS}.part").open("w", encoding="ascii", newline="\n")
        )

    def _closed(self, fd: int) -> int:
        self._opened.callback(os.close, fd)
        return fd

    def close(self) -> None:
        """Let go of all that is open."""
        self._forget_made()
        self._opened.close()

    def end(self) -> None:
        """All is made: say so."""
        if not self.is_well():
            return
        self._finish(None)
        self._file.close()
        part = self.staging.record / f"{records.STEPS}.part"
        part.rename(part.with_name(records.STEPS))

    def is_well(self) -> bool:
        """Whether it was not given up."""
        return self.staging.error is None

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """What fails in here is the end of this target, and of no other. Not entered for one that was given up."""
        try:
            yield
        except OSError as error:
            self._fail(error, "")
        except HubError as error:
            self._fail(error, "")

    def attempt(self, work: Callable[..., T], row: Row, *arguments: Any) -> T | None:
        """`told`, for work on one row; None: it failed."""
        if self.staging.error is None:
            try:
                return work(row, *arguments)
            except (OSError, HubError) as error:
                self._fail(error, row.name)
        return None

    def _fail(self, error: OSError | HubError, name: str) -> None:
        if isinstance(error, OSError):
            where = shown(join(join(self._root, self.part.get("p", "")), name))
            error = unwritable(error, where or shown(self.staging.target.path))
        self.staging.error = error
        with contextlib.suppress(HubError):
            records.discard(self.staging.record)

    def advance(self) -> bool:
        """Go on to the next part of the plan; tells whether there is one."""
        part = next(self._parts, None)
        if part is None:
            return False
        self.part, self.index = part, part["c"]
        return True

    def prepare(self, source_fd: int | None = None) -> list[Row]:
        """Verify a part of the plan, and make the directory it tells of; tells what is to be made in that."""
        state = self.part["s"]
        if state == plan_files.TOLD:  # what is displaced is looked at with the tree that displaces it
            return []
        rows = rows_of(self.part)
        if state in (plan_files.NEW, plan_files.IN_NEW):
            self._enter_new(state, source_fd)
            return [row for row in rows if row.action == Action.WRITE]
        self._finish(None)
        self._into_new = False
        with _opened(self._root_fd, self.part["p"]) as fd:
            return self._verify(fd, rows)

    def _enter_new(self, state: str, source_fd: int | None) -> None:
        path = self.part["p"]
        if "d" not in self.part:  # more of the directory before
            if self._is_met:
                self._require_free(path)
            return
        if state == plan_files.NEW:
            self._finish(None)
            self._begin_tree(path)
        else:
            self._finish(path)
            if self._is_met:
                parent, _, name = path.rpartition("/")
                with _opened(self._root_fd, parent) as fd:
                    self._meet(fd, parent, name, None)
        staged = f"{self._top_number}{path[len(self._top) :]}"
        os.mkdir(staged, _OWNER, dir_fd=self._new_fd)
        self._forget_made()
        self._made_fd = os.open(staged, OPEN_DIRECTORY | os.O_NOFOLLOW, dir_fd=self._new_fd)
        self._into_new, self._into = True, staged
        if state == plan_files.NEW:
            mark(self._made_fd)  # what is made in it lies apart from what was deleted just now; see `spreading`
        if self.staging.uid is not None:
            os.fchown(self._made_fd, self.staging.uid, self.staging.uid)
        if source_fd is not None:
            xattrs: list[tuple[str, bytes]] = []
            read_xattrs(source_fd, xattrs)
            set_xattrs(self._made_fd, xattrs)
        self._unfinished.append((path, staged, *self.part["d"]))

    def _begin_tree(self, path: str) -> None:
        """The topmost of directories that are made: what is in its place has to be as it was."""
        there, spare = self.part.get("x", (None, None))
        parent, _, name = path.rpartition("/")
        with _opened(self._root_fd, parent) as fd:
            self._meet(fd, parent, name, there)
            if spare is not None:
                self._require(fd, parent, *spare)
        if spare is not None and spare[1] is not None and spare[1][0] == DIRECTORY:
            raise _blocked(self._shown(join(parent, spare[0])))
        self._number += 1
        self._top, self._top_number = path, self._number
        self._top_counts, self._top_about = [0, 0], [there, spare]

    def _meet(self, fd: int, parent: str, name: str, there: list[Any] | None) -> None:
        """What is in the place of a directory that is made has to be as it was.

        But one that only leads to what is copied may have come into being, as it does for all that are copied into it
        together: what is made goes into it then.
        """
        status = status_at(fd, name) if there is None and self.part["d"][1] is None else None
        self._is_met = status is not None and stat.S_ISDIR(status.st_mode)
        if not self._is_met:
            self._require(fd, parent, name, there)

    def _require_free(self, path: str) -> None:
        """In a directory that has come into being, what is made must have nothing in its place."""
        with _opened(self._root_fd, path) as fd:
            for row in rows_of(self.part):
                self._require(fd, path, row.name, None)

    def _finish(self, path: str | None) -> None:
        """Give directories that are filled their mode and times: all that ``path`` does not lie in; None: all."""
        while self._unfinished:
            filled, staged, mode, mtime_ns = self._unfinished[-1]
            if path is not None and path.startswith(filled + "/"):
                return
            self._unfinished.pop()
            is_top = not self._unfinished
            os.chmod(staged, mode | (_OWNER if is_top else 0), dir_fd=self._new_fd)
            if mtime_ns is not None:
                os.utime(staged, ns=(mtime_ns, mtime_ns), dir_fd=self._new_fd)
            if is_top:
                self._end_tree(mode)

    def _end_tree(self, mode: int) -> None:
        with _opened(self._new_fd, str(self._top_number)) as fd:
            mark(fd, on=False)
        parent, _, name = self._top.rpartition("/")
        there, spare = self._top_about
        self._step("tree", self._top_number, parent, name, there, mode, *self._top_counts)
        if spare is not None:
            self._back_up(parent, spare, self._top_number)

    def _verify(self, fd: int, rows: list[Row]) -> list[Row]:
        """A directory that both have, or one that goes: write down what is done in it, but for what has to be made."""
        path = self.part["p"]
        to_make: list[Row] = []
        for row in rows:
            if row.action == Action.KEEP:
                continue
            if row.action == Action.BLOCKED:
                raise _blocked(self._shown(join(path, row.name)))
            self._require(fd, path, row.name, row.there)
            if row.spare is not None:
                self._require(fd, path, *row.spare)
            if row.action == Action.MODE:
                self._step("mode", 0, path, row.name, row.there, row.mode)
            elif row.action == Action.DELETE:
                self._number += 1
                deed = "rmdir" if row.kind == DIRECTORY else "delete"
                self._step(deed, self._number, path, row.name, row.there, row.mtime_ns)
                if row.spare is not None:
                    self._back_up(path, row.spare, self._number)
            else:
                if row.beside is not None:
                    self._require(fd, path, row.beside, None)
                to_make.append(row)
        if "d" in self.part:
            mode, mtime_ns = self.part["d"]
            self._step("meta", 0, path, mode, mtime_ns, self.part["was"])
        elif "was" in self.part:
            self._step("was", 0, path, self.part["was"])
        return to_make

    def _require(self, fd: int, path: str, name: str, there: list[Any] | None) -> None:
        """Something of the target has to be as the plan saw it.

        Raises:
            Conflict: It is not.
        """
        status = status_at(fd, name)
        now = None if status is None else identity(status)
        if now is not None and there is not None and there[0] == DIRECTORY:
            now, there = now[:2], there[:2]  # what is in it has its own rows
        if now != there:
            raise Conflict(MOVED.format(self._shown(join(path, name))))

    def _back_up(self, path: str, spare: list[Any], number: int) -> None:
        self._number += 1
        self._step("backup", self._number, path, spare[0], spare[1], number)

    def make_file(self, row: Row, file: SourceFile) -> None:
        """Make a copy of a file, with owner, mode, times and extended attributes.

        Raises:
            LimitError: There is no room for it.
            OSError: It cannot be made.
        """
        status, course = file.status, self.staging.course
        if course.take is not None:
            course.charge(status.st_blocks * BLOCK_BYTES)
        directory_fd, name = self._place(row)
        mode = 0o600 if file.xattrs else row.mode & 0o777
        fd = os.open(name, _CREATE, mode, dir_fd=directory_fd)
        try:
            self._fill(fd, file)
            status = file.status
            self._dress(fd, file, row.mode, mode)
            if not self._into_new:
                self._put(row, os.fstat(fd).st_ino, status.st_size, status.st_mtime_ns)
        finally:
            os.close(fd)
        if row.kind == LINKED:
            self._linked[self._source_path(row)] = self._staged(name)
        elif row.kind == NAME:
            self._linked[row.extra] = self._staged(name)
        self._count(row, status)

    def _fill(self, fd: int, file: SourceFile) -> None:
        contents = self._contents
        if file.status.st_size and contents.clone(file.fd, fd):
            return
        data = file.data()
        if data is not None:
            if data:
                write_all(fd, data)
            return
        for _ in range(_MAX_TRIES):
            contents.copy(file.fd, fd, file.status)
            now = os.fstat(file.fd)
            if now.st_mtime_ns == file.status.st_mtime_ns and now.st_size == file.status.st_size:
                return
            file.status = now  # it changed on the way; what grows for ever is taken as far as it had got
            os.ftruncate(fd, 0)
        contents.copy(file.fd, fd, file.status)

    def _dress(self, fd: int, file: SourceFile, mode: int, made_mode: int) -> None:
        uid, status = self.staging.uid, file.status
        if uid is not None:
            os.fchown(fd, uid, uid)
        set_xattrs(fd, file.xattrs)
        if mode != made_mode or mode & self._umask:
            os.fchmod(fd, mode)
        os.utime(fd, ns=(status.st_atime_ns, status.st_mtime_ns))

    def make_link(self, row: Row) -> None:
        """Make a symlink."""
        directory_fd, name = self._place(row)
        os.symlink(row.extra, name, dir_fd=directory_fd)
        if self.staging.uid is not None:
            os.chown(name, self.staging.uid, self.staging.uid, dir_fd=directory_fd, follow_symlinks=False)
        os.utime(name, ns=(row.mtime_ns, row.mtime_ns), dir_fd=directory_fd, follow_symlinks=False)
        if not self._into_new:
            self._put(row, os.stat(name, dir_fd=directory_fd, follow_symlinks=False).st_ino, row.size, row.mtime_ns)
        self._count(row, None)

    def make_name(self, row: Row) -> bool:
        """Make a file another name of one that was made before; tells whether there was one."""
        first = self._linked.get(row.extra)
        if first is None:
            return self._make_name_of_theirs(row)
        directory_fd, name = self._place(row)
        os.link(first, name, src_dir_fd=self._new_fd, dst_dir_fd=directory_fd, follow_symlinks=False)
        self._named(row, directory_fd, name)
        return True

    def _make_name_of_theirs(self, row: Row) -> bool:
        """The same of a file that the target has already, if it is still the same as that of the source."""
        path, below = self.part["p"], self.part["q"]
        prefix = path[: len(path) - len(below)].rstrip("/")
        parent, _, first = join(prefix, row.extra).rpartition("/")
        try:
            fd = open_deep(self._root_fd, parent, OPEN_DIRECTORY)
        except OSError:
            return False
        try:
            status = status_at(fd, first)
            if status is None or not stat.S_ISREG(status.st_mode):
                return False
            if (status.st_size, status.st_mtime_ns) != (row.size, row.mtime_ns):
                return False
            directory_fd, name = self._place(row)
            os.link(first, name, src_dir_fd=fd, dst_dir_fd=directory_fd, follow_symlinks=False)
            linked = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
            if (linked.st_ino, linked.st_mtime_ns) != (status.st_ino, status.st_mtime_ns):
                raise Conflict(MOVED.format(self._shown(join(parent, first))))
        except FileNotFoundError:
            return False
        finally:
            os.close(fd)
        self._named(row, directory_fd, name)
        return True

    def _named(self, row: Row, directory_fd: int, name: str) -> None:
        status = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
        if not self._into_new:
            self._put(row, status.st_ino, status.st_size, status.st_mtime_ns)
        self._count(row, status)

    def _place(self, row: Row) -> tuple[int, str]:
        """Where something is made, and under which name."""
        if self._into_new:
            assert self._made_fd is not None
            return self._made_fd, row.name
        self._number += 1
        return self._new_fd, str(self._number)

    def _staged(self, name: str) -> str:
        return f"{self._into}/{name}" if self._into_new else name

    def _source_path(self, row: Row) -> str:
        return join(self.part["q"], row.name)

    def _put(self, row: Row, inode: int, size: int, mtime_ns: int) -> None:
        there = row.there if row.beside is None else None
        if there is not None and there[0] == DIRECTORY:
            self._step("rmdir", 0, self.part["p"], row.name, there, there[2])
            there = None
        number = self._number
        name = row.beside or row.name
        self._step("put", number, self.part["p"], name, there, inode, size, mtime_ns, row.kind == SYMLINK)
        if row.spare is not None and there is not None:
            self._back_up(self.part["p"], row.spare, number)

    def _count(self, row: Row, status: os.stat_result | None) -> None:
        """One more is made; one that is no more what the plan saw is told, so that it is known again later."""
        size = 0
        if status is not None:
            size = status.st_size
            if self._into_new and (size != row.size or status.st_mtime_ns != row.mtime_ns):
                self._step("fresh", 0, self.part["p"], row.name, size, status.st_mtime_ns)
        if self._into_new:
            self._top_counts[0] += 1
            self._top_counts[1] += size
        tally = self.staging.course.tally
        tally.files += 1
        tally.bytes += size

    def _forget_made(self) -> None:
        if self._made_fd is not None:
            os.close(self._made_fd)
            self._made_fd = None

    def _step(self, *step: Any) -> None:
        self._file.write(encode(step) + "\n")

    def _shown(self, path: str) -> str:
        return shown(join(self._plan.head.root, path))


def _blocked(path: str) -> HubError:
    return unwritable(OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY)), path)


@contextlib.contextmanager
def _opened(root_fd: int, path: str) -> Iterator[int]:
    """A directory of the target."""
    fd = open_deep(root_fd, path, OPEN_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


def open_root(home: Path, root: str, known: Sequence[int], path: str) -> int:
    """Open the directory of a target that a plan is for.

    Raises:
        Conflict: Another one is in its place, or none.
    """
    moved = Conflict(MOVED.format(shown(path)))
    home_fd = open_home(home)
    try:
        fd = open_beneath(home_fd, root, OPEN_DIRECTORY, follow=False)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise moved from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise moved from error
        raise unwritable(error, shown(path)) from error
    finally:
        os.close(home_fd)
    status = os.fstat(fd)
    if [status.st_dev, status.st_ino] != list(known):
        os.close(fd)
        raise moved
    return fd
