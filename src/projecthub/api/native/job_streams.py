"""The output of a job on its way to a reader: as bytes, in frames, or as server-sent events."""

from __future__ import annotations

import asyncio
import base64
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic_core import to_json

from projecthub.api.native.callers import CHECKED_AGAIN_S
from projecthub.files.threads import until_ended
from projecthub.wire.jobs import RECORD, Stream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator

    from projecthub.hub.jobs import Jobs, Piece
    from projecthub.wire.ids import ProjectId

    Allowed = Callable[[], Awaitable[bool]]
    """Whether whoever reads may still do so."""

KEEP_ALIVE_S: Final = 15.0
"""A stream that has nothing to tell says this often that it is there, in seconds, and asks whether its reader may
still have it."""

_NOTHING: Final = RECORD.pack(0, 0, 0, Stream.STDOUT)
"""A piece without bytes: a sign of life."""

_MAX_EVENT_BYTES: Final = 48 * 1024
_T = TypeVar("_T")


async def plain(
    pieces: AsyncGenerator[list[Piece] | None, None], streams: frozenset[int], max_bytes: int | None
) -> AsyncIterator[bytes]:
    """The bytes of some streams, and no more than ``max_bytes`` of them if that is given."""
    left = max_bytes
    async with aclosing(pieces):
        async for batch in pieces:
            data = b"".join(data for chunk, data in batch or () if chunk.stream in streams)
            if left is not None:
                data = data[:left]
                left -= len(data)
            if data:
                yield data
            if left == 0:
                return


async def frames(
    jobs: Jobs, project_id: ProjectId, job_id: str, offset: int, is_allowed: Allowed, *, follow: bool
) -> AsyncIterator[bytes]:
    """The output with its records, each before its bytes; at last the job itself, as a piece of stream `STATE`."""
    pieces = jobs.output(project_id, job_id, offset=offset, follow=follow)
    async with aclosing(kept_alive(pieces, is_allowed)) as batches:
        async for batch in batches:
            yield b"".join(part for chunk, data in batch or () for part in (RECORD.pack(*chunk), data)) or _NOTHING
    if not await is_allowed():
        return
    job = to_json(await jobs.get(project_id, job_id))
    yield RECORD.pack(0, 0, len(job), Stream.STATE) + job


async def events(
    jobs: Jobs, project_id: ProjectId, job_id: str, offset: int, is_allowed: Allowed
) -> AsyncIterator[bytes]:
    """Server-sent events: ``state`` at first, ``output`` for each piece, ``end`` at last; an id is the next offset."""
    yield event("state", offset, await jobs.get(project_id, job_id))
    pieces = jobs.output(project_id, job_id, offset=offset, follow=True)
    async with aclosing(kept_alive(pieces, is_allowed)) as batches:
        async for batch in batches:
            # One text for all: there may be thousands of small pieces.
            yield b"".join(_output_events(batch or [])) or b": still here\n\n"
            if batch:
                offset = batch[-1][0].offset + len(batch[-1][1])
    if await is_allowed():
        yield event("end", offset, await jobs.get(project_id, job_id))


def _output_events(batch: list[Piece]) -> Iterator[bytes]:
    for chunk, data in batch:
        for begin in range(0, len(data), _MAX_EVENT_BYTES):
            part = data[begin : begin + _MAX_EVENT_BYTES]
            told = {
                "offset": chunk.offset + begin,
                "time": chunk.time_us // 1000,
                "stream": Stream(chunk.stream).name.lower(),
                "data": base64.b64encode(part).decode(),
            }
            yield event("output", chunk.offset + begin + len(part), told)


def event(kind: str, id: int, value: Any) -> bytes:
    """A server-sent event, whose data is JSON."""
    return b"event: %s\nid: %d\ndata: %s\n\n" % (kind.encode(), id, to_json(value))


async def kept_alive(values: AsyncGenerator[_T, None], is_allowed: Allowed) -> AsyncGenerator[_T | None, None]:
    """The same, with None whenever nothing has come for a while; it ends with the right to read it."""
    now = asyncio.get_running_loop().time
    checked_at = now()
    coming: asyncio.Future[_T] | None = None
    async with aclosing(values):
        try:
            while True:
                coming = coming or asyncio.ensure_future(anext(values))
                done, _ = await asyncio.wait({coming}, timeout=KEEP_ALIVE_S)
                if not done or now() - checked_at >= CHECKED_AGAIN_S:
                    if not await is_allowed():
                        return
                    checked_at = now()
                if not done:
                    yield None
                    continue
                arrived, coming = coming, None
                try:
                    value = arrived.result()
                except StopAsyncIteration:
                    return
                yield value
        finally:
            if coming is not None:  # a generator that runs cannot be closed
                coming.cancel()
                await until_ended(coming)
