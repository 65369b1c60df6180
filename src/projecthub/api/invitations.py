"""What a browser shows of the links in mail of invitations: how to accept one, and how to reach the project."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

_TEXT: Final = """\
You are invited to a project.

If you have an account on this hub with the address that the invitation was sent to, you are on the project already.
With another account, accept with an API key of yours and the address of this page:

    projecthub projects join ADDRESS

or in Python:

    from projecthub import Hub
    Hub().projects.join("ADDRESS")

If you have no account yet, whoever runs this hub makes accounts.
"""
_PROJECT_TEXT: Final = """\
This is the address of a project. Whoever is on it reaches it with an API key of theirs:

    projecthub projects get {project_id}

or in Python:

    from projecthub import Hub
    Hub().projects.get(project_id="{project_id}")

If you have no key yet, whoever runs this hub makes them.
"""
_HEADERS: Final = {
    # The address of the page lets its holder in: nobody else is to come by it.
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
}


def invitation_routes() -> list[Route]:
    """The pages; the same for every token and project, so that they tell nobody which there are."""
    return [Route("/invite/{token}", _page), Route("/projects/{project_id:uuid}", _project_page)]


async def _page(request: Request) -> Response:
    return PlainTextResponse(_TEXT, headers=_HEADERS)


async def _project_page(request: Request) -> Response:
    return PlainTextResponse(_PROJECT_TEXT.format(project_id=request.path_params["project_id"]), headers=_HEADERS)
