"""Where snapshots are kept: a shelf for each project, and a pool of the contents of all.

``root/projects/<id>/manifests`` holds a manifest for each snapshot and ``objects`` the contents that they name, each
under its checksum. Contents that several projects have are one file on disk: it has a name on each shelf and one in
``root/pool``, and the number of its names is the count of its users, which no crash can get wrong. To lose the pool
would cost room and nothing else.

What a project can observe depends on its own shelf alone: whether something is kept already is asked of that, what is
new to it is written and charged in full, and only then given up for what the pool has.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from projecthub.files.paths import DIRECTORY
from projecthub.files.places import closing
from projecthub.wire.ids import ProjectId, is_uuid

SPARSE_SUFFIX: Final = "s"
"""Of objects with holes, whose checksum is of another kind."""
_BLOCK_BYTES: Final = 4096
_MODE: Final = 0o700


class Shelf:
    """The snapshots of one project on disk. Blocks: for threads, one at a time for each shelf that is changed.

    Attributes:
        root: Where the shelves of all projects are.
        objects: The directory of its contents.
    """

    def __init__(self, root: Path, project_id: ProjectId) -> None:
        """Name it; nothing is made yet."""
        self.root = root
        self._directory = root / "projects" / project_id
        self.objects = self._directory / "objects"
        self._manifests = self._directory / "manifests"
        self._mark = root / "unfinished" / project_id

    def manifest(self, snapshot_id: str) -> Path:
        """The manifest of a snapshot."""
        return self._manifests / snapshot_id

    def ids(self) -> set[str]:
        """The snapshots that have a manifest."""
        try:
            return {name for name in os.listdir(self._manifests) if is_uuid(name)}  # noqa: PTH208
        except FileNotFoundError:
            return set()

    def make(self) -> None:
        """Make its directories. Idempotent."""
        for directory in (self.objects, self._manifests, self.root / "pool", self.root / "unfinished"):
            directory.mkdir(mode=_MODE, parents=True, exist_ok=True)

    def begin(self) -> None:
        """Note, for good, that something is going to be changed: whoever opens the hub next looks after it."""
        self.make()
        with closing(os.open(self._mark, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)):
            pass
        with closing(os.open(self._mark.parent, DIRECTORY | os.O_CLOEXEC)) as fd:
            os.fsync(fd)

    def end(self) -> None:
        """All that was to be changed is, and what is left over is gone."""
        self._mark.unlink(missing_ok=True)

    @property
    def is_unfinished(self) -> bool:
        """Whether something has begun and not ended."""
        return self._mark.exists()

    def take_over(self, directory_fd: int, name: str, objects_fd: int) -> None:
        """Give a new object its names: on this shelf, and in the pool unless that has the same content."""
        pooled = self._pooled(name)
        try:
            os.link(pooled, name, dst_dir_fd=objects_fd)
        except FileExistsError:
            pass
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EMLINK):
                raise
            os.rename(name, name, src_dir_fd=directory_fd, dst_dir_fd=objects_fd)
            if error.errno == errno.ENOENT:
                self._pool(name, objects_fd)

    def _pool(self, name: str, objects_fd: int) -> None:
        pooled = self._pooled(name)
        for _ in range(2):
            try:
                os.link(name, pooled, src_dir_fd=objects_fd)
            except FileExistsError:  # another project was quicker: each has its own
                return
            except FileNotFoundError:
                pooled.parent.mkdir(mode=_MODE, exist_ok=True)
            else:
                return

    def drop(self, name: str, objects_fd: int) -> int:
        """Remove an object from this shelf, and from the pool if no other shelf has it; tells what it counted."""
        status = os.stat(name, dir_fd=objects_fd, follow_symlinks=False)
        os.unlink(name, dir_fd=objects_fd)
        if status.st_nlink == 2:
            drop_pooled(self._pooled(name), status.st_ino)
        return charge(name, status)

    def used_bytes(self) -> int:
        """What its objects count, whatever they share with those of other projects."""
        total = 0
        with contextlib.suppress(FileNotFoundError), os.scandir(self.objects) as scan:
            for entry in scan:
                total += charge(entry.name, entry.stat(follow_symlinks=False))
        return total

    def _pooled(self, name: str) -> Path:
        return self.root / "pool" / name[:2] / name


def drop_pooled(pooled: Path, inode: int | None = None) -> bool:
    """Remove an object from the pool if no shelf has it; tells whether.

    A snapshot that links to it at the same moment keeps its content, and shares it with later ones no more.
    """
    try:
        status = pooled.stat(follow_symlinks=False)
        if status.st_nlink == 1 and inode in (None, status.st_ino):
            pooled.unlink()
            return True
    except FileNotFoundError:
        pass
    return False


def sweep_pool(root: Path, prefix: str) -> int:
    """Remove what killed hubs have left in a part of the pool; tells how many objects that were."""
    try:
        names = os.listdir(root / "pool" / prefix)  # noqa: PTH208
    except FileNotFoundError:
        return 0
    return sum(drop_pooled(root / "pool" / prefix / name) for name in names)


def unfinished(root: Path) -> Iterator[ProjectId]:
    """The projects whose shelves a killed hub has left in the middle of something."""
    with contextlib.suppress(FileNotFoundError):
        yield from (ProjectId(name) for name in os.listdir(root / "unfinished") if is_uuid(name))  # noqa: PTH208


def charge(name: str, status: os.stat_result) -> int:
    """What an object counts of its project's share, in bytes: whole blocks, as on most disks."""
    size = min(status.st_size, status.st_blocks * 512) if name.endswith(SPARSE_SUFFIX) else status.st_size
    return charge_of(size)


def charge_of(size: int) -> int:
    """What a content of so many bytes counts."""
    return -(-size // _BLOCK_BYTES) * _BLOCK_BYTES
