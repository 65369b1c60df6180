"""Files of snapshots; all else about snapshots are methods of the hub."""

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from projecthub.api.native import downloads
from projecthub.api.native.callers import Reader
from projecthub.api.native.paths import APath
from projecthub.api.native.routes import make_router as router_of
from projecthub.files.paths import shown, split

_UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"

AnId = Annotated[str, Path(description="The id of a snapshot, a uuid.", pattern=_UUID)]

_BINARY = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}


def make_router() -> APIRouter:
    """The routes of snapshots."""
    router = router_of("snapshots")
    router.get("/snapshots/{snapshot_id}/content", summary="Read a file of a snapshot", responses={200: _BINARY})(_read)
    return router


async def _read(request: Request, member: Reader, snapshot_id: AnId, path: APath) -> Response:
    file = await member.services.snapshots.open(member.project, snapshot_id, path)
    return await downloads.answer(request, member.services.files, file, shown(split(path)[1]), member)
