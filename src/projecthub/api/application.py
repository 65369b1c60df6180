"""The ASGI application of a hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route

from projecthub.api.background import Background
from projecthub.api.endpoints import hub_endpoint, project_endpoint
from projecthub.api.health import FiguresFor, health_routes
from projecthub.api.native import PREFIX, make_native_app
from projecthub.api.request_ids import RequestIds
from projecthub.wire.methods import Endpoint

if TYPE_CHECKING:
    from starlette.requests import Request

    from projecthub.api.services import Services

_ANY_METHOD: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def make_app(services: Services, figures_for: FiguresFor = "loopback") -> tuple[Starlette, Background]:
    """The application, and the owner of the calls that nobody waits for any more: close it before the services."""
    background = Background()
    services.figures.queue("background_calls", "Calls whose time is over and that go on.", lambda: len(background))
    app = Starlette(
        routes=[
            Route(Endpoint.HUB, hub_endpoint(services, background)),
            Route(Endpoint.PROJECT, project_endpoint(services, background)),
            *(Route(f"{endpoint}/", _without_slash, methods=_ANY_METHOD) for endpoint in Endpoint),
            Mount(PREFIX, make_native_app(services, routers=[])),
            *health_routes(services.readiness, services.figures, services.keys, figures_for),
        ],
        middleware=[Middleware(RequestIds)],
        exception_handlers={404: _not_found},
    )
    app.router.redirect_slashes = False
    return app, background


async def _without_slash(request: Request) -> Response:
    return RedirectResponse(request.url.path.rstrip("/"), status_code=308)


async def _not_found(request: Request, error: Exception) -> Response:
    return PlainTextResponse(
        f"There is nothing here. Calls are POSTed to {Endpoint.HUB} and {Endpoint.PROJECT}.\n", status_code=404
    )
