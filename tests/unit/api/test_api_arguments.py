"""Whatever is sent as arguments becomes the method's dataclass, or a sentence that names method and argument."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projecthub.api.arguments import parse
from projecthub.errors import InvalidArgument
from projecthub.wire.methods import METHODS, Endpoint, Form, Method
from projecthub.wire.shapes import NoArguments

HUB = METHODS[Endpoint.HUB]
ROWS = [row for table in METHODS.values() for row in table.values()]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def options_of(row: Method) -> st.SearchStrategy[dict[str, Any]]:
    names = [field.name for field in dataclasses.fields(row.arguments)] or ["anything"]
    return st.dictionaries(st.sampled_from(names) | st.text(max_size=5), JSON, max_size=6)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.endpoint.name} {row.name}")
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_anything_is_arguments_or_refused_in_a_sentence(row: Method, data: st.DataObject) -> None:
    options = data.draw(options_of(row) | JSON)
    wrapped = {"opts": options} if row.form is Form.OPTS and data.draw(st.booleans()) else options
    args = data.draw(st.sampled_from([[wrapped], [wrapped, 5], []]))
    try:
        arguments = parse(row, args)
    except InvalidArgument as error:
        assert row.name in error.message
        assert len(error.message) < 500
        assert "\n" not in error.message.replace("\\n", "")
    else:
        assert type(arguments) is row.arguments


@pytest.mark.parametrize(
    ("name", "args", "sentence"),
    [
        ("projects.start", ["x"], 'the first argument of projects.start is "x"; give an object with its options'),
        ("projects.start", [[]], "the first argument of projects.start is []; give an object with its options"),
        ("projects.start", [{"project_id": []}], "argument 'project_id' of projects.start is []; give text"),
        ("projects.createProject", [{"start": "perhaps"}], "argument 'start' of projects.createProject"),
        ("projects.createProject", [{"ephemeral": 1.5}], "is 1.5; give a whole number"),
        ("projects.createProject", [{"customize": 5}], "is 5; give an object"),
        ("projects.copyPathBetweenProjects", [{"exclude": "x"}], 'is "x"; give a list'),
        ("projects.addCollaborator", [{"project_id": "x"}], "argument 'opts' of projects.addCollaborator is null"),
        ("projects.addCollaborator", [{"opts": {"project_id": {}}}], "is {}; give a list or text"),
        ("system.getNames", [5], "argument 'account_ids' of system.getNames is 5; give a list"),
        ("system.getNames", [], "argument 'account_ids' of system.getNames is missing"),
        ("accounts.create", [{}], "argument 'email_address' of accounts.create is missing"),
        ("keys.revoke", [{"id": "x"}], "argument 'id' of keys.revoke is \"x\"; give a whole number"),
    ],
)
def test_sentences(name: str, args: list[Any], sentence: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        parse(HUB[name], args)
    assert sentence in refused.value.message


def test_what_is_null_or_unknown_was_not_given() -> None:
    row = HUB["projects.createProject"]
    assert parse(row, [{"title": None, "noPool": True, "account_id": "somebody else"}]) == row.arguments()
    assert parse(row, [None]) == row.arguments()
    assert parse(HUB["system.ping"], ["anything", 5]) == NoArguments()
    assert parse(HUB["projects.createProject"], [{"title": 5}]).title == "5"
    assert parse(HUB["system.getNames"], [["a", "b"]]).account_ids == ["a", "b"]


def test_a_long_value_is_shown_in_part() -> None:
    with pytest.raises(InvalidArgument) as refused:
        parse(HUB["projects.start"], [{"project_id": ["x" * 10_000]}])
    assert len(refused.value.message) < 200
