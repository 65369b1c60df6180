"""Jobs over HTTP: start, look, read and follow the output, write to it, signal, remove."""

import re
from enum import StrEnum
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, StrictBool
from pydantic_core import to_json

from projecthub.api.departures import unless_left
from projecthub.api.native import job_streams
from projecthub.api.native.callers import AwakeRunner, Reader, Runner
from projecthub.api.native.routes import make_router as make_router_of
from projecthub.api.native.streamed import FollowedResponse, mark_followed
from projecthub.errors import InvalidArgument
from projecthub.wire.jobs import Job, JobState, Stream

CHUNKS_TYPE: Final = "application/vnd.projecthub.chunks"
_STDIN_BYTES: Final = 64 * 1024  # what a pipe takes: each such piece has its own time to be read
_RANGE: Final = re.compile(r"bytes=(\d{1,18})-(\d{0,18})")
_NO_STORE: Final = {"cache-control": "no-store", "x-accel-buffering": "no"}

JobId = Annotated[str, Path(description="The job's id, a uuid.")]
Offset = Annotated[int, Query(ge=0, le=2**53, description="Where to begin, in bytes of the whole output.")]


class Wanted(StrEnum):
    """Which of the two streams of a job is wanted."""

    STDOUT = "stdout"
    STDERR = "stderr"
    BOTH = "both"


_STREAMS: Final[dict[Wanted, frozenset[int]]] = {
    Wanted.STDOUT: frozenset({Stream.STDOUT}),
    Wanted.STDERR: frozenset({Stream.STDERR}),
    Wanted.BOTH: frozenset({Stream.STDOUT, Stream.STDERR}),
}


class NewJob(BaseModel):
    """What is to run."""

    model_config = ConfigDict(extra="forbid")

    command: str = Field(
        min_length=1, description="A program, or a bash script: with `bash`, or with blanks and no `args`."
    )
    args: list[str] | None = Field(None, description="Its arguments.")
    bash: StrictBool | None = Field(None, description="Run `command` as a bash script.")
    path: str | None = Field(None, description="Directory to run in, relative to the home. Default: the home.")
    cwd: str | None = Field(None, description="Directory to run in, absolute; wins over `path`.")
    env: dict[str, str] | None = Field(None, description="Variables to add to its environment.")
    timeout: float | None = Field(None, gt=0, le=1e9, description="Seconds after which it is killed. Default: never.")
    stdin: StrictBool | None = Field(
        None, description="Whether its standard input is to be written to. Default: empty."
    )
    max_log_bytes: int | None = Field(
        None, ge=4096, le=10**15, description="What its log may take; what comes after is dropped. Default: 1 GiB."
    )


class Sample(BaseModel):
    """What a job used at a moment."""

    timestamp: int = Field(description="Milliseconds since the epoch.")
    mem_rss: float = Field(description="Memory of all its processes in MB.")
    cpu_pct: float = Field(description="Per cent of one processor since the sample before.")
    cpu_secs: float = Field(description="Processor time in seconds.")


class ListedJobView(BaseModel):
    """A job, in a list."""

    id: str = Field(description="A uuid.")
    state: JobState = Field(description="How it stands with it.")
    command: str = Field(description="The program or the script.")
    args: list[str] = Field(description="Its arguments.")
    bash: bool = Field(description="Whether bash runs it.")
    directory: str = Field(description="Where it runs, as the project sees it.")
    by: str | None = Field(description="The account that started it.")
    started_at: int = Field(description="Milliseconds since the epoch.")
    ended_at: int | None = Field(description="Milliseconds since the epoch; null while it runs, or if it was lost.")
    exit_code: int | None = Field(description="Its exit code; 128 + n if signal n ended it.")
    signal: str | None = Field(description="The signal that ended it, such as `SIGKILL`.")
    error: str | None = Field(description="Why it could not begin, or could not go on.")
    pid: int | None = Field(description="Its first process, as the project sees it.")
    timeout_s: float | None = Field(description="Seconds it may take.")
    has_stdin: bool = Field(description="Whether its standard input may be written to.")
    output_bytes: int = Field(description="Length of the output that is kept.")
    stdout_bytes: int = Field(description="What it wrote to standard output; while it runs, a second ago.")
    stderr_bytes: int = Field(description="What it wrote to standard error; while it runs, a second ago.")
    truncated: bool = Field(description="Whether it wrote more than its log may take.")
    session_id: str = Field(description="Which run of the project it belongs to.")


class JobView(ListedJobView):
    """A job."""

    samples: list[Sample] = Field(description="What it used over its time.")


class NewSignal(BaseModel):
    """A signal for a job."""

    signal: str = Field("SIGTERM", description="A name such as `SIGINT`. `SIGKILL` ends all that came of the job.")


class Signalled(BaseModel):
    """What became of a signal."""

    sent: bool = Field(description="Whether the job still ran.")


def make_router() -> APIRouter:
    """The routes."""
    router = make_router_of("jobs")
    router.post("/jobs", summary="Start a job", status_code=201, response_model=JobView)(_start)
    router.get("/jobs", summary="List jobs", response_model=list[ListedJobView])(_list)
    router.get("/jobs/{job_id}", summary="One job", response_model=JobView)(_get)
    router.delete("/jobs/{job_id}", summary="Remove a job", status_code=204, response_class=Response)(_remove)
    octets: dict[int | str, dict[str, Any]] = {
        200: {"content": {"application/octet-stream": {}, CHUNKS_TYPE: {}}},
        206: {"description": "The part that was asked for.", "content": {"application/octet-stream": {}}},
    }
    router.get("/jobs/{job_id}/output", summary="Read the output", response_class=Response, responses=octets)(_output)
    router.get(
        "/jobs/{job_id}/events",
        summary="Follow as server-sent events",
        response_class=Response,
        responses={200: {"content": {"text/event-stream": {}}}},
    )(_events)
    router.post("/jobs/{job_id}/stdin", summary="Write to standard input", status_code=204, response_class=Response)(
        _stdin
    )
    router.post("/jobs/{job_id}/signal", summary="Send a signal", response_model=Signalled)(_signal)
    return router


async def _start(member: AwakeRunner, job: NewJob) -> Job:
    """Start a job. The project is started if it does not run; the answer does not wait for the job's end."""
    options = job.model_dump(exclude_none=True)
    return await member.services.jobs.start(member.caller, member.project_id, options)


async def _list(member: Reader) -> Response:
    """The jobs that are remembered, newest first, without their samples. The project need not run."""
    return Response(await member.services.jobs.all_of(member.project_id, to_json), media_type="application/json")


async def _get(
    member: Reader,
    job_id: JobId,
    request: Request,
    wait: Annotated[bool, Query(description="Answer when it has ended.")] = False,
) -> Job:
    """One job."""
    jobs = member.services.jobs
    if not wait:
        return await jobs.get(member.project_id, job_id)
    mark_followed(request.scope)
    return await member.unless_left(member.while_still_one(jobs.wait(member.project_id, job_id)))


async def _output(
    member: Reader,
    job_id: JobId,
    stream: Annotated[Wanted, Query(description="Which stream.")] = Wanted.BOTH,
    offset: Offset = 0,
    follow: Annotated[bool, Query(description="Go on to the end of the job.")] = False,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
    wanted_range: Annotated[str, Header(alias="range", description="`bytes=<first>-<last>`, of both streams.")] = "",
) -> StreamingResponse:
    """The output, as bytes, in the order it came.

    With `Accept: application/vnd.projecthub.chunks` each piece stands behind a record of 24 bytes, all little-endian:
    its offset (64 bits), the time it came in microseconds since the epoch (64), its length (32) and its stream (32):
    1 stdout, 2 stderr, and 0 at last for the job itself as JSON. A piece without bytes is a sign of life.
    """
    jobs, project_id = member.services.jobs, member.project_id
    await jobs.get(project_id, job_id)
    if CHUNKS_TYPE in accept:
        body = job_streams.frames(jobs, project_id, job_id, offset, member.is_still_one, follow=follow)
        answer = FollowedResponse if follow else StreamingResponse
        return answer(body, media_type=CHUNKS_TYPE, headers=_NO_STORE)
    status, headers, max_bytes = 200, dict(_NO_STORE), None
    if wanted_range and (match := _RANGE.fullmatch(wanted_range)) and stream is Wanted.BOTH and not follow:
        offset, last, size = int(match[1]), int(match[2] or 2**53), await jobs.output_size(project_id, job_id)
        last = min(last, size - 1)
        if offset > last:
            raise InvalidArgument(f"the output has {size} bytes: there are none at {wanted_range[:60]!r}")
        status, max_bytes = 206, last - offset + 1
        headers |= {"content-range": f"bytes {offset}-{last}/{size}", "content-length": str(max_bytes)}
    pieces = jobs.output(project_id, job_id, offset=offset, follow=follow, is_merged=True)
    body = job_streams.plain(job_streams.kept_alive(pieces, member.is_still_one), _STREAMS[stream], max_bytes)
    answer = FollowedResponse if follow else StreamingResponse
    return answer(body, status, headers=headers, media_type="application/octet-stream")


async def _events(
    member: Reader,
    job_id: JobId,
    offset: Offset = 0,
    last_event_id: Annotated[str, Header(description="Go on after this event; wins over `offset`.")] = "",
) -> StreamingResponse:
    """The output as server-sent events, as it comes, to the end of the job.

    `state` and `end` hold the job; `output` holds `offset`, `time` (milliseconds since the epoch), `stream` and `data`
    in base64. The id of an event is the offset to go on from.
    """
    await member.services.jobs.get(member.project_id, job_id)
    if last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) < len(str(2**53)):
        offset = int(last_event_id)
    body = job_streams.events(member.services.jobs, member.project_id, job_id, offset, member.is_still_one)
    return FollowedResponse(body, media_type="text/event-stream", headers=_NO_STORE)


async def _stdin(
    member: Runner,
    job_id: JobId,
    request: Request,
    close: Annotated[bool, Query(description="Nothing comes after this.")] = False,
) -> Response:
    """Write the body to the job's standard input; answers when all of it is in its pipe.

    A job that reads none of it for 30 seconds is told as a conflict.
    """
    jobs, project_id = member.services.jobs, member.project_id
    await jobs.get(project_id, job_id)
    pending = bytearray()
    async for part in member.body():
        pending += part
        while len(pending) >= _STDIN_BYTES:
            await member.while_still_one(jobs.write(project_id, job_id, bytes(pending[:_STDIN_BYTES])))
            del pending[:_STDIN_BYTES]
    if pending or close:
        work = member.while_still_one(jobs.write(project_id, job_id, bytes(pending), close=close))
        await unless_left(work, request.receive)
    return Response(status_code=204)


async def _signal(member: Runner, job_id: JobId, signal: NewSignal) -> Signalled:
    """Send a signal to the job's process group. One that has ended is left alone."""
    job = await member.services.jobs.get(member.project_id, job_id)
    if job["state"] != JobState.RUNNING:
        return Signalled(sent=False)
    return Signalled(sent=await member.services.jobs.signal(member.project_id, job_id, signal.signal))


async def _remove(member: AwakeRunner, job_id: JobId) -> Response:
    """Remove a job that has ended, and its output. The project is started if it does not run."""
    await member.services.jobs.remove(member.project_id, job_id)
    return Response(status_code=204)
