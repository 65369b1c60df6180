"""What the audit log keeps of calls is decided for every method, every field and every route."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import fields
from typing import Any
from uuid import uuid4

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from projecthub.api.audit_targets import _OTHERS, MAX_LISTED, MAX_VALUE, NAMED, UNNAMED, bounded, made_by, target_of
from projecthub.api.auditing import SAFE, is_change
from projecthub.api.native import archives, files, jobs, jupyter, snapshots, trash, uploads
from projecthub.hub.audited_calls import MAX_PROJECTS, rows_of
from projecthub.hub.copies.requests import MAX_PAIRS
from projecthub.wire import copies, messages, organizations, shapes
from projecthub.wire.methods import METHODS, Ability, Caller, Endpoint, Method

HUB = METHODS[Endpoint.HUB]
ROWS = [row for rows in METHODS.values() for row in rows.values()]
ROUTES = [
    route
    for noun in (jobs, jupyter, files, archives, snapshots, trash, uploads)
    for route in noun.make_router().routes
    if isinstance(route, APIRoute)
]
SECRETS = {"password", "current_password", "token", "token_id", "content", "command", "args", "body", "subject", "env"}
ONE = "a11a0000-0000-4000-8000-000000000001"
TWO = "a11a0000-0000-4000-8000-000000000002"


def test_it_is_decided_for_every_field_whether_it_is_kept() -> None:
    given = {
        field.name for row in ROWS if row.is_mutating or row.name == "db.userQuery" for field in fields(row.arguments)
    }
    assert not given - NAMED - UNNAMED
    assert given >= NAMED | UNNAMED
    assert not NAMED & UNNAMED
    assert not NAMED & SECRETS
    for method, field in _OTHERS:
        assert field in {each.name for each in fields(HUB[method].arguments)}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.endpoint.name} {row.name}")
def test_what_changes_something_is_told_by_the_table(row: Method) -> None:
    if row.name == "db.userQuery":
        return
    notes = row.name in ("accounts.signIn", "accounts.signOut", "db.touch", "copies.plan")
    assert is_change(row, None) is (row.needs is not Ability.READ or notes)
    if row.caller is Caller.ANYONE:
        assert row.is_mutating


@pytest.mark.parametrize(
    ("query", "options", "changes"),
    [
        ({"projects": {"project_id": ONE, "title": "x"}}, None, True),
        ({"projects": {"project_id": ONE, "title": None}}, None, False),
        ({"projects": {"project_id": ONE, "title": None}}, [{"set": True}], True),
        ({"projects": {"project_id": ONE}}, [{"set": False}], False),
        ({"public_paths": {"project_id": ONE, "path": None}}, [{"delete": True}], True),
        ([{"projects": {"title": None}}, {"projects": {"project_id": ONE, "title": "x"}}], None, True),
        ([{"projects": {"project_id": ONE, "title": "x"}}, 5], None, True),
        ([5, {"projects": {"project_id": ONE, "title": "x"}}], None, False),
        (None, None, False),
        ({"projects": {"title": "x"}}, "no options", False),
    ],
)
def test_what_user_queries_change(query: Any, options: Any, changes: bool) -> None:
    arguments = shapes.UserQuery(query=query, options=options)
    assert is_change(HUB["db.userQuery"], arguments) is changes


def abilities_of(dependant: Dependant) -> Iterator[Ability]:
    for inner in dependant.dependencies:
        if inner.call is not None and "needs" in inspect.getclosurevars(inner.call).nonlocals:
            yield inspect.getclosurevars(inner.call).nonlocals["needs"]
        yield from abilities_of(inner)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{sorted(route.methods)} {route.path}")
def test_every_route_tells_who_may_use_it_and_what_changes_something_is_not_for_readers(route: APIRoute) -> None:
    abilities = set(abilities_of(route.dependant))
    assert abilities, "the route takes no Member, and nobody is asked who he is"
    is_safe = route.methods <= SAFE
    assert is_safe or route.methods.isdisjoint(SAFE)
    assert is_safe or Ability.READ not in abilities


def test_routes_were_found() -> None:
    assert len(ROUTES) > 35


@pytest.mark.parametrize(
    ("name", "arguments", "target"),
    [
        ("projects.start", shapes.ProjectOnly(project_id=ONE), {"project_id": ONE}),
        ("keys.revoke", shapes.RevokeKey(id=5), {"id": 5}),
        (
            "accounts.update",
            shapes.UpdateAccount(account_id="a@x", first_name="hidden", admin=False, disabled=False),
            {"account_id": "a@x", "admin": False, "disabled": False},
        ),
        ("accounts.setPassword", shapes.SetPassword(account_id="a@x", password="hidden"), {"account_id": "a@x"}),
        ("accounts.signIn", shapes.SignIn(email_address="a@x", password="hidden"), {"email_address": "a@x"}),
        ("messages.send", messages.SendMessage(to_ids=["a@x"], subject="hidden", body="hidden"), {"to_ids": ["a@x"]}),
        (
            "projects.setQuotas",
            shapes.SetQuotas(project_id=ONE, memory=1500, cores=0.5, network=0, always_running=1),
            {"project_id": ONE, "memory": 1500, "cores": 0.5, "network": 0, "always_running": 1},
        ),
        ("org.addUser", organizations.OrganizationUser(name="acme", user="a@x"), {"name": "acme", "user": "a@x"}),
        (
            "projects.inviteCollaborator",
            shapes.InviteCollaborator(project_id=ONE, account_id=ONE, email="hidden", subject="hidden"),
            {"project_id": ONE, "account_id": ONE},
        ),
        (
            "projects.copyPaths",
            copies.CopyPaths(source={"public_path_id": "f" * 40, "path": "hidden"}, targets=[ONE]),
            {"project_id": [ONE], "public_path_id": "f" * 40, "policy": "update"},
        ),
    ],
)
def test_what_calls_name(name: str, arguments: Any, target: dict[str, Any]) -> None:
    assert target_of(HUB[name], arguments) == target


def test_what_commands_and_queries_name() -> None:
    command = METHODS[Endpoint.PROJECT]["system.exec"]
    assert target_of(command, {"command": "hidden", "env": {"a": "hidden"}, "path": "src"}) == {"path": "src"}
    assert not is_change(command, {"async_get": "id"})
    query = shapes.UserQuery(
        query={"projects": {"project_id": ONE, "title": "hidden", "env": {"a": "hidden"}}},
        options=[{"set": True}, {"account_id": ONE}],
    )
    assert target_of(HUB["db.userQuery"], query) == {
        "table": "projects",
        "project_id": ONE,
        "fields": ["title", "env"],
        "as_account_id": ONE,
    }
    two = [{"accounts": {"first_name": "hidden"}}, {"projects": [{"project_id": ONE, "first_name": "", "name": ""}]}]
    named = target_of(HUB["db.userQuery"], shapes.UserQuery(query=two))
    assert named == {"table": ["accounts", "projects"], "project_id": ONE, "fields": ["first_name", "name"]}


def test_whatever_is_named_is_small_and_can_be_stored() -> None:
    odd: dict[str, Any] = {
        "path": "\ud800\0" + "x" * 5000, "paths": ["y" * 5000] * 5000, "id": 2**40, "flag": False,
        "other": {"deep": []}, "more": None,
    }  # fmt: skip
    kept = bounded(odd)
    assert set(kept) <= {"path", "paths", "id", "more"}
    assert len(str(kept)) < 5000
    assert str(kept).encode()
    many = bounded({"ids": ["z"] * 5000, "name": "n" * (MAX_VALUE + 1)})
    assert (len(many["ids"]), len(many["name"])) == (MAX_LISTED, MAX_VALUE)


def test_nobody_hides_what_a_call_names_behind_much_else() -> None:
    projects, people = ([str(uuid4()) for _ in range(1000)] for _ in range(2))
    added = shapes.AddCollaborator(project_id=projects, account_id=people)
    assert target_of(HUB["projects.addCollaborator"], added) == {"project_id": projects, "account_id": people}
    kept = bounded({"paths": [f"{number}" + "p" * 300 for number in range(50)], "dest": "d", "project_id": ONE})
    assert 10 < len(kept.pop("paths")) < 20
    assert kept == {"dest": "d", "project_id": ONE, "more": True}


@pytest.mark.parametrize("query", [None, 5, [], [[]], {"a": 1, "b": 2}, {"projects": [[]]}, {"projects": {"id": {}}}])
def test_queries_of_any_form_are_named_somehow(query: Any) -> None:
    target_of(HUB["db.userQuery"], shapes.UserQuery(query=query, options=query))


@pytest.mark.parametrize("request_", [copies.PlanCopies, copies.CopyPaths])
def test_all_projects_of_the_largest_copy_are_kept(request_: Any) -> None:
    ids = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(2 * MAX_PAIRS)]
    name = "copies.plan" if request_ is copies.PlanCopies else "projects.copyPaths"
    sources = [{"project_id": one, "path": "a"} for one in ids[:MAX_PAIRS]]
    assert target_of(HUB[name], request_(sources=sources, targets=ids[MAX_PAIRS:]))["project_id"] == ids
    told = made_by(HUB["copies.apply"])
    assert told is not None
    rows = [{"source_project_id": one, "target_project_id": two} for one, two in zip(ids[::2], ids[1::2], strict=True)]
    assert told({"id": TWO, "targets": rows}) == {"project_id": ids}
    assert len(rows_of({"target": {"project_id": ids}}, {})) == len(ids) <= MAX_PROJECTS
    assert len(target_of(HUB["messages.send"], messages.SendMessage(to_ids=ids, subject="", body=""))["to_ids"]) == 1000


def test_what_is_made_is_named() -> None:
    for name in ("copies.plan", "projects.copyPaths"):
        told = made_by(HUB[name])
        assert told is not None
        assert told({"id": TWO, "targets": []}) == {"id": TWO}
    told = made_by(HUB["keys.create"])
    assert told is not None
    assert told({"id": 5, "secret": "hidden"}) == {"id": 5}
    told = made_by(HUB["projects.createProject"])
    assert told is not None
    assert told(ONE) == {"project_id": ONE}
    assert made_by(HUB["projects.start"]) is None
    told = made_by(HUB["projects.clone"])
    assert told is not None
    assert told(ONE) == {"target_project_id": ONE}
    told = made_by(HUB["copies.undo"])
    assert told is not None
    row = {"number": 1, "source_project_id": ONE, "target_project_id": TWO, "source_path": "hidden"}
    assert told({"id": TWO, "targets": [row, row]}) == {"project_id": [ONE, TWO]}
    assert told({"id": TWO}) == {}
    told = made_by(HUB["copies.forget"])
    assert told is not None
    assert told({"targets": 3, "freed_bytes": 9, "project_ids": [ONE, TWO]}) == {"project_id": [ONE, TWO]}
    assert told({"targets": 0, "freed_bytes": 0, "project_ids": []}) == {}
    told = made_by(HUB["accounts.delete"])
    assert told is not None
    gone = {"account_id": ONE, "projects_deleted": [TWO], "projects_handed_over": []}
    assert told(gone) == {"account_id": ONE, "project_id": [TWO]}
    assert told(gone | {"projects_deleted": []}) == {"account_id": ONE}


@pytest.mark.parametrize("name", ["accounts.update", "accounts.setPassword", "keys.create"])
def test_an_account_that_was_named_by_its_address_is_named_by_its_id(name: str) -> None:
    told = made_by(HUB[name])
    assert told is not None
    reply = {"account_id": ONE, "email_address": "hidden", "first_name": "hidden", "secret": "hidden", "name": "hidden"}
    assert told(reply) == {"account_id": ONE}


def test_what_a_roster_has_changed_is_counted() -> None:
    row = {"line": 2, "email_address": "hidden", "action": "create", "changes": {"first_name": [None, "hidden"]}}
    told = made_by(HUB["accounts.importRoster"])
    assert told is not None
    reply = {"dry_run": False, "created": 1, "changed": 0, "unchanged": 7, "rows": [row]}
    assert told(reply) == {"created": 1, "changed": 0, "unchanged": 7}
