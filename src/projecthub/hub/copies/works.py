"""One operation under way: what of it is lost with the hub, and needs not be kept."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from projecthub.files.plans import Course
from projecthub.store.copy_records import CopyOperation
from projecthub.wire import copies as shapes


@dataclass(slots=True)
class Work:
    """An operation under way.

    Attributes:
        operation: Its row, as it was when this began.
        targets: How many targets it is about, this time.
        targets_done: How many of them are done with, in whatever way.
        goal_files: Files that it is to write, this time.
        goal_bytes: Their bytes.
        files: Files that it has written, without those of `courses`.
        bytes: Their bytes.
        courses: Of targets that are at work, by their numbers.
        is_cancelled: Whether it is to end where it is.
        has_many_sources: Whether it copies from so many places that processes are worth it.
        ended: Set when it has.
        began: When this began, by `time.monotonic`.
    """

    operation: CopyOperation
    targets: int = 0
    targets_done: int = 0
    goal_files: int = 0
    goal_bytes: int = 0
    files: int = 0
    bytes: int = 0
    courses: dict[int, Course] = field(default_factory=dict)
    is_cancelled: bool = False
    has_many_sources: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    began: float = field(default_factory=time.monotonic)

    def cancel(self) -> None:
        """Have it end where it is."""
        self.is_cancelled = True
        for course in [*self.courses.values()]:
            course.cancel()

    def course(self, number: int) -> Course:
        """A course for one target, counted until `done_with` is called."""
        course = Course(None)
        if self.is_cancelled:
            course.cancel()
        self.courses[number] = course
        return course

    def done_with(self, number: int, files: int = 0, written_bytes: int = 0) -> None:
        """A target is done with, and has had so much written."""
        self.courses.pop(number, None)
        self.targets_done += 1
        self.files += files
        self.bytes += written_bytes

    def begin_anew(self, targets: int, files: int = 0, written_bytes: int = 0) -> None:
        """Another part of it begins: so many targets, so much to write."""
        self.targets, self.targets_done = targets, 0
        self.courses.clear()
        self.goal_files, self.goal_bytes = files, written_bytes
        self.files = self.bytes = 0
        self.began = time.monotonic()

    def progress(self) -> shapes.CopyProgress:
        """How far it is."""
        tallies = [course.tally for course in [*self.courses.values()]]
        files = self.files + sum(tally.files for tally in tallies)
        written = self.bytes + sum(tally.bytes for tally in tallies)
        progress: shapes.CopyProgress = {
            "files": files,
            "bytes": written,
            "targets_done": self.targets_done,
            "targets": self.targets,
        }
        passed_s = time.monotonic() - self.began
        if written and passed_s > 0:
            progress["bytes_per_s"] = int(written / passed_s)
        share = self._share(files, written)
        if 0 < share < 1:
            progress["seconds_left"] = round(passed_s * (1 - share) / share)
        return progress

    def _share(self, files: int, written: int) -> float:
        """How much of it is done. A file costs as much as some thousand bytes, whatever is in it."""
        weight = 8192
        goal = self.goal_bytes + weight * self.goal_files
        if goal:
            return min(1.0, (written + weight * files) / goal)
        return self.targets_done / self.targets if self.targets else 0.0
