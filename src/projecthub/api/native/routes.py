"""Routes of the native API: errors become problems, and every answer is counted and told of like that of a call."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import structlog
from fastapi import APIRouter
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from projecthub.api.access import tell
from projecthub.api.auditing import SAFE, audited_call, note_refusal
from projecthub.api.native import problems
from projecthub.api.native.callers import identify, identify_if_signed_in
from projecthub.api.native.targets import named_by
from projecthub.api.request_ids import SCOPE_KEY
from projecthub.api.requests import MAX_BODY_BYTES
from projecthub.errors import Conflict, HubError, InternalError, InvalidArgument, StoreUnavailable
from projecthub.hub.audited_calls import message_of
from projecthub.wire.audit import LEFT_OUTCOME

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from starlette.responses import Response
    from starlette.types import Message, Receive

    from projecthub.api.services import Services

PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"description": description, "content": {problems.MEDIA_TYPE: {"schema": {"$ref": problems.SCHEMA}}}}
    for status, description in (("4XX", "The request has to be changed."), ("5XX", "The hub or the project failed."))
}

_log = structlog.get_logger()


class NativeRoute(APIRoute):
    """One route, for people who are signed in."""

    find_out = staticmethod(identify)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with what all routes have in common around it."""
        handle = super().get_route_handler()

        async def told(request: Request) -> Response:
            begin = time.perf_counter()
            outcome = "ok"
            label = f"{request.method} {self.path_format}"
            services: Services = request.app.state.services
            call = request.state.audited = audited_call(services, request.scope, label, None, {})
            noted, message = LEFT_OUTCOME, None
            try:
                await self.find_out(request)  # before anything of the body is read
                if self.body_field is not None:
                    request = Request(request.scope, _at_most(request.receive, MAX_BODY_BYTES))
                response = await handle(request)
                noted = outcome
            except Exception as error:
                known, response = _problem(request, error)
                noted = outcome = known.code
                message = message_of(known)
                if not call.has_begun:
                    call.target |= await named_by(request)
                    await note_refusal(services, request, call, known, is_change=request.method not in SAFE)
            finally:
                if call.has_begun and not call.goes_on:
                    services.audit.end(call, noted, message)
            tell(label, outcome, time.perf_counter() - begin, getattr(request.state, "account_id", None))
            return response

        return told


class OpenRoute(NativeRoute):
    """One route, for people who are not signed in as well."""

    find_out = staticmethod(identify_if_signed_in)


def _at_most(receive: Receive, limit: int) -> Receive:
    """Refuse a body that is larger than ``limit`` bytes; those of files are read by their routes, piece by piece."""
    taken = 0

    async def limited() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > limit:
            raise HTTPException(413, f"the body is larger than {limit} bytes; give a smaller one")
        return message

    return limited


def make_router(
    noun: str, prefix: str = "/projects/{project_id}", route_class: type[NativeRoute] = NativeRoute
) -> APIRouter:
    """A router for a noun: what every route of a project, or of something else, has in common.

    Args:
        noun: Such as ``files``; the routes' tag in the documentation.
        prefix: Their place.
        route_class: Whether they are for people who are not signed in, too.
    """
    # 422 is what FastAPI would document for itself; a request that breaks its rules is answered like any other bad one.
    return APIRouter(
        prefix=prefix,
        tags=[noun],
        route_class=route_class,
        responses={**PROBLEMS, 422: PROBLEMS["4XX"]},
    )


def _problem(request: Request, error: Exception) -> tuple[HubError, Response]:
    """An error as we know it, and the answer that tells of it."""
    if isinstance(error, StoreUnavailable):
        _log.error("store.unavailable", path=request.url.path, error=error.message)
    if isinstance(error, RequestValidationError):
        known: HubError = InvalidArgument(_sentence(error))
        return known, problems.answer(known, status=422)
    if isinstance(error, HTTPException):
        known = (Conflict if error.status_code == 412 else InvalidArgument)(str(error.detail))
        return known, problems.answer(known, status=error.status_code, headers=error.headers)
    if isinstance(error, ClientDisconnect):
        known = InvalidArgument("the request was not read to its end")
        return known, problems.answer(known)
    if isinstance(error, HubError) and (not isinstance(error, InternalError) or isinstance(error, StoreUnavailable)):
        return error, problems.answer(error)
    _log.error("call.failed", path=request.url.path, exc_info=error)
    request_id = request.scope[SCOPE_KEY]
    known = InternalError(
        f"the hub made a mistake, which its log holds under request_id {request_id}; tell its operator"
    )
    return known, problems.answer(known, request_id=request_id)


def _sentence(error: RequestValidationError) -> str:
    """The first of the values that do not fit, and why."""
    problem = error.errors()[0]
    place, *names = (str(part) for part in problem["loc"])
    return f"{place} '{'.'.join(names)}' does not fit: {problem['msg']}" if names else f"{place}: {problem['msg']}"
