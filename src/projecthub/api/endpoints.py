"""The two RPC endpoints.

Every answer of a method is HTTP 200, refusals included; the text of a refusal stands under ``error``.

Source: Wire contract 1.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog
from pydantic_core import to_json
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse

from projecthub.api.access import tell
from projecthub.api.arguments import parse
from projecthub.api.departures import unless_left
from projecthub.api.handlers import HANDLERS, Call
from projecthub.api.project_handlers import PROJECT_HANDLERS, ProjectCall
from projecthub.api.replies import Encoded
from projecthub.api.request_ids import SCOPE_KEY
from projecthub.api.requests import BadBody, Parameters, RpcRequest, read_key, read_parameters
from projecthub.errors import HubError, InternalError, InvalidArgument, NotSignedIn, StoreUnavailable, UnknownMethod
from projecthub.wire.errors import CODE_HEADER, to_text
from projecthub.wire.methods import METHODS, Ability, Endpoint

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from starlette.types import ASGIApp, Receive, Scope, Send

    from projecthub.api.background import Background
    from projecthub.api.services import Services
    from projecthub.hub.principals import Principal

_NOT_AN_ACCOUNT: Final = "must be signed in and MUST provide an api key (cookies are not allowed)"
_CODE_HEADER: Final = CODE_HEADER.encode()
_NOBODY: Final = "must sign in as project or account"

_log = structlog.get_logger()


@dataclass(slots=True)
class _Progress:
    """How far a call has come, for the text of its refusal and for the figures."""

    label: str = "none"
    in_method: bool = False
    account_id: str | None = None


class RpcEndpoint:
    """An ASGI application that reads a call, has it served, and answers."""

    def __init__(self, serve: Callable[[RpcRequest, Parameters, _Progress], Awaitable[Any]]) -> None:
        """Make the endpoint; ``serve`` gives a JSON value or raises a `HubError`."""
        self._serve = serve

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        response = await self._answer(RpcRequest(scope, receive))
        await response(scope, receive, send)

    async def _answer(self, request: RpcRequest) -> ASGIApp:
        begin = time.perf_counter()
        progress = _Progress()
        code: str | None = None
        try:
            value = await self._serve(request, await read_parameters(request), progress)
            body = value.body if isinstance(value, Encoded) else to_json(value)
            outcome = "ok"
        except BadBody as error:
            return PlainTextResponse(error.text, status_code=error.status)
        except ClientDisconnect:
            return PlainTextResponse("the request was not read to its end", status_code=400)
        except Exception as error:
            known = error if isinstance(error, HubError) else InternalError()
            if isinstance(known, StoreUnavailable):
                _log.error("store.unavailable", method=progress.label, error=known.message)
            elif isinstance(known, InternalError):
                known = _internal(request, progress)  # the text is for the log: it may tell how the store is made
            body = to_json({"error": to_text(known) if progress.in_method else known.message})
            outcome = code = known.code
        tell(progress.label, outcome, time.perf_counter() - begin, progress.account_id)
        return _Json(body, code)


class _Json:
    """An answer of JSON, with the code of the error if it tells of one."""

    __slots__ = ("_body", "_headers")

    def __init__(self, body: bytes, code: str | None) -> None:
        self._body = body
        self._headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")]
        if code is not None:
            self._headers.append((_CODE_HEADER, code.encode()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})
        await send({"type": "http.response.body", "body": self._body})


def _internal(request: RpcRequest, progress: _Progress) -> InternalError:
    """An error that we did not foresee: told by the request's id only, for its text may hold anything."""
    _log.exception("call.failed", method=progress.label, account_id=progress.account_id)
    return InternalError(
        f"the hub made a mistake, which its log holds under request_id {request.scope[SCOPE_KEY]}; tell its operator"
    )


def hub_endpoint(services: Services, background: Background) -> RpcEndpoint:
    """Calls of the hub's own methods, by account keys."""

    async def serve(request: RpcRequest, parameters: Parameters, progress: _Progress) -> Any:
        caller = await _sign_in(services, request, _NOT_AN_ACCOUNT)
        progress.account_id = caller.account_id
        if caller.project_id is not None:
            raise NotSignedIn(_NOT_AN_ACCOUNT)
        name = parameters.name
        subject = f"hub.account.{caller.account_id}.api"
        timeout_s = parameters.timeout_s(subject)
        progress.in_method = True
        method = METHODS[Endpoint.HUB].get(name)
        if method is None:
            raise UnknownMethod(f"unknown function '{name[:200]}'")
        progress.label = name
        call = Call(services, caller, request.headers.get("idempotency-key"))
        work = HANDLERS[name](call, parse(method, parameters.args))
        return await _bounded(background, work, timeout_s, subject, name)

    return RpcEndpoint(serve)


def project_endpoint(services: Services, background: Background) -> RpcEndpoint:
    """Calls of methods inside projects, by account keys and by project keys."""

    async def serve(request: RpcRequest, parameters: Parameters, progress: _Progress) -> Any:
        caller = await _sign_in(services, request, _NOBODY)
        progress.account_id = caller.account_id
        project_id = services.calls.target(caller, parameters.values.get("project_id"))
        name = parameters.name
        subject = f"project.{project_id}.0.api.-"
        timeout_s = parameters.timeout_s(subject)
        if parameters.values.get("compute_server_id"):
            raise InvalidArgument("this hub has no compute servers; leave compute_server_id out, or give 0")
        method = METHODS[Endpoint.PROJECT].get(name)
        access = await services.calls.access(caller, project_id, method.needs if method else Ability.READ)
        progress.in_method = True
        if method is None:
            raise UnknownMethod(f"unknown function '{name[:200]}'")
        progress.label = f"project {name}"
        args = parameters.args
        handler = PROJECT_HANDLERS.get(name)
        arguments = parse(method, args) if handler else None
        await services.calls.prepare(caller, access, inside=handler is None)
        work: Coroutine[Any, Any, Any]
        if name == "system.exec":
            work = services.jobs.execute(caller, project_id, args)
        elif handler is not None:
            work = handler(ProjectCall(services, caller, access.project), arguments)
        else:
            work = services.calls.call(project_id, name, args)
        # What is bounded goes on in the background when its time is over, but not when its caller leaves before.
        bounded = _bounded(background, work, timeout_s, subject, name, held=True)
        return await unless_left(bounded, request.receive)

    return RpcEndpoint(serve)


async def _sign_in(services: Services, request: RpcRequest, message: str) -> Principal:
    caller = await services.keys.check(read_key(request))
    if caller is None:
        raise NotSignedIn(message)
    return caller


async def _bounded(
    background: Background,
    work: Coroutine[Any, Any, Any],
    timeout_s: float | None,
    subject: str,
    name: str,
    *,
    held: bool = False,
) -> Any:
    if timeout_s is None:
        return await work
    message = f"timeout - callHub: subject='{subject}', name='{name}', code='408' -- the operation goes on"
    return await background.run(work, timeout_s, message, held=held)
