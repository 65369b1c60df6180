"""The class file: who is in a class, what is handed out, and when it is due.

A small TOML file in the home of the course's project, which a teacher edits. ``docs/classes.md`` tells of it.
"""

from __future__ import annotations

import contextlib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from projecthub.client.csv_rows import read_rows
from projecthub.errors import InvalidArgument

USUAL_FILE: Final = "class.toml"
_ID: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@+-]{0,99}")
_POLICIES: Final = ("merge", "update", "keep", "overwrite")
_LAYOUTS: Final = ("plain", "nbgrader")
_STUDENT_HEADS: Final[Mapping[str, Sequence[str]]] = {
    "email_address": ("email", "email address", "mail"),
    "id": ("id", "student", "student id", "username", "user name"),
    "first_name": ("first name", "first", "firstname", "given name"),
    "last_name": ("last name", "last", "lastname", "surname", "family name"),
    "group": ("group", "section"),
}
_STUDENT_KEYS: Final = {"email": "email_address", "id": "id", "first_name": "first_name", "last_name": "last_name"} | {
    "group": "group"
}
_CLASS_KEYS: Final = frozenset({"title", "roster", "layout", "timezone", "student", "item"})
_ITEM_KEYS: Final = frozenset({"name", "path", "to", "due", "policy", "groups", "exclude", "extensions"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Student:
    """Somebody in a class.

    Attributes:
        id: What the student is called in paths; default: the e-mail address, in small letters.
        email_address: In small letters.
        group: A part of the class; empty: none.
    """

    id: str
    email_address: str
    first_name: str = ""
    last_name: str = ""
    group: str = ""

    @property
    def name(self) -> str:
        """For people: the names, or else the address."""
        return f"{self.first_name} {self.last_name}".strip() or self.email_address


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """Something that is handed out.

    Attributes:
        name: What it is called; one part of a path.
        path: Where it is in the course's project.
        to: Where it goes in the students'.
        due: When it is collected; None: never by itself.
        policy: How a new version of it is handed out; see `hub.copies`.
        groups: Whom it is for; empty: for all.
        exclude: Patterns of what stays behind.
        extensions: Later times, by the student's id.
    """

    name: str
    path: str
    to: str
    due: datetime | None = None
    policy: str = "merge"
    groups: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    extensions: Mapping[str, datetime] = field(default_factory=dict)

    def is_for(self, student: Student) -> bool:
        """Whether a student gets it."""
        return not self.groups or student.group in self.groups

    def due_for(self, student: Student) -> datetime | None:
        """When it is due for one student."""
        return self.extensions.get(student.id, self.due)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassDefinition:
    """What a class file says.

    Attributes:
        students: In the order of their ids.
        items: In the order of the file.
        notes: What in it means nothing here, or is about nobody; for people.
    """

    title: str
    layout: str
    students: tuple[Student, ...]
    items: tuple[Item, ...]
    notes: tuple[str, ...] = ()

    def chosen(self, names: Sequence[str] | None) -> tuple[Item, ...]:
        """The items of these names; None: all.

        Raises:
            InvalidArgument: There is no such item.
        """
        by_name = {item.name: item for item in self.items}
        if names is None:
            return self.items
        for name in names:
            if name not in by_name:
                known = ", ".join(by_name) or "none"
                raise InvalidArgument(f"there is no item '{name[:100]}' in the class; there are: {known}")
        return tuple(by_name[name] for name in dict.fromkeys(names))

    def collected_path(self, item: Item, student: Student) -> str:
        """Where a student's work is collected to, in the course's project."""
        if self.layout == "nbgrader":
            return f"submitted/{student.id}/{item.name}"
        return f"collected/{item.name}/{student.id}"

    def graded_path(self, item: Item, student: Student) -> str:
        """Where a student's graded work is returned from, in the course's project."""
        if self.layout == "nbgrader":
            return f"feedback/{student.id}/{item.name}"
        return f"graded/{item.name}/{student.id}"

    def graded_folder(self, item: Item) -> str:
        """What holds a directory of graded work for each student, in the course's project."""
        return "feedback" if self.layout == "nbgrader" else f"graded/{item.name}"

    @staticmethod
    def returned_path(item: Item) -> str:
        """Where graded work is returned to, in a student's project."""
        return f"{item.to}-graded"

    def register_path(self, item: Item) -> str:
        """The list of what was collected of an item, in the course's project."""
        return f"{'submitted' if self.layout == 'nbgrader' else 'collected'}/{item.name}.csv"


def class_text(content: bytes) -> str:
    """The text of a class file.

    Raises:
        InvalidArgument: It is no UTF-8.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InvalidArgument(f"line {line} of the class file is no UTF-8; save it as UTF-8") from error


def roster_path(text: str) -> str | None:
    """The file that the class file names as its roster, relative to it; None: it names none.

    Raises:
        InvalidArgument: It is no class file.
    """
    roster = _parsed(text).get("roster")
    return None if roster is None else _text_of(roster, "roster")


def read_class(text: str, roster: bytes | None = None) -> ClassDefinition:
    """Read a class file.

    Args:
        text: The file.
        roster: The CSV file that it names, if it names one.

    Raises:
        InvalidArgument: Something in it is wrong; the text says what and where.
    """
    given = _parsed(text)
    zone = _zone(given.get("timezone"))
    layout = given.get("layout", "plain")
    if layout not in _LAYOUTS:
        raise InvalidArgument(f"layout is {layout!r:.100}; give one of {', '.join(_LAYOUTS)}")
    students, notes = _students(given, roster)
    items = tuple(_item(entry, layout, zone, students) for entry in _tables(given, "item"))
    _require_different([item.name for item in items], "item")
    _require_registers(items, [student.id for student in students] if layout == "nbgrader" else None)
    _require_apart([path for item in items for path in (item.to, ClassDefinition.returned_path(item))])
    notes += [f"'{key}' means nothing here" for key in given if key not in _CLASS_KEYS]
    notes += [note for item in items for note in _misses(item, students)]
    return ClassDefinition(
        title=_text_of(given.get("title", "Class"), "title"),
        layout=layout,
        students=students,
        items=items,
        notes=tuple(notes),
    )


def _parsed(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:  # also of a number with thousands of digits
        raise InvalidArgument(f"the class file is no TOML: {error}") from error


def _tables(given: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    entries = given.get(key, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InvalidArgument(f"'{key}' is no list of tables; begin each with [[{key}]]")
    return entries


def _text_of(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InvalidArgument(f"{what} is {value!r:.100}; give a text")
    return value.strip()


def _texts_of(value: Any, what: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise InvalidArgument(f"{what} is {value!r:.100}; give a list of texts")
    return tuple(_text_of(each, what) for each in value)


def _zone(value: Any) -> tzinfo:
    if value is None:
        return UTC
    try:
        return ZoneInfo(_text_of(value, "timezone"))
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidArgument(f"timezone is {value!r:.100}; give one like 'Europe/Berlin'") from error


def _students(given: Mapping[str, Any], roster: bytes | None) -> tuple[tuple[Student, ...], list[str]]:
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    if roster is not None:
        rows, unused = read_rows(roster, _STUDENT_HEADS)
        notes = [f"column '{head}' of the roster means nothing here" for head in unused]
    for number, entry in enumerate(_tables(given, "student"), 1):
        if unknown := entry.keys() - _STUDENT_KEYS.keys():
            raise InvalidArgument(f"student {number}: '{min(unknown)}' is unknown; give {', '.join(_STUDENT_KEYS)}")
        named = {_STUDENT_KEYS[key]: _text_of(value, f"student {number}: {key}") for key, value in entry.items()}
        rows.append({"where": f"student {number}", **named})
    students = sorted((_student(row) for row in rows), key=lambda student: student.id)
    _require_different([student.id for student in students], "student id")
    _require_different([student.email_address for student in students], "e-mail address")
    return tuple(students), notes


def _student(row: Mapping[str, Any]) -> Student:
    where = row.get("where") or f"line {row['line']} of the roster"
    email = str(row.get("email_address", "")).lower()
    if email.count("@") != 1 or not email.isprintable() or " " in email:
        raise InvalidArgument(f"{where}: {email[:100]!r} is no e-mail address")
    student_id = str(row.get("id", email))
    if not _ID.fullmatch(student_id):
        raise InvalidArgument(
            f"{where}: {student_id[:100]!r} cannot be a student's id, which is a part of paths; give one of letters, "
            "digits, '.', '_', '@', '+', '-' in a column 'id'"
        )
    names = {key: str(row.get(key, "")) for key in ("first_name", "last_name", "group")}
    return Student(id=student_id, email_address=email, **names)


def _item(entry: Mapping[str, Any], layout: str, zone: tzinfo, students: Sequence[Student]) -> Item:
    name = _text_of(entry.get("name"), "the name of an item")
    if not _ID.fullmatch(name):
        raise InvalidArgument(
            f"item name {name[:100]!r} cannot be a part of paths; give letters, digits, '.', '_', '-'"
        )
    where = f"item '{name}'"
    if unknown := entry.keys() - _ITEM_KEYS:
        raise InvalidArgument(f"{where}: '{min(unknown)}' is unknown; give {', '.join(sorted(_ITEM_KEYS))}")
    policy = entry.get("policy", "merge")
    if policy not in _POLICIES:
        raise InvalidArgument(f"{where}: policy is {policy!r:.100}; give one of {', '.join(_POLICIES)}")
    return Item(
        name=name,
        path=_path(entry.get("path", f"release/{name}" if layout == "nbgrader" else name), f"{where}: path"),
        to=_path(entry.get("to", name), f"{where}: to"),
        due=None if entry.get("due") is None else _moment(entry["due"], zone, f"{where}: due"),
        policy=policy,
        groups=_texts_of(entry.get("groups", []), f"{where}: groups"),
        exclude=_texts_of(entry.get("exclude", []), f"{where}: exclude"),
        extensions=_extensions(entry.get("extensions", {}), zone, where, students),
    )


def _misses(item: Item, students: Sequence[Student]) -> list[str]:
    """What in an item is about nobody; nothing while there are no students."""
    groups = {student.group for student in students}
    empty = [group for group in item.groups if students and group not in groups]
    notes = [f"item '{item.name}': nobody is in group '{group}'" for group in empty]
    if empty and len(empty) == len(item.groups):
        notes.append(f"item '{item.name}' is for nobody; give its students a group, or leave its groups out")
    outside = [student.id for student in students if student.id in item.extensions and not item.is_for(student)]
    notes += [
        f"item '{item.name}': the extension of {id} means nothing, for the item is not for {id}" for id in outside
    ]
    return notes


def _extensions(given: Any, zone: tzinfo, where: str, students: Sequence[Student]) -> dict[str, datetime]:
    if not isinstance(given, dict):
        raise InvalidArgument(f"{where}: extensions is no table; write [item.extensions] and a line for each student")
    ids = {name: student.id for student in students for name in (student.id, student.email_address)}
    found = {}
    for name, value in given.items():
        if (student_id := ids.get(name, ids.get(name.lower()))) is None:
            raise InvalidArgument(f"{where}: extensions name {name[:100]!r}, who is not in the class")
        found[student_id] = _moment(value, zone, f"{where}: the extension of {name}")
    return found


def _path(value: Any, what: str) -> str:
    path = _text_of(value, what).strip("/")
    if not path or any(part in ("", ".", "..") for part in path.split("/")) or not path.isprintable():
        raise InvalidArgument(f"{what} is {value!r:.100}; give a path below the home, without '.' and '..'")
    return path


def _moment(value: Any, zone: tzinfo, what: str) -> datetime:
    """A time with or without an offset, or a date, which ends with its day."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value) if len(value) > len("2026-12-01") else date.fromisoformat(value)
        except ValueError:
            pass
    with contextlib.suppress(OverflowError):  # in UTC it is before the year 1, or after 9999
        if isinstance(value, datetime):
            return (value if value.tzinfo else value.replace(tzinfo=zone)).astimezone(UTC)
        if isinstance(value, date):
            return datetime.combine(value, time(23, 59, 59), zone).astimezone(UTC)
    raise InvalidArgument(f"{what} is {value!r:.100}; give a time like 2026-12-01T18:00:00+01:00, or a date")


def _require_different(names: Sequence[str], what: str) -> None:
    seen = set()
    for name in names:
        if name.lower() in seen:
            raise InvalidArgument(f"{what} '{name}' is there twice; each may be there once")
        seen.add(name.lower())


def _require_registers(items: Sequence[Item], others: Sequence[str] | None) -> None:
    """The list of what was collected lies beside directories that are called after items, or after ``others``."""
    names = {name.lower() for name in ([item.name for item in items] if others is None else others)}
    for item in items:
        if f"{item.name}.csv".lower() in names:
            raise InvalidArgument(
                f"'{item.name}.csv' is the list of those who handed in '{item.name}'; nothing else may be called that"
            )


def _require_apart(paths: Sequence[str]) -> None:
    """Two items in one directory of a student could not be told apart when they are collected."""
    for path in paths:
        for other in paths:
            if other.startswith(f"{path}/") or (other == path and paths.count(path) > 1):
                raise InvalidArgument(f"items go to '{path}' and '{other}', one inside of the other; keep them apart")
