"""Shares, for everybody: those that may be browsed, and what is in each. Some are for people who are signed in."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from projecthub.api.native import downloads
from projecthub.api.native.archives import ARCHIVE, AForm, archive_response
from projecthub.api.native.callers import AVisitor
from projecthub.api.native.files import FilePage, page_of
from projecthub.api.native.paths import from_token, in_query
from projecthub.api.native.routes import OpenRoute
from projecthub.api.native.routes import make_router as router_of
from projecthub.wire.sharing import ListShares

_BINARY: dict[str, Any] = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
_WITHOUT_A_KEY: dict[str, Any] = {"security": [{}, {"bearer": []}, {"basic": []}]}

AShare = Annotated[str, Path(description="The id of a share: 40 hex digits.", pattern="^[0-9a-f]{40}$")]
ABelow = Annotated[str, Query(description="A path below what is shared; empty: all of it. Of any bytes.")]


class Share(BaseModel):
    """A share."""

    id: str = Field(description="Its id.")
    project_id: str = Field(description="The project that shares.")
    project_title: str = Field(description="What that is called.")
    path: str = Field(description="What is shared, relative to its home.")
    name: str | None = Field(description="A name for addresses.")
    description: str | None = Field(description="What it is.")
    license: str | None = Field(description="Under which license others may use it.")
    disabled: bool = Field(description="Whether nobody gets it.")
    unlisted: bool = Field(description="Whether it is for those alone who know its id.")
    authenticated: bool = Field(description="Whether it is for people who are signed in.")
    compute_image: str | None = Field(description="The software image that it wants.")
    url: str | None = Field(description="Where it comes from.")
    image: str | None = Field(description="A picture of it.")
    counter: int = Field(description="How often it was copied, or a project was made from it.")
    created: str = Field(description="When it was made.")
    last_edited: str = Field(description="When it was changed.")
    last_saved: str | None = Field(description="When what is shared was saved.")
    site_license_id: str | None = Field(None, description="A license that comes with it; told to its project's people.")


class SharePage(BaseModel):
    """Some of the shares that may be browsed, edited last first."""

    shares: list[Share] = Field(description="The shares.")
    next: str | None = Field(description="Give this as `after` for what follows; null: that was all.")


def make_router() -> APIRouter:
    """The routes of shares."""
    router = router_of("shares", "/shares", OpenRoute)
    free: dict[str, Any] = {"openapi_extra": _WITHOUT_A_KEY}
    router.get("", summary="List the shares that may be browsed", response_model=SharePage, **free)(_list)
    router.get("/{share_id}", summary="Look at a share", response_model=Share, **free)(_get)
    router.get("/{share_id}/files", summary="List a directory of a share", response_model=FilePage, **free)(_files)
    content: dict[int | str, dict[str, Any]] = {200: _BINARY, 206: _BINARY}
    download: dict[str, Any] = {"response_class": Response, "responses": content, **free}
    router.get("/{share_id}/files/content", summary="Download a file of a share", **download)(_content)
    router.head("/{share_id}/files/content", include_in_schema=False)(_content)
    router.get(
        "/{share_id}/files/archive",
        summary="Download a directory of a share as one archive",
        response_class=Response,
        responses=ARCHIVE,  # type: ignore[arg-type]
        **free,
    )(_archive)
    return router


async def _list(
    visitor: AVisitor,
    limit: Annotated[int, Query(ge=1, le=1000, description="How many at most.")] = 100,
    after: Annotated[str | None, Query(description="`next` of the page before.", pattern="^[0-9a-f]{40}$")] = None,
) -> dict[str, Any]:
    found = await visitor.services.shares.list(visitor.caller, ListShares(limit=limit, after=after))
    return {"shares": found, "next": found[-1]["id"] if len(found) == limit else None}


async def _get(visitor: AVisitor, share_id: AShare) -> Any:
    return await visitor.services.shares.get(visitor.caller, share_id)


async def _files(
    request: Request,
    visitor: AVisitor,
    share_id: AShare,
    path: ABelow = "",
    hidden: Annotated[bool, Query(description="Also names that begin with a dot.")] = False,
    limit: Annotated[int, Query(ge=1, le=10_000, description="How many at most.")] = 1000,
    after: Annotated[str, Query(description="Only names after this one: `next` of the page before.")] = "",
) -> Response:
    body = await visitor.services.shared_files.listing(
        visitor.caller,
        share_id,
        in_query(request, "path") or path,
        page_of(limit),
        hidden=hidden,
        after=from_token(after),
    )
    return Response(body, media_type="application/json")


async def _content(request: Request, visitor: AVisitor, share_id: AShare, path: ABelow = "") -> Response:
    services = visitor.services
    file, name = await services.shared_files.open(visitor.caller, share_id, in_query(request, "path") or path)
    return await downloads.answer(request, services.files, file, name, visitor)


async def _archive(
    request: Request, visitor: AVisitor, share_id: AShare, path: ABelow = "", form: AForm = "tar.zst"
) -> Response:
    services, given = visitor.services, in_query(request, "path") or path
    directory = await services.shared_files.open_directory(visitor.caller, share_id, given, form)
    return archive_response(services.archives, directory, form, visitor)
