"""What is sent: bodies, headers, and which calls may be sent twice."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from projecthub.errors import InvalidArgument
from projecthub.wire.methods import Endpoint, Form, Method

USUAL_WAIT_S: Final = 120.0
"""How long an answer may take, in seconds, unless the caller or the method says otherwise."""

GRACE_S: Final = 60.0
"""Seconds an answer may take beyond the call's own bound, which does not count the start of a sleeping project."""

REPEATABLE: Final = frozenset(
    {
        (Endpoint.HUB, "system.ping"),
        (Endpoint.HUB, "system.test"),
        (Endpoint.HUB, "system.getNames"),
        (Endpoint.HUB, "system.userSearch"),
        (Endpoint.HUB, "system.getCustomize"),
        (Endpoint.HUB, "system.revokeUserAuthToken"),
        (Endpoint.HUB, "messages.get"),
        (Endpoint.HUB, "sync.history"),
        (Endpoint.HUB, "sync.checkpoint"),
        (Endpoint.HUB, "db.touch"),
        (Endpoint.HUB, "db.fileUseTimes"),
        (Endpoint.HUB, "purchases.getBalance"),
        (Endpoint.HUB, "purchases.getMinBalance"),
        (Endpoint.HUB, "org.getAll"),
        (Endpoint.HUB, "org.get"),
        (Endpoint.HUB, "org.set"),
        (Endpoint.HUB, "org.addAdmin"),
        (Endpoint.HUB, "org.addUser"),
        (Endpoint.HUB, "org.getUsers"),
        (Endpoint.HUB, "org.removeAdmin"),
        (Endpoint.HUB, "org.expireToken"),
        (Endpoint.HUB, "projects.createProject"),  # carries an idempotency key
        (Endpoint.HUB, "projects.clone"),  # so does this one
        (Endpoint.HUB, "projects.setTemplate"),
        (Endpoint.HUB, "projects.templates"),
        (Endpoint.HUB, "shares.list"),
        (Endpoint.HUB, "shares.get"),
        (Endpoint.HUB, "projects.addCollaborator"),
        (Endpoint.HUB, "projects.removeCollaborator"),
        (Endpoint.HUB, "projects.ofCourse"),
        (Endpoint.HUB, "projects.start"),
        (Endpoint.HUB, "projects.stop"),
        (Endpoint.HUB, "projects.deleteProject"),
        (Endpoint.HUB, "projects.state"),
        (Endpoint.HUB, "projects.status"),
        (Endpoint.HUB, "projects.touch"),
        (Endpoint.HUB, "projects.setQuotas"),
        (Endpoint.HUB, "projects.addLicense"),
        (Endpoint.HUB, "projects.removeLicense"),
        (Endpoint.HUB, "copies.files"),
        (Endpoint.HUB, "copies.get"),
        (Endpoint.HUB, "copies.list"),
        (Endpoint.HUB, "licenses.list"),
        (Endpoint.HUB, "licenses.get"),
        (Endpoint.HUB, "licenses.end"),
        (Endpoint.HUB, "accounts.list"),
        (Endpoint.HUB, "accounts.get"),
        (Endpoint.HUB, "accounts.update"),
        (Endpoint.HUB, "accounts.importRoster"),
        (Endpoint.HUB, "snapshots.list"),
        (Endpoint.HUB, "snapshots.diff"),
        (Endpoint.HUB, "keys.list"),
        (Endpoint.HUB, "keys.update"),
        (Endpoint.PROJECT, "system.ping"),
        (Endpoint.PROJECT, "system.test"),
        (Endpoint.PROJECT, "system.configuration"),
        (Endpoint.PROJECT, "system.version"),
        (Endpoint.PROJECT, "ping"),
        (Endpoint.PROJECT, "system.listing"),
        (Endpoint.PROJECT, "system.readTextFileFromProject"),
        (Endpoint.PROJECT, "system.writeTextFileToProject"),
        (Endpoint.PROJECT, "system.realpath"),
        (Endpoint.PROJECT, "system.canonicalPaths"),
    }
)
"""Methods that do the same once and twice, so that they may be sent again when it is not known whether they arrived."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call, ready to be sent.

    Attributes:
        endpoint: Where to.
        name: Wire name of the method.
        body: The JSON text.
        headers: Headers of its own, beside those of every call.
        wait_s: Seconds its answer may take; None: the connection's usual; infinity: no bound.
        repeatable: Whether it may be sent again when it is not known whether it arrived.
    """

    endpoint: Endpoint
    name: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    wait_s: float | None = None
    repeatable: bool = False


def of_method(
    method: Method,
    arguments: Any,
    *,
    project_id: str | None = None,
    timeout_s: float | None = None,
    wait_s: float | None = None,
    headers: Mapping[str, str] | None = None,
    repeatable: bool | None = None,
) -> Request:
    """The request for a method of the table.

    Args:
        method: Its row.
        arguments: The dataclass of its arguments; those that are None are not sent.
        project_id: The project, for a method of the project endpoint.
        timeout_s: Bound on the wait in seconds that the hub keeps; None: none.
        wait_s: As `Request.wait_s`; None: from ``timeout_s``.
        headers: As `Request.headers`.
        repeatable: As `Request.repeatable`; None: from `REPEATABLE`.

    Raises:
        InvalidArgument: An argument is not JSON, or the bound is not a positive number.
    """
    given = {f.name: value for f in dataclasses.fields(arguments) if (value := getattr(arguments, f.name)) is not None}
    first = next(iter(given.values()), None) if method.form is Form.LIST else given
    request = raw(
        method.endpoint,
        method.name,
        [{"opts": first} if method.form is Form.OPTS else first],
        project_id=project_id,
        timeout_ms=None if timeout_s is None else to_timeout_ms(timeout_s),
    )
    return dataclasses.replace(
        request,
        headers=headers or {},
        wait_s=request.wait_s if wait_s is None else wait_s,
        repeatable=request.repeatable if repeatable is None else repeatable,
    )


def raw(
    endpoint: Endpoint, name: str, args: Sequence[Any], *, project_id: str | None = None, timeout_ms: int | None = None
) -> Request:
    """The request for any name and arguments, as they stand on the wire.

    Raises:
        InvalidArgument: The arguments are not JSON, or the bound is not a positive number.
    """
    body: dict[str, Any] = {"name": name, "args": list(args)}
    if project_id is not None:
        body["project_id"] = project_id
    if timeout_ms is not None:
        if isinstance(timeout_ms, bool) or not isinstance(timeout_ms, int | float) or not 0 < timeout_ms < math.inf:
            raise InvalidArgument(f"timeout {timeout_ms!r} is not a positive number of milliseconds")
        body["timeout"] = timeout_ms
    return Request(
        endpoint=endpoint,
        name=name,
        body=_to_json(body, name),
        wait_s=None if timeout_ms is None else timeout_ms / 1000 + GRACE_S,
        repeatable=(endpoint, name) in REPEATABLE,
    )


def is_get(query: Any, options: Any = None) -> bool:
    """Whether a user query only reads: it has a null somewhere, unless an option says otherwise.

    Source: Wire contract 3.1.
    """
    for option in options if isinstance(options, list | tuple) else ():
        if isinstance(option, Mapping) and (option.get("delete") or "set" in option):
            return not option.get("delete") and not option["set"]
    each = query if isinstance(query, list | tuple) else [query]
    return bool(each) and all(_has_null(one) for one in each)


def to_timeout_ms(timeout_s: float) -> int:
    """Milliseconds of a bound in seconds, at least 1.

    Raises:
        InvalidArgument: It is not a positive number.
    """
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, int | float) or not 0 < timeout_s < math.inf:
        raise InvalidArgument(f"timeout {timeout_s!r} is not a positive number of seconds")
    return max(1, math.ceil(timeout_s * 1000))


def _has_null(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_has_null(child) for child in value.values())
    if isinstance(value, list | tuple):
        return any(_has_null(child) for child in value)
    return value is None


def _to_json(body: dict[str, Any], name: str) -> bytes:
    try:
        return json.dumps(body, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError as error:
        raise InvalidArgument(
            f"{next(_not_text(body['args']), '')!a} among the arguments of {name} is no UTF-8, which is all that this "
            "call takes; give the directory that it is in, or another name with files.move, which takes any names"
        ) from error
    except (TypeError, ValueError, RecursionError) as error:  # a foreign object; NaN, a cycle
        raise InvalidArgument(f"the arguments of {name} are not JSON: {error}") from error


def _not_text(value: Any) -> Iterator[str]:
    """The texts in a value that hold bytes of a name, or half of a character."""
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield from _not_text([key, child])
    elif isinstance(value, list | tuple):
        for child in value:
            yield from _not_text(child)
    elif isinstance(value, str) and any("\ud800" <= char <= "\udfff" for char in value):
        yield value
