"""What stands in a request: its key, its body, its parameters."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect

from projecthub.api.endpoints import told_inside
from projecthub.api.requests import MAX_BODY_BYTES, BadBody, Parameters, RpcRequest, read_key, read_parameters
from projecthub.errors import InvalidArgument, NotSignedIn, ServerLost


def request(
    body: bytes = b"", *, method: str = "POST", kind: str | None = "application/json", chunks: int = 1, **headers: str
) -> RpcRequest:
    given_headers = {"content-type": kind, **{name.replace("_", "-"): value for name, value in headers.items()}}
    raw = [(name.encode(), value.encode("latin-1")) for name, value in given_headers.items() if value is not None]
    size = len(body) // chunks + 1
    left = [body[start : start + size] for start in range(0, max(len(body), 1), size)]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    scope = {"type": "http", "method": method, "path": "/", "query_string": b"", "headers": raw}
    return RpcRequest(scope, receive)


# -- keys ------------------------------------------------------------------------------------------


def basic(text: str | bytes) -> str:
    return "Basic " + base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("Bearer sk-x", "sk-x"),
        ("Bearer  sk-x ", "sk-x"),
        ("Bearer", ""),
        (basic("sk-x:"), "sk-x"),
        (basic("sk-x:password:more"), "sk-x"),
        (basic("sk-x"), "sk-x"),
        (basic(b"\xff:"), ""),
        ("Basic !!", ""),
        ("Basic", ""),
    ],
)
def test_keys(header: str, key: str) -> None:
    assert read_key(request(authorization=header)) == key


def test_no_key() -> None:
    for headers in ({}, {"cookie": "api_key=sk-x"}, {"authorization": ""}):
        with pytest.raises(NotSignedIn, match=r"^You must provide authentication via an API key[.]$"):
            read_key(request(**headers))
    for header in ("Digest sk-x", "bearer sk-x", "basic x", "sk-x"):
        with pytest.raises(NotSignedIn) as refused:
            read_key(request(authorization=header))
        assert refused.value.message == f"Unknown authorization type '{header.split()[0]}'"
    with pytest.raises(NotSignedIn) as refused:
        read_key(request(authorization="x" * 10_000))
    assert len(refused.value.message) < 100


# -- bodies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunks", [1, 3])
async def test_a_body(chunks: int) -> None:
    body = {"name": "system.ping", "args": [{"ü": None}], "timeout": 5}
    read = await read_parameters(request(json.dumps(body).encode(), chunks=chunks))
    assert read.values == body


@pytest.mark.parametrize(
    "other",
    [
        request(b'{"name": "x.y"}', method="GET"),
        request(b'{"name": "x.y"}', method="PUT"),
        request(b'{"name": "x.y"}', kind="text/plain"),
        request(b'{"name": "x.y"}', kind=None),
        request(b""),
        request(b" \n"),
        request(b"[1]"),
        request(b"null"),
    ],
)
async def test_a_body_that_says_nothing(other: RpcRequest) -> None:
    read = await read_parameters(other)
    assert read.values == {}
    with pytest.raises(InvalidArgument, match="names no method"):
        _ = read.name


async def test_a_form() -> None:
    read = await read_parameters(request(b"name=system.ping&x=%C3%BC", kind="application/x-www-form-urlencoded"))
    assert read.values == {"name": "system.ping", "x": "ü"}


@pytest.mark.parametrize("body", [b"{", b"{'a': 1}", b'{"a": NaN}', b'{"a": "\xff"}', b'{"a": "\\ud800"}', b"[" * 5000])
async def test_a_body_that_is_no_json(body: bytes) -> None:
    with pytest.raises(BadBody) as refused:
        await read_parameters(request(body))
    assert (refused.value.status, refused.value.text) == (400, "Invalid JSON")


async def test_a_body_that_is_too_large() -> None:
    large = b'"' + b"x" * MAX_BODY_BYTES + b'"'
    for one in (request(large, chunks=7), request(b"{}", content_length=str(MAX_BODY_BYTES + 1))):
        with pytest.raises(BadBody) as refused:
            await read_parameters(one)
        assert refused.value.status == 413
    assert (await read_parameters(request(large[:1] + large[3:]))).values == {}


@pytest.mark.parametrize(
    "body", ['{"args": [{"title": "a\\u0000b"}]}', '{"a\\u0000": 1}', '{"n": 99999999999999999999}']
)
async def test_values_that_nothing_can_hold(body: str) -> None:
    with pytest.raises(InvalidArgument):
        await read_parameters(request(body.encode()))


async def test_an_escaped_backslash_is_no_nul() -> None:
    read = await read_parameters(
        request(b'{"a": "\\\\u0000", "b": 1234567890123456789, "c": "1234567890123456789012"}')
    )
    assert read.values["a"] == "\\u0000"


# -- parameters ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "method"), [("a.b", "a.b"), ("a.b.c.d", "a.b"), ("a", "a"), ("", ""), ("..", ".")])
def test_names(name: str, method: str) -> None:
    assert Parameters({"name": name}).name == method


def test_arguments_are_a_list() -> None:
    assert Parameters({}).args == []
    assert Parameters({"args": [1]}).args == [1]
    for wrong in ({}, "x", None, 5):
        with pytest.raises(InvalidArgument, match="must be a list"):
            _ = Parameters({"args": wrong}).args


@pytest.mark.parametrize(("timeout", "seconds"), [(1500, 1.5), (0.5, 0.0005), (10**18, 86_400.0)])
def test_timeouts(timeout: float, seconds: float) -> None:
    assert Parameters({"timeout": timeout}).timeout_s("s") == seconds
    assert Parameters({}).timeout_s("s") is None


@pytest.mark.parametrize("timeout", [0, -1, None, True, "5", [], {}])
def test_timeouts_that_are_none(timeout: object) -> None:
    with pytest.raises(InvalidArgument, match=r"timeout must be .* - callHub: subject='s'"):
        Parameters({"timeout": timeout}).timeout_s("s")


@given(st.floats(min_value=0, exclude_min=True, allow_infinity=False) | st.integers(1, 2**63))
def test_a_timeout_is_never_no_time(timeout: float) -> None:
    seconds = Parameters({"timeout": timeout}).timeout_s("s")
    assert seconds is not None
    assert 0 <= seconds <= 86_400


async def test_a_client_that_goes_away_has_sent_nothing() -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", b"application/json")]}
    with pytest.raises(ClientDisconnect):
        await read_parameters(RpcRequest(scope, receive))


def test_of_headers_that_come_twice_the_first_counts() -> None:
    headers = [(b"authorization", b"Bearer one"), (b"authorization", b"Bearer two")]
    assert read_key(RpcRequest({"headers": headers}, None)) == "one"  # type: ignore[arg-type]


# -- what a project tells --------------------------------------------------------------------------


def test_what_a_project_tells_is_sent_on() -> None:
    assert told_inside({"a": [1, None, "é"]}).body == '{"a":[1,null,"é"]}'.encode()


def test_what_a_project_nests_too_deeply_is_no_mistake_of_the_hub() -> None:
    deep: list[Any] = []
    for _ in range(900):
        deep = [deep]
    with pytest.raises(ServerLost, match="nested too deeply"):
        told_inside(deep)
