"""The ASGI application of a hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from projecthub.api.background import Background
from projecthub.api.cut_off import CutOff
from projecthub.api.endpoints import hub_endpoint, project_endpoint
from projecthub.api.health import FiguresFor, health_routes
from projecthub.api.invitations import invitation_routes
from projecthub.api.native import (
    PREFIX,
    archives,
    exports,
    files,
    jobs,
    jupyter,
    make_native_app,
    making,
    shares,
    snapshots,
    trash,
    uploads,
)
from projecthub.api.request_ids import RequestIds
from projecthub.api.sign_in import sign_in_routes
from projecthub.wire.methods import Endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from projecthub.api.services import Services

_NATIVE: Final = f"{PREFIX}/"
_ANY_METHOD: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class _Front:
    """Hands calls to their endpoints at once, and all else to the routes: most requests are calls."""

    def __init__(self, endpoints: Mapping[str, ASGIApp], native: ASGIApp, others: ASGIApp) -> None:
        self._endpoints = endpoints
        self._native = native
        self._others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._others
        if scope["type"] == "http":
            path: str = scope["path"]
            if path.startswith(_NATIVE):  # not by a route: those take no path with a line break
                app, scope = self._native, {**scope, "root_path": scope.get("root_path", "") + PREFIX}
            else:
                app = self._endpoints.get(path, app)
        await app(scope, receive, send)


def make_app(services: Services, figures_for: FiguresFor = "loopback") -> tuple[ASGIApp, Background]:
    """The application, and the owner of the calls that nobody waits for any more: close it before the services."""
    background = Background()
    services.figures.queue("background_calls", "Calls whose time is over and that go on.", lambda: len(background))
    routes = Starlette(
        routes=[
            *(Route(f"{endpoint}/", _without_slash, methods=_ANY_METHOD) for endpoint in Endpoint),
            *invitation_routes(),
            *health_routes(services, figures_for),
            *sign_in_routes(services),
        ],
        exception_handlers={404: _not_found},
    )
    routes.router.redirect_slashes = False
    nouns = (jobs, jupyter, files, archives, trash, uploads, making, exports, shares, snapshots)
    routers = [noun.make_router() for noun in nouns]
    endpoints: dict[str, ASGIApp] = {
        Endpoint.HUB: hub_endpoint(services, background),
        Endpoint.PROJECT: project_endpoint(services, background),
    }
    front = _Front(endpoints, make_native_app(services, routers), routes)
    return RequestIds(CutOff(front)), background


async def _without_slash(request: Request) -> Response:
    return RedirectResponse(request.url.path.rstrip("/"), status_code=308)


async def _not_found(request: Request, error: Exception) -> Response:
    return PlainTextResponse(
        f"There is nothing here. Calls are POSTed to {Endpoint.HUB} and {Endpoint.PROJECT}.\n", status_code=404
    )
