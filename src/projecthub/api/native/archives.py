"""Directories of a project as one archive, downloaded and unpacked. No project has to run for that."""

from typing import Annotated, Final
from urllib.parse import quote

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from projecthub.api.native.callers import Admitted, Reader, Writer
from projecthub.api.native.paths import ADirectory
from projecthub.api.native.routes import make_router as router_of
from projecthub.api.native.streamed import StreamedResponse
from projecthub.files.packing import Form
from projecthub.files.paths import shown
from projecthub.hub.archives import Archives, OpenDirectory

_TYPES: Final[dict[Form, str]] = {
    "tar.zst": "application/zstd",
    "tar.gz": "application/gzip",
    "tar": "application/x-tar",
    "zip": "application/zip",
}
_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}
ARCHIVE: Final = {200: {"description": "The archive.", "content": dict.fromkeys(_TYPES.values(), _BINARY)}}

AForm = Annotated[Form, Query(alias="format", description="What kind of archive.")]


class UnpackedArchive(BaseModel):
    """An archive that was unpacked."""

    path: str = Field(description="The directory, as given.")
    files: int = Field(description="Files and links that were written.")
    bytes: int = Field(description="Their bytes.")


def make_router() -> APIRouter:
    """The routes of archives."""
    router = router_of("files")
    router.get(
        "/files/archive",
        summary="Download a directory as one archive",
        response_class=Response,
        responses=ARCHIVE,  # type: ignore[arg-type]
    )(_get)
    router.put(
        "/files/archive",
        summary="Unpack an archive into a directory",
        response_model=UnpackedArchive,
        responses={201: {"model": UnpackedArchive, "description": "The directory was made."}},
        openapi_extra={"requestBody": {"required": True, "content": {"application/octet-stream": _BINARY}}},
    )(_put)
    return router


def archive_response(archives: Archives, directory: OpenDirectory, form: Form, reader: Admitted) -> StreamedResponse:
    """The answer that is an archive of an open directory, cut off when the reader may read no more."""
    headers = {
        "content-disposition": f"attachment; filename*=UTF-8''{quote(f'{directory.name}.{form}', safe='')}",
        "x-content-type-options": "nosniff",
        "cache-control": "no-store",
    }
    told = reader.told(archives.content(directory, form))
    return StreamedResponse(directory.fd, told, 200, headers, _TYPES[form])


async def _get(member: Reader, path: ADirectory, form: AForm = "tar.zst") -> Response:
    archives = member.services.archives
    return archive_response(archives, await archives.open(member.caller, member.project, path, form), form, member)


async def _put(request: Request, member: Writer, form: AForm, path: ADirectory) -> Response:
    length = request.headers.get("content-length", "")
    done = await member.services.archives.unpack(
        member.caller,
        member.project,
        path,
        form,
        member.body(),
        length=int(length) if length.isdigit() else None,
    )
    body = UnpackedArchive(path=shown(path), files=done.files, bytes=done.bytes)
    return JSONResponse(body.model_dump(), 201 if done.created else 200)
