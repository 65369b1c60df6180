from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projecthub.client.requests import GRACE_S, REPEATABLE, is_get, of_method, raw, to_timeout_ms
from projecthub.errors import InvalidArgument
from projecthub.wire import shapes
from projecthub.wire.methods import METHODS, Endpoint

HUB, PROJECT = METHODS[Endpoint.HUB], METHODS[Endpoint.PROJECT]


def body(request: Any) -> Any:
    return json.loads(request.body)


def test_none_is_not_sent_and_false_is() -> None:
    request = of_method(HUB["projects.createProject"], shapes.CreateProject(title="T"))
    assert body(request) == {"name": "projects.createProject", "args": [{"title": "T", "start": False}]}


def test_the_forms_of_arguments() -> None:
    add = of_method(HUB["projects.addCollaborator"], shapes.AddCollaborator(project_id="p", account_id=["a"]))
    assert body(add)["args"] == [{"opts": {"project_id": "p", "account_id": ["a"]}}]
    assert body(of_method(HUB["system.getNames"], shapes.Names(account_ids=["a", "b"])))["args"] == [["a", "b"]]
    assert body(of_method(HUB["system.ping"], shapes.NoArguments()))["args"] == [{}]


def test_a_bound_in_seconds_is_sent_in_milliseconds() -> None:
    request = of_method(PROJECT["system.exec"], shapes.Exec(command="ls", timeout=1.5), project_id="p", timeout_s=1.5)
    assert body(request) == {
        "name": "system.exec",
        "args": [{"command": "ls", "timeout": 1.5}],
        "project_id": "p",
        "timeout": 1500,
    }
    assert request.wait_s == 1.5 + GRACE_S


@pytest.mark.parametrize("wrong", [0, -1, math.inf, math.nan, True, "5"])
def test_a_bound_that_is_no_positive_number_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidArgument, match="seconds"):
        to_timeout_ms(wrong)
    with pytest.raises(InvalidArgument, match="milliseconds"):
        raw(Endpoint.HUB, "system.ping", [], timeout_ms=wrong)


def test_a_short_bound_is_not_sent_as_zero() -> None:
    assert to_timeout_ms(0.0001) == 1


def cycle() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize("value", [math.nan, math.inf, b"bytes", {1, 2}, object(), "half \ud800", cycle()])
def test_what_is_not_json_is_refused_before_it_is_sent(value: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"arguments of x\.y"):
        raw(Endpoint.HUB, "x.y", [{"value": value}])


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=8))
def test_arguments_arrive_as_they_were(value: Any) -> None:
    assert json.loads(raw(Endpoint.HUB, "x.y", [value]).body)["args"] == [value]


def test_a_path_that_is_no_utf8_is_named_with_what_to_do() -> None:
    arguments = shapes.CopyPath(src_project_id="p", src_path="hw/caf\udce9", target_project_id="q")
    method = METHODS[Endpoint.HUB]["projects.copyPathBetweenProjects"]
    with pytest.raises(InvalidArgument, match=r"'hw/caf\\udce9' .*copyPathBetweenProjects is no UTF-8.*files.move"):
        of_method(method, arguments)


def test_every_repeatable_method_is_in_the_table() -> None:
    assert {name for endpoint, name in REPEATABLE if name not in METHODS[endpoint]} == set()


@pytest.mark.parametrize("name", ["accounts.create", "keys.create", "keys.revoke", "projects.copyPathBetweenProjects"])
def test_calls_that_do_more_the_second_time_are_not_repeated(name: str) -> None:
    assert (Endpoint.HUB, name) not in REPEATABLE
    assert not raw(Endpoint.HUB, name, [{}]).repeatable


@pytest.mark.parametrize(
    ("query", "options", "expected"),
    [
        ({"projects": [{"project_id": None}]}, None, True),
        ({"accounts": {"profile": {"color": None}}}, None, True),
        ({"accounts": {"first_name": "x"}}, None, False),
        ({}, None, False),
        (None, None, True),
        ([], None, False),
        ([{"a": {"x": None}}, {"b": {"x": 1}}], None, False),
        ([{"a": {"x": None}}, {"b": {"x": None}}], None, True),
        ({"projects": {"x": None}}, [{"set": True}], False),
        ({"projects": {"x": 1}}, [{"limit": 1}, {"set": False}], True),
        ({"projects": {"x": None}}, [{"delete": True}], False),
    ],
)
def test_which_queries_only_read(query: Any, options: Any, expected: bool) -> None:
    assert is_get(query, options) is expected
