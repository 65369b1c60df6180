"""What was deleted from a project, and how it comes back."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from projecthub.api.native.callers import Reader, Writer
from projecthub.api.native.routes import make_router as router_of
from projecthub.files.trash import TrashItem, shown_path
from projecthub.hub.trash import KEPT

AnId = Annotated[str, Path(description="The id of a thing in the trash.", pattern=r"^\d{13}-[0-9a-f]{8}$")]


class TrashEntry(BaseModel):
    """One thing that was deleted."""

    id: str = Field(description="Names it in the trash.")
    path: str = Field(description="Where it was, relative to the home.")
    is_directory: bool = Field(description="Whether it is a directory.")
    bytes: int = Field(description="What it takes on disk.")
    deleted_at: datetime = Field(description="When.")
    deleted_by: str = Field(description="The account that did it.")
    expires_at: datetime = Field(description="When it goes for good, unless room is needed before.")


class TrashContents(BaseModel):
    """What is in the trash, oldest first."""

    items: list[TrashEntry] = Field(description="The things.")


class RestoreTo(BaseModel):
    """Where something is to be."""

    path: str | None = Field(None, description="Its path; null: where it was.")


class Restored(BaseModel):
    """Where it is now."""

    path: str = Field(description="Relative to the home.")


class Emptied(BaseModel):
    """What went for good."""

    items: int = Field(description="How many things.")
    bytes: int = Field(description="What they took on disk.")


def make_router() -> APIRouter:
    """The routes of the trash."""
    router = router_of("trash")
    router.get("/trash", summary="List the trash")(_list)
    router.delete("/trash", summary="Empty the trash")(_empty)
    router.delete("/trash/{item_id}", summary="Delete one thing for good")(_remove)
    router.post("/trash/{item_id}/restore", summary="Bring something back; never overwrites")(_restore)
    return router


async def _list(member: Reader) -> TrashContents:
    items = await member.services.trash.items(member.caller, member.project)
    return TrashContents(items=[_entry(item) for item in items])


def _entry(item: TrashItem) -> TrashEntry:
    return TrashEntry(
        id=item.id,
        path=shown_path(item),
        is_directory=item.is_directory,
        bytes=item.bytes,
        deleted_at=item.deleted_at,
        deleted_by=item.deleted_by,
        expires_at=item.deleted_at + KEPT,
    )


async def _restore(member: Writer, item_id: AnId, to: RestoreTo) -> Restored:
    return Restored(path=await member.services.trash.restore(member.caller, member.project, item_id, to.path))


async def _empty(member: Writer) -> Emptied:
    items, size = await member.services.trash.empty(member.caller, member.project)
    return Emptied(items=items, bytes=size)


async def _remove(member: Writer, item_id: AnId) -> Emptied:
    items, size = await member.services.trash.empty(member.caller, member.project, item_id)
    return Emptied(items=items, bytes=size)
