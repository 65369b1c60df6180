"""Where sign-in tokens are taken.

`/auth/impersonate?auth_token=...` gives a session, `POST /auth/password-reset/...` sets a password; who opens that in a
browser is told how.

Source: Wire contract 5.1 (`adminResetPasswordLink`), 5.4 (`createToken`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from projecthub.api.auditing import audited_call, note_refusal
from projecthub.api.native.problems import answer
from projecthub.api.requests import BadBody, RpcRequest, read_parameters
from projecthub.errors import CallerError, HubError, InvalidArgument, LimitError, StoreUnavailable
from projecthub.hub.sign_in import RESET_PATH, SIGN_IN_PATH, Purpose

if TYPE_CHECKING:
    from starlette.requests import Request

    from projecthub.api.services import Services
    from projecthub.hub.audited_calls import AuditedCall

_PRIVATE: Final = {"cache-control": "no-store", "referrer-policy": "no-referrer"}
_HOW_TO: Final = """\
The address of this page sets a new password, once and within a day after it was made. Nothing has happened yet.

On the command line, which asks for the password:

    projecthub accounts reset-password "ADDRESS"

or with anything that POSTs JSON to it:

    curl --json '{"password": "..."}' "ADDRESS"

or in Python:

    import urllib.request
    body = b'{"password": "..."}'
    kind = {"content-type": "application/json"}
    urllib.request.urlopen(urllib.request.Request("ADDRESS", body, kind))

If the address does not work any more, ask whoever runs this hub for another.
"""


def sign_in_routes(services: Services) -> list[Route]:
    """The routes. Asking for headers alone makes no session."""
    sign_in, audit = services.sign_in, services.audit

    async def note(request: Request, call: AuditedCall, error: HubError) -> None:
        if not call.has_begun:
            await note_refusal(services, request, call, error, is_change=False)

    async def redeem(request: Request) -> Response:
        if request.method == "HEAD":
            return Response(headers=_PRIVATE)
        call = audited_call(services, request.scope, f"{request.method} {SIGN_IN_PATH}", None, {})
        token = request.query_params.get("auth_token", "")
        try:
            await sign_in.check(token, Purpose.SIGN_IN)
            signed_in = await audit.through(call, lambda: sign_in.sign_in(token), _whom)
        except (CallerError, LimitError, StoreUnavailable) as error:
            await note(request, call, error)
            return answer(error, headers=_PRIVATE)
        return JSONResponse(signed_in, headers=_PRIVATE)

    async def set_password(request: Request) -> Response:
        call = audited_call(services, request.scope, f"POST {RESET_PATH}/{{token}}", None, {})
        try:
            parameters = await read_parameters(RpcRequest(request.scope, request.receive))
            password = parameters.values.get("password")
            if not isinstance(password, str):
                raise InvalidArgument('POST a JSON object that has the new password, such as {"password": "..."}')
            token = request.path_params["token"]
            await sign_in.check(token, Purpose.SET_PASSWORD)
            account_id = await audit.through(call, lambda: sign_in.set_password(token, password), _whom)
        except BadBody as error:
            return PlainTextResponse(error.text, status_code=error.status)
        except (CallerError, LimitError, StoreUnavailable) as error:
            await note(request, call, error)
            return answer(error, headers=_PRIVATE)
        return JSONResponse({"account_id": account_id, "password_set": True}, headers=_PRIVATE)

    return [
        Route(SIGN_IN_PATH, redeem, methods=["GET", "POST"]),
        Route(RESET_PATH + "/{token}", set_password, methods=["POST"]),
        Route(RESET_PATH + "/{token}", _how_to, methods=["GET"]),
    ]


async def _how_to(request: Request) -> Response:
    """The same for every token, so that it tells nobody which there are."""
    return PlainTextResponse(_HOW_TO, headers={**_PRIVATE, "x-content-type-options": "nosniff"})


def _whom(result: Any) -> dict[str, Any]:
    """Whom a token was for."""
    return {"account_id": result["account_id"] if isinstance(result, dict) else result}
