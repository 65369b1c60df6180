"""Who ran what: what the project's log tells of commands and jobs."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import pytest
from house import House

from projecthub.errors import ExecFailed, InvalidArgument, LimitError, ServerLost
from projecthub.hub.command_log import MAX_LISTED, MAX_SIGNAL
from projecthub.hub.housekeeping import Housekeeping

pytestmark = pytest.mark.anyio
DONE = {"type": "blocking", "stdout": "ab", "stderr": "c", "exit_code": 0}


async def events(house: House, project_id: Any, kind: str) -> list[tuple[Any, dict[str, Any]]]:
    return [(who, event) for who, event in await house.log(project_id) if event["event"] == kind]


async def test_equal_commands_are_counted_together(house: House) -> None:
    ada = await house.person("Ada")
    project_id = await house.project(ada)
    for _ in range(3):
        with house.commands.command(project_id, ada.account_id, {"command": "make", "args": ["all"]}) as note:
            note.result = DONE
    with pytest.raises(ExecFailed), house.commands.command(project_id, ada.account_id, {"command": "make"}):
        raise ExecFailed("command 'make' exited with nonzero code 42 -- stderr=''")
    await house.commands.flush()
    await house.commands.flush()
    ((who, event),) = await events(house, project_id, "commands_run")
    assert who == ada.account_id
    assert [(run["command"], run["exit_code"], run["times"], run["bytes"]) for run in event["commands"]] == [
        ("make all", 0, 3, 9),
        ("make", 42, 1, 0),
    ]


async def test_what_never_began_is_not_noted(house: House) -> None:
    ada = await house.person("Ada")
    project_id = await house.project(ada)
    with pytest.raises(InvalidArgument), house.commands.command(project_id, ada.account_id, {"command": 5}):
        raise InvalidArgument("no")
    await house.commands.flush()
    assert await events(house, project_id, "commands_run") == []


async def test_what_no_store_takes_keeps_no_other_projects_commands_from_being_noted(house: House) -> None:
    ada = await house.person("Ada")
    hostile, other = await house.project(ada), await house.project(ada)
    for bad in ("\0", "\ud800"):
        with house.commands.cell(hostile, ada.account_id, "1") as note:
            note.result = {"outcome": f"Error{bad}", "bytes": 5}
    with house.commands.command(other, ada.account_id, {"command": "make"}) as note:
        note.result = DONE
    await house.commands.flush()
    ((_, event),) = await events(house, hostile, "cells_run")
    assert [run["outcome"] for run in event["cells"]] == ["Error\\0", "Error\\ud800"]
    assert len(await events(house, other, "commands_run")) == 1


async def test_a_caller_that_leaves_and_a_lost_server_are_noted(house: House) -> None:
    ada = await house.person("Ada")
    project_id = await house.project(ada)
    with pytest.raises(KeyboardInterrupt), house.commands.command(project_id, ada.account_id, {"command": "a"}):
        raise KeyboardInterrupt
    with pytest.raises(ServerLost), house.commands.command(project_id, ada.account_id, {"command": "b"}):
        raise ServerLost
    await house.commands.flush()
    ((_, event),) = await events(house, project_id, "commands_run")
    assert [run["exit_code"] for run in event["commands"]] == ["left", "server_lost"]


async def test_an_entry_is_bounded(house: House) -> None:
    ada = await house.person("Ada")
    project_id = await house.project(ada)
    for number in range(MAX_LISTED + 5):
        options = {"command": f"{number} " + "x" * 10_000, "args": ["y"] * 10_000}
        with house.commands.command(project_id, ada.account_id, options) as note:
            note.result = DONE
    await house.commands.flush()
    ((_, event),) = await events(house, project_id, "commands_run")
    assert (len(event["commands"]), event["others"]) == (MAX_LISTED, 5)
    assert len(json.dumps(event)) < 60_000


async def test_what_cannot_be_written_is_kept(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = await house.person("Ada")
    project_id = await house.project(ada)

    def full() -> Any:
        raise LimitError("the disk is full")

    for _ in range(2):
        with house.commands.command(project_id, ada.account_id, {"command": "a"}) as note:
            note.result = DONE
        with monkeypatch.context() as patch:
            patch.setattr(house.store, "write", full)
            await house.commands.flush()
    await house.commands.flush()
    noted = await events(house, project_id, "commands_run")
    assert [event["commands"][0]["times"] for _, event in noted] == [1, 1]


async def test_an_end_is_told_once(house: House) -> None:
    ada = await house.person("Ada")
    project_id = await house.project(ada)
    job_id = str(uuid.uuid4())
    await house.commands.job_started(project_id, ada.account_id, job_id, {"command": "make"})
    place = house.homes.path(project_id) / ".projecthub/jobs" / job_id
    place.mkdir(parents=True)
    state = {"id": job_id, "state": "completed", "exit_code": 0, "output_bytes": 5, "ended_at": 7}
    (place / "job.json").write_text(json.dumps(state))
    house.join()  # another hub sees the end
    await house.jobs.note_ends()
    await house.jobs.note_ends()
    ((who, event),) = await events(house, project_id, "job_ended")
    assert who == ada.account_id
    assert (event["state"], event["exit_code"], event["bytes"], event["ended_at"]) == ("completed", 0, 5, 7)


async def test_a_lost_job_is_told_at_the_second_look(house: House) -> None:
    ada = await house.person("Ada")
    project_id = await house.project(ada)
    job_id = str(uuid.uuid4())
    await house.commands.job_started(project_id, ada.account_id, job_id, {"command": "make"})
    place = house.homes.path(project_id) / ".projecthub/jobs" / job_id
    place.mkdir(parents=True)
    (place / "job.json").write_text(json.dumps({"id": job_id, "state": "running", "session_id": "gone"}))
    await house.jobs.note_ends()
    assert await events(house, project_id, "job_ended") == []
    await house.jobs.note_ends()
    ((_, event),) = await events(house, project_id, "job_ended")
    assert event["state"] == "lost"


async def test_a_job_that_was_removed_is_told_as_that(house: House) -> None:
    ada = await house.person("Ada")
    project_id = await house.project(ada)
    await house.commands.job_started(project_id, ada.account_id, str(uuid.uuid4()), {"command": "make"})
    await house.jobs.note_ends()
    ((_, event),) = await events(house, project_id, "job_ended")
    assert event["state"] == "removed"


async def test_a_job_that_cannot_be_read_keeps_no_other_from_being_told(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await house.person("Ada")
    project_id = await house.project(ada)
    bad, good = str(uuid.uuid4()), str(uuid.uuid4())
    for job_id in (bad, good):
        await house.commands.job_started(project_id, ada.account_id, job_id, {"command": "make"})
    get = house.jobs.get

    async def broken(of: Any, job_id: str) -> Any:
        if job_id == bad:
            raise OverflowError
        return await get(of, job_id)

    monkeypatch.setattr(house.jobs, "get", broken)
    await house.jobs.note_ends()
    assert [event["job_id"] for _, event in await events(house, project_id, "job_ended")] == [good]


async def test_a_step_of_housekeeping_that_fails_keeps_no_other_from_being_done(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept, flushed = asyncio.Event(), asyncio.Event()

    async def sweep() -> None:
        swept.set()

    async def flush() -> None:
        flushed.set()

    async def fail() -> None:
        raise OverflowError

    monkeypatch.setattr(house.keys, "flush", fail)
    monkeypatch.setattr(house.commands, "flush", flush)
    monkeypatch.setattr(house.jobs, "note_ends", fail)
    keeping = Housekeeping(
        house.store,
        house.clock,
        house.keys,
        house.projects,
        house.lifecycle,
        house.idle,
        house.jobs,
        house.commands,
        house.cells,
        [sweep],
    )
    keeping.open()
    async with asyncio.timeout(10):
        await flushed.wait()
        await swept.wait()
    monkeypatch.undo()
    await keeping.close()


@pytest.mark.parametrize("code", [2**31, -(2**31), 10**400, True, "x" * 10_000, 1.5], ids=range(6))
async def test_exit_codes_that_are_none_are_not_noted(house: House, code: Any) -> None:
    ada = await house.person("Ada")
    project_id = await house.project(ada)
    with house.commands.command(project_id, ada.account_id, {"command": "a"}) as note:
        note.result = {**DONE, "exit_code": code}
    await house.commands.flush()
    ((_, event),) = await events(house, project_id, "commands_run")
    assert event["commands"][0]["exit_code"] is None


async def test_what_a_file_says_of_an_end_is_bounded(house: House) -> None:
    ada = await house.person("Ada")
    project_id = await house.project(ada)
    job_id = str(uuid.uuid4())
    await house.commands.job_started(project_id, ada.account_id, job_id, {"command": "make"})
    place = house.homes.path(project_id) / ".projecthub/jobs" / job_id
    place.mkdir(parents=True)
    (place / "job.json").write_text(json.dumps({"state": "killed", "exit_code": 2**40, "signal": "S" * 100_000}))
    await house.jobs.note_ends()
    ((_, event),) = await events(house, project_id, "job_ended")
    assert (event["exit_code"], event["signal"]) == (None, "S" * MAX_SIGNAL)
