"""Class files, what is missing in a class, and registers of what was collected."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projecthub.client.classes.changes import Change, ChangeKind, departed, needed
from projecthub.client.classes.definition import class_text, read_class, roster_path
from projecthub.client.classes.register import (
    Collected,
    file_time,
    put_back,
    read_register,
    register_of,
    with_collected,
    without,
    write_register,
)
from projecthub.client.classes.touched import Work, touched_of
from projecthub.errors import InvalidArgument

CLASS = """
title = "Statistics"
timezone = "Europe/Berlin"
roster = "people/roster.csv"
colour = "red"

[[student]]
email = "Cyd@example.org"
id = "cyd"
group = "B"

[[item]]
name = "hw1"
due = 2026-12-01T18:00:00
groups = ["B"]
exclude = ["solution*"]
extensions = {"cyd@example.org" = 2026-12-03}

[[item]]
name = "hw2"
path = "homework/2"
to = "homework/2"
policy = "update"
due = 2026-12-01T18:00:00Z
"""
ROSTER = b"E-mail;First name;Last name;ID;Room\nada@example.org;Ada;Lovelace;ada;7\nbob@example.org;Bob;;;8\n"


def test_a_class_is_read() -> None:
    assert roster_path(CLASS) == "people/roster.csv"
    made = read_class(CLASS, ROSTER)
    assert [(student.id, student.name, student.group) for student in made.students] == [
        ("ada", "Ada Lovelace", ""),
        ("bob@example.org", "Bob", ""),
        ("cyd", "cyd@example.org", "B"),
    ]
    assert made.notes == ("column 'Room' of the roster means nothing here", "'colour' means nothing here")
    first, second = made.items
    ada, _, cyd = made.students
    assert first.due_for(ada) == datetime(2026, 12, 1, 17, tzinfo=UTC)
    assert first.due_for(cyd) == datetime(2026, 12, 3, 22, 59, 59, tzinfo=UTC)
    assert (first.path, first.to, first.policy, first.exclude) == ("hw1", "hw1", "merge", ("solution*",))
    assert first.is_for(cyd)
    assert not first.is_for(ada)
    assert second.is_for(ada)
    assert second.due == datetime(2026, 12, 1, 18, tzinfo=UTC)
    assert (made.collected_path(second, ada), made.graded_path(second, ada)) == ("collected/hw2/ada", "graded/hw2/ada")
    assert made.chosen(["hw2", "hw2"]) == (second,)
    with pytest.raises(InvalidArgument, match="no item 'hw3' in the class; there are: hw1, hw2"):
        made.chosen(["hw3"])


def test_the_sample_of_the_docs_is_a_class_as_it_stands() -> None:
    text = (Path(__file__).parents[3] / "docs/classes.md").read_text()
    (sample,) = re.findall(r"^```toml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    made = read_class(sample, b"email,id,first name,last name,group\n")
    assert made.notes == ()
    assert [item.name for item in made.items if not any(map(item.is_for, made.students))] == []
    assert [student.name for student in made.students] == ["Ada Lovelace"]


def test_what_is_about_nobody_is_told() -> None:
    head = '[[student]]\nemail = "a@b"\nid = "ada"\ngroup = "A"\n[[item]]\nname = "hw1"\n'
    notes = read_class(head + 'groups = ["B", "C"]\nextensions = {ada = 2026-12-03}\n').notes
    assert notes == (
        "item 'hw1': nobody is in group 'B'",
        "item 'hw1': nobody is in group 'C'",
        "item 'hw1' is for nobody; give its students a group, or leave its groups out",
        "item 'hw1': the extension of ada means nothing, for the item is not for ada",
    )
    assert read_class(head + 'groups = ["A", "C"]\n').notes == ("item 'hw1': nobody is in group 'C'",)
    assert read_class('[[item]]\nname = "hw1"\ngroups = ["A"]\n').notes == ()


def test_the_layout_of_nbgrader() -> None:
    made = read_class('layout = "nbgrader"\n[[student]]\nemail = "a@b.org"\nid = "ada"\n[[item]]\nname = "ps1"\n')
    (item,), (ada,) = made.items, made.students
    assert (item.path, item.to) == ("release/ps1", "ps1")
    assert made.collected_path(item, ada) == "submitted/ada/ps1"
    assert made.graded_path(item, ada) == "feedback/ada/ps1"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("title =", "no TOML"),
        ("title = 7", "title is 7"),
        ('layout = "moodle"', "layout is 'moodle'"),
        ('timezone = "Mars/Olympus"', "timezone is 'Mars/Olympus'"),
        ('timezone = "../../etc/passwd"', "timezone is"),
        ("student = 7", "'student' is no list"),
        ('[[student]]\nemail = "nobody"', "student 1: 'nobody' is no e-mail address"),
        ('[[student]]\nid = "x"', "student 1: '' is no e-mail address"),
        ('[[student]]\nemail = "a@b"\nid = "../x"', "'../x' cannot be a student's id"),
        ('[[student]]\nemail = "a@b"\nid = ".."', "cannot be a student's id"),
        ('[[student]]\nemail = "a@b"\nmail = "x"', "student 1: 'mail' is unknown"),
        ('[[student]]\nemail = "a@b"\n[[student]]\nemail = "A@B"', "is there twice"),
        ('[[student]]\nemail = "a@b"\nid = "x"\n[[student]]\nemail = "c@d"\nid = "X"', "student id 'x' is there twice"),
        ("[[item]]", "the name of an item is None"),
        ('[[item]]\nname = "a/b"', "'a/b' cannot be a part of paths"),
        ('[[item]]\nname = "a"\n[[item]]\nname = "A"', "item 'A' is there twice"),
        ('[[item]]\nname = "a"\npath = "../a"', "path is '../a'"),
        ('[[item]]\nname = "a"\nto = "/"', "to is '/'"),
        ('[[item]]\nname = "a"\npolicy = "force"', "policy is 'force'"),
        ('[[item]]\nname = "a"\ndue = "soon"', "due is 'soon'"),
        ('[[item]]\nname = "a"\ndue = 7', "due is 7"),
        ('[[item]]\nname = "a"\ngroups = "A"', "groups is 'A'"),
        ('[[item]]\nname = "a"\nsize = 7', "'size' is unknown"),
        ('[[item]]\nname = "a"\nextensions = {"x@y" = 2026-01-01}', "extensions name 'x@y'"),
        ('[[item]]\nname = "a"\nto = "x"\n[[item]]\nname = "b"\nto = "x"', "one inside of the other"),
        ('[[item]]\nname = "a"\nto = "x"\n[[item]]\nname = "b"\nto = "x/y"', "one inside of the other"),
        ('[[item]]\nname = "a"\nto = "x"\n[[item]]\nname = "b"\nto = "x-graded"', "one inside of the other"),
        ('timezone = "America/New_York"\n[[item]]\nname = "a"\ndue = 9999-12-31', "due is"),
        ('timezone = "Asia/Tokyo"\n[[item]]\nname = "a"\ndue = 0001-01-01T00:00:00', "due is"),
        ("title = " + "1" * 5000, "no TOML"),
        ('[[item]]\nname = "a"\n[[item]]\nname = "A.csv"', "'a.csv' is the list"),
        ('layout = "nbgrader"\n[[student]]\nemail = "a@b"\nid = "a.csv"\n[[item]]\nname = "a"', "'a.csv' is the list"),
    ],
)
def test_what_is_wrong_is_told(text: str, told: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        read_class(text)
    assert told in caught.value.message


def test_a_class_file_of_another_editor() -> None:
    text = class_text(b'\xef\xbb\xbftitle = "S"\r\n')
    assert read_class(text).title == read_class("\ufefftitle = 'S'").title == "S"
    with pytest.raises(InvalidArgument, match="line 2 of the class file is no UTF-8"):
        class_text(b"title = 'S'\n# \xfc\n")


@pytest.mark.parametrize(
    ("ms", "at"),
    [(-1, "1970-01-01 00:00:00"), (1_500, "1970-01-01 00:00:01"), (2**62, "9999-12-31 23:59:59")],
)
def test_a_file_has_any_time(ms: int, at: str) -> None:
    assert f"{file_time(ms):%Y-%m-%d %H:%M:%S}" == at


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read_class(text)
    except InvalidArgument:
        pass


def project(student: str, **fields: Any) -> Any:
    base = {"project_id": f"p-{student}", "student": student, "title": "", "deleted": False, "course": {}}
    return base | {"users": {}, "invited": []} | fields


def test_what_is_missing_is_found_and_the_second_time_nothing() -> None:
    made = read_class(CLASS, ROSTER)
    accounts, teachers = {"ada@example.org": "a-ada", "bob@example.org": "a-bob"}, ["me", "ta"]
    everything = needed(made, [], accounts, teachers)
    assert everything[:3] == [
        Change(kind=ChangeKind.CREATE, student="ada"),
        Change(kind=ChangeKind.ADD, student="ada", who="a-ada"),
        Change(kind=ChangeKind.ADD_TEACHER, student="ada", who="ta"),
    ]
    assert everything[-2] == Change(kind=ChangeKind.INVITE, student="cyd", who="cyd@example.org")
    everybody = {"me": {"group": "owner"}, "ta": {"group": "collaborator"}}
    found = [
        project("ada", users=everybody | {"a-ada": {"group": "collaborator"}}),
        project("bob@example.org", users={"me": {"group": "owner"}}, deleted=True),
        project("cyd", users=everybody, invited=["cyd@example.org"]),
        project("dan", users=everybody),
    ]
    assert needed(made, found, accounts, teachers) == [
        Change(kind=kind, student="bob@example.org", project_id="p-bob@example.org", who=who)
        for kind, who in ((ChangeKind.UNDELETE, None), (ChangeKind.ADD, "a-bob"), (ChangeKind.ADD_TEACHER, "ta"))
    ]
    assert [each["student"] for each in departed(made, found)] == ["dan"]


def test_who_teaches_and_learns_is_added_once() -> None:
    text = '[[student]]\nemail = "me@b"\n[[student]]\nemail = "ta@b"\n'
    changes = needed(read_class(text), [], {"me@b": "me", "ta@b": "ta"}, ["me", "ta"])
    assert [(each.kind, each.student, each.who) for each in changes] == [
        (ChangeKind.CREATE, "me@b", None),
        (ChangeKind.ADD_TEACHER, "me@b", "ta"),
        (ChangeKind.CREATE, "ta@b", None),
        (ChangeKind.ADD, "ta@b", "ta"),
    ]


AT = datetime(2026, 12, 1, 18, tzinfo=UTC)


@given(
    st.dictionaries(
        st.from_regex(r"[a-z][a-z0-9.@-]{0,9}", fullmatch=True),
        st.tuples(*(st.none() | st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)) for _ in range(7))),
    )
)
def test_a_register_is_read_as_it_was_written(people: dict[str, tuple[datetime | None, ...]]) -> None:
    rows = {}
    for number, (student, times) in enumerate(people.items()):
        due, *others = (at and at.replace(microsecond=0, tzinfo=UTC) for at in times)
        changed_at, returned_at, earlier_at, newest_at, earlier_changed_at, earlier_newest_at = others
        rows[student] = Collected(
            student=student,
            email_address='"odd", one',
            project_id="p",
            due=due,
            changed_at=changed_at,
            files=number,
            collected_at=AT,
            returned_at=returned_at,
            earlier_at=earlier_at,
            newest_at=newest_at,
            earlier_changed_at=earlier_changed_at,
            earlier_newest_at=earlier_newest_at,
        )
    text = write_register(reversed(rows.values()))
    assert read_register(text) == rows
    assert write_register(read_register(text).values()) == text


def test_who_is_late() -> None:
    row = Collected(
        student="a",
        email_address="a@b",
        project_id="p",
        due=AT,
        changed_at=AT.replace(hour=19),
        files=1,
        collected_at=AT,
    )
    assert row.late_s == 3600
    assert ",3600," in write_register([row])
    assert Collected(**{**{name: getattr(row, name) for name in row.__slots__}, "due": None}).late_s == 0


def collected(student: str, minute: int, changed: int | None = 0, **fields: Any) -> Collected:
    changed_at = None if changed is None else AT.replace(minute=changed)
    return Collected(
        student=student, email_address="", project_id="p", due=None, changed_at=changed_at, files=1,
        collected_at=AT.replace(minute=minute), **({"newest_at": changed_at} | fields),
    )  # fmt: skip


def test_of_two_who_collect_at_once_the_later_counts() -> None:
    old, mine = collected("a", 1), collected("a", 5, 3)
    assert with_collected({"a": old}, [mine], seen={"a": old}) == {"a": mine}
    assert with_collected({"b": old}, [mine], seen={}) == {"a": mine, "b": old}
    for theirs, counts in ((collected("a", 4, 9), mine), (collected("a", 6), None), (collected("a", 5, 4), None),
                           (collected("a", 5, None), mine)):  # fmt: skip
        assert with_collected({"a": theirs}, [mine], seen={"a": old}) == {"a": counts or theirs}
    # The hub's clock was put back since: nobody else has collected.
    assert with_collected({"a": mine}, [old], seen={"a": mine}) == {"a": old}


def test_rows_of_what_is_gone_are_taken_out_unless_they_were_written_anew() -> None:
    a, b, new = collected("a", 1), collected("b", 1), collected("b", 5)
    assert without({"a": a, "b": b}, {"a": a}) == {"b": b}
    assert without({"a": a, "b": new}, {"a": a, "b": b}) == {"b": new}


def test_what_was_collected_before_is_there_again() -> None:
    row = collected("a", 9, 8, earlier_at=AT.replace(minute=2), returned_at=AT)
    assert put_back(row, AT.replace(minute=8), 3) == row
    assert put_back(row, AT.replace(minute=59), 3) == row  # somebody has worked on it
    first = put_back(row, AT.replace(minute=1), 3)
    assert (first.changed_at, first.files, first.collected_at) == (AT.replace(minute=1), 3, AT.replace(minute=2))
    assert (first.earlier_at, first.returned_at) == (None, AT)
    told = {"earlier_newest_at": AT.replace(minute=30), "earlier_changed_at": None}
    newer = put_back(collected("a", 9, 8, earlier_at=AT, **told), AT.replace(minute=30), 1)
    assert (newer.changed_at, newer.newest_at, newer.earlier_newest_at) == (None, AT.replace(minute=30), None)
    once = collected("a", 9, 8)
    assert put_back(once, AT.replace(minute=1), 3) == once


def test_a_register_of_an_older_client_is_read() -> None:
    text = "\n".join(line.rsplit(",", 4)[0] for line in write_register([collected("a", 1)]).splitlines())
    assert read_register(text) == {"a": collected("a", 1)}


def test_a_register_that_is_no_text_is_refused() -> None:
    assert register_of(write_register([collected("a", 1)]).encode()).keys() == {"a"}
    with pytest.raises(InvalidArgument, match="no UTF-8"):
        register_of(b"student\xff\n")


@pytest.mark.parametrize(
    "text", ["student\nx\n", "student,email,project_id,due,changed_at,files,collected_at\na,b,c,x,,1,\n"]
)
def test_a_spoiled_register_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="cannot be read"):
        read_register(text)


def planned(path: str, status: str, action: str = "keep", size: int = 1, mtime: int = 2) -> dict[str, Any]:
    return {"path": f"hw1/{path}", "status": status, "action": action, "size": size, "mtime": mtime}


def test_what_is_a_students_own() -> None:
    target = {"target_path": "hw1", "counts": {"conflict": 1}}
    files = [
        planned("a.py", "changed_by_them", mtime=5_000),
        planned("b", "conflict", "beside", mtime=6_000),
        planned("mine/x", "would_be_deleted"),
        planned("left_out", "would_be_deleted", "delete"),
        planned("a.new.py", "would_be_deleted", mtime=5_000),  # as it was put there
        planned("b.new", "would_be_deleted", mtime=5_000),  # an older one, or they have worked on it
        planned("c.new.py", "would_be_deleted", mtime=5_000),  # beside nothing
    ]
    touched = touched_of(target, files)
    assert touched == {"a.py", "b", "mine/x", "b.new", "c.new.py"}
    # A conflict that no file is told of, or a path elsewhere: who knows.
    assert touched_of({**target, "counts": {"conflict": 2}}, files) is None
    assert touched_of({**target, "target_path": "hw"}, files) is None

    collected = {"target_path": "c/s"}
    listed = [{"path": f"c/s/{name}", "status": "new", "mtime": ms} for name, ms in
              (("a.py", 1_000), ("b/in", 3_000), ("same.py", 9_000))]  # fmt: skip
    listed.append({"path": "c/s/gone", "status": "would_be_deleted", "mtime": 99_000})
    work = Work(files=3).with_files(collected, listed, touched)
    assert (work.changed_at, work.newest_at) == (file_time(3_000), file_time(9_000))
    assert Work().with_files(collected, listed, None).changed_at == file_time(9_000)
    assert Work().with_files(collected, listed, frozenset()).changed_at is None
    assert Work().with_files({"target_path": "d"}, listed, frozenset()).changed_at == file_time(9_000)
