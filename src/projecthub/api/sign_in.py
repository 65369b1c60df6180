"""Where a sign-in token is turned into an API key: `/auth/impersonate?auth_token=...`.

The hub's web page will make a session of it; a program takes the key from the answer.

Source: Wire contract 5.4, `createToken`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from projecthub.api.native.problems import answer
from projecthub.errors import CallerError, LimitError, StoreUnavailable
from projecthub.hub.sign_in import SIGN_IN_PATH

if TYPE_CHECKING:
    from starlette.requests import Request

    from projecthub.hub.sign_in import SignIn

_PRIVATE: Final = {"cache-control": "no-store", "referrer-policy": "no-referrer"}


def sign_in_routes(sign_in: SignIn) -> list[Route]:
    """The route. Asking for its headers alone makes no key."""

    async def redeem(request: Request) -> Response:
        if request.method == "HEAD":
            return Response(headers=_PRIVATE)
        try:
            signed_in = await sign_in.sign_in(request.query_params.get("auth_token", ""))
        except (CallerError, LimitError, StoreUnavailable) as error:
            return answer(error, headers=_PRIVATE)
        return JSONResponse(signed_in, headers=_PRIVATE)

    return [Route(SIGN_IN_PATH, redeem, methods=["GET", "POST"])]
