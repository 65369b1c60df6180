"""The room that is left: on the file system that the homes lie on, and in one home up to its project's quota."""

from __future__ import annotations

import functools
import math
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from projecthub.errors import LimitError
from projecthub.wire.ids import ProjectId
from projecthub.wire.units import to_mb

_KEPT_BYTES = 64_000_000
_KEPT_SHARE = 20
"""Copies leave one twentieth of the file system free, or 64 MB if that is less: running projects need some, too."""
_LEAST_BYTES = 1_000_000
"""With less than this no project is started: what is written for that would not fit with certainty."""
_EXT4_KEEPS_BLOCKS = 4096
_GLANCE_BYTES = 8_000_000
"""After every so many bytes a copy looks whether there is room for more: others write as well."""


class Disk:
    """The file system that a directory lies on."""

    def __init__(self, directory: Path) -> None:
        """Name the directory; until it is made, the one above counts."""
        self._directory = directory

    def spare_bytes(self) -> int:
        """How much copies may add; negative if they have to stop."""
        status = self._status()
        return status.f_bavail * status.f_frsize - min(_KEPT_BYTES, status.f_blocks * status.f_frsize // _KEPT_SHARE)

    def require_spare(self, size: int, what: str) -> None:
        """Refuse to write where no room is left for it beside what is kept free.

        Args:
            size: In bytes.
            what: What is to be written, for people: ``this copy``.

        Raises:
            LimitError: There is no room.
        """
        spare = self.spare_bytes()
        if size > spare:
            left = "nothing" if spare < 0 else f"{spare // 1_000_000} MB"
            needs = f"{to_mb(size)} MB" if size else "room"
            raise LimitError(
                f"the hub's disk is full: {what} needs {needs} and {left} is left for that; "
                "ask the hub's operator to make room"
            )

    def require_least(self) -> None:
        """Refuse to begin something for which next to no room is needed, and even that is not there.

        Raises:
            LimitError: There is no room.
        """
        status = self._status()
        free = status.f_bavail
        if _is_root():  # what a file system keeps for root is there for the hub, but for what ext4 never gives
            free = max(free, status.f_bfree - min(status.f_blocks // 50, _EXT4_KEEPS_BLOCKS))
        if free * status.f_frsize < _LEAST_BYTES:
            raise LimitError("the hub's disk is full: no project can be started; ask the hub's operator to make room")

    def _status(self) -> os.statvfs_result:
        try:
            return os.statvfs(self._directory)
        except FileNotFoundError:
            return os.statvfs(self._directory.parent)


@functools.cache
def _is_root() -> bool:
    """Whether we are the machine's root, not that of a user namespace."""
    return os.geteuid() == 0 and Path("/proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"]


class HomeSpace:
    """What one home takes, as it was measured, and what copies have added since or are about to add.

    Safe for several threads.

    Attributes:
        pending_bytes: What unfinished uploads have beside it, as of the last look.
    """

    def __init__(self, project_id: ProjectId, disk: Disk, promised: Callable[[], object] = lambda: None) -> None:
        """Make ready; `measured` before the first `allow`.

        Args:
            project_id: Whose home it is.
            disk: What it lies on.
            promised: Told when `promised_bytes` is another; not of the end of copies that have written, for what they
                wrote may lie beside the home for a moment.
        """
        self._project_id = project_id
        self._promised = promised
        self._disk = disk
        self._lock = threading.Lock()
        self.pending_bytes = 0
        self._measured_bytes = 0
        self._open: set[Allowance] = set()
        self._ended: list[tuple[float, int]] = []

    def measured(self, used_bytes: int, began: float) -> None:
        """Take over a measurement; copies that had ended when it began are in it.

        Args:
            used_bytes: What the home takes.
            began: When it began, by `time.monotonic`.
        """
        with self._lock:
            self._measured_bytes = used_bytes
            self._ended = [(at, size) for at, size in self._ended if at >= began]

    def share_of_room(self, size: int, quota_bytes: int) -> float:
        """How much of the room that was left at the last measurement is taken with ``size`` bytes more, from 0 to 1.

        What a project has written since is not in it; over 1, there was none.
        """
        with self._lock:
            room = quota_bytes - self._measured_bytes - self.pending_bytes
            taken = self._under_way() + sum(written for _, written in self._ended) + size
        return taken / room if room > 0 else math.inf

    def allow(self, added: int, freed: int, quota_bytes: int | None, *, beside: bool = False) -> Allowance:
        """Let a copy begin, and reckon with it from now on.

        Args:
            added: Bytes that it will write.
            freed: Bytes of what it replaces or deletes.
            quota_bytes: What the home may take; None: there is no limit.
            beside: As `Allowance.beside`.

        Raises:
            LimitError: It would not fit. A copy that makes the home no larger always does.
        """
        allowance = Allowance(self, self._disk, added, freed, quota_bytes, beside=beside)
        with self._lock:
            if added > freed:
                self._require(added - freed, quota_bytes)
            self._open.add(allowance)
        self._promised()
        return allowance

    def extend(self, allowance: Allowance, size: int) -> None:
        """Let a copy write more than was thought, if there is room.

        Raises:
            LimitError: There is none.
        """
        with self._lock:
            self._require(size, allowance.quota_bytes)
            allowance.added += size
        self._promised()

    @property
    def promised_bytes(self) -> int:
        """How many bytes all copies under way may write."""
        with self._lock:
            return sum(each.added for each in self._open)

    def close(self, allowance: Allowance) -> None:
        """The copy has ended, in whatever way. What it wrote counts until it is measured."""
        with self._lock:
            self._open.discard(allowance)
            if not allowance.beside and allowance.taken > allowance.freed:
                self._ended.append((time.monotonic(), allowance.taken - allowance.freed))
        if not allowance.taken:
            self._promised()

    def _under_way(self) -> int:
        return sum(max(0, each.added - each.freed - each.taken * each.beside) for each in self._open)

    def _used(self) -> int:
        return (
            self._measured_bytes + self.pending_bytes + self._under_way() + sum(written for _, written in self._ended)
        )

    def _require(self, size: int, quota_bytes: int | None) -> None:
        used = self._used()
        if quota_bytes is not None and used + size > quota_bytes:
            with_others = ", with copies that are under way," if self._under_way() else ""
            raise LimitError(
                f"project '{self._project_id}' takes {to_mb(used)} MB{with_others} of its disk quota of "
                f"{to_mb(quota_bytes)} MB, and this would add {to_mb(size)} MB; delete something in it, "
                "or ask for a larger quota",
                used_bytes=used,
                quota_bytes=quota_bytes,
                needed_bytes=size,
            )


class Allowance:
    """What one copy may write.

    Attributes:
        added: Bytes that it may write.
        freed: Bytes that it makes free.
        taken: Bytes that it has written.
        quota_bytes: What the home may take; None: there is no limit.
        beside: Whether what is written lies beside the home for now, where it counts as pending.
    """

    __slots__ = ("_disk", "_glance_at", "_space", "added", "beside", "freed", "quota_bytes", "taken")

    def __init__(
        self, space: HomeSpace, disk: Disk, added: int, freed: int, quota_bytes: int | None, *, beside: bool = False
    ) -> None:
        """Made by `HomeSpace.allow`."""
        self.added = added
        self.freed = freed
        self.taken = 0
        self.quota_bytes = quota_bytes
        self.beside = beside
        self._space = space
        self._disk = disk
        self._glance_at = _GLANCE_BYTES

    def take(self, size: int) -> None:
        """Called before ``size`` bytes are written.

        Raises:
            LimitError: The source has grown, and there is no room for that, or others have filled the disk meanwhile.
        """
        self.taken += size
        if self.taken > self.added:
            self._space.extend(self, self.taken - self.added)
        if self.taken >= self._glance_at:
            self._glance_at = self.taken + _GLANCE_BYTES
            self._disk.require_spare(0, "this copy")

    def begin_again(self) -> None:
        """What was written goes; something else is written in its room."""
        self.taken, self._glance_at = 0, _GLANCE_BYTES

    def move_in(self, size: int) -> None:
        """What was written beside the home is in it, with what lay there before: ``size`` bytes in all."""
        self.taken, self.beside = size, False

    def close(self) -> None:
        """The copy has ended."""
        self._space.close(self)
