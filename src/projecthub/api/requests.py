"""What stands in an HTTP request: the body, the key, the parameters of a call.

Source: Wire contract 1.1, 1.2, 1.6.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from pydantic_core import from_json
from starlette.requests import ClientDisconnect

from projecthub.errors import InvalidArgument, NotSignedIn
from projecthub.wire.methods import METHODS

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection
    from starlette.types import Receive, Scope

    from projecthub.wire.methods import Endpoint, Method

MAX_BODY_BYTES: Final = 1_000_000
NO_KEY: Final = "You must provide authentication via an API key."
_MAX_TIMEOUT_MS: Final = 24 * 3_600_000
_MISSING: Final = object()
_MAX_INTEGER: Final = 2**63
# What has to stand in a body before it can hold a text or a number that is unfit: most bodies are not searched.
_SUSPECT: Final = re.compile(rb"\\u0000|\d{19}|[eE]\+?\d{3}")


class BadBody(Exception):
    """A body that is no JSON, or too large: the only refusals with a status of their own."""

    def __init__(self, status: int, text: str) -> None:
        """Make it, with the HTTP status and the text of the answer."""
        super().__init__(text)
        self.status = status
        self.text = text


class RpcRequest:
    """What a call needs of an HTTP request, and no more: it is made for each of them.

    Attributes:
        scope: The ASGI scope.
        receive: Gives the pieces of the body, and tells when the client goes away.
        headers: By their names in small letters; of those that come twice the first.
    """

    __slots__ = ("headers", "receive", "scope")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        """Read the headers."""
        self.scope = scope
        self.receive = receive
        self.headers: dict[str, str] = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])
        }

    @property
    def address(self) -> str | None:
        """Where it comes from, as far as the server knows or a proxy that it trusts has told; None: nobody knows."""
        return address_of(self.scope)


@dataclass(frozen=True, slots=True)
class Parameters:
    """The body of a call, before anything is known of its method."""

    values: dict[str, Any]

    @property
    def name(self) -> str:
        """The method's name: the first two parts of what was given.

        Raises:
            InvalidArgument: It is missing or no text.
        """
        name = self.values.get("name")
        if not isinstance(name, str):
            raise InvalidArgument(
                "the request names no method; POST a JSON object (Content-Type: application/json) whose 'name' is "
                'one, such as {"name": "system.ping"}'
            )
        return ".".join(name.split(".")[:2])

    def known_method(self, endpoint: Endpoint) -> Method | None:
        """The row of the method that is named; None: there is none, or none is named."""
        name = self.values.get("name")
        return METHODS[endpoint].get(self.name) if isinstance(name, str) else None

    @property
    def args(self) -> list[Any]:
        """The arguments; none is an empty list.

        Raises:
            InvalidArgument: They are no list.
        """
        args = self.values.get("args", [])
        if not isinstance(args, list):
            raise InvalidArgument("'args' of the request must be a list of arguments, such as [{}]")
        return args

    def timeout_s(self, subject: str) -> float | None:
        """Bound on the wait in seconds; None: no bound.

        Raises:
            InvalidArgument: It is no number above 0.
        """
        timeout = self.values.get("timeout", _MISSING)
        if timeout is _MISSING:
            return None
        if timeout is None:
            timeout = 0
        if not isinstance(timeout, int | float) or isinstance(timeout, bool):
            raise InvalidArgument(f"timeout must be a number of milliseconds - callHub: subject='{subject}'")
        if timeout <= 0:
            raise InvalidArgument(f"timeout must be positive - callHub: subject='{subject}'")
        return float(min(timeout, _MAX_TIMEOUT_MS)) / 1000


async def read_parameters(request: RpcRequest) -> Parameters:
    """The parameters of a request; those of anything but a POST are absent.

    Raises:
        BadBody: No JSON, or more than 1 MB.
        ClientDisconnect: The client went away before the end of the body.
        InvalidArgument: There is a NUL character in a text, or a number of more than 64 bits.
    """
    if request.scope["method"] != "POST":
        return Parameters({})
    body = await _read_body(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        return Parameters(dict(parse_qsl(body.decode("utf-8", "replace"), max_num_fields=100)))
    if kind != "application/json" or not body.strip():
        return Parameters({})
    try:
        parsed = from_json(body, allow_inf_nan=False)
    except ValueError:
        raise BadBody(400, "Invalid JSON") from None
    if _SUSPECT.search(body):
        _check_values(parsed)
    return Parameters(parsed if isinstance(parsed, dict) else {})


async def _read_body(request: RpcRequest) -> bytes:
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > MAX_BODY_BYTES:
        raise BadBody(413, "Body exceeded 1mb limit")
    body: bytes = b""
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")  # of nearly all requests in one piece
        if len(body) > MAX_BODY_BYTES:
            raise BadBody(413, "Body exceeded 1mb limit")
        if not message.get("more_body"):
            return body


def _check_values(value: Any) -> None:
    # A loop, not recursion: how deep a body nests is its sender's choice.
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, str) and "\0" in item:
            raise InvalidArgument(
                "a text in the request holds the NUL character, which no file, name or title can; remove it"
            )
        if isinstance(item, int) and not -_MAX_INTEGER <= item < _MAX_INTEGER:
            raise InvalidArgument("a whole number in the request has more than 64 bits; give a smaller one")
        if isinstance(item, float) and not math.isfinite(item):
            raise InvalidArgument("a number in the request is beyond the range of 64 bits; give a smaller one")
        if isinstance(item, dict):
            left.extend(item)
            left.extend(item.values())
        elif isinstance(item, list):
            left.extend(item)


def address_of(scope: Scope) -> str | None:
    """The address that a request comes from; None if nobody knows."""
    client = scope.get("client")
    return client[0] if client else None


def read_key(request: RpcRequest | HTTPConnection) -> str:
    """The API key of a request.

    Raises:
        NotSignedIn: There is no Authorization header, or one of a scheme that is neither Basic nor Bearer.
    """
    header = request.headers.get("authorization")
    if not header:
        raise NotSignedIn(NO_KEY)
    scheme, _, rest = header.partition(" ")
    if scheme == "Bearer":
        return rest.strip()
    if scheme == "Basic":
        try:
            decoded = base64.b64decode(rest.strip(), validate=False).decode("utf-8")
        except (binascii.Error, ValueError):
            return ""
        return decoded.partition(":")[0]
    raise NotSignedIn(f"Unknown authorization type '{scheme[:50]}'")
