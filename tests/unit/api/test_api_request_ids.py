"""Every request has an id: the caller's if it is fit, else one of ours."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from structlog.contextvars import get_contextvars

from projecthub.api.request_ids import SCOPE_KEY, RequestIds


async def through(headers: list[tuple[bytes, bytes]]) -> tuple[str, list[tuple[bytes, bytes]], dict[str, Any], Any]:
    """What the application and its tasks see, and the headers of the answer."""
    seen: list[Any] = []
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope[SCOPE_KEY])
        seen.append(get_contextvars())
        seen.append(asyncio.create_task(later()))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
        await send({"type": "http.response.body", "body": b""})

    async def later() -> dict[str, Any]:
        await asyncio.sleep(0)
        return get_contextvars()

    async def send(message: Any) -> None:
        sent.append(message)

    await RequestIds(app)({"type": "http", "headers": headers}, None, send)  # type: ignore[arg-type]
    assert get_contextvars() == {}
    return seen[0], sent[0]["headers"], seen[1], await seen[2]


@pytest.mark.parametrize("given", [b"12345678", b"a-B-c-1234", b"x" * 64])
async def test_a_fit_id_is_kept(given: bytes) -> None:
    request_id, headers, bound, bound_in_task = await through([(b"host", b"x"), (b"x-request-id", given)])
    assert request_id == given.decode()
    assert headers == [(b"a", b"b"), (b"x-request-id", given)]
    assert bound == bound_in_task == {"request_id": request_id}


@pytest.mark.parametrize(
    "given", [None, b"", b"1234567", b"x" * 65, b"with blank", b"12345678\n", b"\xff" * 10, b"a" * 8 + b'"']
)
async def test_any_other_is_replaced(given: bytes | None) -> None:
    request_id, headers, bound, _ = await through([] if given is None else [(b"x-request-id", given)])
    assert re.fullmatch("[0-9a-f]{16}", request_id)
    assert headers[-1] == (b"x-request-id", request_id.encode())
    assert bound == {"request_id": request_id}


async def test_what_is_no_request_passes() -> None:
    passed = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        passed.append(scope)

    await RequestIds(app)({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
    assert passed == [{"type": "lifespan"}]
