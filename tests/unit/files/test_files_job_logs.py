"""Logs of jobs, true ones and others: what is told of them is what stands in them, and nothing outside."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projecthub.errors import NotFound
from projecthub.files.job_logs import MAX_LIST_BYTES, MAX_LISTED, JobLogReader, list_jobs, read_job
from projecthub.wire.jobs import JOBS_DIRECTORY, MAX_STATE_BYTES, RECORD, Stream


def plant(home: Path, pieces: list[tuple[bytes, int]] = (), **state: object) -> tuple[str, Path]:  # type: ignore[assignment]
    """A job with the output that is given."""
    job_id = str(uuid.uuid4())
    place = home / JOBS_DIRECTORY / job_id
    place.mkdir(parents=True)
    (place / "job.json").write_text(json.dumps({"id": job_id, "state": "completed", "started_at": 1, **state}))
    offset, records = 0, b""
    for time, (data, stream) in enumerate(pieces):
        records += RECORD.pack(offset, time, len(data), stream)
        offset += len(data)
    (place / "output").write_bytes(b"".join(data for data, _ in pieces))
    (place / "chunks").write_bytes(records)
    return job_id, place


def read_all(home: Path, job_id: str, offset: int, step: int, *, is_final: bool = True) -> list[tuple[int, bytes]]:
    reader = JobLogReader(home, job_id)
    got: list[tuple[int, bytes]] = []
    while pieces := reader.read(offset, step, is_final=is_final):
        for chunk, data in pieces:
            assert (chunk.offset, chunk.length) == (offset, len(data))
            assert data
            offset += len(data)
            got.append((chunk.stream, bytes(data)))
    reader.close()
    return got


pieces_of_output = st.lists(
    st.tuples(st.binary(min_size=1, max_size=40), st.sampled_from([Stream.STDOUT, Stream.STDERR])), max_size=600
)


@settings(max_examples=60, deadline=None)
@given(pieces_of_output, st.integers(min_value=0, max_value=2000), st.integers(min_value=1, max_value=5000))
def test_any_part_of_a_log_is_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[bytes, int]], offset: int, step: int
) -> None:
    home = tmp_path_factory.mktemp("home")
    job_id, _ = plant(home, pieces)
    got = read_all(home, job_id, offset, step)
    for stream in (Stream.STDOUT, Stream.STDERR):
        marked = b"".join((b"\1" if each == stream else b"\0") * len(data) for data, each in pieces)[offset:]
        assert b"".join((b"\1" if each == stream else b"\0") * len(data) for each, data in got) == marked
    assert b"".join(data for _, data in got) == b"".join(data for data, _ in pieces)[offset:]


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=2000), st.binary(max_size=2000), st.integers(min_value=0, max_value=2100))
def test_records_of_any_kind_lead_nowhere_else(
    tmp_path_factory: pytest.TempPathFactory, records: bytes, output: bytes, offset: int
) -> None:
    home = tmp_path_factory.mktemp("home")
    job_id, place = plant(home, [(output, 1)])
    (place / "chunks").write_bytes(records)
    assert b"".join(data for _, data in read_all(home, job_id, offset, 100)) == output[offset:]


def test_what_has_no_record_yet_is_not_told_before_the_end(tmp_path: Path) -> None:
    job_id, place = plant(tmp_path, [(b"told", 1)])
    with (place / "output").open("ab") as output:
        output.write(b"later")
    assert read_all(tmp_path, job_id, 0, 100, is_final=False) == [(1, b"told")]
    assert read_all(tmp_path, job_id, 0, 100) == [(1, b"told"), (1, b"later")]


def test_links_and_other_things_are_not_followed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    secret = tmp_path / "secret"
    secret.write_text(json.dumps({"state": "completed"}))
    job_id, place = plant(home, [(b"x", 1)])
    for name in ("output", "job.json"):
        (place / name).unlink()
        (place / name).symlink_to(secret)
    assert read_all(home, job_id, 0, 100) == []
    with pytest.raises(NotFound):
        read_job(home, job_id)
    other, place = plant(home)
    (place / "job.json").unlink()
    os.mkfifo(place / "job.json")
    with pytest.raises(NotFound):
        read_job(home, other)
    assert list_jobs(home) == []


@pytest.mark.parametrize("job_id", ["", "..", "../../x", "01234567-89ab-cdef-0123-456789abcdef"])
def test_ids_that_are_none(tmp_path: Path, job_id: str) -> None:
    with pytest.raises(NotFound):
        read_job(tmp_path, job_id)
    with pytest.raises(NotFound):
        read_job(tmp_path / "nowhere", job_id)


def test_of_a_state_counts_what_is_of_its_type(tmp_path: Path) -> None:
    job_id, place = plant(tmp_path, command=5, args=["a", 1], exit_code=True, output_bytes="x", by="\ud800", samples={})
    job = read_job(tmp_path, job_id)
    assert (job["command"], job["args"], job["exit_code"], job["output_bytes"], job["samples"]) == (
        "",
        ["a"],
        None,
        0,
        [],
    )
    assert (job["by"] or "").encode()
    for text in ("[]", "{", '{"state": "completed", "pid": NaN}', '{"state": "nope"}', "[" * 100_000):
        (place / "job.json").write_text(text)
        assert all(each["pid"] is None for each in list_jobs(tmp_path))


@pytest.mark.parametrize(
    "number", ["1" + "0" * 400, "-1" + "0" * 400, "1e400", "NaN", "1.5", "true", "9007199254740993"]
)
def test_numbers_that_are_none_count_as_missing(tmp_path: Path, number: str) -> None:
    job_id, place = plant(tmp_path)
    names = ("pid", "exit_code", "ended_at", "started_at", "output_bytes")
    fields = ",".join(f'"{name}":{number}' for name in names)
    (place / "job.json").write_text(f'{{"state":"completed","samples":[{{"timestamp":{number}}}],{fields}}}')
    job = read_job(tmp_path, job_id)
    assert [job["pid"], job["exit_code"], job["ended_at"], job["started_at"], job["output_bytes"]] == [
        *[None] * 3,
        *[0] * 2,
    ]
    assert job["samples"][0]["timestamp"] == 0


def test_what_is_closed_is_not_opened_again(tmp_path: Path) -> None:
    job_id, _ = plant(tmp_path, [(b"x", 1)])
    before = len(os.listdir("/proc/self/fd"))
    reader = JobLogReader(tmp_path, job_id)
    assert reader.size() == 1
    reader.close()
    assert reader.read(0, 100, is_final=True) == []
    assert reader.size() == 0
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_list_is_bounded_in_bytes(tmp_path: Path) -> None:
    room = MAX_STATE_BYTES - 200
    for _ in range(MAX_LIST_BYTES // room + 5):
        plant(tmp_path, command="x" * room)
    listed = list_jobs(tmp_path)
    assert MAX_LIST_BYTES // MAX_STATE_BYTES - 1 <= len(listed) <= MAX_LIST_BYTES // room


def test_a_list_tells_of_the_newest_without_their_samples(tmp_path: Path) -> None:
    planted = [plant(tmp_path, started_at=number, samples=[{"mem_rss": 1}]) for number in range(MAX_LISTED + 3)]
    for number, (_, place) in enumerate(planted):
        os.utime(place, (number, number))
    listed = list_jobs(tmp_path)
    assert [job["id"] for job in listed] == [job_id for job_id, _ in reversed(planted[3:])]
    assert not any("samples" in job for job in listed)
    assert read_job(tmp_path, planted[0][0])["samples"][0]["mem_rss"] == 1


def test_tiny_pieces_come_a_bounded_number_at_a_time(tmp_path: Path) -> None:
    stdout, stderr = Stream.STDOUT, Stream.STDERR
    job_id, _ = plant(tmp_path, [*[(b"o", stdout)] * 5000, *[(b"e", stderr)] * 5000])
    reader = JobLogReader(tmp_path, job_id)
    assert len(reader.read(0, 100_000, is_final=True)) == 4096
    merged = reader.read(4000, 100_000, is_final=True, is_merged=True)
    assert [(chunk.offset, chunk.length, chunk.stream) for chunk, _ in merged] == [
        (4000, 1000, stdout),
        (5000, 3096, stderr),
    ]
    assert [bytes(data) for _, data in merged] == [b"o" * 1000, b"e" * 3096]
    reader.close()
