"""The project server's two routes, over ASGI."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from projecthub.projectserver.http import make_app
from projecthub.projectserver.identity import Identity
from projecthub.wire.ids import ProjectId

pytestmark = pytest.mark.anyio
IDENTITY = Identity(
    project_id=ProjectId("01234567-89ab-cdef-0123-456789abcdef"), epoch=3, session_id="run-1", home="/home/user"
)


@pytest.fixture
async def server() -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(make_app(IDENTITY))
    async with httpx2.AsyncClient(transport=transport, base_url="http://project") as client:
        yield client


async def answer(server: httpx2.AsyncClient, message: object) -> Any:
    reply = await server.post("/call", content=json.dumps(message))
    assert reply.status_code == 200
    return reply.json()


async def test_identity(server: httpx2.AsyncClient) -> None:
    reply = await server.get("/identity")
    assert reply.json() == {"project_id": IDENTITY.project_id, "epoch": 3, "session_id": "run-1"}


async def test_ping_and_test(server: httpx2.AsyncClient) -> None:
    now = (await answer(server, {"name": "system.ping", "args": []}))["ok"]["now"]
    tested = (await answer(server, {"name": "system.test", "args": [{"project_id": "another"}]}))["ok"]
    assert tested["project_id"] == IDENTITY.project_id
    assert 0 <= tested["server_time"] - now < 60_000


async def test_another_run_refuses(server: httpx2.AsyncClient) -> None:
    message = {"name": "system.ping", "args": [], "session_id": "run-2"}
    assert (await server.post("/call", content=json.dumps(message))).status_code == 409
    assert "ok" in await answer(server, {**message, "session_id": "run-1"})


async def test_a_call_that_comes_in_at_the_end_is_told_so() -> None:
    """What is under way when the server's loop ends is cancelled; its caller gets a reply all the same."""
    sent: list[Any] = []
    asked = asyncio.Event()

    async def receive() -> Any:
        asked.set()
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/call"}
    app = make_app(IDENTITY)

    async def handle() -> None:
        await app(scope, receive, send)

    call = asyncio.create_task(handle())
    await asked.wait()
    call.cancel()
    await call
    assert sent[0]["status"] == 503
    assert json.loads(sent[1]["body"]) == {"error": "the project server is shutting down"}


@pytest.mark.parametrize(
    ("message", "code", "text"),
    [
        ({"name": "x.y"}, "unknown_method", "unknown function 'x.y'"),
        ({"name": "system.__init__"}, "unknown_method", "unknown function 'system.__init__'"),
        ({"name": "\ud800"}, "unknown_method", "unknown function '\ud800'"),
        ({}, "invalid_argument", "the 'name' of a call must be the method's name, a string"),
        ({"name": 5}, "invalid_argument", "the 'name' of a call must be the method's name, a string"),
        ({"name": "system.ping", "args": {"a": 1}}, "invalid_argument", "the 'args' of system.ping must be a list"),
        ([], "invalid_argument", "the body of a call must be an object"),
        ({"name": "system.exec", "args": [[]]}, "invalid_argument", "the argument of system.exec must be an object"),
    ],
)
async def test_refusals(server: httpx2.AsyncClient, message: object, code: str, text: str) -> None:
    refused = await answer(server, message)
    assert refused["code"] == code
    assert refused["error"].startswith(text)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000])
async def test_bodies_that_are_not_json(server: httpx2.AsyncClient, body: bytes) -> None:
    reply = await server.post("/call", content=body)
    assert reply.json() == {"error": "the body of a call must be JSON", "code": "invalid_argument"}


async def test_other_paths_and_methods(server: httpx2.AsyncClient) -> None:
    assert (await server.get("/call")).status_code == 405
    assert (await server.get("/")).status_code == 404


async def test_an_unknown_stream(server: httpx2.AsyncClient) -> None:
    reply = await server.post("/stream", content=json.dumps({"name": "no.such", "args": []}))
    assert [json.loads(line) for line in reply.text.splitlines()] == [
        {"error": "unknown stream 'no.such'", "code": "unknown_method"}
    ]


async def test_a_stream_of_another_run_is_refused(server: httpx2.AsyncClient) -> None:
    message = {"name": "no.such", "args": [], "session_id": "run-2"}
    assert (await server.post("/stream", content=json.dumps(message))).status_code == 409
