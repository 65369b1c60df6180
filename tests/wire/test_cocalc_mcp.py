"""The MCP server of the official client, against our hub: each of its tools and resources."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from cocalc_api import Project

from tests.hubs import HubProcess
from tests.wire.official import Person

pytestmark = pytest.mark.usefixtures("closed_connections")


@pytest.fixture(scope="module")
def mary(hub_process: HubProcess) -> Person:
    return Person(hub_process, "mary")


@pytest.fixture
def project_id(mary: Person) -> Iterator[str]:
    project_id = mary.hub.projects.create_project(title="Test")
    yield project_id
    mary.hub.projects.delete(project_id)


@pytest.fixture
def project(mary: Person, project_id: str) -> Project:
    return mary.project(project_id)


@pytest.fixture
def project_key(mary: Person, project_id: str) -> str:
    return mary.project_key(project_id)


class FastMCP:
    """Takes the place of the protocol's server, of which the client needs an older release: it keeps what it is given.

    What is tested are the client's tools and resources; how they are called over the protocol is not our matter.
    """

    def __init__(self, **options: Any) -> None:
        self.tools: dict[str, Callable[..., Any]] = {}
        self.resources: dict[str, Callable[..., Any]] = {}

    def tool(self) -> Callable[..., Any]:
        return lambda function: self.tools.setdefault(function.__name__, function)

    def resource(self, uri: str) -> Callable[..., Any]:
        return lambda function: self.resources.setdefault(uri, function)


@pytest.fixture
def mcp_server(hub_process: HubProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ModuleType]]:
    """Makes the client's MCP server for a key, as its start-up does: it keeps all of its state in modules."""

    def forget() -> None:
        for name in [name for name in sys.modules if name.startswith("cocalc_api.mcp")]:
            del sys.modules[name]

    protocol = ModuleType("mcp.server.fastmcp")
    protocol.FastMCP = FastMCP  # type: ignore[attr-defined]
    for name in ("mcp", "mcp.server", "mcp.server.fastmcp"):
        monkeypatch.setitem(sys.modules, name, protocol)

    def make(key: str, project_id: str | None = None) -> ModuleType:
        forget()
        monkeypatch.setenv("COCALC_API_KEY", key)
        monkeypatch.setenv("COCALC_HOST", hub_process.url)
        if project_id is None:
            monkeypatch.delenv("COCALC_PROJECT_ID", raising=False)
        else:
            monkeypatch.setenv("COCALC_PROJECT_ID", project_id)
        return importlib.import_module("cocalc_api.mcp.mcp_server")

    yield make
    forget()


async def outcome(function: Callable[..., Any], **arguments: Any) -> str:
    text = function(**arguments)
    return str(await text if inspect.isawaitable(text) else text)


async def call_tool(server: ModuleType, name: str, **arguments: Any) -> str:
    return await outcome(server.mcp.tools[name], **arguments)


async def read_resource(server: ModuleType, name: str) -> str:
    return await outcome(server.mcp.resources[f"cocalc://{name}"])


def test_scope_of_keys(mcp_server: Callable[..., ModuleType], mary: Person, project_id: str, project_key: str) -> None:
    server = mcp_server(mary.key)
    assert server.check_api_key_scope(mary.key, mary.host) == {"account_id": mary.account_id}
    assert server.check_api_key_scope(project_key, mary.host) == {"project_id": project_id}
    with pytest.raises(RuntimeError, match="API key validation failed: must sign in as project or account"):
        server.check_api_key_scope("sk-nothing", mary.host)


async def test_mcp_account_profile(mcp_server: Callable[..., ModuleType], mary: Person) -> None:
    text = await read_resource(mcp_server(mary.key), "account-profile")
    assert f"Account ID:     {mary.account_id}" in text
    assert "First Name:     Mary" in text
    assert "Email Address:  mary@example.org" in text
    assert "EDITOR SETTINGS" in text
    assert "Color Scheme:   cocalc-light" in text


async def test_mcp_projects_search(mcp_server: Callable[..., ModuleType], mary: Person, project_id: str) -> None:
    server = mcp_server(mary.key)
    text = await call_tool(server, "projects_search", query="test")
    assert f"Project ID:  {project_id}" in text
    assert "Collaborators: Mary (owner)" in text
    assert await call_tool(server, "projects_search", query="no such title") == (
        "No projects found matching query: 'no such title'"
    )
    assert f"Project ID:  {project_id}" in await call_tool(server, "projects_search", state="opened")


async def test_mcp_current_project(mcp_server: Callable[..., ModuleType], mary: Person, project_id: str) -> None:
    server = mcp_server(mary.key)
    assert (await call_tool(server, "get_current_project")).startswith("No project currently set")
    assert await call_tool(server, "set_current_project", project_id=project_id) == (
        "✓ Project 'Test' is now active (state: opened)"
    )
    text = await call_tool(server, "exec", command="echo hi; echo oh >&2", bash=True)
    assert text == "stdout:\nhi\n\n\nstderr:\noh\n\n\nexit_code: 0"
    current = await call_tool(server, "get_current_project")
    assert project_id in current
    assert "State: running" in current
    assert "Error executing command: command 'exit 3'" in await call_tool(server, "exec", command="exit 3", bash=True)
    missing = "ffffffff-ffff-4fff-8fff-ffffffffffff"
    assert "you do not have read access" in await call_tool(server, "set_current_project", project_id=missing)


async def test_mcp_project_status(mcp_server: Callable[..., ModuleType], mary: Person, project_id: str) -> None:
    server = mcp_server(mary.key)
    stopped = await call_tool(server, "project_status", project_id=project_id)
    assert "State: stopped (project is stopped)" in stopped
    assert "Disk Usage: " in stopped
    mary.hub.projects.start(project_id)
    running = await call_tool(server, "project_status", project_id=project_id)
    assert "State: running (project is active)" in running
    assert "IP Address: 127.0.0.1" in running
    for label in ("Process ID: ", "Started At: ", "Version: ", "Disk Usage: ", "Memory rss: "):
        assert label in running


async def test_mcp_with_a_project_key(
    mcp_server: Callable[..., ModuleType], project: Project, project_key: str
) -> None:
    project.system.exec("echo data > file.txt", bash=True)
    server = mcp_server(project_key)
    assert server.mcp.tools.keys() == {"exec", "jupyter_execute", "project_status"}
    assert "exit_code: 0" in await call_tool(server, "exec", command="true")
    assert "[FILE] file.txt" in await read_resource(server, "project-files")


def test_mcp_offers_what_is_called_here(mcp_server: Callable[..., ModuleType], mary: Person) -> None:
    server = mcp_server(mary.key)
    of_account = {"projects_search", "set_current_project", "get_current_project"}
    assert server.mcp.tools.keys() == {"exec", "jupyter_execute", "project_status", *of_account}
    assert server.mcp.resources.keys() == {"cocalc://account-profile", "cocalc://project-files"}


async def test_mcp_jupyter(mcp_server: Callable[..., ModuleType], mary: Person, project_id: str) -> None:
    server = mcp_server(mary.key, project_id)
    run = {"input": "print(a); a + 1", "history": ["a = 41"]}
    assert await call_tool(server, "jupyter_execute", **run) == "[stdout] 41\n42"
    assert "[Error: ZeroDivisionError] division by zero" in await call_tool(server, "jupyter_execute", input="1/0")
    refused = await call_tool(server, "jupyter_execute", input="1", kernel="no-such")
    assert 'Error: No spec available for kernel "no-such".' in refused


async def test_mcp_of_somebody_who_is_on_no_such_project(
    mcp_server: Callable[..., ModuleType], hub_process: HubProcess, project_id: str
) -> None:
    server = mcp_server(Person(hub_process, "mcp-stranger").key, project_id)
    for name, arguments in (
        ("exec", {"command": "true"}),
        ("jupyter_execute", {"input": "1"}),
        ("project_status", {"project_id": project_id}),
    ):
        assert "must be" in await call_tool(server, name, **arguments)
    assert "must be a collaborator" in await read_resource(server, "project-files")
