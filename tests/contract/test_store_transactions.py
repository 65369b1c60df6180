"""All or nothing, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from store_samples import NOW, add_account, add_project, create_project, new_id

from projecthub.errors import Conflict, InternalError, InvalidArgument
from projecthub.store import Store, open_store
from projecthub.store.records import Role, Selection, State

WRITER = Path(__file__).parent / "store_writer.py"


async def count(store: Store) -> int:
    async with store.read() as tx:
        return await tx.projects.count()


async def test_an_exception_undoes_everything(store: Store) -> None:
    owner = await add_account(store)
    with pytest.raises(ZeroDivisionError):
        async with store.write() as tx:
            await create_project(tx, owner)
            await tx.accounts.update(owner, {"first_name": "Changed"})
            assert await tx.projects.count() == 1
            raise ZeroDivisionError
    async with store.write() as tx:
        assert await tx.projects.count() == 0
        account = await tx.accounts.get(owner)
        assert account is not None
        assert account.first_name == "Ada"
        # The counter is undone too: the slot was never anybody's.
        assert (await create_project(tx, owner))[1] == 1


async def test_errors_of_others_pass_unchanged(store: Store) -> None:
    for error in (OSError("disk"), ValueError("value"), Conflict("ours")):
        for open_transaction in (store.read, store.write):
            with pytest.raises(type(error)) as caught:
                async with open_transaction():
                    raise error
            assert caught.value is error


async def test_a_reader_sees_one_moment_and_waits_for_no_writer(store: Store) -> None:
    owner = await add_account(store)
    async with store.read() as before:
        assert await before.projects.count() == 0
        async with store.write() as tx:
            await create_project(tx, owner)
            assert await before.projects.count() == 0
            async with store.read() as during:
                assert await during.projects.count() == 0
        assert await before.projects.count() == 0
        async with store.read() as after:
            assert await after.projects.count() == 1


async def test_a_reader_cannot_write(store: Store) -> None:
    owner = await add_account(store)
    with pytest.raises(InternalError):
        async with store.read() as tx:
            await tx.accounts.mark_active({owner: NOW})


async def test_a_glance_sees_what_was_written_last_and_waits_for_no_writer(store: Store) -> None:
    owner = await add_account(store)
    async with store.write() as tx:
        project_id, _ = await create_project(tx, owner)
        async with store.glance() as other:
            assert await other.projects.get(project_id) is None
    for _ in range(20):  # more than there are connections for it
        async with store.glance() as tx:
            assert await tx.projects.get(project_id) is not None
            access = await tx.projects.access(project_id, owner)
            assert access is not None and access.role is Role.OWNER


async def test_many_glances_at_once(store: Store) -> None:
    owner = await add_account(store)
    project_id = await add_project(store, owner)

    async def glance() -> bool:
        async with store.glance() as tx:
            await asyncio.sleep(0.001)
            return await tx.projects.get(project_id) is not None

    assert all(await asyncio.gather(*(glance() for _ in range(50))))


async def test_a_glance_at_what_cannot_be_asked(store: Store) -> None:
    with pytest.raises(InvalidArgument):
        async with store.glance() as tx:
            await tx.accounts.by_email("a\ud800b")
    async with store.glance() as tx:
        assert await tx.accounts.by_email("nobody@example.org") is None


RECOVERING = """
import fcntl, os, sys
index = os.open(sys.argv[1] + "-shm", os.O_RDWR)
os.pwrite(index, bytes(96), 0)
for lock in (120, 122):  # of writing, and of recovering what the log holds
    fcntl.lockf(index, fcntl.LOCK_EX, 1, lock)
print(flush=True)
sys.stdin.read()
"""
"""Does what a program does that opens a store of SQLite whose last user was killed, and stays at it."""


async def test_a_glance_waits_for_another_program_that_recovers_the_store(tmp_path: Path, clock: Any) -> None:
    store = await open_store(f"sqlite:///{tmp_path}/x.sqlite3", clock=clock)
    try:
        owner = await add_account(store)
        command = [sys.executable, "-c", RECOVERING, str(tmp_path / "x.sqlite3")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdin is not None and other.stdout is not None
            other.stdout.readline()

            async def glance() -> bool:
                async with store.glance() as tx:
                    return await tx.accounts.get(owner) is not None

            glances = [asyncio.create_task(glance()) for _ in range(6)]
            await asyncio.sleep(0.3)
            assert not any(each.done() for each in glances)
            glances.pop(0).cancel()
            other.stdin.close()
            assert await asyncio.gather(*glances) == [True] * 5
    finally:
        await store.close()


async def test_many_creates_at_once_get_slots_of_their_own(store: Store) -> None:
    owner = await add_account(store)

    async def create() -> int:
        async with store.write() as tx:
            return (await create_project(tx, owner))[1]

    slots = await asyncio.gather(*(create() for _ in range(50)))
    assert sorted(slots) == list(range(1, 51))


async def test_the_same_pair_added_at_once_is_added_once(store: Store) -> None:
    owner, other = await add_account(store), await add_account(store)
    project_id = await add_project(store, owner)

    async def add() -> int:
        async with store.write() as tx:
            return len(await tx.collaborators.add([(project_id, other)], at=NOW))

    assert sum(await asyncio.gather(*(add() for _ in range(20)))) == 1
    async with store.read() as tx:
        assert await tx.collaborators.roles(project_id) == {owner: Role.OWNER, other: Role.COLLABORATOR}


async def test_one_of_many_wins_a_compare_and_set(store: Store, store_url: str, clock: Any) -> None:
    project_id = await add_project(store, await add_account(store))
    second = await open_store(store_url, clock=clock)

    async def start(through: Store) -> bool:
        async with through.write() as tx:
            changes = {"state": State.STARTING, "epoch": 1}
            return await tx.projects.update(project_id, changes, epoch=0, state=[State.STOPPED])

    try:
        won = await asyncio.gather(*(start(through) for through in (store, second) * 10))
    finally:
        await second.close()
    assert sorted(won) == [False] * 19 + [True]


async def test_one_of_many_under_the_same_idempotency_key_does_the_work(
    store: Store, store_url: str, clock: Any
) -> None:
    owner = await add_account(store)
    second = await open_store(store_url, clock=clock)

    async def create(through: Store) -> str:
        async with through.write() as tx:
            if (kept := await tx.idempotency.get(owner, "key")) is not None:
                return str(kept[1])
            project_id, _ = await create_project(tx, owner)
            await tx.idempotency.put(owner, "key", fingerprint="f", result=project_id, at=NOW)
            return project_id

    try:
        answers = await asyncio.gather(*(create(through) for through in (store, second) * 5), return_exceptions=True)
    finally:
        await second.close()
    assert all(isinstance(answer, (str, Conflict)) for answer in answers)
    assert len({answer for answer in answers if isinstance(answer, str)}) == 1
    assert await count(store) == 1


async def test_many_readers_at_once(store: Store) -> None:
    owner = await add_account(store)
    project_id = await add_project(store, owner)

    async def read() -> int:
        async with store.read() as tx:
            await tx.projects.access(project_id, owner)
            return len(await tx.projects.select(Selection(columns=("users",)), member=owner))

    assert await asyncio.gather(*(read() for _ in range(100))) == [1] * 100


async def test_a_cancelled_write_leaves_nothing_and_the_store_usable(store: Store) -> None:
    owner = await add_account(store)

    async def write(entered: asyncio.Event) -> None:
        async with store.write() as tx:
            entered.set()
            for _ in range(100_000):
                await create_project(tx, owner)

    async with asyncio.timeout(60):
        for _ in range(10):
            entered = asyncio.Event()
            task = asyncio.create_task(write(entered))
            await entered.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await count(store) == 0
        async with store.write() as tx:
            assert (await create_project(tx, owner))[1] == 1


async def test_cancelled_at_any_step_all_or_nothing(store: Store) -> None:
    owner = await add_account(store)

    async def write() -> None:
        async with store.write() as tx:
            await create_project(tx, owner)
            await create_project(tx, owner)

    async with asyncio.timeout(60):
        for steps in range(0, 400, 10):  # from before the first statement to after the commit
            before = await count(store)
            task = asyncio.create_task(write())
            for _ in range(steps):
                await asyncio.sleep(0)  # one step of the loop each
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            async with store.write() as tx:  # ends after whatever the cancelled one still does
                assert await tx.projects.count() - before in (0, 2)


async def test_a_cancelled_read_leaves_the_store_usable(store: Store) -> None:
    owner = await add_account(store)
    project_id = await add_project(store, owner)

    async def read() -> None:
        async with store.read() as tx:
            while True:
                await tx.projects.access(project_id, owner)

    async with asyncio.timeout(60):
        for steps in range(0, 200, 10):
            task = asyncio.create_task(read())
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await count(store) == 1


async def test_text_with_nul_never_breaks_the_store(store: Store) -> None:
    """PostgreSQL refuses it, SQLite takes it; the hub lets none through."""
    owner = await add_account(store)
    try:
        await add_project(store, owner, title="a\0b")
    except InvalidArgument as error:
        assert "cannot be stored" in error.message
    await add_project(store, owner, title="good")


async def test_the_details_of_a_failure_name_no_path(store: Store, store_url: str) -> None:
    with pytest.raises(Conflict) as caught:
        await add_project(store, new_id())
    assert "/" not in caught.value.message
    assert caught.value.__cause__ is not None


async def test_killed_while_writing(store_url: str, clock: Any, database: str) -> None:
    """Whatever was answered is there, and whatever is there is whole."""
    store = await open_store(store_url, clock=clock)
    owner = await add_account(store)
    await store.close()
    answered: list[str] = []
    for kill_after in (1, 7, 40):
        writer = await asyncio.create_subprocess_exec(
            sys.executable, WRITER, store_url, owner, stdout=subprocess.PIPE, env=dict(os.environ)
        )
        assert writer.stdout is not None
        for _ in range(kill_after):
            answered.append((await writer.stdout.readline()).decode().strip())
        writer.send_signal(signal.SIGKILL)
        answered += [line.decode().strip() async for line in writer.stdout if line.endswith(b"\n")]
        assert await writer.wait() == -signal.SIGKILL
    store = await open_store(store_url, clock=clock)
    try:
        async with store.read() as tx:
            selection = Selection(columns=("project_id", "unix_slot", "users", "title"))
            rows = {row["project_id"]: row for row in await tx.projects.select(selection, member=None)}
        assert len(answered) >= 48
        assert set(answered) <= set(rows)
        assert all(row["users"] == {owner: {"group": "owner"}} and row["title"] == "second" for row in rows.values())
        slots = {row["unix_slot"] for row in rows.values()}
        async with store.write() as tx:
            _, next_slot = await create_project(tx, owner)
        assert slots == set(range(1, next_slot))
    finally:
        await store.close()
    if database == "sqlite":
        connection = sqlite3.connect(store_url.removeprefix("sqlite:///"))
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        connection.close()
