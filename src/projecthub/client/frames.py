"""The output of a job as it is sent: records, each before its bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from projecthub.errors import ProtocolError
from projecthub.wire.jobs import MAX_CHUNK_BYTES, RECORD, Job, Stream

_MOST_BYTES = 4 * MAX_CHUNK_BYTES


class JobOutput(NamedTuple):
    """A piece of what a job put out.

    Attributes:
        stream: ``stdout`` or ``stderr``.
        data: The bytes.
        offset: Where they begin in the whole output, in bytes.
        time: When they came in.
    """

    stream: Literal["stdout", "stderr"]
    data: bytes
    offset: int
    time: datetime

    @property
    def end(self) -> int:
        """The offset of what comes after."""
        return self.offset + len(self.data)


class Frames:
    """Takes what arrives apart.

    Attributes:
        job: The job, once the last piece has come.
    """

    def __init__(self) -> None:
        self.job: Job | None = None
        self._pending = bytearray()

    def feed(self, data: bytes) -> Iterator[JobOutput]:
        """Take what has arrived; yields the pieces that are whole.

        Raises:
            ProtocolError: It is not of a hub.
        """
        self._pending += data
        place = 0
        while len(self._pending) - place >= RECORD.size:
            offset, time_us, length, stream = RECORD.unpack_from(self._pending, place)
            if length > _MOST_BYTES or stream > Stream.STDERR:
                raise ProtocolError("the hub's answer is not the output of a job")
            begin, end = place + RECORD.size, place + RECORD.size + length
            if len(self._pending) < end:
                break
            place = end
            content = bytes(memoryview(self._pending)[begin:end])
            if stream == Stream.STATE:
                self.job = _job(content)
            elif content:  # a piece without bytes is a sign of life
                kind: Any = "stdout" if stream == Stream.STDOUT else "stderr"
                yield JobOutput(kind, content, offset, datetime.fromtimestamp(time_us / 1e6, UTC))
        del self._pending[:place]


def _job(content: bytes) -> Job:
    try:
        job: Job = json.loads(content)
    except ValueError as error:
        raise ProtocolError("the hub's answer does not end with a job") from error
    return job
