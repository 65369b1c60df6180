"""The table of methods is consistent in itself, and the hub has a handler for each row of its endpoint."""

from __future__ import annotations

import dataclasses
import re
import typing

import pytest

from projecthub.api.handlers import HANDLERS
from projecthub.wire import (
    audit,
    copies,
    courses,
    histories,
    messages,
    organizations,
    project_system,
    shapes,
    sharing,
    snapshots,
)
from projecthub.wire.methods import METHODS, Endpoint, Form, Method

SHAPES = (shapes, copies, courses, messages, organizations, audit, histories, project_system, sharing, snapshots)
BARE = "ping"
"""The one method whose name has no group."""
ROWS = [row for table in METHODS.values() for row in table.values()]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.endpoint.name} {row.name}")
def test_every_row(row: Method) -> None:
    assert row.name == BARE or re.fullmatch(r"[a-z]+\.[a-z]+([A-Z][a-z]+)*", row.name)
    assert dataclasses.is_dataclass(row.arguments)
    assert any(getattr(module, row.arguments.__name__, None) is row.arguments for module in SHAPES)
    assert row.source.startswith(("Wire contract ", "docs/"))
    fields = dataclasses.fields(row.arguments)
    if row.form is Form.LIST:
        assert len(fields) == 1
    typing.get_type_hints(row.arguments)
    assert METHODS[row.endpoint][row.name] is row


def test_every_method_of_the_hub_has_a_handler_and_no_other_has() -> None:
    assert set(HANDLERS) == set(METHODS[Endpoint.HUB])


def test_every_shape_of_arguments_is_used() -> None:
    dataclasses_ = {value for module in SHAPES for value in vars(module).values() if dataclasses.is_dataclass(value)}
    assert dataclasses_ == {row.arguments for row in ROWS}


def test_arguments_cannot_be_changed_and_have_names() -> None:
    for row in ROWS:
        assert row.arguments.__dataclass_params__.frozen  # type: ignore[attr-defined]
        assert all(field.kw_only for field in dataclasses.fields(row.arguments))


def test_the_twelve_operations_are_there() -> None:
    names = set(METHODS[Endpoint.HUB])
    projects = ["createProject", "copyPathBetweenProjects", "addCollaborator", "removeCollaborator", "start", "stop"]
    projects += ["deleteProject", "state", "status", "touch"]
    assert {"db.userQuery", *(f"projects.{name}" for name in projects)} <= names
