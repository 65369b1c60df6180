"""The table of methods, the clients and the documentation say the same."""

from __future__ import annotations

import inspect
from dataclasses import fields
from pathlib import Path
from typing import Any

import cocalc_api
import cocalc_api.hub
import cocalc_api.org
import cocalc_api.project
import pytest

from projecthub.api.handlers import HANDLERS
from projecthub.api.project_handlers import PROJECT_HANDLERS
from projecthub.client._async import database as async_database
from projecthub.client._async import messages as async_messages
from projecthub.client._async import organizations as async_organizations
from projecthub.client._async import project_system as async_project_system
from projecthub.client._async import projects as async_projects
from projecthub.client._async import system as async_system
from projecthub.client._sync import database, messages, organizations, project_system, projects, system
from projecthub.wire.errors import CODE_HEADER
from projecthub.wire.methods import METHODS, Endpoint, Form
from tests.hubs import HubProcess

REQUIRED = inspect.Parameter.empty

# The operations of projects, with the parameters, their order and their defaults.
OPERATIONS: dict[str, dict[str, Any]] = {
    "add_collaborator": {"project_id": REQUIRED, "account_id": REQUIRED},
    "copy_path_between_projects": {
        "src_project_id": REQUIRED,
        "src_path": REQUIRED,
        "target_project_id": None,
        "target_path": None,
    },
    "create_project": {"title": None, "description": None, "license": None, "public_path_id": None},
    "delete": {"project_id": REQUIRED},
    "get": {
        "fields": None,
        "all": False,
        "project_id": None,
        "limit": None,
        "deleted": None,
        "hidden": None,
        "state": None,
        "account_id_for_hidden": None,
    },
    "remove_collaborator": {"project_id": REQUIRED, "account_id": REQUIRED},
    "start": {"project_id": REQUIRED},
    "state": {"project_id": REQUIRED},
    "status": {"project_id": REQUIRED},
    "stop": {"project_id": REQUIRED},
    "touch": {"project_id": REQUIRED},
}

# How a method of the clients is called on the wire, where it is not its own name in camel case.
WIRE_NAMES = {"delete": "deleteProject"}

EXTENSIONS = Path(__file__).parents[2] / "docs" / "wire-extensions.md"


def parameters(function: Any) -> dict[str, Any]:
    """Parameters that a caller may give by position, with their defaults."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if name != "self" and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    }


def check_parameters(function: Any, wanted: dict[str, Any]) -> None:
    """The wanted ones come first, in their order; whatever else there is can be left out."""
    found = list(parameters(function).items())
    assert found[: len(wanted)] == list(wanted.items())
    assert all(default is not REQUIRED for _, default in found[len(wanted) :])


def wire_name(name: str) -> str:
    first, *rest = name.split("_")
    return WIRE_NAMES.get(name) or first + "".join(map(str.capitalize, rest))


def test_every_hub_method_has_a_handler() -> None:
    assert HANDLERS.keys() == METHODS[Endpoint.HUB].keys()


def test_the_hub_does_no_method_that_is_not_in_the_table() -> None:
    assert PROJECT_HANDLERS.keys() < METHODS[Endpoint.PROJECT].keys()


@pytest.mark.parametrize("name", METHODS[Endpoint.HUB])
def test_every_hub_method_is_answered(hub_process: HubProcess, name: str) -> None:
    # No argument is right for every method: what counts is that it is known, and that nothing breaks.
    reply = hub_process.post({"name": name, "args": [{"opts": {}}]}).json()
    text = reply.get("error", "") if isinstance(reply, dict) else ""
    assert "unknown function" not in text
    assert "mistake" not in text


@pytest.mark.parametrize("name", METHODS[Endpoint.PROJECT])
def test_every_project_method_is_answered(hub_process: HubProcess, project_id: str, name: str) -> None:
    # As above: what is given here is enough for some of them.
    options = {"command": "true", "input": "1", "kernel": "python3", "pid": 1}
    call = {"name": name, "args": [options], "project_id": project_id}
    reply = hub_process.post(call, endpoint="project").json()
    text = reply.get("error", "") if isinstance(reply, dict) else ""
    assert "unknown function" not in text
    assert "mistake" not in text


@pytest.fixture(scope="module")
def project_id(hub_process: HubProcess) -> str:
    return str(hub_process.post({"name": "projects.createProject", "args": []}).json())


def test_every_row_is_complete() -> None:
    for endpoint, rows in METHODS.items():
        for name, row in rows.items():
            assert (row.name, row.endpoint) == (name, endpoint)
            assert len(name.split(".")) == 2 or name == "ping"
            assert row.source.startswith("Wire contract ") or row.source == "docs/wire-extensions.md"
            if row.form is Form.LIST:
                assert len(fields(row.arguments)) == 1


@pytest.mark.parametrize(
    "client",
    [
        pytest.param(projects.Projects, id="projecthub"),
        pytest.param(async_projects.AsyncProjects, id="projecthub, async"),
        pytest.param(cocalc_api.hub.Projects, id="cocalc_api"),
    ],
)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_operations_have_the_same_parameters(client: Any, operation: str) -> None:
    check_parameters(getattr(client, operation), OPERATIONS[operation])


@pytest.mark.parametrize("operation", [name for name in OPERATIONS if name != "get"])
def test_operations_are_methods_of_the_wire(operation: str) -> None:
    row = METHODS[Endpoint.HUB][f"projects.{wire_name(operation)}"]
    assert OPERATIONS[operation].keys() <= {field.name for field in fields(row.arguments)}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (system.HubSystem, cocalc_api.hub.System),
        (async_system.AsyncHubSystem, cocalc_api.hub.System),
        (database.Database, cocalc_api.hub.Database),
        (async_database.AsyncDatabase, cocalc_api.hub.Database),
        (messages.Messages, cocalc_api.hub.Messages),
        (async_messages.AsyncMessages, cocalc_api.hub.Messages),
        (organizations.Organizations, cocalc_api.org.Organizations),
        (async_organizations.AsyncOrganizations, cocalc_api.org.Organizations),
    ],
)
def test_clients_have_the_other_methods_too(ours: Any, theirs: Any) -> None:
    for name, function in inspect.getmembers(theirs, inspect.isfunction):
        if not name.startswith("_"):
            check_parameters(getattr(ours, name), parameters(function))


@pytest.mark.parametrize("ours", [project_system.ProjectSystem, async_project_system.AsyncProjectSystem])
@pytest.mark.parametrize("name", ["ping", "test", "exec"])
def test_clients_have_the_methods_of_a_project(ours: Any, name: str) -> None:
    check_parameters(getattr(ours, name), parameters(getattr(cocalc_api.project.System, name)))


def test_extensions_are_documented() -> None:
    text = EXTENSIONS.read_text()
    for rows in METHODS.values():
        for row in rows.values():
            if row.source == "docs/wire-extensions.md":
                assert f"`{row.name}`" in text
                for field in fields(row.arguments):
                    assert field.name in text, (row.name, field.name)
    assert CODE_HEADER in text
