"""What comes back: a value, a refusal, or no answer at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, is_typeddict

import httpx2

from projecthub.errors import ClientError, HubError, ProtocolError, TransportError
from projecthub.wire.errors import CODE_HEADER, RETRY_HEADER, from_text
from projecthub.wire.methods import Method

_GATEWAY_STATUSES = (502, 503, 504)


def read(response: httpx2.Response, *, host: str, name: str) -> Any:
    """The value of an answer.

    A reply that has an ``error`` is a refusal, unless it is the state of a project: that may hold one too.

    Raises:
        HubError: The hub refused: the kind of error that the text stands for.
        TransportError: A gateway answered that it has no hub behind it.
        ProtocolError: The answer is not of the wire contract.
    """
    if response.status_code != HTTPStatus.OK:
        raise _not_ok(response, host, name)
    try:
        value = json.loads(response.content)
    except (ValueError, RecursionError) as error:
        kind = response.headers.get("content-type", "no content type")
        raise ProtocolError(
            f"{host} answered {name} with {kind} instead of JSON: is a hub there?", host=host
        ) from error
    code = response.headers.get(CODE_HEADER)
    if isinstance(value, Mapping) and "error" in value and (code is not None or not _is_state(value)):
        raise from_text(str(value["error"]), code, response.headers.get(RETRY_HEADER))
    return value


def expect(value: Any, method: Method) -> Any:
    """The value itself, if its outermost type is the one that the method promises.

    Raises:
        ProtocolError: It is another.
    """
    if not isinstance(value, _outer_types(method.reply)):
        raise ProtocolError(f"{method.name} answered {_kind(value)} instead of what {method.source} says")
    return value


def told(problem: Mapping[str, Any]) -> HubError:
    """The error that a problem in the middle of an answer stands for."""
    return from_text(str(problem.get("detail")), str(problem.get("code")), None)


def problem(response: httpx2.Response, *, host: str, name: str) -> HubError:
    """The error that a native route answered with."""
    try:
        told = json.loads(response.content or b"{}")
    except (ValueError, RecursionError):
        told = {}
    code = response.headers.get(CODE_HEADER)
    if code is None or not isinstance(told, Mapping):
        return _not_ok(response, host, name)
    text = str(told.get("detail") or f"{host} refused {name} with HTTP {response.status_code}")
    return from_text(text, code, response.headers.get(RETRY_HEADER))


def no_answer(error: httpx2.RequestError, *, host: str, name: str) -> TransportError:
    """The error for a call that no hub has answered."""
    if isinstance(error, httpx2.ReadTimeout):
        return TransportError(
            f"{host} has not answered {name} in time; what was asked for may still be going on there", host=host
        )
    reason = str(error) or type(error).__name__
    return TransportError(
        f"no answer from {host} ({reason}): is a hub running there? `projecthub serve` starts one, "
        "host= or PROJECTHUB_URL names another",
        host=host,
    )


def never_arrived(error: httpx2.RequestError) -> bool:
    """Whether a failed request has certainly not reached a hub, so that any call may be sent again."""
    return isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout)


def closed(host: str) -> ClientError:
    """The error for a call on a connection that has been closed."""
    return ClientError(f"this connection to {host} is closed; make a new Hub", host=host)


def _not_ok(response: httpx2.Response, host: str, name: str) -> HubError:
    status = response.status_code
    if response.headers.get(CODE_HEADER) == TransportError.code:  # a hub that was stopped while it was at it
        return TransportError(f"{host} did not finish {name}: {_detail(response)}", host=host)
    if status in _GATEWAY_STATUSES:
        return TransportError(f"{host} answered {name} with HTTP {status}: the hub behind it is away", host=host)
    if response.is_redirect:
        place = response.headers.get("location", "elsewhere")
        return ProtocolError(f"{host} sends callers on to {place!r}: use the hub's own address", host=host)
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return ProtocolError(f"the arguments of {name} are larger than {host} accepts (HTTP 413)", host=host)
    return ProtocolError(f"{host} answered {name} with HTTP {status}: is that the address of a hub?", host=host)


def _detail(response: httpx2.Response) -> str:
    try:
        return str(json.loads(response.content)["detail"])
    except (ValueError, RecursionError, TypeError, LookupError):
        return "the hub was stopped"


def _is_state(value: Mapping[str, Any]) -> bool:
    return isinstance(value.get("state"), str)


def _outer_types(reply: Any) -> tuple[type, ...]:
    if get_origin(reply) in (Union, UnionType):
        return tuple(kind for part in get_args(reply) for kind in _outer_types(part))
    if reply is None:
        return (NoneType,)
    return (dict,) if is_typeddict(reply) else (get_origin(reply) or reply,)


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", NoneType: "null"}
    return names.get(type(value), f"a {type(value).__name__}")
