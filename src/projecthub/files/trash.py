"""The trash of a home: what was deleted, until it is restored, gets too old, or takes too much.

It lies in the home itself, in ``.projecthub/trash``, so that to delete is to rename. Each thing has a directory there,
named by when it was deleted, with the thing as ``content`` and what is known of it as ``record.json``. All of it is the
project's to change: whatever is found there is checked as any input is, and what is no record is left alone.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

from projecthub.errors import Conflict, HubError, InvalidArgument, NotFound
from projecthub.files.changes import Home, made_parent, sync_directory, write_all
from projecthub.files.making import Maker
from projecthub.files.paths import (
    DIRECTORY,
    LeavesHomeError,
    PendingDirectories,
    is_within,
    join,
    open_beneath,
    rename_to_free,
    shown,
)
from projecthub.files.places import (
    HOLD,
    closing,
    movable,
    opened_home,
    opened_parent,
    status_of,
    told,
    within_home,
)
from projecthub.files.staging import StagingRun
from projecthub.wire.ids import is_uuid

TRASH: Final = ".projecthub/trash"
MAX_ITEMS: Final = 10_000
"""So many things in the trash are looked at; of more, whichever come first."""
_CONTENT: Final = "content"
_RECORD: Final = "record.json"
_MAX_RECORD_BYTES: Final = 32_768
_MAX_BYTES: Final = 2**50
_ID: Final = re.compile(r"(\d{13})-[0-9a-f]{8}")
_BLOCK_BYTES: Final = 512


@dataclass(frozen=True, slots=True)
class TrashItem:
    """One thing that was deleted.

    Attributes:
        id: Its name in the trash.
        path: Where it was, relative to the home.
        is_directory: Whether it is a directory.
        bytes: What it takes on disk, with all that is in it.
        deleted_at: When.
        deleted_by: The account that did it.
    """

    id: str
    path: str
    is_directory: bool
    bytes: int
    deleted_at: datetime
    deleted_by: str


def is_in_trash(path: str) -> bool:
    """Whether a reduced path is the trash or in it; what holds it counts too."""
    return path == TRASH or path.startswith(f"{TRASH}/") or TRASH.startswith(f"{path}/")


def discard(home: Home, path: str) -> int:
    """Delete something for good; tells how many bytes of disk it took, 0 if it was not there.

    Raises:
        InvalidArgument: The path leads out of the home, or is the home itself.
    """
    with told(path, writing=True), opened_home(home.path) as home_fd:
        try:
            with opened_parent(home_fd, path) as (fd, name), contextlib.closing(StagingRun(home.staging)) as run:
                return _discard(run, fd, name)
        except FileNotFoundError:
            return 0


def _discard(run: StagingRun, fd: int, name: str) -> int:
    status = os.stat(name, dir_fd=fd, follow_symlinks=False)
    if not stat.S_ISDIR(status.st_mode):
        os.unlink(name, dir_fd=fd)
        return status.st_blocks * _BLOCK_BYTES
    weight = _weight(fd, name, status)
    run.discard(fd, name)
    return weight


def throw_away(home: Home, path: str, *, by: str, at: datetime) -> TrashItem | None:
    """Move something into the trash; None: it was not there.

    Raises:
        InvalidArgument: The path leads out of the home, or is the home itself.
        Conflict: The trash is in no state to take it.
    """
    with (
        told(path, writing=True),
        opened_home(home.path) as home_fd,
        contextlib.closing(StagingRun(home.staging)) as run,
    ):
        try:
            with opened_parent(home_fd, path) as (fd, name):
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                is_directory = stat.S_ISDIR(status.st_mode)
                size = _weight(fd, name, status) if is_directory else status.st_blocks * _BLOCK_BYTES
                item = TrashItem(_fresh_id(at), path, is_directory, size, at, by)
                with _made_item(home, run, home_fd, item) as item_fd:
                    _take(fd, name, item_fd)
                return item
        except FileNotFoundError:
            return None


def keep(home: Home, fd: int, name: str, path: str, *, by: str, at: datetime) -> TrashItem:
    """Put something that lies beside the home, and was at ``path`` in it, into the trash.

    Raises:
        Conflict: The trash is in no state to take it.
    """
    with opened_home(home.path) as home_fd, contextlib.closing(StagingRun(home.staging)) as run:
        status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        is_directory = stat.S_ISDIR(status.st_mode)
        size = _weight(fd, name, status) if is_directory else status.st_blocks * _BLOCK_BYTES
        item = TrashItem(_fresh_id(at), path, is_directory, size, at, by)
        with _made_item(home, run, home_fd, item) as item_fd:
            _take(fd, name, item_fd)
        return item


def _take(fd: int, name: str, item_fd: int) -> None:
    """Move something into an item, for good or not at all."""
    try:
        with movable(fd, name):
            rename_to_free(fd, name, item_fd, _CONTENT)
        for directory_fd in (item_fd, fd):
            sync_directory(directory_fd)
    except BaseException:
        with contextlib.suppress(OSError):  # it was not moved, or its name is taken again: then the trash has it
            rename_to_free(item_fd, _CONTENT, fd, name)
        raise


def _fresh_id(at: datetime) -> str:
    return f"{int(at.timestamp() * 1000):013}-{secrets.token_hex(4)}"


def _drop_empty(trash_fd: int, item_id: str, item_fd: int) -> None:
    """Remove an item that has no content; one that has stays, with its record."""
    if status_of(item_fd, _CONTENT) is None:
        os.unlink(_RECORD, dir_fd=item_fd)
        os.rmdir(item_id, dir_fd=trash_fd)


@contextlib.contextmanager
def _made_item(home: Home, run: StagingRun, home_fd: int, item: TrashItem) -> Iterator[int]:
    """A directory in the trash with the record of a thing that is to go there; it goes if that stays empty."""
    try:
        with made_parent(home, run, home_fd, f"{TRASH}/{item.id}"):
            pass  # the trash is there now, or was
        trash_fd = open_beneath(home_fd, TRASH, HOLD, follow=False)
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ENOENT, errno.ELOOP):
            raise
        raise _no_trash(error) from error
    with closing(trash_fd):
        staged = run.make_directory()
        _write_record(home, run, staged, item)
        Maker(run, uid=home.uid).own(run.fd, staged)
        rename_to_free(run.fd, staged, trash_fd, item.id)
        with closing(os.open(item.id, DIRECTORY | os.O_NOFOLLOW, dir_fd=trash_fd)) as item_fd:
            try:
                yield item_fd
            except BaseException:
                with contextlib.suppress(OSError):
                    _drop_empty(trash_fd, item.id, item_fd)
                raise


def _write_record(home: Home, run: StagingRun, staged: str, item: TrashItem) -> None:
    record = {
        "path": item.path,
        "deleted_by": item.deleted_by,
        "bytes": item.bytes,
    }
    with closing(os.open(f"{staged}/{_RECORD}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=run.fd)) as fd:
        write_all(fd, json.dumps(record).encode())
        if home.uid is not None:
            os.fchown(fd, home.uid, home.uid)


def _no_trash(error: OSError) -> HubError:
    if error.errno == errno.ENOENT:
        return NotFound("there is nothing in the trash")
    return Conflict(
        f"'{TRASH}' is not a directory of its own, so that nothing can be kept there; "
        "move it away, or delete permanently"
    )


def items_of(home: Home) -> list[TrashItem]:
    """What is in the trash, oldest first. What is no record, and what has lost its content, is not told."""
    with opened_home(home.path) as home_fd:
        try:
            trash_fd = open_beneath(home_fd, TRASH, DIRECTORY, follow=False)
        except OSError:
            return []
        with closing(trash_fd):
            return list(_items(trash_fd))


def _items(trash_fd: int) -> Iterator[TrashItem]:
    with os.scandir(trash_fd) as scan:
        names = list(islice((entry.name for entry in scan if _ID.fullmatch(entry.name)), MAX_ITEMS))
    for name in sorted(names):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, HubError, RecursionError):
            yield _read(trash_fd, name)


def _read(trash_fd: int, name: str) -> TrashItem:
    """One item.

    Raises:
        OSError: It is not there, or not what it should be.
        ValueError, KeyError, TypeError, HubError, RecursionError: Its record is none.
    """
    with closing(open_beneath(trash_fd, name, HOLD, follow=False)) as fd:
        content = os.stat(_CONTENT, dir_fd=fd, follow_symlinks=False)
        with closing(os.open(_RECORD, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=fd)) as record_fd:
            if not stat.S_ISREG(os.fstat(record_fd).st_mode):
                raise ValueError(name)
            record: Any = json.loads(os.read(record_fd, _MAX_RECORD_BYTES))
    path, deleted_by, size = record["path"], record["deleted_by"], record["bytes"]
    if not isinstance(path, str) or not is_uuid(deleted_by) or type(size) is not int or not 0 <= size < _MAX_BYTES:
        raise ValueError(name)
    path = within_home(path)
    if not path:
        raise ValueError(name)
    deleted_at = datetime.fromtimestamp(int(name[:13]) / 1000, UTC)
    return TrashItem(name, path, stat.S_ISDIR(content.st_mode), size, deleted_at, deleted_by)


def restore(home: Home, item_id: str, to: str | None) -> str:
    """Bring something back to where it was, or to another path; never overwrites. Tells its path.

    Raises:
        NotFound: There is no such thing in the trash.
        Conflict: Something has that path.
        InvalidArgument: The path is in the trash, or leads out of the home.
    """
    with (
        opened_home(home.path) as home_fd,
        contextlib.closing(StagingRun(home.staging)) as run,
        _opened_trash(home_fd) as trash_fd,
    ):
        try:
            item = _read(trash_fd, _checked(item_id))
        except (OSError, ValueError, KeyError, TypeError, HubError, RecursionError) as error:
            raise NotFound(f"there is no '{item_id[:50]}' in the trash") from error
        path = item.path if to is None else to
        if is_in_trash(path):
            raise _still_trash(path)
        with told(path, writing=True), made_parent(home, run, home_fd, path) as (fd, name):
            if is_within(fd, os.fstat(trash_fd), os.fstat(home_fd)):  # by symlinks
                raise _still_trash(path)
            with closing(open_beneath(trash_fd, item.id, HOLD, follow=False)) as item_fd:
                with movable(item_fd, _CONTENT):
                    rename_to_free(item_fd, _CONTENT, fd, name)
                sync_directory(fd)
                with contextlib.suppress(OSError):
                    _drop_empty(trash_fd, item.id, item_fd)
        return path


def _still_trash(path: str) -> InvalidArgument:
    return InvalidArgument(f"'{shown(path)}' is in the trash or holds it; choose a path outside of '{TRASH}'")


def remove(home: Home, which: Callable[[list[TrashItem]], list[TrashItem]] | None) -> tuple[int, int]:
    """Delete what is in the trash for good.

    Args:
        home: The home.
        which: Chooses among all that is there, oldest first; None: all, also what is no record.

    Returns:
        How many things that were, and how many bytes of disk they took by their records.

    Raises:
        HubError: Something resists; what came before is gone.
    """
    with opened_home(home.path) as home_fd, contextlib.closing(StagingRun(home.staging)) as run:
        try:
            trash_fd = open_beneath(home_fd, TRASH, DIRECTORY, follow=False)
        except OSError:
            return 0, 0
        with told(TRASH, writing=True), closing(trash_fd):
            items = list(_items(trash_fd))
            chosen = items if which is None else which(items)
            names = [item.id for item in chosen] if which is not None else os.listdir(trash_fd)  # noqa: PTH208
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    _discard(run, trash_fd, name)
            return len(chosen), sum(item.bytes for item in chosen)


@contextlib.contextmanager
def _opened_trash(home_fd: int) -> Iterator[int]:
    try:
        fd = open_beneath(home_fd, TRASH, DIRECTORY, follow=False)
    except OSError as error:
        raise _no_trash(error) from error
    with closing(fd):
        yield fd


def _checked(item_id: str) -> str:
    if not _ID.fullmatch(item_id):
        raise InvalidArgument(f"'{item_id[:50]}' is no id of a thing in the trash; list the trash for those")
    return item_id


def _weight(fd: int, name: str, status: os.stat_result) -> int:
    """What a directory takes on disk with all that is in it; what cannot be read or changes does not count."""
    total = status.st_blocks
    with closing(open_beneath(fd, name, HOLD, follow=False)) as root_fd:
        for parent, inner in (pending := PendingDirectories()):
            path, below = join(parent, inner), list[str]()
            with (
                contextlib.suppress(OSError, LeavesHomeError),
                closing(open_beneath(root_fd, path, DIRECTORY, follow=False)) as directory_fd,
                os.scandir(directory_fd) as scan,
            ):
                for entry in scan:
                    with contextlib.suppress(FileNotFoundError):
                        total += entry.stat(follow_symlinks=False).st_blocks
                    if entry.is_dir(follow_symlinks=False):
                        below.append(entry.name)
            pending.add(path, below)
    return total * _BLOCK_BYTES


def too_old(items: list[TrashItem], before: datetime) -> list[TrashItem]:
    """Those that were deleted before a time."""
    return [item for item in items if item.deleted_at < before]


def too_much(items: list[TrashItem], max_bytes: int) -> list[TrashItem]:
    """The oldest ones that have to go so that the rest takes no more than ``max_bytes``."""
    total = sum(item.bytes for item in items)
    doomed: list[TrashItem] = []
    for item in items:
        if total <= max_bytes:
            break
        doomed.append(item)
        total -= item.bytes
    return doomed


def shown_path(item: TrashItem) -> str:
    """Its path, for people and for JSON."""
    return shown(item.path)
