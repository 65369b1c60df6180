"""The native API as one application, to be mounted at `PREFIX`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, FastAPI
from starlette.exceptions import HTTPException
from starlette.routing import Match

from projecthub.api.native import problems
from projecthub.errors import InvalidArgument, NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from projecthub.api.services import Services

PREFIX: Final = "/api/v1"

_DESCRIPTION: Final = (
    "Work inside projects. Whoever is on a project, and the project's own keys, may do everything here that the scopes "
    "of the key allow. "
    "Errors are problems of RFC 9457."
)
_SCHEMES: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key of an account or of the project."},
    "basic": {"type": "http", "scheme": "basic", "description": "The API key as the user name, without a password."},
}


class _Native(FastAPI):
    """The application, whose document tells how to sign in."""

    def openapi(self) -> dict[str, Any]:
        document = super().openapi()
        components = document.setdefault("components", {})
        components["securitySchemes"] = _SCHEMES
        components.setdefault("schemas", {})["Problem"] = problems.Problem.model_json_schema()
        document["security"] = [{name: []} for name in _SCHEMES]
        return document


def make_native_app(services: Services, routers: Sequence[APIRouter]) -> FastAPI:
    """The application.

    Args:
        services: The hub's; routes find them in their `Member`.
        routers: One a noun, each made by `make_router`.
    """
    app = _Native(
        title="projecthub",
        version="1",
        description=_DESCRIPTION,
        docs_url=None,  # its pages would load scripts of others
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers={HTTPException: _unrouted},
    )
    app.state.services = services
    for router in routers:
        app.router.routes += router.routes  # as they are: what is included another way does not tell its methods
    return app


async def _unrouted(request: Request, error: HTTPException) -> Response:
    """What no route takes."""
    if error.status_code == 404:
        return problems.answer(NotFound(f"there is nothing at {request.url.path}; see {PREFIX}/openapi.json"))
    told = InvalidArgument(f"{request.method} is not for {request.url.path}; see {PREFIX}/openapi.json")
    return problems.answer(told, status=error.status_code, headers={**(error.headers or {}), **_allowed(request)})


def _allowed(request: Request) -> dict[str, str]:
    """Which methods a path takes: several routes may share it, and the first alone was asked."""
    routes = (route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE)
    methods = {method for route in routes for method in getattr(route, "methods", None) or ()}
    return {"allow": ", ".join(sorted(methods))} if methods else {}
