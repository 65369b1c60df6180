"""Refusals of the native API: problems of RFC 9457."""

from __future__ import annotations

from collections.abc import Mapping

import httpx2

from projecthub.errors import HubError, ProtocolError, TransportError
from projecthub.wire.errors import from_text

_GATEWAY_STATUSES = (502, 503, 504)


def refusal(response: httpx2.Response, *, host: str) -> HubError:
    """The error that an answer with a status of 400 or more stands for; its body has been read."""
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if isinstance(problem, Mapping) and "code" in problem:
        return from_text(str(problem.get("detail")), str(problem["code"]))
    if response.status_code in _GATEWAY_STATUSES:
        return TransportError(f"{host} answered with HTTP {response.status_code}: the hub behind it is away", host=host)
    return ProtocolError(f"{host} answered with HTTP {response.status_code}: is that the address of a hub?", host=host)
