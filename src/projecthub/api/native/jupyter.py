"""Kernels over HTTP: sessions that keep their state, and executions that are followed as server-sent events."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Annotated, Any, Final, TypeVar
from uuid import UUID, uuid4

from fastapi import APIRouter, Header, Path, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError

from projecthub.api.native.callers import AwakeRunner, Member, Onlooker, Reader
from projecthub.api.native.job_streams import event, kept_alive
from projecthub.api.native.jobs import JobView
from projecthub.api.native.routes import make_router as make_router_of
from projecthub.api.native.streamed import FollowedResponse
from projecthub.errors import HubError, ServerLost
from projecthub.hub.jupyter_sessions import MAX_INDEX, Output, Told
from projecthub.wire.jobs import Job
from projecthub.wire.jupyter import MAX_CODE, SESSION_NAME, ExecutionState, SessionState

_NO_STORE: Final = {"cache-control": "no-store", "x-accel-buffering": "no"}

SessionName = Annotated[
    str, Path(pattern=f"^{SESSION_NAME}$", description="The session's name: letters, digits, `.`, `_`, `-`.")
]
ExecutionId = Annotated[UUID, Path(description="The execution's id, a uuid.")]
_Model = TypeVar("_Model", bound=BaseModel)


class KernelView(BaseModel):
    """A kernel that a project has."""

    name: str = Field(description="What sessions call it.")
    display_name: str = Field(description="What people call it.")
    language: str = Field(description="Its language.")


class NewSession(BaseModel):
    """What is to be open."""

    model_config = ConfigDict(extra="forbid")

    kernel: str | None = Field(
        None, max_length=200, pattern=r"^[^\x00]+$", description="Default: that of the open session, or `python3`."
    )
    path: str | None = Field(
        None,
        max_length=4096,
        pattern=r"^([^/\x00][^\x00]*)?$",
        description="Directory to run in, relative to the home. Default: that of the open session, or the home.",
    )


class SessionView(BaseModel):
    """A session."""

    name: str = Field(description="Its name.")
    kernel: str = Field(description="Its kernel's name.")
    path: str = Field(description="Directory it runs in, relative to the home; empty: the home.")
    state: SessionState = Field(description="How it stands with it.")
    pid: int | None = Field(description="The kernel's process, as the project sees it.")
    opened_at: int = Field(description="Milliseconds since the epoch.")


class NewExecution(BaseModel):
    """What is to run."""

    model_config = ConfigDict(extra="forbid")

    code: str = Field(max_length=MAX_CODE, pattern=r"^[^\x00]*$", description="In the kernel's language.")
    id: UUID | None = Field(None, description="A uuid of your own: sent twice, the code runs once.")


class ExecutionView(BaseModel):
    """Code that was given to a session."""

    id: str = Field(description="A uuid.")
    code: str = Field(description="The code.")
    state: ExecutionState = Field(description="How it stands with it.")
    execution_count: int | None = Field(description="The kernel's number for it.")
    created_at: int = Field(description="Milliseconds since the epoch.")
    started_at: int | None = Field(description="Milliseconds since the epoch.")
    ended_at: int | None = Field(description="Milliseconds since the epoch.")
    first_output: int = Field(description="Index of the first output that is still kept.")
    outputs: int = Field(description="How many outputs there have been.")


class NotebookRun(BaseModel):
    """A notebook that is to be run."""

    model_config = ConfigDict(extra="forbid")

    path: str = Field(
        min_length=1,
        max_length=4096,
        pattern=r"^[^/\x00][^\x00]*$",
        description="The file, relative to the home. Its cells run in its directory.",
    )
    kernel: str | None = Field(
        None, max_length=200, pattern=r"^[^\x00]+$", description="Default: the one that the notebook names."
    )
    allow_errors: StrictBool = Field(False, description="Go on after a cell that raises.")


class CompletionWanted(BaseModel):
    """Code with a cursor in it."""

    model_config = ConfigDict(extra="forbid")

    code: str = Field(max_length=MAX_CODE, pattern=r"^[^\x00]*$", description="In the kernel's language.")
    cursor: int | None = Field(None, ge=0, le=MAX_CODE, description="A place in it, in characters. Default: its end.")


class Completion(BaseModel):
    """What may stand where the cursor is."""

    matches: list[str] = Field(description="Texts that fit.")
    cursor_start: int = Field(description="They stand in place of the characters from here")
    cursor_end: int = Field(description="to here.")
    metadata: dict[str, Any] = Field(description="What else the kernel tells.")


def make_router() -> APIRouter:
    """The routes."""
    router = make_router_of("jupyter")
    router.get("/jupyter/kernels", summary="The kernels it has", response_model=list[KernelView])(_kernels)
    router.get("/jupyter/sessions", summary="List sessions", response_model=list[SessionView])(_list)
    router.post("/jupyter/runs", summary="Run a notebook", status_code=201, response_model=JobView)(_run_notebook)
    one = "/jupyter/sessions/{name}"
    router.put(one, summary="Open a session", response_model=SessionView)(_open)
    router.get(one, summary="One session", response_model=SessionView)(_get)
    router.delete(one, summary="Close a session", status_code=204, response_class=Response)(_close)
    router.post(f"{one}/interrupt", summary="Interrupt what runs", response_model=SessionView)(_interrupt)
    router.post(f"{one}/restart", summary="Give it a new kernel", response_model=SessionView)(_restart)
    router.post(f"{one}/complete", summary="Complete code", response_model=Completion)(_complete)
    all_of_one = f"{one}/executions"
    router.post(all_of_one, summary="Run code", status_code=201, response_model=ExecutionView)(_execute)
    router.get(all_of_one, summary="List executions", response_model=list[ExecutionView])(_executions)
    execution = f"{all_of_one}/{{execution_id}}"
    router.get(execution, summary="One execution", response_model=ExecutionView)(_execution)
    router.get(
        f"{execution}/events",
        summary="Follow as server-sent events",
        response_class=Response,
        responses={200: {"content": {"text/event-stream": {}}}},
    )(_events)
    return router


async def _kernels(member: AwakeRunner) -> list[KernelView]:
    """The kernels that sessions can have. The project is started if it does not run."""
    kernels = member.services.jupyter_sessions.kernels(member.project_id)
    return [_view(KernelView, told) for told in await member.unless_left(kernels)]


async def _list(member: Reader) -> list[SessionView]:
    """The sessions that are open; none if the project does not run."""
    sessions = member.services.jupyter_sessions.all_of(member.project_id)
    return [_view(SessionView, told) for told in await member.unless_left(sessions)]


async def _run_notebook(member: AwakeRunner, run: NotebookRun) -> Job:
    """Run a notebook file from top to bottom, as a job. The answer does not wait for its end.

    After each cell the file is replaced by one that has its outputs. Progress, kill and wait are those of the job.
    """
    return await member.services.jobs.run_notebook(member.caller, member.project_id, run.model_dump())


async def _open(member: AwakeRunner, name: SessionName, session: NewSession) -> SessionView:
    """Open a session, or find the one that is open. The project is started if it does not run."""
    return _view(SessionView, await _ask(member, "open", name, **session.model_dump()))


async def _get(member: Onlooker, name: SessionName) -> SessionView:
    """One session."""
    return _view(SessionView, await _ask(member, "get", name))


async def _close(member: AwakeRunner, name: SessionName) -> Response:
    """End a session and its kernel. Its executions and their outputs are gone."""
    await _ask(member, "close", name)
    return Response(status_code=204)


async def _interrupt(member: AwakeRunner, name: SessionName) -> SessionView:
    """Interrupt what runs. What waits behind it is aborted."""
    return _view(SessionView, await _ask(member, "interrupt", name))


async def _restart(member: AwakeRunner, name: SessionName) -> SessionView:
    """Give a session a new kernel. What runs or waits is aborted; what executions have put out stays."""
    return _view(SessionView, await _ask(member, "restart", name))


async def _complete(member: AwakeRunner, name: SessionName, wanted: CompletionWanted) -> Completion:
    """What may stand where the cursor is. A session that is busy for too long refuses."""
    return _view(Completion, await _ask(member, "complete", name, **wanted.model_dump()))


async def _execute(member: AwakeRunner, name: SessionName, execution: NewExecution) -> ExecutionView:
    """Run code after all that was given to the session before; the answer does not wait for its end."""
    id = str(execution.id or uuid4())
    sessions = member.services.jupyter_sessions
    told = await sessions.execute(member.caller, member.project_id, name, id=id, code=execution.code)
    return _view(ExecutionView, told)


async def _executions(member: Onlooker, name: SessionName) -> list[ExecutionView]:
    """The executions that a session remembers, oldest first."""
    executions = member.services.jupyter_sessions.executions(member.project_id, name)
    return [_view(ExecutionView, told) for told in await member.unless_left(executions)]


async def _execution(member: Onlooker, name: SessionName, execution_id: ExecutionId) -> ExecutionView:
    """One execution."""
    return _view(ExecutionView, await _ask(member, "execution", name, id=str(execution_id)))


async def _events(
    member: Onlooker,
    name: SessionName,
    execution_id: ExecutionId,
    index: Annotated[int, Query(ge=0, le=MAX_INDEX, description="The first output that is wanted.")] = 0,
    last_event_id: Annotated[str, Header(description="Go on after this event; wins over `index`.")] = "",
) -> StreamingResponse:
    """The outputs of an execution as server-sent events, as they come, to its end.

    `state` and `end` hold the execution; `output` an output as notebooks have them, or an `update_display_data` or
    `clear_output`; `error` a problem's `code` and `detail`. The id of an event is the index to go on from; outputs that
    are no longer kept are left out.
    """
    if last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) < len(str(MAX_INDEX)):
        index = int(last_event_id)
    values = member.services.jupyter_sessions.follow(member.project_id, name, str(execution_id), index)
    try:  # what is not there is a problem with a status of its own
        first = _first(await member.unless_left(_next(values)))
    except BaseException:
        await values.aclose()
        raise
    body = _told(values, first, index, member.is_still_one)
    return FollowedResponse(body, media_type="text/event-stream", headers=_NO_STORE)


async def _next(values: AsyncGenerator[Output | Told, None]) -> Output | Told | None:
    return await anext(values, None)


def _first(told: Output | Told | None) -> ExecutionView:
    """The execution, which comes before its outputs.

    Raises:
        ServerLost: It is something else.
    """
    if told is None or isinstance(told, Output):
        raise ServerLost("the project server's reply is no execution")
    return _view(ExecutionView, told)


async def _told(
    values: AsyncGenerator[Output | Told, None],
    first: ExecutionView,
    index: int,
    is_allowed: Callable[[], Awaitable[bool]],
) -> AsyncIterator[bytes]:
    try:
        yield event("state", index, first)
        async with aclosing(kept_alive(values, is_allowed)) as alive:
            async for value in alive:
                if value is None:
                    yield b": still here\n\n"
                elif isinstance(value, Output):
                    index = value.index + 1
                    yield f"event: output\nid: {index}\ndata: {value.text}\n\n".encode()
                else:
                    yield event("end", index, _view(ExecutionView, value))
    except HubError as error:  # the status was sent long ago
        yield event("error", index, {"code": error.code, "detail": error.message})


async def _ask(member: Member, what: str, name: str, **options: object) -> dict[str, Any]:
    return await member.unless_left(member.services.jupyter_sessions.ask(member.project_id, what, name, **options))


def _view(kind: type[_Model], told: Mapping[str, Any]) -> _Model:
    """What a project server tells, as it has to be; it may have been replaced by something that tells anything.

    Raises:
        ServerLost: It is something else.
    """
    try:
        return kind.model_validate(told)
    except ValidationError as error:
        raise ServerLost(f"the project server's reply is no {kind.__name__}") from error
