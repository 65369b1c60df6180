"""What is sent again, what an answer means, and what a missing one does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from scripted_wire import HOST, KEY, Wire

from projecthub import AsyncHub, Hub
from projecthub.client.retries import pauses_s
from projecthub.errors import (
    CallTimeout,
    HubError,
    InvalidArgument,
    NotFound,
    OwnershipDenied,
    ProtocolError,
    RemoteError,
    TransportError,
    UnknownMethod,
)

P = "00000000-0000-4000-8000-000000000001"
STATE = {"state": "running", "time": "2025-11-21T14:55:21.253Z"}

repeatable = pytest.mark.parametrize(
    "call",
    [
        lambda hub: hub.projects.start(P),
        lambda hub: hub.projects.stop(P),
        lambda hub: hub.projects.touch(P),
        lambda hub: hub.projects.state(P),
        lambda hub: hub.call("projects.state", [{"project_id": P}]),
    ],
)
once_only = pytest.mark.parametrize(
    "call",
    [
        lambda hub: hub.projects.copy_path_between_projects(P, "a"),
        lambda hub: hub.keys.create(),
        lambda hub: hub.project(P).system.exec("date >> log"),
        lambda hub: hub.db.query({"projects": {"project_id": P, "title": "T"}}),
        lambda hub: hub.system.manage_api_keys("create"),
        lambda hub: hub.call("no.such"),
    ],
)
Call = Callable[[Hub], Any]
LOST = [httpx2.ReadTimeout, httpx2.ReadError, httpx2.WriteError, httpx2.RemoteProtocolError]
NEVER_SENT = [httpx2.ConnectError, httpx2.ConnectTimeout]


@repeatable
@pytest.mark.parametrize("error", [*LOST, *NEVER_SENT])
def test_safe_calls_are_sent_again(hub: Hub, wire: Wire, pauses: list[float], call: Call, error: Any) -> None:
    wire.fails(error)
    wire.fails(error)
    wire.answers(STATE)
    assert call(hub) == STATE
    assert len(wire.requests) == 3
    assert 0.05 <= pauses[0] <= 0.1 <= pauses[1] <= 0.2


@repeatable
@pytest.mark.parametrize("status", [500, 502, 503])
def test_safe_calls_are_sent_again_after_a_server_s_failure(
    hub: Hub, wire: Wire, pauses: list[float], call: Call, status: int
) -> None:
    wire.answers("oops", status=status)
    wire.answers(STATE)
    assert call(hub) == STATE
    assert len(pauses) == 1


@once_only
@pytest.mark.parametrize("error", LOST)
def test_calls_that_may_have_arrived_are_not(
    hub: Hub, wire: Wire, pauses: list[float], call: Call, error: type[httpx2.RequestError]
) -> None:
    wire.fails(error)
    with pytest.raises(TransportError) as caught:
        call(hub)
    assert len(wire.requests) == 1
    assert isinstance(caught.value.__cause__, error)


@once_only
def test_calls_that_have_arrived_are_not(hub: Hub, wire: Wire, pauses: list[float], call: Call) -> None:
    wire.answers("oops", status=500)
    with pytest.raises(ProtocolError, match="HTTP 500"):
        call(hub)
    assert len(wire.requests) == 1


@once_only
@pytest.mark.parametrize("error", NEVER_SENT)
def test_calls_that_never_arrived_are(
    hub: Hub, wire: Wire, pauses: list[float], call: Call, error: type[httpx2.RequestError]
) -> None:
    wire.fails(error)
    wire.answers({"error": "it arrived"})
    with pytest.raises(RemoteError, match="it arrived"):
        call(hub)
    assert len(wire.requests) == 2


def test_reading_queries_are_sent_again(hub: Hub, wire: Wire, pauses: list[float]) -> None:
    wire.fails(httpx2.ReadError)
    wire.answers({"projects": []})
    assert hub.projects.get() == []


def test_a_repeated_creation_keeps_its_idempotency_key(hub: Hub, wire: Wire, pauses: list[float]) -> None:
    wire.fails(httpx2.ReadTimeout)
    wire.answers(P)
    assert hub.projects.create_project("T") == P
    first, second = wire.requests
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert first.content == second.content


def test_giving_up_says_which_hub_and_how_to_start_one(hub: Hub, wire: Wire, pauses: list[float]) -> None:
    wire.fails(httpx2.ConnectError)
    with pytest.raises(TransportError, match=r"hub\.test:8000 \(as prepared\).*projecthub serve") as caught:
        hub.system.ping()
    assert len(wire.requests) == 3
    assert isinstance(caught.value.__cause__, httpx2.ConnectError)


def test_retries_can_be_turned_off(http: httpx2.Client, wire: Wire, pauses: list[float]) -> None:
    wire.fails(httpx2.ConnectError)
    with pytest.raises(TransportError):
        Hub(KEY, HOST, client=http, retries=0).system.ping()
    assert len(wire.requests) == 1
    assert pauses == []


def test_a_negative_number_of_retries_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="-1"):
        Hub(KEY, HOST, retries=-1)


def test_pauses_grow_to_a_bound() -> None:
    longest = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    for pause_s, bound_s in zip(pauses_s(8), longest, strict=True):
        assert bound_s / 2 <= pause_s <= bound_s


async def test_the_async_side_sends_again_too(wire: Wire, pauses: list[float]) -> None:
    wire.fails(httpx2.ReadError)
    wire.answers(STATE)
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(wire.handle)) as client:
        assert await AsyncHub(KEY, HOST, client=client).projects.start(P) == STATE
    assert len(wire.requests) == 2
    assert len(pauses) == 1


@pytest.mark.parametrize(
    ("text", "code", "kind", "message"),
    [
        ("Error: unknown function 'x.y'", None, UnknownMethod, "unknown function 'x.y'"),
        ("OwnershipError: Only owners can do that", None, OwnershipDenied, "Only owners can do that"),
        ("timeout - callHub: name='projects.start', code='408' ", None, CallTimeout, "timeout - callHub"),
        ("Error: whatever it says", "not_found", NotFound, "whatever it says"),
        ("Error: of a later version", "no_such_code", RemoteError, "of a later version"),
    ],
)
def test_refusals(
    hub: Hub, wire: Wire, text: str, code: str | None, kind: type[HubError], message: str, pauses: list[float]
) -> None:
    wire.answers({"error": text}, code=code)
    with pytest.raises(kind) as caught:
        hub.projects.start(P)
    assert type(caught.value) is kind
    assert caught.value.message.startswith(message)
    assert len(wire.requests) == 1


@pytest.mark.parametrize(
    ("response", "text"),
    [
        (httpx2.Response(200, html="<p>Welcome"), "text/html"),
        (httpx2.Response(200, content=b""), "no content type"),
        (httpx2.Response(200, content=b"\xff\xfe\xff"), "JSON"),
        (httpx2.Response(200, content=b"[" * 1_000_000), "JSON"),
        (httpx2.Response(404, text="no"), "HTTP 404"),
        (httpx2.Response(413, text="large"), "larger than"),
        (httpx2.Response(307, headers={"location": "https://hub.test/"}), r"https://hub\.test/"),
    ],
)
def test_what_is_not_the_wire(hub: Hub, wire: Wire, response: httpx2.Response, text: str) -> None:
    wire.answers_with(response)
    with pytest.raises(ProtocolError, match=text) as caught:
        hub.system.ping()
    assert HOST in caught.value.message


def test_a_gateway_without_a_hub_is_no_answer(hub: Hub, wire: Wire, pauses: list[float]) -> None:
    wire.answers("away", status=503)
    with pytest.raises(TransportError, match="503"):
        hub.system.ping()
    assert len(wire.requests) == 3
