"""What watches a hub: whether it lives, whether it is ready, and its figures.

`/healthz` says no more than that the process serves: whoever restarts a hub because its store is slow makes it worse.
`/readyz` is for whoever decides where to send calls.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final, Literal

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from projecthub.api.auditing import audited_call, note_refusal
from projecthub.api.requests import read_key
from projecthub.errors import NotSignedIn

if TYPE_CHECKING:
    from starlette.requests import Request

    from projecthub.api.services import Services
    from projecthub.hub.keys import Keys

FiguresFor = Literal["loopback", "admins", "everybody"]
"""Who may read the figures; admins always may."""

_PASSED_ON: Final = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
"""Headers of a proxy: the request is not of this machine, though its connection is."""
_NOT_FOR_YOU: Final = (
    "These figures are for requests of the hub's own machine, or with the API key of a site admin; "
    "the setting PROJECTHUB_METRICS says who may read them.\n"
)


def health_routes(services: Services, figures_for: FiguresFor) -> list[Route]:
    """The routes. None of them waits for anything else that the hub does."""

    async def ready(request: Request) -> Response:
        troubles = await services.readiness.troubles()
        is_ready = not any(troubles.values())
        checks = {part: trouble or "ok" for part, trouble in troubles.items()}
        return JSONResponse({"ready": is_ready, "checks": checks}, status_code=200 if is_ready else 503)

    async def metrics(request: Request) -> Response:
        allowed = figures_for == "everybody" or (figures_for == "loopback" and _is_local(request))
        if not allowed and not await _is_admin(request, services.keys):
            call = audited_call(services, request.scope, "GET /metrics", None, {})
            await note_refusal(services, request, call, NotSignedIn(_NOT_FOR_YOU.strip()), is_change=False)
            return PlainTextResponse(_NOT_FOR_YOU, status_code=403)
        return Response(await services.figures.text(), media_type=CONTENT_TYPE_LATEST)

    return [
        Route("/alive", _alive),
        Route("/healthcheck", _alive),
        Route("/healthz", _alive),
        Route("/readyz", ready),
        Route("/metrics", metrics),
    ]


async def _alive(request: Request) -> Response:
    return PlainTextResponse("alive: YES\n")


def _is_local(request: Request) -> bool:
    if request.client is None or any(name in request.headers for name in _PASSED_ON):
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False


async def _is_admin(request: Request, keys: Keys) -> bool:
    try:
        caller = await keys.check(read_key(request))
    except NotSignedIn:
        return False
    return caller is not None and caller.is_admin and caller.project_id is None
