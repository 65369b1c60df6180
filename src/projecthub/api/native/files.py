"""Files of a project: contents of any size, directories, moves and copies. No project has to run for that."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Header, Query
from pydantic import BaseModel, Field
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from projecthub.api.native import downloads
from projecthub.api.native.callers import Reader, Writer
from projecthub.api.native.paths import ADirectory, APath, from_token, in_body, to_token
from projecthub.api.native.routes import make_router as router_of
from projecthub.api.replies import encoded_list
from projecthub.errors import Conflict, InvalidArgument
from projecthub.files.changes import Dress
from projecthub.files.paths import encoded, shown
from projecthub.files.views import Entry
from projecthub.hub.files import Precondition, Written
from projecthub.wire import shapes

_BINARY = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}


class FileInfo(BaseModel):
    """One thing in a home."""

    name: str = Field(description="Its name; bytes that are no UTF-8 as \\xff.")
    kind: str = Field(description="file, directory, symlink or other (a pipe, socket or device).")
    bytes: int = Field(description="Size in bytes; of a directory: how many entries it has, 10000 if more.")
    modified_at: datetime = Field(description="When it was changed last.")
    mode: int = Field(description="Permission bits.")
    is_directory: bool = Field(description="Whether it is a directory, or a symlink to one in the home.")
    link_target: str | None = Field(None, description="What a symlink says.")
    error: str | None = Field(None, description="Why it cannot be told what it holds.")
    encoded_name: str | None = Field(None, description="Of a name that is no UTF-8: its bytes, percent-encoded.")


class FilePage(BaseModel):
    """Some of what a directory holds, in the order of the names."""

    entries: list[FileInfo] = Field(description="The entries.")
    next: str | None = Field(description="Give this as `after` for what follows; null: that was all.")


class WrittenFile(BaseModel):
    """A file that was written."""

    path: str = Field(description="Where, relative to the home.")
    bytes: int = Field(description="Its size.")
    etag: str = Field(description="Names this state of it.")


_ENCODED = "Whether paths are percent-encoded here as in a URL: for names that are no UTF-8."


class Paths(BaseModel):
    """From where to where."""

    src: str = Field(description="What is moved or copied.", min_length=1)
    dest: str = Field(description="Its new path; for a copied file also the directory it lands in.", min_length=1)

    encoded: bool = Field(False, description=_ENCODED, strict=True)


class NewDirectory(BaseModel):
    """A directory to make."""

    path: str = Field(description="Its path; missing directories above it are made too.", min_length=1)
    encoded: bool = Field(False, description=_ENCODED, strict=True)


class Done(BaseModel):
    """Where something is now."""

    path: str = Field(description="The path, as given.")


class Deleted(BaseModel):
    """What became of what was deleted."""

    trash_id: str | None = Field(description="By which the trash has it; null: it is gone for good, or was not there.")


class Copied(BaseModel):
    """What was copied."""

    files: int = Field(description="Files and symlinks that were written.")
    bytes: int = Field(description="Their bytes.")


def make_router() -> APIRouter:
    """The routes of files."""
    router = router_of("files")
    router.get("/files", summary="List a directory", response_model=FilePage)(_list)
    router.delete("/files", summary="Delete a file or directory")(_delete)
    router.get("/files/stat", summary="Look at one path")(_stat)
    content = {200: _BINARY, 206: _BINARY}
    router.get("/files/content", summary="Download a file", response_class=Response, responses=content)(_get)  # type: ignore[arg-type]
    router.head("/files/content", include_in_schema=False)(_get)
    router.put(
        "/files/content",
        summary="Write a file",
        response_model=WrittenFile,
        responses={201: {"model": WrittenFile, "description": "There was none."}},
        openapi_extra={"requestBody": {"required": True, **_BINARY}},
    )(_put)
    router.post("/files/move", summary="Move or rename; never overwrites")(_move)
    router.post("/files/copy", summary="Copy within the project")(_copy)
    router.post(
        "/files/directories",
        summary="Make a directory",
        response_model=Done,
        responses={201: {"model": Done, "description": "It was made."}},
    )(_make_directory)
    return router


async def _list(
    member: Reader,
    path: ADirectory,
    hidden: Annotated[bool, Query(description="Also names that begin with a dot.")] = False,
    limit: Annotated[int, Query(ge=1, le=10_000, description="How many at most.")] = 1000,
    after: Annotated[str, Query(description="Only names after this one: `next` of the page before.")] = "",
) -> Response:
    name, files = from_token(after), member.services.files
    body = await files.listing(member.caller, member.project, path, page_of(limit), hidden=hidden, after=name)
    return Response(body, media_type="application/json")


def page_of(limit: int) -> Callable[[Iterator[Entry]], bytes]:
    """What makes a page of at most ``limit`` entries, as JSON."""

    def made(entries: Iterator[Entry]) -> bytes:
        last = ""

        def shape(entry: Entry) -> FileInfo:
            nonlocal last
            last = entry.raw_name
            return _info(entry)

        body = encoded_list(islice(entries, limit), shape)
        following = to_token(last) if next(entries, None) is not None else None
        return b'{"entries":%b,"next":%b}' % (body, to_json(following))

    return made


async def _stat(member: Reader, path: APath) -> FileInfo:
    return _info(await member.services.files.stat(member.caller, member.project, path))


def _info(entry: Entry) -> FileInfo:
    return FileInfo(
        name=entry.name,
        kind=entry.kind,
        bytes=entry.size,
        modified_at=datetime.fromtimestamp(entry.mtime, UTC),
        mode=entry.mode,
        is_directory=entry.isdir,
        link_target=entry.link_target,
        error=entry.error,
        encoded_name=encoded(entry.raw_name),
    )


async def _get(request: Request, member: Reader, path: APath) -> Response:
    files = member.services.files
    file = await files.open(member.caller, member.project, path)
    return await downloads.answer(request, files, file, shown(path.rstrip("/").rpartition("/")[2]), member)


async def _put(
    request: Request,
    member: Writer,
    path: APath,
    mode: Annotated[int | None, Query(ge=0, le=0o777, description="Permission bits.")] = None,
    mtime: Annotated[float | None, Query(ge=0, lt=2**33, description="Seconds since the epoch.")] = None,
    if_match: Annotated[str | None, Header(description="Only if the file is in this state.")] = None,
    if_none_match: Annotated[
        str | None, Header(description="Only if nothing is there.", json_schema_extra={"enum": ["*"]})
    ] = None,
    repr_digest: Annotated[str | None, Header(description="`sha-256=:<base64>:`: what must have come.")] = None,
) -> Response:
    if if_none_match is not None and if_none_match.strip() != "*":
        raise InvalidArgument(f"if-none-match is {if_none_match[:100]!r}; only * has a meaning here")
    condition = Precondition(None if if_match is None else downloads.etags(if_match), absent=if_none_match is not None)
    length = request.headers.get("content-length", "")
    try:
        written = await member.services.files.write(
            member.caller,
            member.project,
            path,
            member.body(),
            length=int(length) if length.isdigit() else None,
            dress=Dress(mode, None if mtime is None else int(mtime * 1e9)),
            condition=condition,
            sha256=downloads.from_digest(repr_digest),
        )
    except Conflict as error:
        if error.details.get("precondition") or (condition.absent and error.details.get("exists")):
            raise HTTPException(412, error.message) from error
        raise
    return _written(written)


def _written(written: Written) -> Response:
    body = WrittenFile(path=written.path, bytes=written.bytes, etag=written.etag)
    return JSONResponse(body.model_dump(), 201 if written.created else 200, headers={"etag": written.etag})


async def _delete(
    member: Writer,
    path: APath,
    permanent: Annotated[bool, Query(description="Whether to keep nothing in the trash.")] = False,
) -> Deleted:
    items = await member.services.trash.delete(member.caller, member.project, [path], permanent=permanent)
    return Deleted(trash_id=items[0].id if items else None)


async def _move(member: Writer, paths: Paths) -> Done:
    src, dest = (in_body(path, encoded=paths.encoded) for path in (paths.src, paths.dest))
    await member.services.files.rename(member.caller, member.project, src, dest)
    return Done(path=paths.dest)


async def _copy(member: Writer, paths: Paths) -> Copied:
    given = (in_body(path, encoded=paths.encoded) for path in (paths.src, paths.dest))
    src, dest = [await member.services.files.inner_path(member.project, path) for path in given]
    request = shapes.CopyPath(src_project_id=member.project_id, src_path=src, target_path=dest)
    summary = await member.services.copies.copy(member.caller, request)
    return Copied(files=summary["files"], bytes=summary["bytes"])


async def _make_directory(member: Writer, directory: NewDirectory) -> Response:
    path = in_body(directory.path, encoded=directory.encoded)
    made = await member.services.files.make_directory(member.caller, member.project, path)
    return JSONResponse({"path": directory.path}, 201 if made else 200)
