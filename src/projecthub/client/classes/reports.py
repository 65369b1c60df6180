"""What `hub.classes` tells of what it found and did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from projecthub.client.classes.changes import Change
from projecthub.client.classes.register import Collected


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What could not be done for one student.

    Attributes:
        what: What was tried.
        error: Why not.
    """

    student: str
    what: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Handout:
    """How one item stands with the students that it is for.

    Attributes:
        item: Its name.
        operation: The copy, as `hub.copies` tells of it; None: there was nobody to copy to, or it could not be planned.
        students: The student's id for each target of the operation, in their order.
        error: Why it could not be planned; None: it could.
    """

    item: str
    operation: dict[str, Any] | None = None
    students: Sequence[str] = ()
    error: str | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nothing can be copied: everybody has it as it is, or cannot get it."""
        return self.error is None and not (self.operation and self.operation["totals"]["files"])

    @property
    def troubles(self) -> list[tuple[str, str]]:
        """Ids of students who do not get it, each with why; the id is empty if nobody does."""
        if self.error is not None:
            return [("", self.error)]
        targets = (self.operation or {}).get("targets", ())
        told = zip(self.students, targets, strict=False)
        return [(student, target["error"]) for student, target in told if target.get("error")]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassReport:
    """What a class lacked, or what was done about it.

    Attributes:
        title: The class.
        students: How many are in it.
        changes: Projects and people.
        handouts: Each item.
        departed: Projects of those who are in the class no more: they stay as they are.
        failures: What could not be done; the rest was.
        notes: What in the class file means nothing, or is about nobody.
        links: From the ids of students who were invited, and whom no mail tells of it, to the links to pass on.
    """

    title: str
    students: int
    changes: Sequence[Change] = ()
    handouts: Sequence[Handout] = ()
    departed: Sequence[str] = ()
    failures: Sequence[Failure] = ()
    notes: Sequence[str] = ()
    links: dict[str, str] = field(default_factory=dict)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is to do, and nothing is in the way."""
        if self.changes or self.failures:
            return False
        return all(handout.is_idle and not handout.troubles for handout in self.handouts)

    @property
    def has_failed(self) -> bool:
        """Whether something could not be done, or cannot be."""
        return bool(self.failures) or any(handout.troubles for handout in self.handouts)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectReport:
    """What was collected, or returned, of one item.

    Attributes:
        item: Its name.
        rows: The students that it was done for.
        missing: Ids of those who had nothing there.
        waiting: From the ids of those whose time is not over to when it is; None: it never is.
        failures: What could not be done; the rest was.
        returned: From the ids of those who were given something back just now to how many files that were.
        strays: Directories of graded work that go to nobody whom the item is for and who has a project.
    """

    item: str
    rows: Sequence[Collected] = ()
    missing: Sequence[str] = ()
    waiting: dict[str, datetime | None] = field(default_factory=dict)
    failures: Sequence[Failure] = ()
    returned: dict[str, int] = field(default_factory=dict)
    strays: Sequence[str] = ()

    def as_json(self) -> dict[str, Any]:
        """For programs; times as ISO texts."""
        waiting = {student: at and at.isoformat() for student, at in self.waiting.items()}
        rows = [{**asdict(row), "late_s": row.late_s} for row in self.rows]
        for row in rows:
            row.update({name: value.isoformat() for name, value in row.items() if isinstance(value, datetime)})
        return {**asdict(self), "rows": rows, "waiting": waiting}


@dataclass(frozen=True, slots=True, kw_only=True)
class StudentStatus:
    """How one student stands.

    Attributes:
        student: The id.
        has_account: Whether somebody with the address has an account.
        project_id: The student's project; None: there is none.
        items: From the name of each item that the student gets to a word: ``not handed out``, ``handed out``,
            ``outdated``, ``worked on``, ``collected``, ``late``, ``returned``, or ``cannot be handed out:`` and why.
        project_deleted: Whether the project is deleted; `apply` brings it back.
        due: From the name of each item that the student gets to when it is due for the student; None: at no time.
    """

    student: str
    name: str
    has_account: bool
    project_id: str | None
    items: dict[str, str]
    project_deleted: bool = False
    due: dict[str, datetime | None] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """For programs; times as ISO texts."""
        return {**asdict(self), "due": {item: at and at.isoformat() for item, at in self.due.items()}}
