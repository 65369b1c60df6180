"""The local engine when its launcher is killed or frozen, and when its files are spoiled."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from test_engines import AS_ROOT, Bench

from projecthub.engines.local import ends, launching
from projecthub.engines.local.records import RECORD_FILES
from projecthub.engines.port import Instance, Isolation
from projecthub.errors import StartFailed

SPOILED = [b"", b'{"project_id": "', b'{"init": {"pid": 1}}', None]

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[Isolation.FULL if AS_ROOT else Isolation.USER, Isolation.NONE])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path, request.param)
    await bench.engine.open()
    yield bench
    for instance in await bench.engine.running():
        await bench.engine.stop(instance, grace_s=0.0)
    await bench.engine.close()


def spoil(bench: Bench, instance: Instance, content: bytes | None) -> None:
    for name in RECORD_FILES:
        file = bench.runtime_dir / instance.project_id / name
        file.unlink() if content is None else file.write_bytes(content)


def processes_of(instance: Instance) -> list[psutil.Process]:
    """The server of an instance, and its init."""
    server = psutil.Process(instance.pid)
    init = server.parent()
    assert init is not None
    assert init.name() == "project-init"
    return [server, init]


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    found = []
    for each in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if each.is_running() and each.status() != psutil.STATUS_ZOMBIE:
                found.append(each)
    return found


async def test_starts_go_on_with_another_launcher_when_theirs_is_killed(bench: Bench) -> None:
    for _ in range(5):
        specs = [bench.spec(GREETING="hello") for _ in range(8)]
        await bench.engine.ready()  # all starts may have been over when the last one was killed
        [launcher] = bench.launchers()
        starts = [asyncio.create_task(bench.engine.start(spec)) for spec in specs]
        await asyncio.wait(starts, timeout=0.02, return_when=asyncio.FIRST_COMPLETED)
        launcher.kill()
        for instance in await asyncio.gather(*starts):
            assert await bench.engine.find(instance.project_id) == instance
            await bench.engine.stop(instance, grace_s=0.0)
        left = [each.name for each in bench.runtime_dir.iterdir() if each.name not in ("skeleton", "launcher.log")]
        assert left == []


async def test_an_init_that_does_not_end_with_its_server_is_ended(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ends, "_OUTLIVES_S", 0.5)
    instance = await bench.engine.start(bench.spec())
    processes = processes_of(instance)
    server, init = processes
    init.suspend()
    server.kill()
    async with asyncio.timeout(10):
        ended = await bench.engine.wait(instance)
    assert ended.code is None
    assert alive(processes) == []
    assert await bench.engine.find(instance.project_id) is None
    await bench.engine.stop(instance)
    assert not (bench.runtime_dir / instance.project_id).exists()


async def test_a_launcher_that_does_not_answer_is_replaced(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "_ANSWER_TIMEOUT_S", 0.5)
    monkeypatch.setattr(launching, "_ABORT_TIMEOUT_S", 0.5)
    [launcher] = bench.launchers()
    launcher.suspend()
    instance = await bench.engine.start(bench.spec())
    assert await bench.engine.find(instance.project_id) == instance
    [another] = bench.launchers()
    assert another.pid != launcher.pid


def spares(launcher: psutil.Process) -> list[psutil.Process]:
    """The processes of the seedling that waits, once it is whole: an init and a server to be."""
    found = [each for each in launcher.children(recursive=True) if alive([each]) and each.name() == "project-spare"]
    return found if len(found) == 2 else []


async def test_a_start_that_hangs_fails_in_words_and_disturbs_no_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launching, "_ANSWER_TIMEOUT_S", 1.0)
    [launcher] = bench.launchers()
    async with asyncio.timeout(10):
        while not (hanging := spares(launcher)):
            await asyncio.sleep(0.01)
    for each in hanging:
        each.suspend()
    spec = bench.spec()
    start = asyncio.create_task(bench.engine.start(spec))
    async with asyncio.timeout(10):
        while not (bench.runtime_dir / spec.project_id).exists():
            await asyncio.sleep(0.001)
    other = await bench.engine.start(bench.spec())
    with pytest.raises(StartFailed, match="has not come up within 1 seconds"):
        await start
    async with asyncio.timeout(10):
        while alive(hanging):
            await asyncio.sleep(0.01)
    assert not (bench.runtime_dir / spec.project_id).exists()
    assert [each.pid for each in bench.launchers()] == [launcher.pid]
    assert await bench.engine.find(other.project_id) == other


async def test_what_a_launcher_leaves_goes_when_it_is_replaced(bench: Bench) -> None:
    if not bench.engine._trees.all():
        pytest.skip("this user has no control groups on this machine")
    [launcher] = bench.launchers()
    async with asyncio.timeout(10):
        while not (hanging := spares(launcher)):
            await asyncio.sleep(0.01)
    for each in hanging:
        each.suspend()  # so that it does not see the launcher's end
    launcher.kill()
    launcher.wait()
    instance = await bench.engine.start(bench.spec())
    assert alive(hanging) == []
    assert await bench.engine.find(instance.project_id) == instance


async def test_what_a_launcher_leaves_goes_though_nobody_asks_for_another(bench: Bench) -> None:
    if not bench.engine._trees.all():
        pytest.skip("this user has no control groups on this machine")
    [launcher] = bench.launchers()
    instance = await bench.engine.start(bench.spec())
    own = {Path(directory) for directory in bench.engine._records[instance.project_id].groups.values()}
    async with asyncio.timeout(10):
        while not spares(launcher):
            await asyncio.sleep(0.01)
        assert set(bench.groups()) > own  # the spare's
        launcher.kill()
        while set(bench.groups()) != own:
            await asyncio.sleep(0.01)
    assert await bench.engine.find(instance.project_id) == instance


async def zygote(launcher: psutil.Process) -> psutil.Process:
    """What a launcher has its processes forked by."""
    async with asyncio.timeout(10):
        # What it forks has its name for a moment, and it takes a moment to have it itself.
        while not (found := [one for one in launcher.children() if alive([one]) and one.name() == "project-zygote"]):
            await asyncio.sleep(0.01)
    return min(found, key=lambda each: each.create_time())


async def test_a_launcher_whose_zygote_was_killed_is_replaced(bench: Bench) -> None:
    running = await bench.engine.start(bench.spec())
    [launcher] = bench.launchers()
    async with asyncio.timeout(10):
        while not spares(launcher):
            await asyncio.sleep(0.01)
    (await zygote(launcher)).kill()
    started = await bench.engine.start(bench.spec())
    for instance in (running, started):
        assert await bench.engine.find(instance.project_id) == instance
    async with asyncio.timeout(10):
        while launcher.is_running() and alive([launcher]):
            await asyncio.sleep(0.01)
    for instance in (running, started):
        await bench.engine.stop(instance)
    assert bench.left_over() == []


async def test_a_zygote_that_hangs_is_replaced(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "_ANSWER_TIMEOUT_S", 1.0)
    monkeypatch.setattr(launching, "_ABORT_TIMEOUT_S", 0.5)
    [launcher] = bench.launchers()
    (await zygote(launcher)).suspend()
    instances = await asyncio.gather(*(bench.engine.start(bench.spec()) for _ in range(3)))
    for instance in instances:
        assert await bench.engine.find(instance.project_id) == instance
    assert not psutil.pid_exists(launcher.pid) or not alive([launcher])


async def test_a_spare_that_was_killed_leaves_no_group(bench: Bench) -> None:
    if not bench.engine._trees.all():
        pytest.skip("this user has no control groups on this machine")
    [launcher] = bench.launchers()
    async with asyncio.timeout(10):
        for _ in range(5):
            while not (waiting := spares(launcher)):
                await asyncio.sleep(0.01)
            before = set(bench.groups())
            waiting[-1].kill()
            while before & set(bench.groups()):
                await asyncio.sleep(0.01)


async def test_a_start_that_loses_every_launcher_fails_in_words(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def kill_all() -> None:
        while True:
            with contextlib.suppress(psutil.NoSuchProcess):
                for launcher in bench.launchers():
                    launcher.kill()
            await asyncio.sleep(0)

    spec = bench.spec()
    killing = asyncio.create_task(kill_all())
    with pytest.raises(StartFailed, match="could not be started: the launcher"):
        await bench.engine.start(spec)
    killing.cancel()
    assert await bench.engine.find((await bench.engine.start(spec)).project_id) is not None


@pytest.mark.parametrize("content", SPOILED)
async def test_a_run_is_ended_though_its_record_is_spoiled(bench: Bench, content: bytes | None) -> None:
    instance = await bench.engine.start(bench.spec())
    processes = processes_of(instance)
    spoil(bench, instance, content)
    assert await bench.bash(instance, "echo hello") == "hello\n"
    assert (await bench.engine.usage(instance)).processes == 2
    await bench.engine.stop(instance)
    assert alive(processes) == []
    assert not (bench.runtime_dir / instance.project_id).exists()


@pytest.mark.parametrize("content", SPOILED)
@pytest.mark.parametrize("frozen", [False, True])
async def test_what_cannot_be_found_again_is_ended(bench: Bench, content: bytes | None, frozen: bool) -> None:
    instance = await bench.engine.start(bench.spec())
    processes = processes_of(instance)
    if frozen:
        processes[0].send_signal(signal.SIGSTOP)
    spoil(bench, instance, content)
    another = bench.another_engine()
    await another.open()
    assert alive(processes) == []
    assert not (bench.runtime_dir / instance.project_id).exists()
    assert await another.find(instance.project_id) is None
    await another.close()


async def test_the_files_of_a_run_that_is_over_go_with_the_next_open(bench: Bench) -> None:
    instance = await bench.engine.start(bench.spec())
    processes = processes_of(instance)
    processes[0].kill()
    async with asyncio.timeout(10):
        while alive(processes):
            await asyncio.sleep(0.01)
    another = bench.another_engine()
    await another.open()
    assert not (bench.runtime_dir / instance.project_id).exists()
    assert (await another.wait(instance)).signal == signal.SIGKILL
    await another.close()
