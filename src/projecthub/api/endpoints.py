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
from projecthub.api.audit_targets import made_by, target_of
from projecthub.api.auditing import UNKNOWN_METHOD, audited, audited_call, is_change, note_refusal
from projecthub.api.departures import unless_left
from projecthub.api.handlers import HANDLERS, Call
from projecthub.api.project_handlers import PROJECT_HANDLERS, ProjectCall
from projecthub.api.replies import Encoded
from projecthub.api.request_ids import SCOPE_KEY
from projecthub.api.requests import BadBody, Parameters, RpcRequest, read_key, read_parameters
from projecthub.errors import (
    HubError,
    InternalError,
    InvalidArgument,
    NotSignedIn,
    RateLimited,
    ServerLost,
    StoreUnavailable,
    UnknownMethod,
)
from projecthub.hub.permissions import within_scopes
from projecthub.hub.principals import NOBODY
from projecthub.wire.errors import CODE_HEADER, RETRY_HEADER, to_text
from projecthub.wire.jobs import EXEC_TIMEOUT_S
from projecthub.wire.methods import METHODS, Ability, Caller, Endpoint, Method

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping

    from starlette.types import ASGIApp, Receive, Scope, Send

    from projecthub.api.background import Background
    from projecthub.api.services import Services
    from projecthub.hub.principals import Principal

_NOT_AN_ACCOUNT: Final = "must be signed in and MUST provide an api key (cookies are not allowed)"
_CODE_HEADER: Final = CODE_HEADER.encode()
_RETRY_HEADER: Final = RETRY_HEADER.encode()
_NOBODY: Final = "must sign in as project or account"

_INSIDE: Final = frozenset({"jupyter.kernels", "jupyter.execute"})
"""Methods of the hub that a project does: they end when their caller goes away, for a project may never answer."""

_RUNS: Final = frozenset({"jupyter.execute", "system.jupyterExecute"})
"""Methods whose work has limits of its own."""

_SHOWN_S: Final = 1e9

_log = structlog.get_logger()


@dataclass(slots=True)
class _Progress:
    """How far a call has come: for the text of its refusal, the figures, and the audit log."""

    label: str = "none"
    in_method: bool = False
    account_id: str | None = None
    caller: Principal | None = None
    method: Method | None = None
    project_id: str | None = None
    arguments: Any = None
    is_audited: bool = False


class RpcEndpoint:
    """An ASGI application that reads a call, has it served, and answers."""

    def __init__(
        self, services: Services, serve: Callable[[RpcRequest, Parameters, _Progress], Awaitable[Any]]
    ) -> None:
        """Make the endpoint; ``serve`` gives a JSON value or raises a `HubError`."""
        self._services = services
        self._serve = serve

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        response = await self._answer(RpcRequest(scope, receive))
        await response(scope, receive, send)

    async def _answer(self, request: RpcRequest) -> ASGIApp:
        begin = time.perf_counter()
        progress = _Progress()
        known: HubError | None = None
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
            outcome = known.code
            if not progress.is_audited:
                await _note(self._services, request, progress, known)
        tell(progress.label, outcome, time.perf_counter() - begin, progress.account_id)
        return _Json(body, known)


class _Json:
    """An answer of JSON, with the code of the error if it tells of one, and when to come again."""

    __slots__ = ("_body", "_headers")

    def __init__(self, body: bytes, error: HubError | None) -> None:
        self._body = body
        self._headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")]
        if error is not None:
            self._headers.append((_CODE_HEADER, error.code.encode()))
        if isinstance(error, RateLimited):
            self._headers.append((_RETRY_HEADER, b"%d" % error.retry_after_s))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})
        await send({"type": "http.response.body", "body": self._body})


def _internal(request: RpcRequest, progress: _Progress) -> InternalError:
    """An error that we did not foresee: told by the request's id only, for its text may hold anything."""
    _log.exception("call.failed", method=progress.label, account_id=progress.account_id)
    return InternalError(
        f"the hub made a mistake, which its log holds under request_id {request.scope[SCOPE_KEY]}; tell its operator"
    )


async def _note(services: Services, request: RpcRequest, progress: _Progress, error: HubError) -> None:
    """Note in the audit log that a call was refused, unless it had begun to change something: then it stands there."""
    method, arguments = progress.method, progress.arguments
    name = UNKNOWN_METHOD if method is None else method.name
    target: dict[str, Any] = {} if progress.project_id is None else {"project_id": progress.project_id}
    if method is not None and arguments is not None:
        target |= target_of(method, arguments)
    call = audited_call(services, request.scope, name, progress.caller, target)
    changes = False
    if method is not None and (progress.caller is not None or method.caller is Caller.ANYONE):
        changes = is_change(method, arguments)
    await note_refusal(services, request, call, error, is_change=changes)


def hub_endpoint(services: Services, background: Background) -> RpcEndpoint:
    """Calls of the hub's own methods, by account keys."""

    async def serve(request: RpcRequest, parameters: Parameters, progress: _Progress) -> Any:
        progress.method = parameters.known_method(Endpoint.HUB)
        if progress.method is not None and progress.method.caller is Caller.ANYONE:
            caller = NOBODY
        else:
            caller = await _sign_in(services, request, _NOT_AN_ACCOUNT)
            progress.account_id, progress.caller = caller.account_id, caller
            if caller.project_id is not None:
                raise NotSignedIn(_NOT_AN_ACCOUNT)
        name = parameters.name
        subject = f"hub.account.{caller.account_id}.api"
        timeout_s = parameters.timeout_s(subject)
        progress.in_method = True
        method = _method(Endpoint.HUB, name, caller)
        progress.label = name
        call = Call(services, caller, request.headers.get("idempotency-key"), request.address)
        arguments = progress.arguments = parse(method, parameters.args)
        work: Coroutine[Any, Any, Any]
        if is_change(method, arguments):
            progress.is_audited = True
            noted = audited(services, request.scope, method, caller, arguments)
            work = services.audit.through(noted, lambda: HANDLERS[name](call, arguments), made_by(method))
        else:
            work = HANDLERS[name](call, arguments)
        if name in _INSIDE:
            held = _bounded(background, work, timeout_s, _expiry(subject, name, {}), held=True)
            return await unless_left(held, request.receive)
        return await _bounded(background, work, timeout_s, _expiry(subject, name, {}))

    return RpcEndpoint(services, serve)


def project_endpoint(services: Services, background: Background) -> RpcEndpoint:
    """Calls of methods inside projects, by account keys and by project keys."""

    async def serve(request: RpcRequest, parameters: Parameters, progress: _Progress) -> Any:
        progress.method = parameters.known_method(Endpoint.PROJECT)
        caller = await _sign_in(services, request, _NOBODY)
        progress.account_id, progress.caller = caller.account_id, caller
        project_id = progress.project_id = services.calls.target(caller, parameters.values.get("project_id"))
        name = parameters.name
        subject = f"project.{project_id}.0.api.-"
        timeout_s = parameters.timeout_s(subject)
        if parameters.values.get("compute_server_id"):
            raise InvalidArgument("this hub has no compute servers; leave compute_server_id out, or give 0")
        row = progress.method
        access = await services.calls.access(caller, project_id, row.needs if row else Ability.READ)
        progress.in_method = True
        method = _method(Endpoint.PROJECT, name, caller)
        progress.label = f"project {name}"
        args = parameters.args
        handler = PROJECT_HANDLERS.get(name)
        arguments = parse(method, args) if handler else None
        options = args[0] if args and isinstance(args[0], dict) else {}
        given = progress.arguments = arguments if handler else options
        await services.calls.prepare(caller, access, inside=handler is None)

        def work() -> Coroutine[Any, Any, Any]:
            if name == "system.exec":
                return services.jobs.execute(caller, project_id, args)
            if name == "system.jupyterExecute":
                return _encoded(services.jupyter.run(caller, project_id, args))
            if handler is not None:
                return handler(ProjectCall(services, caller, access.project), arguments)
            return services.calls.call(project_id, name, args)

        if is_change(method, given):
            progress.is_audited = True
            noted = audited(services, request.scope, method, caller, given, project_id)
            done = services.audit.through(noted, work, None)
        else:
            done = work()
        # What is bounded goes on in the background when its time is over, but not when its caller leaves before.
        told = _expiry(subject, name, options)
        bounded = _bounded(background, done, timeout_s, told, held=True)
        return told_inside(await unless_left(bounded, request.receive))

    return RpcEndpoint(services, serve)


def told_inside(value: Any) -> Encoded:
    """What a project tells, which may be anything that JSON can hold.

    Raises:
        ServerLost: It is nested too deeply to be sent on.
    """
    try:
        return value if isinstance(value, Encoded) else Encoded(to_json(value))
    except ValueError as error:
        raise ServerLost("the project server's reply is nested too deeply") from error


async def _encoded(work: Awaitable[str]) -> Encoded:
    return Encoded((await work).encode())


async def _sign_in(services: Services, request: RpcRequest, message: str) -> Principal:
    caller = await services.admission.admit(read_key(request), request.address)
    if caller is None:
        raise NotSignedIn(message)
    return caller


def _method(endpoint: Endpoint, name: str, caller: Principal) -> Method:
    """The row of a method that the caller's key is good for; what the caller may is told by the service.

    Raises:
        UnknownMethod: There is no such method.
        PermissionDenied: The key has not the scope for it.
    """
    method = METHODS[endpoint].get(name)
    if method is None:
        raise UnknownMethod(f"unknown function '{name[:200]}'")
    if method.caller is not Caller.ANYONE:
        within_scopes(caller, method.needs, name)
    return method


async def _bounded(
    background: Background,
    work: Coroutine[Any, Any, Any],
    timeout_s: float | None,
    message: str,
    *,
    held: bool = False,
) -> Any:
    if timeout_s is None:
        return await work
    return await background.run(work, timeout_s, message, held=held)


def _expiry(subject: str, name: str, given: Mapping[str, Any]) -> str:
    """What is told when the time of a call is over, with what becomes of what it has begun."""
    if name in _RUNS:
        goes_on = "the run goes on until its own limits end it"
    elif name == "system.exec" and not given.get("async_call") and not given.get("async_get"):
        own_s = given.get("timeout")
        is_given = isinstance(own_s, int | float) and 0 < own_s <= _SHOWN_S  # else the project refuses it
        goes_on = f"the command is ended when its own timeout of {own_s if is_given else EXEC_TIMEOUT_S:g} s is over"
    else:
        goes_on = "the operation goes on"
    return f"timeout - callHub: subject='{subject}', name='{name}', code='408' -- {goes_on}"
