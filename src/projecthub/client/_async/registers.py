from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from projecthub.client.classes.definition import ClassDefinition, Item
from projecthub.client.classes.register import (
    Collected,
    put_back,
    register_of,
    without,
    write_register,
)
from projecthub.client.classes.touched import DOOMED, Work
from projecthub.errors import Conflict, InvalidArgument, NotFound

if TYPE_CHECKING:
    from projecthub.client._async.hub import AsyncHub

STAMP: Final = "timestamp.txt"
"""Where nbgrader looks for the time of a submission."""
_FILES_A_PAGE: Final = 10_000
_NOTE_TRIES: Final = 50
_NOTE_PAUSE_S: Final = 0.05
Change = Callable[[dict[str, Collected]], Mapping[str, Collected]]
"""From the rows of a register as it is to those that it is to have."""
Shelves = dict[str, dict[str, Any]]
"""Directories that were looked into, by their paths, and what is in each, by its name."""


class AsyncRegisters:
    """What was collected, by the registers in the course's project, and whether it is there: a part of `classes`.

    A copy brings what is collected. Whoever undoes that takes it away, or puts back what was there before, and the
    register knows nothing of it. So of its rows only those count whose files are there.
    """

    _hub: AsyncHub

    async def _register(self, course_id: str, definition: ClassDefinition, item: Item) -> dict[str, Collected]:
        return (await self._register_with_etag(course_id, definition, item))[0]

    async def _register_with_etag(
        self, course_id: str, definition: ClassDefinition, item: Item
    ) -> tuple[dict[str, Collected], str]:
        """The register of an item, and the state that it is in; empty: it is not there."""
        try:
            content, etag = await self._hub.project(course_id).files.read_with_etag(definition.register_path(item))
        except NotFound:
            return {}, ""
        return register_of(content), etag

    async def _note(self, course_id: str, definition: ClassDefinition, item: Item, change: Change) -> None:
        """Change the register of an item: once more with what is there then, if somebody else was quicker."""
        files, path = self._hub.project(course_id).files, definition.register_path(item)
        for tries_left in reversed(range(_NOTE_TRIES)):
            register, etag = await self._register_with_etag(course_id, definition, item)
            content = write_register(change(register).values()).encode()
            try:
                await files.write_bytes(path, content, if_etag=etag)
                return
            except Conflict:
                if not tries_left:
                    raise
            await asyncio.sleep(_NOTE_PAUSE_S)

    async def _holding(
        self, course_id: str, definition: ClassDefinition, item: Item, register: Mapping[str, Collected], seen: Shelves
    ) -> dict[str, Collected]:
        """The rows of a register whose files are there.

        Args:
            course_id: The course's project.
            definition: The class.
            item: The item.
            register: Its register.
            seen: What was looked at before, so that each directory is listed once for all items.
        """
        students = {student.id: student for student in definition.students}
        stamps = 1 if definition.layout == "nbgrader" else 0
        held = {}
        for id, row in register.items():
            if id not in students:  # who has left the class has handed in what he has
                held[id] = row
                continue
            path = definition.collected_path(item, students[id])
            parent, _, name = path.rpartition("/")
            if parent not in seen:
                seen[parent] = await self._entries(course_id, parent)
            entry = seen[parent].get(name)
            is_there = entry is not None and entry["is_directory"] and entry["bytes"] > stamps
            # What seems to be gone is looked at anew: somebody else may have collected it since.
            if is_there or await self._has_files(course_id, path, row):
                held[id] = row
        return held

    async def _has_files(self, course_id: str, path: str, row: Collected) -> bool:
        if row.files:
            return bool((await self._entries(course_id, path)).keys() - {STAMP})
        try:
            return bool((await self._hub.project(course_id).files.stat(path))["is_directory"])
        except NotFound:
            return False

    async def _entries(self, course_id: str, path: str) -> dict[str, Any]:
        """What a directory holds, by names; nothing if there is none."""
        try:
            return {each["name"]: each for each in await self._hub.project(course_id).files.list(path, hidden=True)}
        except (NotFound, Conflict, InvalidArgument):
            return {}

    async def _forget(
        self, course_id: str, definition: ClassDefinition, item: Item, gone: Mapping[str, Collected]
    ) -> None:
        """Take rows whose files are gone out of a register, and the stamps that are left of them."""
        await self._note(course_id, definition, item, lambda known: without(known, gone))
        if definition.layout != "nbgrader":
            return
        for student in definition.students:
            path = definition.collected_path(item, student)
            if student.id in gone and (await self._entries(course_id, path)).keys() == {STAMP}:
                await self._hub.project(course_id).files.delete(path)

    async def _as_they_are(
        self, course_id: str, definition: ClassDefinition, item: Item, register: Mapping[str, Collected]
    ) -> dict[str, Collected]:
        """The rows of a register; where what was collected before is there again, they tell of that."""
        students = {student.id: student for student in definition.students}
        rows = [row for id, row in register.items() if id in students and row.earlier_at is not None]
        if not rows:
            return {**register}
        paths = [definition.collected_path(item, students[row.student]) for row in rows]
        suffix = uuid.uuid4().hex  # whatever the copies would be called, for they are only planned
        started = await self._hub.copies.plan(
            sources=[
                {"project_id": course_id, "path": f"{path}/", "target_path": f"{path}-{suffix}"} for path in paths
            ],
            target={"project_id": course_id, "path": ""},
            exclude=[f"/{STAMP}"] if definition.layout == "nbgrader" else None,
            skip_missing=True,
            wait=False,
        )
        plan: Any = await self._hub.copies.wait(started["id"])
        told = {**register}
        for row, target in zip(rows, plan["targets"], strict=True):
            if target["state"] == "planned":
                there = await self._work(plan, target)
                told[row.student] = put_back(row, there.newest_at, there.files)
        await self._hub.copies.cancel(plan["id"])
        return told

    async def _work(self, operation: Any, target: Any, touched: frozenset[str] | None = None) -> Work:
        """The files that are to be written, and their times; ``touched``: which of them are the student's own."""
        files = sum(count for status, count in target.get("counts", {}).items() if status != DOOMED)
        work = Work(files=files)
        if files:
            async for page in self._pages_of(operation, target):
                work = work.with_files(target, page, touched)
        return work

    async def _pages_of(
        self, operation: Any, target: Any, statuses: list[str] | None = None
    ) -> AsyncIterator[list[Any]]:
        """What a plan tells of the files of a target, a page at a time."""
        after: int | None = 0
        while after is not None:
            page = await self._hub.copies.files(
                operation["id"], target["number"], statuses=statuses, after=after, limit=_FILES_A_PAGE
            )
            yield page["files"]
            after = page["next"]
