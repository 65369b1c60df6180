"""What a request of a route names, for the audit log: its path parameters, and paths in the home."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, Final

from projecthub.api.audit_targets import bounded

if TYPE_CHECKING:
    from starlette.requests import Request

_IN_QUERY: Final = ("path", "permanent")
_IN_BODY: Final = ("path", "src", "dest", "signal")


async def named_by(request: Request) -> dict[str, Any]:
    """What it names. A body is looked at only if it was read before, since the others are files."""
    query = {name: request.query_params[name] for name in _IN_QUERY if name in request.query_params}
    return bounded({**request.path_params, **query, **_uploaded(request), **await _in_body(request)})


async def _in_body(request: Request) -> dict[str, Any]:
    if not hasattr(request, "_body"):
        return {}
    try:
        body = await request.json()
    except ValueError:
        return {}
    return {name: body[name] for name in _IN_BODY if name in body} if isinstance(body, dict) else {}


def _uploaded(request: Request) -> dict[str, str]:
    """Where an upload goes, as its metadata tells."""
    for pair in request.headers.get("upload-metadata", "").split(","):
        name, _, value = pair.strip().partition(" ")
        if name == "path":
            try:
                return {"path": base64.b64decode(value, validate=True).decode("utf-8", "backslashreplace")}
            except (binascii.Error, ValueError):
                return {}
    return {}
