"""Backups: store and homes of a hub, taken while it runs, and a new data directory made of them.

The store is copied first, as of one moment, and then the home of every project that is in this copy. A home is never
removed as long as its project is in the store, so that each project of the backup has its files, as they were at that
moment or later. The other order would lose the files of projects that are made between the two.

A backup is a directory: ``manifest.json``, the store, one tar file a home, one of what was handed out, and the first
admin's key. It is made under another name and renamed when all of it is on disk, so that a half backup is never taken
for one. Snapshots, and what it takes to undo copies, are not in it: the latter knows files by their inodes.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from projecthub import __version__
from projecthub.errors import Conflict, HubError, InvalidArgument, NotFound
from projecthub.files import Homes
from projecthub.files.archives import COMPRESSED_SUFFIX, SUFFIX, archive, has_zstd, require_tools, unpack
from projecthub.files.failures import unwritable
from projecthub.files.homes import make_place
from projecthub.files.kernel_quotas import is_offered
from projecthub.hub.backup_lists import LISTS, archive_lists, lists_part, unpack_lists
from projecthub.store.snapshots import FILES, Kind, bring_to_rest, is_known, put_back, require_empty, take_snapshot
from projecthub.wire.ids import ProjectId, is_uuid
from projecthub.wire.units import to_iso

if TYPE_CHECKING:
    from projecthub.hub.clock import Clock

    Watch = Callable[[str, int], AbstractContextManager[Callable[[], None]]]
    """Told what begins and of how many parts it is; gives what to call after each part."""

MANIFEST: Final = "manifest.json"
FORMAT: Final = 1
ADMIN_KEY: Final = "admin-key"
LEFT_OUT: Final = ("snapshots of projects", "what is kept to undo copies")
UNFINISHED: Final = ".restoring"
"""In a data directory: what a restore makes, until all of it is there."""

_HOMES: Final = "homes"
_PART: Final = re.compile(
    rf"({_HOMES}/[0-9a-f-]{{36}}|{LISTS})\.tar(\.zst)?|{ADMIN_KEY}|{'|'.join(map(re.escape, FILES.values()))}"
)
_AT_A_TIME: Final = 2
_CHUNK_BYTES: Final = 1024 * 1024
_MAX_NAMED: Final = 50
_PROJECT_MODE: Final = 0o711


@dataclass(slots=True, kw_only=True)
class Summary:
    """What a backup holds, or what was restored.

    Attributes:
        projects: How many projects.
        homes: How many of them have a home; one that was never used has none.
        bytes: Size of the backup.
        seconds: How long it took.
        troubles: How many files vanished, changed or could not be read or written meanwhile.
        notes: What happened to the first of them.
        left_out: What backups do not hold.
    """

    projects: int
    homes: int = 0
    bytes: int = 0
    seconds: float = 0.0
    troubles: int = 0
    notes: list[str] = field(default_factory=list)
    left_out: tuple[str, ...] = LEFT_OUT

    def note(self, where: str, troubles: int, notes: Iterable[str]) -> None:
        """Add what went wrong in one home, or among the lists."""
        self.troubles += troubles
        self.notes += [f"{where}: {note}" for note in notes][: _MAX_NAMED - len(self.notes)]


@dataclass(frozen=True, slots=True)
class _Part:
    bytes: int
    sha256: str


async def back_up(
    data_dir: Path, store_url: str, target: Path, *, clock: Clock, compress: bool | None, watch: Watch
) -> Summary:
    """Write a backup of a hub, which may run meanwhile.

    Args:
        data_dir: The hub's data directory.
        store_url: Its store.
        target: The directory to make; there must be nothing of that name.
        clock: Tells when it was made.
        compress: Whether to compress the homes by zstd; None: if it is installed.
        watch: Shows how far it is.

    Raises:
        Conflict: ``target`` exists, or a program that is needed does not.
        NotFound: There is no hub in the data directory.
        LimitError: No space is left where the backup goes. Whatever is raised, nothing of it is left.
    """
    began = time.monotonic()
    compressed = has_zstd() if compress is None else compress
    require_tools(compressed=compressed)
    if target.exists() or target.is_symlink():
        raise Conflict(f"'{target.name}' exists already; give the backup a new name")
    if not target.parent.is_dir():
        raise NotFound(f"the directory that '{target.name}' is to be made in does not exist; make it first")
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
    try:
        partial.mkdir(mode=0o700)
        (partial / _HOMES).mkdir(mode=0o700)
    except OSError as error:
        raise unwritable(error, target.name) from error
    try:
        summary = await _write_parts(data_dir, store_url, partial, clock, compressed, watch)
        for directory in (partial / _HOMES, partial):
            _sync(directory)
        if target.exists():
            raise Conflict(f"'{target.name}' was made by somebody else meanwhile; give the backup a new name")
        partial.rename(target)
        _sync(target.parent)
    except OSError as error:
        raise unwritable(error, target.name) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    summary.seconds = round(time.monotonic() - began, 3)
    return summary


async def _write_parts(
    data_dir: Path, store_url: str, partial: Path, clock: Clock, compressed: bool, watch: Watch
) -> Summary:
    made_at = clock.now()
    snapshot = await take_snapshot(store_url, partial)
    summary = Summary(projects=len(snapshot.projects))
    name = FILES[snapshot.kind]
    parts = {name: await asyncio.to_thread(_measure, partial / name)}
    key = data_dir / ADMIN_KEY
    if key.is_file():
        _write(partial / ADMIN_KEY, key.read_bytes())
        parts[ADMIN_KEY] = _measure(partial / ADMIN_KEY)
    homes = Homes(data_dir / "projects")
    lists = lists_part(compressed)
    archived_lists = await archive_lists(homes, snapshot.handouts, partial / lists, compressed=compressed)
    if archived_lists is not None:
        parts[lists] = _Part(archived_lists.bytes, archived_lists.sha256)
    with watch("Archiving homes", len(snapshot.projects)) as done:

        async def one(project_id: ProjectId) -> None:
            part = _home_part(project_id, compressed)
            try:
                archived = await archive(homes.path(project_id), partial / part, compressed=compressed)
            except NotFound:
                pass  # never used: its home is made with its first start
            else:
                parts[part] = _Part(archived.bytes, archived.sha256)
                summary.homes += 1
                summary.note(project_id, archived.troubles, archived.notes)
            done()

        await _each(one, [project_id for project_id, _ in snapshot.projects])
    manifest = {
        "format": FORMAT,
        "projecthub": __version__,
        "made_at": to_iso(made_at),
        "store": {"kind": snapshot.kind, "revision": snapshot.revision},
        "compressed": compressed,
        "projects": dict(snapshot.projects),
        "parts": {part: asdict(measured) for part, measured in sorted(parts.items())},
        "troubles": summary.troubles,
    }
    _write(partial / MANIFEST, json.dumps(manifest, indent=1).encode())
    summary.bytes = sum(part.bytes for part in parts.values())
    return summary


async def restore(
    source: Path, data_dir: Path, store_url: str, *, uid_of: Callable[[int], int | None], watch: Watch
) -> Summary:
    """Make a data directory of a backup.

    All parts are checked before anything is written, and nothing is at its place before everything is there.

    Args:
        source: The backup.
        data_dir: The new data directory: empty, and held by the caller so that no hub uses it.
        store_url: The new store.
        uid_of: The user id of the project with a slot; None: all homes belong to this process's user.
        watch: Shows how far it is.

    Raises:
        InvalidArgument: It is no backup, or damaged; or not for a store of this kind.
        Conflict: The data directory is not empty, or a program that is needed is not installed.
        LimitError: No space is left, or no user ids.
    """
    began = time.monotonic()
    manifest = _read_manifest(source)
    kind: Kind = manifest["store"]["kind"]
    require_tools(compressed=manifest["compressed"])
    unfinished = _prepare(data_dir)
    await require_empty(kind, store_url)
    await _verify(source, manifest["parts"], watch)
    uids = {ProjectId(project_id): uid_of(slot) for project_id, slot in manifest["projects"].items()}
    summary = Summary(projects=len(uids))
    try:
        unfinished.mkdir(mode=0o700)
        await _unpack_homes(source, unfinished, manifest, uids, summary, watch)
        lists = lists_part(manifest["compressed"])
        if lists in manifest["parts"]:
            notes = await unpack_lists(source / lists, unfinished / "projects", compressed=manifest["compressed"])
            summary.note(LISTS, len(notes), notes)
        if ADMIN_KEY in manifest["parts"]:
            _write(unfinished / ADMIN_KEY, (source / ADMIN_KEY).read_bytes())
        restored_url = _url_within(store_url, data_dir, unfinished)
        await put_back(kind, source / FILES[kind], restored_url)
        await bring_to_rest(restored_url)
        os.sync()  # thousands of small files: one wait for all of them
        for name in ("projects", ADMIN_KEY, *(path.name for path in unfinished.glob("*.sqlite3"))):
            if (unfinished / name).exists():  # the store last: with it the directory is a hub's
                (unfinished / name).rename(data_dir / name)
        _sync(data_dir)
    except OSError as error:
        raise unwritable(error, "the data directory") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    summary.bytes = sum(part["bytes"] for part in manifest["parts"].values())
    summary.seconds = round(time.monotonic() - began, 3)
    return summary


def _prepare(data_dir: Path) -> Path:
    """Refuse a data directory that holds anything but what a killed restore has left, which is removed."""
    unfinished = data_dir / UNFINISHED
    others = sorted(path.name for path in data_dir.iterdir() if path.name not in ("hub.lock", UNFINISHED))
    if others:
        raise Conflict(f"the data directory is not empty: there is '{others[0]}'; give another one with --data-dir")
    shutil.rmtree(unfinished, ignore_errors=True)
    return unfinished


async def _unpack_homes(
    source: Path,
    unfinished: Path,
    manifest: dict[str, Any],
    uids: dict[ProjectId, int | None],
    summary: Summary,
    watch: Watch,
) -> None:
    root = unfinished / "projects"
    root.mkdir(mode=_PROJECT_MODE)
    numbered = is_offered(root)
    with watch("Restoring homes", len(uids)) as done:

        async def one(project_id: ProjectId) -> None:
            part = _home_part(project_id, manifest["compressed"])
            if part in manifest["parts"]:
                make_place(root / project_id, numbered=numbered)
                home = root / project_id / "home"
                home.mkdir(mode=0o700)
                compressed = manifest["compressed"]
                notes = await unpack(source / part, home, uid=uids[project_id], compressed=compressed)
                summary.homes += 1
                summary.note(project_id, len(notes), notes)
            done()

        await _each(one, list(uids))


def _read_manifest(source: Path) -> dict[str, Any]:
    """The manifest, checked: a backup may come from anywhere, and its names become paths."""
    try:
        manifest = json.loads((source / MANIFEST).read_bytes())
        number, store, projects, parts = (manifest[name] for name in ("format", "store", "projects", "parts"))
        sound = (
            store["kind"] in FILES
            and isinstance(store["revision"], str)
            and isinstance(manifest["compressed"], bool)
            and all(is_uuid(project_id) and type(slot) is int and slot >= 0 for project_id, slot in projects.items())
            and len(set(projects.values())) == len(projects)
            and all(_PART.fullmatch(name) and isinstance(part["bytes"], int) for name, part in parts.items())
            and FILES[store["kind"]] in parts
        )
    except OSError as error:
        raise InvalidArgument(f"'{source.name}' is no backup: there is no {MANIFEST} in it") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidArgument(
            f"'{source.name}' is no backup, or a damaged one: its {MANIFEST} cannot be read"
        ) from error
    if number != FORMAT or not is_known(str(store["revision"])):
        raise InvalidArgument(
            f"'{source.name}' was made by a newer version of projecthub ({str(manifest.get('projecthub'))[:20]}); "
            "restore it with that one"
        )
    if not sound:
        raise InvalidArgument(f"'{source.name}' is no backup, or a damaged one: its {MANIFEST} does not make sense")
    return dict(manifest)


async def _verify(source: Path, parts: dict[str, Any], watch: Watch) -> None:
    with watch("Checking the backup", len(parts)) as done:

        async def one(name: str) -> None:
            try:
                found = await asyncio.to_thread(_measure, source / name)
            except OSError as error:
                raise InvalidArgument(f"the backup is damaged: '{name}' is missing; nothing was restored") from error
            if asdict(found) != parts[name]:
                raise InvalidArgument(f"the backup is damaged: '{name}' is not as it was written; nothing was restored")
            done()

        await _each(one, list(parts))


async def _each(work: Callable[[Any], Any], items: list[Any]) -> None:
    """Do something for each, a few at a time. The first failure ends the others."""
    left = iter(items)

    async def worker() -> None:
        for item in left:
            await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_A_TIME):
                group.create_task(worker())
    except BaseExceptionGroup as errors:
        raise next(
            (error for error in errors.exceptions if isinstance(error, HubError)), errors.exceptions[0]
        ) from None


def _home_part(project_id: ProjectId, compressed: bool) -> str:
    return f"{_HOMES}/{project_id}{COMPRESSED_SUFFIX if compressed else SUFFIX}"


def _url_within(store_url: str, data_dir: Path, unfinished: Path) -> str:
    """The store's URL, with a file in the data directory first at its place beside all else that is unfinished."""
    beginning = f"sqlite:///{data_dir}/"
    name = store_url.removeprefix(beginning)
    inside = store_url.startswith(beginning) and "/" not in name and name.endswith(".sqlite3")
    return f"sqlite:///{unfinished}/{name}" if inside else store_url


def _measure(file: Path) -> _Part:
    digest, size = hashlib.sha256(), 0
    with os.fdopen(os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as opened:
        while chunk := opened.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return _Part(size, digest.hexdigest())


def _write(file: Path, content: bytes) -> None:
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
