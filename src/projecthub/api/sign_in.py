"""Where sign-in tokens are taken.

`/auth/impersonate?auth_token=...` gives a session, `POST /auth/password-reset/...` sets a password.

Source: Wire contract 5.1 (`adminResetPasswordLink`), 5.4 (`createToken`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from projecthub.api.native.problems import answer
from projecthub.api.requests import BadBody, RpcRequest, read_parameters
from projecthub.errors import CallerError, InvalidArgument, LimitError, StoreUnavailable
from projecthub.hub.sign_in import RESET_PATH, SIGN_IN_PATH

if TYPE_CHECKING:
    from starlette.requests import Request

    from projecthub.hub.sign_in import SignIn

_PRIVATE: Final = {"cache-control": "no-store", "referrer-policy": "no-referrer"}


def sign_in_routes(sign_in: SignIn) -> list[Route]:
    """The routes. Asking for headers alone makes no session."""

    async def redeem(request: Request) -> Response:
        if request.method == "HEAD":
            return Response(headers=_PRIVATE)
        try:
            signed_in = await sign_in.sign_in(request.query_params.get("auth_token", ""))
        except (CallerError, LimitError, StoreUnavailable) as error:
            return answer(error, headers=_PRIVATE)
        return JSONResponse(signed_in, headers=_PRIVATE)

    async def set_password(request: Request) -> Response:
        try:
            parameters = await read_parameters(RpcRequest(request.scope, request.receive))
            password = parameters.values.get("password")
            if not isinstance(password, str):
                raise InvalidArgument('POST a JSON object that has the new password, such as {"password": "..."}')
            account_id = await sign_in.set_password(request.path_params["token"], password)
        except BadBody as error:
            return PlainTextResponse(error.text, status_code=error.status)
        except (CallerError, LimitError, StoreUnavailable) as error:
            return answer(error, headers=_PRIVATE)
        return JSONResponse({"account_id": account_id, "password_set": True}, headers=_PRIVATE)

    return [
        Route(SIGN_IN_PATH, redeem, methods=["GET", "POST"]),
        Route(RESET_PATH + "/{token}", set_password, methods=["POST"]),
    ]
