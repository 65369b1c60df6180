"""Rosters as people's programs write them."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projecthub.cli.rosters import MAX_BYTES, read_roster
from projecthub.errors import InvalidArgument

TWO = [
    {"line": 2, "email_address": "ada@example.org", "first_name": "Ada", "last_name": "Lovelace"},
    {"line": 3, "email_address": "bob@example.org"},
]


@pytest.mark.parametrize(
    "text",
    [
        "email,first name,last name\nada@example.org,Ada,Lovelace\nbob@example.org,,\n",
        "email;first name;last name\r\nada@example.org;Ada;Lovelace\r\nbob@example.org",
        "\ufeffE-Mail;First_Name;LAST-NAME\nada@example.org;Ada;Lovelace\nbob@example.org;;\n\n;;\n",
        '"mail", "given name", "surname"\n"ada@example.org", "Ada", "Lovelace"\n"bob@example.org"\n',
        " email_address ,firstname,lastname\n ada@example.org , Ada , Lovelace \nbob@example.org, , ",
    ],
)
def test_one_roster_written_in_many_ways(text: str) -> None:
    assert read_roster(text.encode()) == (TWO, [])


def test_roles_and_who_is_disabled() -> None:
    rows, unused = read_roster(b"email,Role,Disabled,Group,\na@x,ADMIN,Yes,1,\nb@x,user,no,2,\nc@x,,,3,\n")
    assert unused == ["Group"]
    assert rows == [
        {"line": 2, "email_address": "a@x", "role": "admin", "disabled": True},
        {"line": 3, "email_address": "b@x", "role": "user", "disabled": False},
        {"line": 4, "email_address": "c@x"},
    ]


def test_lines_are_counted_as_an_editor_shows_them() -> None:
    rows, _ = read_roster(b'email,first name\n\na@x,"two\nlines"\n\n\nb@x,B\n')
    assert [(row["line"], row.get("first_name")) for row in rows] == [(3, "two\nlines"), (7, "B")]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "line 1 has no column for the e-mail address"),
        (b"ada@example.org,Ada,Lovelace\n", "line 1 has no column for the e-mail address"),
        (b"email,mail\n", "several columns for email_address"),
        (b"email\nada@example.org\n\xff@x\n", "line 3 is no UTF-8"),
        (b'email,first name\na@x,A\nb@x,"B\n', "line 3 is no CSV"),
        (b'email,first name\na@x,"A" B\n', "line 2 is no CSV"),
        (b"email,first name\n,A\na@x,A,B\n", "line 2: there is no e-mail address; line 3: 3 values in 2 columns"),
        (b"email,disabled\na@x,perhaps\n", "line 2: disabled is 'perhaps'; give yes or no"),
        (b"email\n" + b"x" * MAX_BYTES, "give at most"),
        (b"email,first name\n" + b",x\n" * 25, "line 21: there is no e-mail address; and 5 more"),
    ],
)
def test_what_is_no_roster(content: bytes, words: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        read_roster(content)
    assert words in refused.value.message


names = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\0\r"), min_size=1, max_size=20
).filter(lambda text: text == text.strip())


@given(
    st.lists(st.tuples(st.from_regex(r"[a-z]{1,8}@[a-z]{1,8}", fullmatch=True), names, names), max_size=8),
    st.sampled_from(",;"),
    st.booleans(),
    st.sampled_from(["\n", "\r\n"]),
)
def test_what_a_program_writes_is_read(people: list[Any], delimiter: str, mark: bool, end: str) -> None:
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter, lineterminator=end)
    writer.writerow(["email", "first name", "last name"])
    writer.writerows(people)
    rows, unused = read_roster(file.getvalue().encode("utf-8-sig" if mark else "utf-8"))
    assert unused == []
    assert [(row["email_address"], row["first_name"], row["last_name"]) for row in rows] == people


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    for given_bytes in (content, b"email,disabled\n" + content):
        try:
            rows, _ = read_roster(given_bytes)
        except InvalidArgument:
            continue
        assert all(row["email_address"].strip() for row in rows)
