"""The identity of a run survives in a file, as a whole or not at all."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from projecthub.engines.local import processes
from projecthub.engines.local.processes import Process
from projecthub.engines.local.records import (
    EXIT_FILE,
    LOG_FILE,
    RECORD_FILES,
    Record,
    is_locked_alive,
    lock_alive,
    read_exit,
    read_log,
)
from projecthub.engines.port import Exit, Isolation
from projecthub.wire.ids import ProjectId


@pytest.fixture
def record() -> Record:
    ourselves = processes.identify(os.getpid())
    assert ourselves is not None
    return Record(
        boot_id=processes.boot_id(),
        project_id=ProjectId("01234567-89ab-cdef-0123-456789abcdef"),
        epoch=4,
        session_id="s",
        isolation=Isolation.USER,
        init=ourselves,
        server=Process(2, 20),
        started_at=datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
    )


def test_a_record_comes_back_as_it_was(record: Record, tmp_path: Path) -> None:
    record.save(tmp_path)
    assert Record.load(tmp_path) == record
    assert {path.name for path in tmp_path.iterdir()} == set(RECORD_FILES)


@pytest.mark.parametrize("damaged", RECORD_FILES)
@pytest.mark.parametrize("text", ["", "{", '{"boot_id": "x"}', "\0" * 100])
def test_one_damaged_record_is_no_loss(record: Record, tmp_path: Path, damaged: str, text: str) -> None:
    record.save(tmp_path)
    (tmp_path / damaged).write_text(text)
    assert Record.load(tmp_path) == record


def test_a_run_holds_a_lock_as_long_as_it_lives(tmp_path: Path) -> None:
    assert not is_locked_alive(tmp_path)
    held = lock_alive(tmp_path)
    copy = os.dup(held)
    os.close(held)
    assert is_locked_alive(tmp_path)
    os.close(copy)
    assert not is_locked_alive(tmp_path)


def test_the_end_of_a_log_is_told_without_what_a_terminal_would_act_upon(tmp_path: Path) -> None:
    assert read_log(tmp_path) == ""
    (tmp_path / LOG_FILE).write_bytes(b"x" * 5000 + b"\x1b[2J\xff\nlast")
    text = read_log(tmp_path)
    assert len(text) <= 2000
    assert text.endswith("x [2J\ufffd\nlast")


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"boot_id": 1}', "{" * 10])
def test_what_is_no_record_is_none(text: str, tmp_path: Path) -> None:
    assert Record.load(tmp_path) is None
    for name in RECORD_FILES:
        (tmp_path / name).write_text(text)
    assert Record.load(tmp_path) is None


def test_a_run_is_alive_by_boot_pid_and_start_time_together(record: Record) -> None:
    assert record.is_alive()
    assert not replace(record, boot_id="another").is_alive()
    assert not replace(record, init=Process(record.init.pid, record.init.started + 1)).is_alive()
    assert not replace(record, init=Process(2**22 + 1, 1)).is_alive()


def test_a_run_from_before_there_were_groups_is_known(record: Record, tmp_path: Path) -> None:
    record.save(tmp_path)
    for name in RECORD_FILES:
        values = json.loads((tmp_path / name).read_text())
        del values["groups"]
        (tmp_path / name).write_text(json.dumps(values))
    assert Record.load(tmp_path) == replace(record, groups={})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("code 0", Exit(code=0)),
        ("code 3", Exit(code=3)),
        ("signal 9", Exit(signal=9)),
        ("", Exit()),
        ("code", Exit()),
        ("code x", Exit()),
    ],
)
def test_how_a_run_ended(text: str, expected: Exit, tmp_path: Path) -> None:
    assert read_exit(tmp_path) == Exit()
    (tmp_path / EXIT_FILE).write_text(text)
    assert read_exit(tmp_path) == expected
