"""Projects that begin with something: what is on its way is told while it comes.

The answer is a line of JSON every now and then, as ``{"files", "bytes", "expected_bytes"}``, and a last one:
``{"project_id"}``, or ``{"problem"}`` if there is none after all. What is refused at once is answered with its own
status, as everywhere.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Annotated, Any, Final

import structlog
from fastapi import APIRouter, Header, Path
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from projecthub.api.native import problems
from projecthub.api.native.callers import AMaker
from projecthub.api.native.routes import make_router as router_of
from projecthub.errors import HubError, InternalError
from projecthub.files import Course
from projecthub.files.threads import until_ended
from projecthub.wire.shapes import CreateProject
from projecthub.wire.sharing import CloneProject

_TYPE: Final = "application/x-ndjson"
_TICK_S: Final = 0.25
_LINES: Final = {200: {"description": "Lines of JSON, the last of which names the project.", "content": {_TYPE: {}}}}

AKey = Annotated[str | None, Header(alias="idempotency-key", description="Names this very call: see `createProject`.")]
NO_NUL: Final = r"^[^\x00]*$"  # no database takes it
AProject = Annotated[str, Path(description="The id of the project that is cloned, a uuid.")]

_log = structlog.get_logger()


class WantedProject(BaseModel):
    """What a new project is to be like; see `projects.createProject`."""

    model_config = ConfigDict(strict=True)

    title: str | None = Field(None, description="What people call it.", pattern=NO_NUL)
    description: str | None = Field(None, description="What it is for.", pattern=NO_NUL)
    license: str | None = Field(None, description="A license's id, or several parted by commas.")
    public_path_id: str | None = Field(None, description="Id of a share, with whose files it begins.")
    template_id: str | None = Field(None, description="Id of a template, as which it begins.")
    image: str | None = Field(None, description="Name of the software image.")
    start: bool = Field(False, description="Whether it is started.")
    ephemeral: int | None = Field(None, description="Milliseconds after which it is deleted.")
    project_id: str | None = Field(None, description="Its id; for site admins.")
    customize: dict[str, Any] | None = Field(None, description="May hold `disableInternet` and `license`.")


class WantedClone(BaseModel):
    """What a clone is to be like; see `projects.clone`."""

    model_config = ConfigDict(strict=True)

    title: str | None = Field(None, description="What it is called; default: the same, with (copy).", pattern=NO_NUL)
    exclude: list[str] | None = Field(None, description="Patterns of names to leave out.")
    with_collaborators: bool = Field(False, description="Whether the project's people are on it, too.")
    start: bool = Field(False, description="Whether it is started.")


def make_router() -> APIRouter:
    """The routes that make projects."""
    router = router_of("projects", "/projects")
    told: dict[str, Any] = {"response_class": Response, "responses": _LINES}
    router.post("", summary="Make a project, and tell how far what it begins with has come", **told)(_create)
    router.post("/{project_id}/clone", summary="Clone a project, and tell how far that has come", **told)(_clone)
    return router


async def _create(maker: AMaker, wanted: WantedProject, key: AKey = None) -> Response:
    course = Course(None)
    create, request = maker.services.creation.create, CreateProject(**wanted.model_dump())
    work = create(maker.caller, request, idempotency_key=key, course=course)
    return await _answer(maker.making(work, lambda project_id: {"project_id": project_id}), course)


async def _clone(maker: AMaker, project_id: AProject, wanted: WantedClone, key: AKey = None) -> Response:
    course = Course(None)
    clone, request = maker.services.clones.clone, CloneProject(project_id=project_id, **wanted.model_dump())
    work = clone(maker.caller, request, idempotency_key=key, course=course)
    return await _answer(maker.making(work, lambda cloned: {"target_project_id": cloned}), course)


class _LinesResponse(StreamingResponse):
    """Streams lines, and lets go of what makes them however that ends."""

    def __init__(self, lines: AsyncGenerator[bytes, None]) -> None:
        self._lines = lines
        super().__init__(lines, headers={"cache-control": "no-store"}, media_type=_TYPE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._lines):
            await super().__call__(scope, receive, send)


async def _answer(work: Coroutine[Any, Any, str], course: Course) -> Response:
    task = asyncio.create_task(work)
    try:
        await asyncio.wait({task}, timeout=_TICK_S)
        if task.done():
            return Response(_line({"project_id": task.result()}), media_type=_TYPE)
    except BaseException:
        await _end(task)
        raise
    return _LinesResponse(_lines(task, course))


async def _lines(task: asyncio.Task[str], course: Course) -> AsyncGenerator[bytes, None]:
    try:
        while not task.done():
            tally = course.tally
            yield _line({"files": tally.files, "bytes": tally.bytes, "expected_bytes": course.expected_bytes})
            await asyncio.wait({task}, timeout=_TICK_S)
        yield _line(_outcome(task))
    finally:
        await _end(task)


def _outcome(task: asyncio.Task[str]) -> dict[str, Any]:
    try:
        return {"project_id": task.result()}
    except Exception as error:
        known = error
        if not isinstance(error, HubError) or isinstance(error, InternalError):
            _log.error("call.failed", path="/projects", exc_info=error)
            known = InternalError("the hub made a mistake, which its log holds; tell its operator")
        assert isinstance(known, HubError)
        return {"problem": json.loads(bytes(problems.answer(known).body))}


async def _end(task: asyncio.Task[str]) -> None:
    """Nobody waits any more: what was begun is undone."""
    if not task.done():
        task.cancel()
        await until_ended(task)
    if not task.cancelled():
        task.exception()


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"
