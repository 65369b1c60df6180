"""The ASGI application of a hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from projecthub.api.background import Background
from projecthub.api.endpoints import hub_endpoint, project_endpoint
from projecthub.wire.methods import Endpoint

if TYPE_CHECKING:
    from starlette.requests import Request

    from projecthub.api.services import Services

_ANY_METHOD: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def make_app(services: Services) -> tuple[Starlette, Background]:
    """The application, and the owner of the calls that nobody waits for any more: close it before the services."""
    background = Background()
    app = Starlette(
        routes=[
            Route(Endpoint.HUB, hub_endpoint(services, background)),
            Route(Endpoint.PROJECT, project_endpoint(services, background)),
            *(Route(f"{endpoint}/", _without_slash, methods=_ANY_METHOD) for endpoint in Endpoint),
            Route("/alive", _alive),
            Route("/healthcheck", _alive),
            Route("/metrics", _metrics),
        ],
        exception_handlers={404: _not_found},
    )
    app.router.redirect_slashes = False
    return app, background


async def _without_slash(request: Request) -> Response:
    return RedirectResponse(request.url.path.rstrip("/"), status_code=308)


async def _alive(request: Request) -> Response:
    return PlainTextResponse("alive: YES\n")


async def _metrics(request: Request) -> Response:
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def _not_found(request: Request, error: Exception) -> Response:
    return PlainTextResponse(
        f"There is nothing here. Calls are POSTed to {Endpoint.HUB} and {Endpoint.PROJECT}.\n", status_code=404
    )
