"""Projects as files: out of this hub, and into it. No project has to run for that."""

from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from projecthub.api.native.callers import AMaker, Reader
from projecthub.api.native.making import NO_NUL
from projecthub.api.native.routes import make_router as router_of
from projecthub.api.native.streamed import StreamedResponse
from projecthub.files.paths import shown

_TYPE: Final = "application/zstd"
_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}
_EXPORT: Final[dict[int | str, dict[str, Any]]] = {200: {"description": "The export.", "content": {_TYPE: _BINARY}}}


class ImportedProject(BaseModel):
    """A project that was made of an export."""

    project_id: str = Field(description="Its id.")
    files: int = Field(description="Files and links that it has.")
    bytes: int = Field(description="Their bytes.")
    left_out: int = Field(description="What was not exported: sockets, pipes, and what could not be read.")


def make_router() -> APIRouter:
    """The routes of exports."""
    router = router_of("projects", "/projects")
    router.get(
        "/{project_id}/export", summary="A whole project as one file", response_class=Response, responses=_EXPORT
    )(_export)
    router.post(
        "/import",
        summary="Make a project of an export",
        status_code=201,
        response_model=ImportedProject,
        openapi_extra={"requestBody": {"required": True, "content": {"application/octet-stream": _BINARY}}},
    )(_import)
    return router


async def _export(member: Reader) -> Response:
    home = await member.services.exports.open(member.caller, member.project)
    name = quote(f"{shown(home.name)[:200]}.projecthub.tar.zst", safe="")
    headers = {
        "content-disposition": f"attachment; filename*=UTF-8''{name}",
        "x-content-type-options": "nosniff",
        "cache-control": "no-store",
    }
    content = member.services.exports.content(member.project, home)
    return StreamedResponse(home.fd, member.told(content), 200, headers, _TYPE)


async def _import(
    request: Request,
    maker: AMaker,
    title: Annotated[
        str | None, Query(description="What the project is called; default: as it was.", pattern=NO_NUL)
    ] = None,
) -> Response:
    length = request.headers.get("content-length", "")
    work = maker.services.exports.import_(
        maker.caller, maker.body(), title=title, length=int(length) if length.isdigit() else None
    )
    done = await maker.while_still_one(work)
    maker.call.target["project_id"] = done["project_id"]
    return JSONResponse(done, 201)
