"""The register of an item: what was collected from whom, when, and how late. A CSV file in the course's project."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from projecthub.errors import InvalidArgument
from projecthub.wire.units import from_ms

_LAST_MS: Final = 253_402_300_799_000
"""The last second of the year 9999, in milliseconds since the epoch."""
_COLUMNS: Final = (
    "student",
    "email",
    "project_id",
    "due",
    "changed_at",
    "late_s",
    "files",
    "collected_at",
    "returned_at",
    "earlier_at",
    "newest_at",
    "earlier_changed_at",
    "earlier_newest_at",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """One student's work, as it was collected. Times are aware and UTC, and whole seconds.

    Attributes:
        due: When it was due for this student; None: at no time.
        changed_at: The latest time of a file that the student has made or changed, as the files tell, but none after
            `collected_at`; None: there was nothing of that. A student can set the times of files: `collected_at` is
            the hub's.
        files: How many files it has.
        returned_at: When graded work was returned; None: it was not yet.
        earlier_at: When that was collected which this took the place of; None: it took nobody's.
        newest_at: The latest time of any file in it, as the files tell; None: there was nothing.
        earlier_changed_at: `changed_at` of what was collected earlier.
        earlier_newest_at: `newest_at` of that.
    """

    student: str
    email_address: str
    project_id: str
    due: datetime | None
    changed_at: datetime | None
    files: int
    collected_at: datetime
    returned_at: datetime | None = None
    earlier_at: datetime | None = None
    newest_at: datetime | None = None
    earlier_changed_at: datetime | None = None
    earlier_newest_at: datetime | None = None

    @property
    def late_s(self) -> int:
        """How many seconds after its time it was changed last; 0: it was in time."""
        if self.due is None or self.changed_at is None:
            return 0
        return max(0, int((self.changed_at - self.due).total_seconds()))


def file_time(ms: int) -> datetime:
    """The time of a file, in whole seconds; the nearest if no calendar has it. Whoever owns a file may set it."""
    return from_ms(min(max(ms, 0), _LAST_MS)).replace(microsecond=0)


def with_collected(
    known: Mapping[str, Collected], rows: Iterable[Collected], *, seen: Mapping[str, Collected]
) -> dict[str, Collected]:
    """A register with what was collected just now.

    Args:
        known: What it says.
        rows: What was collected.
        seen: What it said when that was begun. Where it says something else now, somebody else has collected the same
            at the same time, and what was begun later counts.
    """
    register = dict(known)
    for row in rows:
        there = register.get(row.student)
        if there is None or there == seen.get(row.student) or _order(row) >= _order(there):
            register[row.student] = row
    return register


def is_outdated(row: Collected, due: datetime | None, now: datetime) -> bool:
    """Whether something was collected before it was due, as far as is known now, and it is due by now."""
    return due is not None and row.collected_at < due <= now


def in_place_of(row: Collected, before: Collected | None) -> Collected:
    """What was collected, with what is to be remembered of what was there before it."""
    if before is None:
        return row
    return replace(
        row,
        returned_at=before.returned_at,
        earlier_at=before.collected_at,
        earlier_changed_at=before.changed_at,
        earlier_newest_at=before.newest_at,
    )


def with_due(known: Mapping[str, Collected], due: Mapping[str, datetime]) -> dict[str, Collected]:
    """A register with other due dates, by the students' ids."""
    return {id: replace(row, due=due.get(id, row.due)) for id, row in known.items()}


def without(known: Mapping[str, Collected], gone: Mapping[str, Collected]) -> dict[str, Collected]:
    """A register without some rows, but for those that somebody else has written anew."""
    return {student: row for student, row in known.items() if gone.get(student) != row}


def put_back(row: Collected, newest_at: datetime | None, files: int) -> Collected:
    """What a row has to say when its files are these: those that were collected before it, or others older than its.

    Args:
        row: What was collected last.
        newest_at: The latest time of a file that is there.
        files: How many there are.
    """
    if row.earlier_at is None or newest_at == row.newest_at:
        return row
    changed_at = row.earlier_changed_at
    if newest_at != row.earlier_newest_at:
        none = datetime.min.replace(tzinfo=UTC)
        if (newest_at or none) >= (row.newest_at or none):
            return row
        # What was there before that, or a register that does not tell: which of the files are theirs is not known.
        changed_at = newest_at and min(newest_at, row.earlier_at)
    return replace(
        row,
        changed_at=changed_at,
        newest_at=newest_at,
        files=files,
        collected_at=row.earlier_at,
        earlier_at=None,
        earlier_changed_at=None,
        earlier_newest_at=None,
    )


def _order(row: Collected) -> tuple[datetime, datetime]:
    return row.collected_at, row.changed_at or datetime.min.replace(tzinfo=UTC)


def register_of(content: bytes) -> dict[str, Collected]:
    """The rows of a register's file, by the student's id.

    Raises:
        InvalidArgument: It is none.
    """
    try:
        return read_register(content.decode())
    except UnicodeDecodeError as error:
        raise InvalidArgument(
            f"the register of what was collected is no UTF-8 (byte {error.start}); put it in order, or move it away "
            "and collect again"
        ) from error


def read_register(text: str) -> dict[str, Collected]:
    """The rows of a register, by the student's id.

    Raises:
        InvalidArgument: It is none.
    """
    rows = csv.DictReader(io.StringIO(text, newline=""))
    try:
        return {row["student"]: _collected(row) for row in rows}
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise InvalidArgument(
            f"the register of what was collected cannot be read, line {rows.line_num}: {error}; put it in order, or "
            "move it away and collect again"
        ) from error


def write_register(rows: Iterable[Collected]) -> str:
    """A register: the same rows give the same text, whatever their order."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for row in sorted(rows, key=lambda each: each.student):
        writer.writerow(
            (
                row.student,
                row.email_address,
                row.project_id,
                _told(row.due),
                _told(row.changed_at),
                row.late_s,
                row.files,
                _told(row.collected_at),
                _told(row.returned_at),
                _told(row.earlier_at),
                _told(row.newest_at),
                _told(row.earlier_changed_at),
                _told(row.earlier_newest_at),
            )
        )
    return out.getvalue()


def _told(at: datetime | None) -> str:
    return "" if at is None else at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _moment(text: str) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None


def _collected(row: Mapping[str, str]) -> Collected:
    collected_at = _moment(row["collected_at"])
    if collected_at is None:
        raise ValueError("there is no collected_at")
    return Collected(
        student=row["student"],
        email_address=row["email"],
        project_id=row["project_id"],
        due=_moment(row["due"]),
        changed_at=_moment(row["changed_at"]),
        files=int(row["files"]),
        collected_at=collected_at,
        returned_at=_moment(row.get("returned_at") or ""),
        earlier_at=_moment(row.get("earlier_at") or ""),
        newest_at=_moment(row["changed_at"] if row.get("newest_at") is None else row["newest_at"]),
        earlier_changed_at=_moment(row.get("earlier_changed_at") or ""),
        earlier_newest_at=_moment(row.get("earlier_newest_at") or ""),
    )
