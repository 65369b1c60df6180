"""What the client makes of a job's output, however it arrives."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projecthub import Project
from projecthub.client.frames import Frames
from projecthub.errors import ProtocolError
from projecthub.wire.jobs import RECORD, Stream

JOB = {"id": "01234567-89ab-cdef-0123-456789abcdef", "state": "completed", "exit_code": 0}
RUNNING = {**JOB, "state": "running"}
END = RECORD.pack(0, 0, len(json.dumps(JOB)), Stream.STATE) + json.dumps(JOB).encode()
PIECES = [(b"abc", Stream.STDOUT), (b"\xff" * 1000, Stream.STDERR), (b"", Stream.STDOUT), (b"z", Stream.STDOUT)]


def sent(pieces: list[tuple[bytes, Stream]], offset: int = 0) -> bytes:
    frames = b""
    for data, stream in pieces:
        frames += RECORD.pack(offset, 1_000_000, len(data), stream) + data
        offset += len(data)
    return frames


@given(st.lists(st.integers(min_value=0, max_value=1200), max_size=20))
def test_pieces_come_whole_however_they_are_cut(cuts: list[int]) -> None:
    content = sent(PIECES) + END
    edges = [0, *sorted(cut for cut in cuts if cut < len(content)), len(content)]
    frames = Frames()
    got = [piece for a, b in itertools.pairwise(edges) for piece in frames.feed(content[a:b])]
    assert [(piece.data, piece.stream) for piece in got] == [(data, each.name.lower()) for data, each in PIECES if data]
    assert [piece.offset for piece in got] == [0, 3, 1003]
    assert got[0].time == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert frames.job == JOB


@pytest.mark.parametrize("record", [(0, 0, 2**31, 1), (0, 0, 1, 3)])
def test_what_is_no_output_is_refused(record: tuple[int, int, int, int]) -> None:
    with pytest.raises(ProtocolError):
        list(Frames().feed(RECORD.pack(*record)))


class Breaks(httpx2.SyncByteStream):
    """A connection that is lost in the middle of a piece."""

    def __iter__(self) -> Iterator[bytes]:
        yield sent(PIECES[:1])
        yield sent(PIECES[1:], 3)[:100]
        raise httpx2.ReadError("connection reset")


def test_output_goes_on_where_a_lost_connection_left_it() -> None:
    asked: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/output"):
            asked.append(request.url.params["offset"])
            if len(asked) == 1:
                return httpx2.Response(200, stream=Breaks())
            if len(asked) == 2:
                return httpx2.Response(503, text="no hub")
            return httpx2.Response(200, content=sent(PIECES[1:], 3) + END)
        return httpx2.Response(200, json=RUNNING)

    client = httpx2.Client(transport=httpx2.MockTransport(answer))
    with Project("key", "http://127.0.0.1:1", JOB["id"], client=client) as project:
        job = project.jobs.get(str(JOB["id"]))
        got = b"".join(piece.data for piece in job.output())
    assert got == b"".join(data for data, _ in PIECES)
    assert asked == ["0", "3", "3"]
    assert job.state == "completed"
