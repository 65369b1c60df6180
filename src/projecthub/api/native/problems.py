"""Errors as HTTP tells them: a status, and a body as RFC 9457 has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from projecthub import errors as e
from projecthub.wire.errors import CODE_HEADER, RETRY_HEADER

MEDIA_TYPE: Final = "application/problem+json"
SCHEMA: Final = "#/components/schemas/Problem"

_STATUS: Final[dict[type[e.HubError], int]] = {
    e.UnknownMethod: 404,
    e.NotSignedIn: 401,
    e.PermissionDenied: 403,
    e.NotFound: 404,
    e.Conflict: 409,
    e.CallerError: 400,
    e.RateLimited: 429,
    e.LimitError: 507,
    e.ExecFailed: 422,
    e.StartFailed: 503,
    e.EndFailed: 503,
    e.ProjectError: 502,
    e.CallTimeout: 504,
    e.StoreUnavailable: 503,
}
"""By class; a class that is not here has the status of the nearest one above it, and at the top 500."""


class Problem(BaseModel):
    """What went wrong."""

    type: str = Field(description="A name for this kind of problem.", examples=["urn:projecthub:error:not_found"])
    title: str = Field(description="The kind in words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What was wrong with which value, and what to do.")
    code: str = Field(description="The kind as one word, the same as in the header `x-projecthub-error`.")
    request_id: str | None = Field(None, description="By which the hub's log tells more; of its own mistakes only.")


def status_of(error: e.HubError) -> int:
    """The HTTP status for an error."""
    return next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), 500)


def answer(
    error: e.HubError, *, status: int | None = None, headers: Mapping[str, str] | None = None, **members: Any
) -> JSONResponse:
    """The answer that tells of an error.

    Args:
        error: Which.
        status: HTTP status, unless it is the one of the error's class.
        headers: Further headers.
        members: Further members of the body.
    """
    status = status or status_of(error)
    title = (type(error).__doc__ or "").splitlines()[0].rstrip(".")
    body = {"type": f"urn:projecthub:error:{error.code}", "title": title, "status": status}
    own = {CODE_HEADER: error.code}
    if isinstance(error, e.RateLimited):
        own[RETRY_HEADER] = str(error.retry_after_s)
    if status == 401:
        own["www-authenticate"] = 'Bearer realm="projecthub"'
    body |= {"detail": error.message, "code": error.code, **members}
    return JSONResponse(body, status, headers={**own, **(headers or {})}, media_type=MEDIA_TYPE)
