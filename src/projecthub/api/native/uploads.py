"""Uploads that go on after whatever ended them, by the tus protocol 1.0 (core, creation, expiration, termination)."""

import base64
import binascii
from datetime import datetime
from email.utils import format_datetime
from typing import Annotated

from fastapi import APIRouter, Header, Path, Query
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from projecthub.api.native.callers import Writer
from projecthub.api.native.downloads import from_digest
from projecthub.api.native.paths import in_query
from projecthub.api.native.routes import make_router as router_of
from projecthub.errors import Conflict, InvalidArgument
from projecthub.files.paths import shown
from projecthub.files.uploads import Upload, UploadPlan

VERSION = "1.0.0"
_MAX_FINGERPRINT = 200
_CONTENT_TYPE = "application/offset+octet-stream"

AnUpload = Annotated[str, Path(description="The id of an upload.", pattern=r"^[0-9a-f]{32}$")]
Version = Annotated[
    str,
    Header(alias="tus-resumable", description="The protocol's version.", json_schema_extra={"enum": [VERSION]}),
]
_BODY = {
    "requestBody": {"required": True, "content": {_CONTENT_TYPE: {"schema": {"type": "string", "format": "binary"}}}}
}


class UnfinishedUpload(BaseModel):
    """An upload that goes on."""

    id: str = Field(description="Its id.")
    path: str = Field(description="Where the file will be, relative to the home.")
    length: int = Field(description="Bytes of the file.")
    offset: int = Field(description="How many of them are there.")
    expires_at: datetime = Field(description="When it goes unless something is added.")
    fingerprint: str | None = Field(description="What its sender gave to find it again.")


class UnfinishedUploads(BaseModel):
    """Uploads that go on, the newest first."""

    uploads: list[UnfinishedUpload] = Field(description="The uploads.")


def make_router() -> APIRouter:
    """The routes of uploads."""
    router = router_of("uploads")
    router.get("/uploads", summary="List unfinished uploads")(_list)
    router.options("/uploads", status_code=204, summary="What of tus is offered", response_class=Response)(_offer)
    router.post("/uploads", status_code=201, summary="Begin an upload", response_class=Response)(_begin)
    router.head("/uploads/{upload_id}", summary="Ask how far an upload is", response_class=Response)(_find)
    router.patch(
        "/uploads/{upload_id}",
        status_code=204,
        summary="Add to an upload",
        response_class=Response,
        openapi_extra=_BODY,
    )(_add)
    router.delete("/uploads/{upload_id}", status_code=204, summary="Cancel an upload", response_class=Response)(_cancel)
    return router


async def _offer(member: Writer) -> Response:
    offered = {"tus-version": VERSION, "tus-extension": "creation,expiration,termination"}
    return Response(status_code=204, headers={"tus-resumable": VERSION, **offered})


async def _list(
    request: Request,
    member: Writer,
    path: Annotated[str | None, Query(description="Only those to this path.")] = None,
) -> UnfinishedUploads:
    exact = in_query(request, "path") or path
    found = await member.services.uploads.unfinished(member.caller, member.project, exact)
    return UnfinishedUploads(
        uploads=[
            UnfinishedUpload(
                id=upload.id,
                path=shown(upload.plan.path),
                length=upload.plan.length,
                offset=upload.offset,
                expires_at=upload.expires_at,
                fingerprint=upload.plan.fingerprint,
            )
            for upload in found
        ]
    )


async def _begin(
    request: Request,
    member: Writer,
    upload_length: Annotated[int, Header(ge=0, description="Bytes of the file.")],
    upload_metadata: Annotated[
        str,
        Header(
            description="`path`, and perhaps `mode` (octal), `mtime` (s), `sha256` (hex), `exclusive`, `fingerprint`; "
            "in base64."
        ),
    ],
    tus_resumable: Version,
) -> Response:
    _check_version(tus_resumable)
    plan = _plan(upload_length, _metadata(upload_metadata))
    upload = await member.services.uploads.begin(member.caller, member.project, plan)
    return Response(status_code=201, headers={"location": f"{request.url.path}/{upload.id}", **_state(upload)})


async def _find(member: Writer, upload_id: AnUpload, tus_resumable: Version) -> Response:
    _check_version(tus_resumable)
    upload = await member.services.uploads.find(member.caller, member.project, upload_id)
    return Response(headers={"cache-control": "no-store", **_state(upload)})


async def _add(
    request: Request,
    member: Writer,
    upload_id: AnUpload,
    upload_offset: Annotated[int, Header(ge=0, description="Where the upload ends.")],
    tus_resumable: Version,
    repr_digest: Annotated[
        str | None, Header(description="`sha-256=:<base64>:`: what the whole must have, with its last part.")
    ] = None,
) -> Response:
    _check_version(tus_resumable)
    sha256 = from_digest(repr_digest)
    if request.headers.get("content-type") != _CONTENT_TYPE:
        raise HTTPException(415, f"parts of an upload are of content type {_CONTENT_TYPE}")
    uploads = member.services.uploads
    try:
        at, upload = await uploads.add(
            member.caller,
            member.project,
            upload_id,
            upload_offset,
            member.body(),
            sha256=None if sha256 is None else sha256.hex(),
        )
    except Conflict as error:
        if error.details.get("precondition") or error.details.get("exists"):
            raise HTTPException(412, error.message) from error
        raise
    return Response(status_code=204, headers={**_state(upload), "upload-offset": str(at)})


async def _cancel(member: Writer, upload_id: AnUpload, tus_resumable: Version) -> Response:
    _check_version(tus_resumable)
    await member.services.uploads.cancel(member.caller, member.project, upload_id)
    return Response(status_code=204, headers={"tus-resumable": VERSION})


def _state(upload: Upload) -> dict[str, str]:
    return {
        "tus-resumable": VERSION,
        "upload-offset": str(upload.offset),
        "upload-length": str(upload.plan.length),
        "upload-expires": format_datetime(upload.expires_at, usegmt=True),
    }


def _check_version(given: str | None) -> None:
    if given != VERSION:
        raise HTTPException(412, f"tus-resumable is {given!r}; this hub speaks {VERSION}")


def _metadata(header: str) -> dict[str, str]:
    found = {}
    for pair in header.split(","):
        name, _, value = pair.strip().partition(" ")
        try:
            found[name] = base64.b64decode(value, validate=True).decode(
                errors="surrogateescape" if name == "path" else "strict"
            )
        except (binascii.Error, ValueError) as error:
            raise InvalidArgument(f"upload-metadata '{name[:50]}' is no base64 of UTF-8 text") from error
    return found


def _plan(length: int, metadata: dict[str, str]) -> UploadPlan:
    if not metadata.get("path"):
        raise InvalidArgument("upload-metadata names no path; give one relative to the project's home, in base64")
    sha256 = metadata.get("sha256", "").lower() or None
    if sha256 is not None and (len(sha256) != 64 or set(sha256) - set("0123456789abcdef")):
        raise InvalidArgument(f"sha256 {sha256[:70]!r} of upload-metadata is no checksum; give 64 hexadecimal digits")
    try:
        mode = int(metadata["mode"], 8) if "mode" in metadata else None
        mtime_ns = int(float(metadata["mtime"]) * 1e9) if "mtime" in metadata else None
    except (ValueError, OverflowError) as error:
        raise InvalidArgument("mode or mtime of upload-metadata is no number; give octal bits, and seconds") from error
    if (mode is not None and not 0 <= mode <= 0o777) or (mtime_ns is not None and not 0 <= mtime_ns < 2**63):
        raise InvalidArgument("mode or mtime of upload-metadata is out of range: 0 to 777, and a time since 1970")
    return UploadPlan(
        path=metadata["path"],
        length=length,
        mode=mode,
        mtime_ns=mtime_ns,
        sha256=sha256,
        exclusive="exclusive" in metadata,
        fingerprint=metadata.get("fingerprint", "")[:_MAX_FINGERPRINT] or None,
    )
