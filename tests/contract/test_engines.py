"""What every engine promises, tried on every engine and level of isolation that this machine and user have."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest

from projecthub.engines.local import processes
from projecthub.engines.local.engine import LocalEngine
from projecthub.engines.local.processes import Process
from projecthub.engines.local.records import RECORD_FILES, Record
from projecthub.engines.port import Engine, Exit, Instance, Isolation, Limits, StartSpec
from projecthub.errors import (
    CallTimeout,
    EndFailed,
    ExecFailed,
    InvalidArgument,
    ServerLost,
    StartFailed,
    UnknownMethod,
)
from projecthub.wire.ids import ProjectId

UNPRIVILEGED = Path(__file__).parent / "unprivileged.py"
AS_ROOT = os.geteuid() == 0
PROJECT_UID = 20_001
WITH_IDS = ("--with-ids", "-k", "full and not terminals")  # as root; what waits for long aside

pytestmark = pytest.mark.anyio


class Bench:
    """An engine to try, and projects for it."""

    def __init__(self, directory: Path, isolation: Isolation) -> None:
        self.directory = directory
        self.runtime_dir = directory / "run"
        self.isolation = isolation
        self.engine = self.another_engine()

    def another_engine(self) -> LocalEngine:
        return LocalEngine(runtime_dir=self.runtime_dir, isolation=self.isolation)

    def spec(
        self, *, epoch: int = 1, project_id: ProjectId | None = None, uid: int | None = PROJECT_UID, **environment: str
    ) -> StartSpec:
        project_id = project_id or ProjectId(str(uuid4()))
        uid = uid if self.isolation is Isolation.FULL else None
        home = self.directory / project_id
        if not home.exists():
            home.mkdir()
            if uid is not None:
                os.chown(home, uid, uid)
        return StartSpec(project_id=project_id, epoch=epoch, home=home, uid=uid, environment=environment)

    async def bash(self, instance: Instance, script: str) -> str:
        result: Any = await self.engine.call(instance, "system.exec", [{"command": script, "bash": True}])
        return str(result["stdout"])

    def groups(self) -> list[Path]:
        """The control groups of runs, the spare one's among them."""
        return [path for tree in self.engine._trees.all() if tree.exists() for path in tree.iterdir() if path.is_dir()]

    def launchers(self) -> list[psutil.Process]:
        return [each for each in psutil.Process().children() if any("launcher" in word for word in each.cmdline())]

    def left_over(self) -> list[str]:
        """Processes that launchers have started, and files of runs. What waits for projects aside."""
        waiting = ("project-spare", "project-zygote", "project-launch")  # each goes by its parent's name at first
        processes = [
            str(child)
            for each in self.launchers()
            for child in each.children(recursive=True)
            if child.status() != psutil.STATUS_ZOMBIE and child.name() not in waiting
        ]
        return processes + [each.name for each in self.runtime_dir.iterdir() if "-" in each.name]


def alive_with(marker: str) -> list[psutil.Process]:
    """Processes of this machine with a word in their command line, dead ones aside."""
    return [
        each
        for each in psutil.process_iter(["cmdline", "status"])
        if marker in (each.info["cmdline"] or ()) and each.info["status"] != psutil.STATUS_ZOMBIE
    ]


# What root cannot try is tried by `test_the_suite_as_another_user`.
@pytest.fixture(params=[Isolation.FULL if AS_ROOT else Isolation.USER, Isolation.NONE])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path, request.param)
    await bench.engine.open()
    yield bench
    for instance in await bench.engine.running():
        await bench.engine.stop(instance, grace_s=0.0)
    await bench.engine.close()


async def test_start_answers_and_says_who_runs(bench: Bench) -> None:
    engine: Engine = bench.engine
    spec = bench.spec(epoch=7)
    instance = await engine.start(spec)
    assert (instance.project_id, instance.epoch) == (spec.project_id, 7)
    assert psutil.pid_exists(instance.pid)
    assert datetime.now(UTC) - instance.started_at < timedelta(seconds=30)
    answer: Any = await engine.call(instance, "system.test", [])
    assert answer["project_id"] == spec.project_id
    assert await engine.find(spec.project_id) == instance
    assert engine.isolation is bench.isolation


async def test_an_engine_whose_launcher_was_killed_is_ready_again(bench: Bench) -> None:
    await bench.engine.ready()
    (launcher,) = bench.launchers()
    launcher.kill()
    launcher.wait()
    while bench.engine._launcher is not None and bench.engine._launcher.is_alive:
        await asyncio.sleep(0.001)
    await bench.engine.ready()
    (another,) = bench.launchers()
    assert another.pid != launcher.pid
    assert (await bench.engine.start(bench.spec())).pid


async def test_the_environment_is_the_projects_own(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROJECTHUB_SECRET", "of the hub")
    instance = await bench.engine.start(bench.spec(GREETING="hello", LANG="de_DE.UTF-8"))
    variables = dict(line.split("=", 1) for line in (await bench.bash(instance, "env")).splitlines())
    assert (variables["GREETING"], variables["LANG"]) == ("hello", "de_DE.UTF-8")
    assert variables["COCALC_PROJECT_ID"] == variables["PROJECTHUB_PROJECT_ID"] == instance.project_id
    assert variables["USER"] == instance.project_id.replace("-", "")
    assert variables["DATA"] == variables["LOGS"] == variables["HOME"] + "/.smc"
    assert not {"PROJECTHUB_SECRET", "VIRTUAL_ENV", "PYTHONPATH"} & variables.keys()


async def test_many_starts_at_once(bench: Bench) -> None:
    specs = [bench.spec() for _ in range(20)]
    instances = await asyncio.gather(*(bench.engine.start(spec) for spec in specs))
    answers = await asyncio.gather(*(bench.engine.call(each, "system.test", []) for each in instances))
    assert [answer["project_id"] for answer in answers] == [spec.project_id for spec in specs]  # type: ignore[index]
    assert sorted(await bench.engine.running(), key=str) == sorted(instances, key=str)


async def test_another_engine_finds_what_a_killed_one_started(bench: Bench) -> None:
    instance = await bench.engine.start(bench.spec())
    [launcher] = bench.launchers()
    launcher.send_signal(signal.SIGKILL)
    launcher.wait(5)
    another = bench.another_engine()
    await another.open()
    try:
        assert await another.find(instance.project_id) == instance
        assert await another.running() == [instance]
        assert await another.call(instance, "system.exec", [{"command": "echo", "args": ["here"]}])
        await another.stop(instance)
        assert await bench.engine.find(instance.project_id) is None
        assert await bench.engine.start(bench.spec())
    finally:
        await another.close()


async def test_projects_outlive_a_closed_engine(bench: Bench) -> None:
    instance = await bench.engine.start(bench.spec())
    await bench.engine.close()
    await bench.engine.open()
    assert await bench.engine.find(instance.project_id) == instance


async def test_stop_leaves_nothing(bench: Bench) -> None:
    instance = await bench.engine.start(bench.spec())
    marker = f"{os.getpid()}{uuid4().int % 10**9}"
    await bench.bash(
        instance,
        f"sleep {marker} &\n"
        f"setsid sleep {marker} &\n"
        f"(setsid bash -c 'trap \"\" TERM; sleep {marker}; sleep {marker}' >/dev/null 2>&1 &)\n"
        f"(setsid bash -c '(sleep {marker} &)' >/dev/null 2>&1)\n",
    )
    assert len(alive_with(marker)) >= 3
    await bench.engine.stop(instance, grace_s=0.1)
    assert alive_with(marker) == []
    assert bench.left_over() == []
    assert await bench.engine.find(instance.project_id) is None
    await bench.engine.stop(instance)


async def test_stop_asks_before_it_kills(bench: Bench) -> None:
    spec = bench.spec()
    instance = await bench.engine.start(spec)
    await bench.bash(
        instance,
        "setsid bash -c 'trap \"touch asked; exit\" TERM; touch ready; while :; do sleep 0.01; done' &>/dev/null &\n"
        "until [ -e ready ]; do sleep 0.01; done",
    )
    called = asyncio.create_task(
        bench.bash(instance, "trap 'echo asked; exit' TERM; touch waiting; while :; do sleep 0.01; done")
    )
    await bench.bash(instance, "until [ -e waiting ]; do sleep 0.01; done")
    await bench.engine.stop(instance, grace_s=20.0)
    assert (spec.home / "asked").exists()
    assert await called == "asked\n"


async def test_a_newer_start_ends_the_older_one(bench: Bench) -> None:
    spec = bench.spec(epoch=1)
    older = await bench.engine.start(spec)
    newer = await bench.engine.start(bench.spec(epoch=2, project_id=spec.project_id))
    assert await bench.engine.wait(older) == Exit(code=0)
    assert not psutil.pid_exists(older.pid)
    with pytest.raises(ServerLost, match="this run of the project has ended; another one answers"):
        await bench.engine.call(older, "system.ping", [])
    await bench.engine.stop(older)
    assert await bench.engine.find(spec.project_id) == newer


async def test_an_older_start_is_refused(bench: Bench) -> None:
    spec = bench.spec(epoch=5)
    instance = await bench.engine.start(spec)
    for epoch in (4, 5):
        with pytest.raises(StartFailed, match="out of date"):
            await bench.engine.start(bench.spec(epoch=epoch, project_id=spec.project_id))
    assert await bench.engine.find(spec.project_id) == instance


async def test_wait_tells_how_a_server_was_killed(bench: Bench) -> None:
    instance = await bench.engine.start(bench.spec())
    waits = [asyncio.create_task(bench.engine.wait(instance)) for _ in range(3)]
    waits[0].cancel()
    with pytest.raises(ServerLost):
        await bench.bash(instance, "kill -9 $PPID; sleep 10")
    assert await asyncio.gather(*waits[1:]) == [Exit(signal=9)] * 2
    assert waits[0].cancelled()
    await bench.engine.stop(instance)
    assert list(Path("/tmp").glob(f"exec-{instance.session_id}*")) == []
    assert await bench.engine.wait(instance) == Exit(signal=9)
    assert await bench.engine.find(instance.project_id) is None


async def test_wait_returns_at_once_after_a_stop(bench: Bench) -> None:
    instance = await bench.engine.start(bench.spec())
    await bench.engine.stop(instance)
    assert await bench.engine.wait(instance) == Exit(code=0)


async def test_a_killed_init_is_the_end_of_the_project(bench: Bench) -> None:
    instance = await bench.engine.start(bench.spec())
    record = Record.load(bench.runtime_dir / instance.project_id)
    assert record is not None
    os.kill(record.init.pid, signal.SIGKILL)
    assert await bench.engine.wait(instance) == Exit()
    assert await bench.engine.find(instance.project_id) is None
    await bench.engine.stop(instance)
    assert not psutil.pid_exists(instance.pid) or psutil.Process(instance.pid).status() == psutil.STATUS_ZOMBIE
    assert await bench.engine.start(bench.spec(epoch=2, project_id=instance.project_id))


async def test_usage_is_measured(bench: Bench) -> None:
    instance = await bench.engine.start(bench.spec())
    idle = await bench.engine.usage(instance)
    assert idle.processes == 2
    assert 0 < idle.uss <= idle.pss <= idle.rss
    code = "x = bytearray(b'x' * 50_000_000); sum(range(3_000_000)); open('ready', 'w'); import time; time.sleep(60)"
    await bench.bash(
        instance,
        f'{sys.executable} -I -S -c "{code}" >/dev/null 2>&1 &\nuntil [ -e ready ]; do sleep 0.01; done',
    )
    busy = await bench.engine.usage(instance)
    assert busy.processes == 3
    assert busy.uss - idle.uss > 45_000_000
    assert busy.cpu_s > idle.cpu_s
    await bench.engine.stop(instance)
    assert (await bench.engine.usage(instance)).processes == 0


SHARING = """
import mmap, os, time
with open("held", "wb+") as file:
    file.truncate(60_000_000)
    held = mmap.mmap(file.fileno(), 0)
    for _ in range(119):
        if not os.fork():
            sum(held[::4096])
            open(f"ready-{os.getpid()}", "w")
            time.sleep(60)
    sum(held[::4096])
time.sleep(60)
"""


async def test_what_a_large_project_uses_costs_the_hub_little(bench: Bench) -> None:
    instance = await bench.engine.start(bench.spec())
    (bench.directory / instance.project_id / "sharing.py").write_text(SHARING)
    await bench.bash(
        instance,
        f"{sys.executable} -I -S sharing.py >/dev/null 2>&1 &\n"
        "until [ $(ls | grep -c ready-) = 119 ]; do sleep 0.05; done",
    )
    begin = time.process_time()
    for _ in range(5):
        seen = await asyncio.gather(*(bench.engine.usage(instance) for _ in range(10)))
        assert {each.processes for each in seen} == {122}
    assert time.process_time() - begin < 0.25  # to walk through the pages of all took some 0.1 s, each time
    assert seen[0].uss <= seen[0].pss <= seen[0].rss
    assert seen[0].rss > 120 * 60_000_000
    assert seen[0].pss < 400_000_000 + 60_000_000


@pytest.mark.parametrize("after_ms", [0, 2, 4, 6, 8, 10, 13, 17])
async def test_a_cancelled_start_leaves_nothing(bench: Bench, after_ms: float) -> None:
    spec = bench.spec()
    start = asyncio.create_task(bench.engine.start(spec))
    await asyncio.wait([start], timeout=after_ms / 1000)
    if start.cancel():
        with pytest.raises(asyncio.CancelledError):
            await start
        assert await bench.engine.find(spec.project_id) is None
        assert not (bench.runtime_dir / spec.project_id).exists()
    instance = await bench.engine.start(bench.spec(epoch=2, project_id=spec.project_id))
    await bench.engine.stop(instance)
    assert bench.left_over() == []


async def test_a_start_without_a_home_fails_in_words(bench: Bench) -> None:
    spec = bench.spec()
    spec.home.rmdir()
    with pytest.raises(StartFailed, match="its home does not exist") as caught:
        await bench.engine.start(spec)
    assert str(bench.directory) not in caught.value.message
    assert bench.left_over() == []


@pytest.mark.skipif(not AS_ROOT, reason="only a project with a uid of its own can have a home of somebody else's")
async def test_a_start_in_the_home_of_somebody_else_fails_in_words(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Isolation.FULL)
    await bench.engine.open()
    spec = bench.spec()
    os.chown(spec.home, 0, 0)
    with pytest.raises(StartFailed, match="does not belong to the project's uid 20001"):
        await bench.engine.start(spec)
    assert bench.left_over() == []
    await bench.engine.close()


async def test_calls_fail_in_their_kinds(bench: Bench) -> None:
    instance = await bench.engine.start(bench.spec())
    with pytest.raises(UnknownMethod, match=r"^unknown function 'system\.nope'$"):
        await bench.engine.call(instance, "system.nope", [])
    with pytest.raises(InvalidArgument, match=r"option 'command' of system\.exec is missing"):
        await bench.engine.call(instance, "system.exec", [{}])
    with pytest.raises(InvalidArgument, match="must be JSON"):
        await bench.engine.call(instance, "system.ping", [object()])
    with pytest.raises(ExecFailed, match="exited with nonzero code 3"):
        await bench.bash(instance, "exit 3")
    await bench.engine.stop(instance)
    with pytest.raises(ServerLost):
        await bench.engine.call(instance, "system.ping", [])


async def test_work_goes_on_when_a_wait_ends(bench: Bench) -> None:
    instance = await bench.engine.start(bench.spec())
    call = [{"command": "touch begun; until [ -e go ]; do sleep 0.01; done; touch done", "bash": True}]
    with pytest.raises(CallTimeout, match="timeout"):
        await bench.engine.call(instance, "system.exec", call, timeout_s=0.2)
    await bench.bash(instance, "touch go; until [ -e done ]; do sleep 0.01; done")


async def test_work_ends_when_its_caller_leaves(bench: Bench) -> None:
    instance = await bench.engine.start(bench.spec())
    call = [{"command": "echo $$ > begun; sleep 1000", "bash": True, "timeout": 1000}]
    waiting = asyncio.create_task(bench.engine.call(instance, "system.exec", call))
    await bench.bash(instance, "until [ -s begun ]; do sleep 0.01; done")
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
    await bench.bash(instance, "while kill -0 $(cat begun) 2>/dev/null; do sleep 0.01; done")


async def test_a_stop_notes_how_jobs_end(bench: Bench) -> None:
    spec = bench.spec()
    instance = await bench.engine.start(spec)
    options = {"command": "echo begun; sleep 1000", "bash": True}
    job: Any = await bench.engine.call(instance, "jobs.start", [options, {"by": str(uuid4())}])
    directory = spec.home / ".projecthub/jobs" / job["id"]
    while (directory / "output").read_text() != "begun\n":
        await asyncio.sleep(0.01)
    await bench.engine.stop(instance)
    state = json.loads((directory / "job.json").read_text())
    assert (state["state"], state["signal"], state["output_bytes"]) == ("killed", "SIGTERM", 6)


async def test_files_of_an_earlier_boot_are_removed(bench: Bench) -> None:
    instance = await bench.engine.start(bench.spec())
    await bench.engine.close()
    directory = bench.runtime_dir / instance.project_id
    saved = (directory / "instance.json").read_text()
    record = Record.load(directory)
    assert record is not None
    stale = bench.runtime_dir / str(uuid4())
    stale.mkdir()
    (stale / "instance.json").write_text(saved.replace(record.boot_id, str(uuid4())))
    half_made = bench.runtime_dir / str(uuid4())
    half_made.mkdir()
    await bench.engine.open()
    assert not stale.exists()
    assert not half_made.exists()
    assert await bench.engine.find(instance.project_id) == instance


async def test_a_process_id_that_was_given_away_is_not_taken_for_a_project(bench: Bench) -> None:
    instance = await bench.engine.start(bench.spec())
    directory = bench.runtime_dir / instance.project_id
    text = (directory / "instance.json").read_text()
    record = Record.load(directory)
    assert record is not None
    started = f'"started": {record.init.started}'
    (directory / "instance.json").write_text(text.replace(started, '"started": 1'))
    assert await bench.another_engine().find(instance.project_id) is None
    (directory / "instance.json").write_text(text)
    assert await bench.another_engine().find(instance.project_id) == instance


@pytest.mark.skipif(not AS_ROOT, reason="this user's levels are tried directly")
@pytest.mark.parametrize("options", [("-k", "user"), WITH_IDS], ids=["plain", "with other ids"])
def test_the_suite_as_another_user(options: Sequence[str]) -> None:
    run = subprocess.run(
        [sys.executable, str(UNPRIVILEGED), *options, str(Path(__file__).resolve())],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if "no user namespaces" in run.stdout:
        pytest.skip("this machine offers no user namespaces to users")
    assert run.returncode == 0, run.stdout + run.stderr
    assert " passed" in run.stdout


async def test_activity_tells_time_terminals_and_processes(bench: Bench) -> None:
    instance = await bench.engine.start(bench.spec())
    quiet = await bench.engine.activity(instance)
    assert quiet is not None
    assert (quiet.processes, quiet.terminals) == (0, 0)
    await bench.bash(instance, "setsid sleep 60 >/dev/null 2>&1 &")
    await bench.bash(instance, "setsid script -qc 'sleep 60' /dev/null >/dev/null 2>&1 </dev/null & sleep 0.3")
    await bench.bash(instance, 'python3 -c "import time\nwhile time.process_time() < 0.3: pass"')
    busy = await bench.engine.activity(instance)
    assert busy is not None
    assert busy.cpu_s - quiet.cpu_s >= 0.2
    assert busy.processes >= 3
    assert busy.terminals == 1
    await bench.engine.stop(instance)
    assert await bench.engine.activity(instance) is None


# -- limits ----------------------------------------------------------------------------------------


def with_limits(bench: Bench, uid: int = PROJECT_UID, **limits: Any) -> StartSpec:
    return replace(bench.spec(uid=uid), limits=Limits(**limits))


def needs(bench: Bench, purpose: str) -> None:
    """Skip where no control group serves a purpose."""
    if bench.engine._trees.version(purpose) is None:
        pytest.skip(f"this user has no control group for {purpose} on this machine")


HOG = "python3 -c \"held = []\nwhile True: held.append(b'x' * 1_000_000)\""


async def test_what_uses_too_much_memory_is_ended_and_the_server_lives(bench: Bench) -> None:
    needs(bench, "memory")
    instance = await bench.engine.start(with_limits(bench, memory_bytes=100_000_000))
    assert await bench.bash(instance, f"{HOG} 2>&1; echo $?") == "137\n"
    usage = await bench.engine.usage(instance)
    assert usage.oom_kills == 1
    assert usage.pss < 100_000_000
    assert await bench.bash(instance, "echo still here") == "still here\n"


async def test_a_server_that_was_ended_for_want_of_memory_says_so(bench: Bench) -> None:
    needs(bench, "memory")
    instance = await bench.engine.start(with_limits(bench, memory_bytes=100_000_000))
    waiting = asyncio.create_task(bench.engine.wait(instance))
    # A project may choose its own server as the first to go: the command is marked a moment after it began.
    hog = f"sleep 0.3; echo 1000 > /proc/$PPID/oom_score_adj; echo 0 > /proc/self/oom_score_adj; {HOG}"
    with pytest.raises(ServerLost):
        await bench.bash(instance, hog)
    exit = await waiting
    assert (exit.signal, exit.out_of_memory) == (signal.SIGKILL, True)
    await bench.engine.stop(instance)


async def test_a_death_that_has_nothing_to_do_with_memory_says_so(bench: Bench) -> None:
    needs(bench, "memory")
    for number, seen in ((signal.SIGKILL, True), (signal.SIGABRT, False)):
        instance = await bench.engine.start(with_limits(bench, memory_bytes=100_000_000))
        await bench.bash(instance, f"{HOG}; true")
        if seen:  # what was told of already does not count once more
            await bench.engine.activity(instance)
        os.kill(instance.pid, number)
        exit = await bench.engine.wait(instance)
        assert (exit.signal, exit.out_of_memory, exit.oom_kills) == (number, False, 0 if seen else 1)
        await bench.engine.stop(instance)


async def test_a_full_tmp_leaves_room_to_work(bench: Bench) -> None:
    needs(bench, "memory")
    instance = await bench.engine.start(with_limits(bench, memory_bytes=100_000_000))
    if bench.isolation is Isolation.NONE:  # there /tmp is the machine's own
        assert await bench.bash(instance, "stat -c %i /tmp") == f"{os.stat('/tmp').st_ino}\n"
        return
    fill = "for dir in /tmp /dev/shm /run/user/$UID; do head -c 200M /dev/zero > $dir/filler; echo $?; done 2>/dev/null"
    assert await bench.bash(instance, fill) == "1\n1\n1\n"
    room = "python3 -c \"print(len(b'x' * 10_000_000))\""
    assert await bench.bash(instance, room) == "10000000\n"
    assert (await bench.engine.usage(instance)).oom_kills == 0


async def test_commands_go_before_the_server_where_memory_is_short(bench: Bench) -> None:
    instance = await bench.engine.start(bench.spec())
    own = int(await bench.bash(instance, "cat /proc/$PPID/oom_score_adj"))
    assert own == int(Path("/proc/self/oom_score_adj").read_text())
    # A command is marked a moment after it began.
    look = f"for n in $(seq 500); do read adj < /proc/$$/oom_score_adj; (( adj > {own} )) && break; sleep 0.01; done"
    assert int(await bench.bash(instance, f"{look}; echo $adj")) == min(max(own, 0) + 500, 1000)


def sleepers(number: int) -> str:
    """A command that starts processes, and tells how many there may be. (A shell tries again for 15 s.)"""
    return f"""{sys.executable} - <<'EOF'
import contextlib, subprocess
started = []
for _ in range({number}):
    with contextlib.suppress(OSError):
        started.append(subprocess.Popen(["sleep", "60"]))
print(len(started))
EOF"""


async def test_processes_stop_at_their_limit_and_the_project_still_answers_and_stops(bench: Bench) -> None:
    if bench.engine.means.processes is None:
        pytest.skip("nothing limits processes here")
    most = 40
    instance = await bench.engine.start(with_limits(bench, processes=most))
    assert most / 2 <= int(await bench.bash(instance, sleepers(2 * most))) < most
    activity = await bench.engine.activity(instance)
    assert activity is not None
    assert most / 2 <= activity.processes <= most
    assert await bench.engine.find(instance.project_id) == instance
    assert await bench.engine.call(instance, "system.ping", [])
    neighbour = await bench.engine.start(with_limits(bench, PROJECT_UID + 1, processes=most))
    assert int(await bench.bash(neighbour, sleepers(most // 2))) == most // 2
    await bench.engine.stop(instance)
    assert await bench.engine.find(instance.project_id) is None


async def test_processor_time_is_bounded(bench: Bench) -> None:
    needs(bench, "cpu")
    loop = "timeout 1 bash -c 'while :; do :; done'; true"
    used = []
    for cores in (None, 0.2):
        instance = await bench.engine.start(with_limits(bench, cpu_cores=cores))
        before = await bench.engine.activity(instance)
        await bench.bash(instance, loop)
        after = await bench.engine.activity(instance)
        assert before is not None and after is not None
        used.append(after.cpu_s - before.cpu_s)
        await bench.engine.stop(instance)
    assert used[1] < 0.45
    assert used[1] < used[0]


async def test_a_run_without_limits_has_none(bench: Bench) -> None:
    instance = await bench.engine.start(with_limits(bench))
    assert await bench.bash(instance, "ulimit -v") == "unlimited\n"
    record = Record.load(bench.runtime_dir / instance.project_id)
    assert record is not None
    if "processes" in record.groups:
        assert Path(record.groups["processes"], "pids.max").read_text() == "max\n"


@pytest.mark.parametrize("end", ["stop", "server", "init"])
async def test_nothing_is_left_of_its_groups(bench: Bench, end: str) -> None:
    instance = await bench.engine.start(bench.spec())
    record = Record.load(bench.runtime_dir / instance.project_id)
    assert record is not None
    if not record.groups:
        pytest.skip("this user has no control groups on this machine")
    for directory in record.groups.values():
        assert str(instance.pid) in Path(directory, "cgroup.procs").read_text().split()
    if end != "stop":
        os.kill(record.server.pid if end == "server" else record.init.pid, signal.SIGKILL)
        await bench.engine.wait(instance)
    await bench.engine.stop(instance)
    assert not any(Path(directory).exists() for directory in record.groups.values())
    await bench.engine.close()
    assert bench.groups() == []
    assert not any(tree.exists() for tree in bench.engine._trees.all())


def daemons(seconds: int) -> list[Process]:
    """The processes that sleep for a while, as we see them."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and (entry / "cmdline").read_bytes() == f"sleep\0{seconds}\0".encode():
                found.append(processes.identify(int(entry.name)))
    return [each for each in found if each is not None]


async def test_a_daemon_is_ended_with_a_project_whose_init_was_killed(bench: Bench) -> None:
    instance = await bench.engine.start(bench.spec())
    record = Record.load(bench.runtime_dir / instance.project_id)
    assert record is not None
    if bench.isolation is Isolation.NONE and not record.groups:
        pytest.skip("this user has no control groups on this machine, and asked for no isolation")
    await bench.bash(instance, "(setsid sleep 4242 >/dev/null 2>&1 &)")
    async with asyncio.timeout(10):
        while not (found := daemons(4242)):
            await asyncio.sleep(0.01)
    (daemon,) = found
    os.kill(record.init.pid, signal.SIGKILL)
    await bench.engine.wait(instance)
    await bench.engine.stop(instance)
    assert not processes.is_alive(daemon)


def spoil(directory: Path) -> None:
    """Damage everything that is written of a run."""
    for name in RECORD_FILES:
        (directory / name).write_text("damaged")


async def test_a_run_of_which_nothing_is_known_never_lives_beside_the_next(bench: Bench) -> None:
    instance = await bench.engine.start(bench.spec())
    directory = bench.runtime_dir / instance.project_id
    record = Record.load(directory)
    assert record is not None
    spoil(directory)
    bench.engine._records.clear()  # as in a hub that was restarted
    again = await bench.engine.start(replace(bench.spec(project_id=instance.project_id), epoch=2))
    assert not processes.is_alive(record.init)
    assert await bench.bash(again, "echo hello") == "hello\n"


async def test_what_does_not_answer_is_ended_too(bench: Bench) -> None:
    instance = await bench.engine.start(bench.spec())
    os.kill(instance.pid, signal.SIGSTOP)
    record = Record.load(bench.runtime_dir / instance.project_id)
    assert record is not None
    await bench.another_engine().end_all(instance.project_id)
    assert not processes.is_alive(record.init)
    assert not (bench.runtime_dir / instance.project_id).exists()
    await bench.engine.end_all(instance.project_id)


async def test_a_run_before_the_boot_is_told_as_such(bench: Bench) -> None:
    instance = await bench.engine.start(bench.spec())
    directory = bench.runtime_dir / instance.project_id
    record = Record.load(directory)
    assert record is not None
    await bench.engine.close()
    replace(record, boot_id="another").save(directory)
    another = bench.another_engine()
    await another.open()
    try:
        assert (await another.wait(instance)).rebooted
        assert not directory.exists()
    finally:
        await another.close()
        record.save(_made(directory))
        await bench.engine.open()
        await bench.engine.stop(instance)


def _made(directory: Path) -> Path:
    directory.mkdir(exist_ok=True)
    return directory


# -- a hub that is not root: run by `test_the_suite_as_another_user` ---------------------------------

if not AS_ROOT:

    def test_what_another_user_has_started_is_not_ended_and_it_is_told() -> None:
        of_root = processes.identify(1)
        assert of_root is not None
        with pytest.raises(EndFailed, match="hub of another user"):
            processes.send(of_root, signal.SIGTERM)

    @pytest.mark.parametrize("bench", [Isolation.USER], indirect=True)
    async def test_a_project_leaves_some_of_the_users_watchers_to_others(bench: Bench) -> None:
        most = int(Path("/proc/sys/fs/inotify/max_user_instances").read_text())
        watchers = f"""{sys.executable} - <<'EOF'
import ctypes, itertools
print(next(n for n in itertools.count() if ctypes.CDLL(None).inotify_init1(0) < 0))
EOF"""
        for _ in range(2):
            instance = await bench.engine.start(bench.spec())
            assert await bench.bash(instance, watchers) == f"{most // 4}\n"
