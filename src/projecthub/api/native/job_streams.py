"""The output of a job on its way to a reader: as bytes, in frames, or as server-sent events."""

from __future__ import annotations

import asyncio
import base64
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic_core import to_json

from projecthub.files.threads import until_ended
from projecthub.wire.jobs import RECORD, Stream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from projecthub.hub.jobs import Jobs, Piece
    from projecthub.wire.ids import ProjectId

KEEP_ALIVE_S: Final = 15.0
"""A stream says at least this often that it is there."""

_NOTHING: Final = RECORD.pack(0, 0, 0, Stream.STDOUT)
"""A piece without bytes: a sign of life."""

_MAX_EVENT_BYTES: Final = 48 * 1024
_T = TypeVar("_T")


async def plain(
    pieces: AsyncGenerator[list[Piece], None], streams: frozenset[int], max_bytes: int | None
) -> AsyncIterator[bytes]:
    """The bytes of some streams, and no more than ``max_bytes`` of them if that is given."""
    left = max_bytes
    async with aclosing(pieces):
        async for batch in pieces:
            data = b"".join(data for chunk, data in batch if chunk.stream in streams)
            if left is not None:
                data = data[:left]
                left -= len(data)
            if data:
                yield data
            if left == 0:
                return


async def frames(jobs: Jobs, project_id: ProjectId, job_id: str, offset: int, *, follow: bool) -> AsyncIterator[bytes]:
    """The output with its records, each before its bytes; at last the job itself, as a piece of stream `STATE`."""
    pieces = jobs.output(project_id, job_id, offset=offset, follow=follow)
    async for batch in kept_alive(pieces):
        yield b"".join(part for chunk, data in batch or () for part in (RECORD.pack(*chunk), data)) or _NOTHING
    job = to_json(await jobs.get(project_id, job_id))
    yield RECORD.pack(0, 0, len(job), Stream.STATE) + job


async def events(jobs: Jobs, project_id: ProjectId, job_id: str, offset: int) -> AsyncIterator[bytes]:
    """Server-sent events: ``state`` at first, ``output`` for each piece, ``end`` at last; an id is the next offset."""
    yield event("state", offset, await jobs.get(project_id, job_id))
    async for batch in kept_alive(jobs.output(project_id, job_id, offset=offset, follow=True)):
        told_now = bytearray(b"" if batch else b": still here\n\n")
        for chunk, data in batch or ():
            for begin in range(0, len(data), _MAX_EVENT_BYTES):
                part = data[begin : begin + _MAX_EVENT_BYTES]
                offset = chunk.offset + begin + len(part)
                told = {
                    "offset": chunk.offset + begin,
                    "time": chunk.time_us // 1000,
                    "stream": Stream(chunk.stream).name.lower(),
                    "data": base64.b64encode(part).decode(),
                }
                told_now += event("output", offset, told)
        yield bytes(told_now)
    yield event("end", offset, await jobs.get(project_id, job_id))


def event(kind: str, id: int, value: Any) -> bytes:
    """A server-sent event, whose data is JSON."""
    return b"event: %s\nid: %d\ndata: %s\n\n" % (kind.encode(), id, to_json(value))


async def kept_alive(values: AsyncGenerator[_T, None]) -> AsyncGenerator[_T | None, None]:
    """The same, with None whenever nothing has come for a while."""
    coming: asyncio.Future[_T] | None = None
    async with aclosing(values):
        try:
            while True:
                coming = coming or asyncio.ensure_future(anext(values))
                done, _ = await asyncio.wait({coming}, timeout=KEEP_ALIVE_S)
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
