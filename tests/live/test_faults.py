"""What goes wrong around a hub: what its people are told, and what the state is afterwards."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from projecthub import Hub
from projecthub.errors import HubError, LimitError, StartFailed, StoreUnavailable, TransportError
from tests.hubs import HubProcess
from tests.live.test_lifecycle import alive, await_state

KEY = "sk-for-the-tests-of-faults"
STARTS = 200
AT_REST = {"running", "stopped", "error"}

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="file systems are mounted by root")


def refusal(act: Callable[[], Any]) -> HubError | None:
    """How a call is refused; None if it is not."""
    try:
        act()
    except HubError as error:
        return error
    return None


def until(holds: Callable[[], Any], what: str, timeout_s: float = 10) -> Any:
    """Wait until something holds, and return it."""
    deadline = time.monotonic() + timeout_s
    while not (value := holds()):
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
    return value


def states(hub: Hub) -> dict[str, str]:
    return {row["project_id"]: row["state"]["state"].replace("opened", "stopped") for row in hub.projects.get(all=True)}


def await_rest(hub: Hub) -> dict[str, str]:
    """Wait until no project is on its way, and tell all states."""
    until(lambda: set(states(hub).values()) <= AT_REST, "a project is stuck")
    return states(hub)


def launcher_of(process: HubProcess) -> psutil.Process:
    """The launcher of a hub."""
    children = psutil.Process(process.process.pid).children()
    (launcher,) = [child for child in children if child.name() == "project-launch"]
    return launcher


def runs(process: HubProcess) -> set[str]:
    """The projects that have something in the runtime directory."""
    return {each.name for each in (process.data_dir / "run").iterdir()} - {"skeleton", "launcher.log"}


# -- the disk --------------------------------------------------------------------------------------


@pytest.fixture
def hub_on_small_disk() -> Iterator[HubProcess]:
    """A hub whose data directory is a small file system that only it sees."""
    data_dir = Path(tempfile.mkdtemp(prefix="projecthub-test-"))
    (data_dir / "admin-key").write_text(KEY)
    mount = f'mount -t tmpfs -o size=16m,mode=0700 small {data_dir} && exec "$@"'
    within = ["unshare", "--mount", "--propagation", "private", "sh", "-c", mount, "sh"]
    process = HubProcess(data_dir, within=within, PROJECTHUB_ADMIN_KEY=KEY)
    yield process
    process.interrupt()
    process._close_output()
    (data_dir / "admin-key").unlink()
    (data_dir / "stderr.log").unlink()
    data_dir.rmdir()


@needs_root
def test_a_full_disk(hub_on_small_disk: HubProcess) -> None:
    inside = Path(f"/proc/{hub_on_small_disk.process.pid}/root{hub_on_small_disk.data_dir}")
    with hub_on_small_disk.hub() as hub:
        running, stopped = hub.projects.create_project(start=True), hub.projects.create_project()
        await_state(hub, running, "running")
        with (inside / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
            while True:
                filler.write(bytes(65536))
        large = {"description": "x" * 200_000}
        refused = next(filter(None, (refusal(lambda: hub.projects.create_project(**large)) for _ in range(100))), None)
        assert isinstance(refused, LimitError)
        assert "disk is full" in refused.message
        assert "make room" in refused.message
        start = refusal(lambda: hub.projects.start(stopped))
        assert isinstance(start, StoreUnavailable | StartFailed | LimitError)
        assert "full" in start.message or "o space left" in start.message
        assert str(hub_on_small_disk.data_dir) not in start.message
        assert hub.project(running).system.exec("echo works", bash=True)["stdout"] == "works\n"
        assert hub.projects.state(running)["state"] == "running"
        stop = refusal(lambda: hub.projects.stop(running))
        assert stop is None or "full" in stop.message
        assert hub.projects.state(running)["state"] in ({"stopped"} if stop is None else {"running", "stopping"})
        (inside / "filler").unlink()
        await_rest(hub)
        assert hub.projects.stop(running)["state"] == "stopped"
        for project_id in (running, stopped, hub.projects.create_project(**large)):
            assert hub.projects.start(project_id)["state"] == "running"


@contextlib.contextmanager
def read_only(directory: Path) -> Iterator[None]:
    """Make a directory read-only for a while, as this process and its hubs see it."""
    subprocess.run(["mount", "--bind", directory, directory], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", directory], check=True)
        yield
    finally:
        subprocess.run(["umount", directory], check=True)


@needs_root
def test_a_disk_that_becomes_read_only(own_hub: HubProcess) -> None:
    data_dir, launcher = own_hub.data_dir, launcher_of(own_hub)

    def mount(pid: int, what: str) -> None:
        subprocess.run(["nsenter", f"--target={pid}", "--mount", "sh", "-c", what], check=True)

    homes, run_dir = data_dir / "projects", data_dir / "run"
    with own_hub.hub() as hub:
        known, new = hub.projects.create_project(), hub.projects.create_project()
        hub.projects.start(known)
        hub.projects.stop(known)
        mount(launcher.pid, f"mount --bind {run_dir} {run_dir} && mount -o remount,bind,ro {run_dir}")
        with pytest.raises(StartFailed, match=r"files could not be made: Read-only file system") as failed:
            hub.projects.start(known)
        assert str(data_dir) not in failed.value.message
        assert hub.projects.state(known)["state"] == "error"
        assert hub.projects.state(known)["error"] == failed.value.message
        mount(launcher.pid, f"umount {run_dir}")
        hub.db.query({"projects": {"project_id": known, "env": {"GREETING": "hello"}}})
        with read_only(run_dir), pytest.raises(StartFailed, match=r"its variables could not be .*: Read-only file sys"):
            hub.projects.start(known)
        assert hub.projects.start(known)["state"] == "running"
        with read_only(homes):
            with pytest.raises(LimitError, match="the hub's disk takes no writes at present; ask the hub's operator"):
                hub.projects.start(new)
            assert hub.projects.state(new)["state"] == "error"
        assert hub.projects.start(new)["state"] == "running"


@needs_root
def test_a_hub_on_a_read_only_data_directory_says_so() -> None:
    with tempfile.TemporaryDirectory(prefix="projecthub-test-") as directory:
        mount = f'mount --bind {directory} {directory} && mount -o remount,bind,ro {directory} && exec "$@"'
        within = ["unshare", "--mount", "--propagation", "private", "sh", "-c", mount, "sh"]
        with pytest.raises(AssertionError, match=r"cannot use the data directory .*: Read-only file system; give ano"):
            HubProcess(Path(directory), within=within)


def test_a_store_that_another_program_holds(own_hub: HubProcess) -> None:
    with own_hub.hub() as hub, ThreadPoolExecutor(3) as pool:
        running, stopped = hub.projects.create_project(), hub.projects.create_project()
        hub.projects.start(running)
        other = sqlite3.connect(own_hub.data_dir / "hub.sqlite3", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        refused = [
            pool.submit(refusal, act)
            for act in (
                lambda: hub.projects.start(stopped),
                lambda: hub.projects.stop(running),
                lambda: hub.projects.create_project("while it is held"),
            )
        ]
        assert hub.projects.state(running)["state"] == "running"
        for one in refused:
            error = one.result()
            assert isinstance(error, StoreUnavailable)
            assert "held by another program" in error.message
            assert "try again" in error.message
        assert time.monotonic() - began < 25
        other.close()
        assert hub.projects.stop(running)["state"] == "stopped"
        assert await_rest(hub).keys() == {running, stopped}
        assert hub.projects.start(stopped)["state"] == "running"
        assert hub.projects.start(running)["state"] == "running"


# -- starts and stops ------------------------------------------------------------------------------


def test_hundreds_of_starts_at_once(own_hub: HubProcess) -> None:
    with own_hub.hub() as hub, ThreadPoolExecutor(100) as pool:
        ids = list(pool.map(lambda number: hub.projects.create_project(f"{number}"), range(STARTS)))
        refused = [error for error in pool.map(lambda each: refusal(lambda: hub.projects.start(each)), ids) if error]
        assert all(isinstance(error, StartFailed) and "could not be" in error.message for error in refused)
        told = await_rest(hub)
        assert list(told.values()).count("running") == STARTS - len(refused)
        assert len(refused) < STARTS / 2
        assert hub.project(ids[-1]).system.exec("echo here", bash=True)["stdout"] == "here\n"
        environment = {**os.environ, "PROJECTHUB_URL": own_hub.url, "PROJECTHUB_API_KEY": own_hub.admin_key}
        command = [sys.executable, "-m", "projecthub", "stop", "--all"]
        stopped = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert (stopped.returncode, stopped.stderr) == (0, "")
        assert set(states(hub).values()) == {"stopped"}
    assert runs(own_hub) == set()


def test_a_start_goes_on_when_its_launcher_hangs_and_is_killed(hub_process: HubProcess) -> None:
    with hub_process.hub() as hub, ThreadPoolExecutor(1) as pool:
        project_id = hub.projects.create_project()
        launcher = launcher_of(hub_process)
        launcher.suspend()
        start = pool.submit(hub.projects.start, project_id)
        until(lambda: hub.projects.state(project_id)["state"] == "starting", "it does not start")
        launcher.kill()
        assert start.result()["state"] == "running"
        assert hub.project(project_id).system.ping()["now"] > 0


def test_a_frozen_launcher_dies_with_its_hub(own_hub: HubProcess) -> None:
    with own_hub.hub() as hub:
        project_id = hub.projects.create_project()
    launcher = launcher_of(own_hub)
    launcher.suspend()
    with own_hub.hub(retries=0) as hub, ThreadPoolExecutor(1) as pool:
        start = pool.submit(refusal, lambda: hub.projects.start(project_id))
        until(lambda: hub.projects.state(project_id)["state"] == "starting", "it does not start")
        own_hub.kill()
        assert isinstance(start.result(), TransportError)
    until(lambda: not alive(launcher.pid), "the launcher of a killed hub lives on")
    own_hub.restart()
    with own_hub.hub() as hub:
        await_state(hub, project_id, "running")
        epoch = hub.projects.status(project_id)["session_id"]
        assert hub.projects.start(project_id)["state"] == "running"
        assert hub.projects.status(project_id)["session_id"] == epoch


def test_a_stop_kills_what_does_not_end(hub_process: HubProcess) -> None:
    with hub_process.hub() as hub, ThreadPoolExecutor(1) as pool:
        project_id = hub.projects.create_project()
        stubborn = "trap '' TERM HUP INT; touch ready; while :; do sleep 0.05; done"
        home = hub_process.data_dir / "projects" / project_id / "home"
        command = pool.submit(refusal, lambda: hub.project(project_id).system.exec(stubborn, bash=True))
        until(lambda: (home / "ready").exists(), "the command does not run")
        pid = hub.projects.status(project_id)["project"]["pid"]
        before = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
        began = time.monotonic()
        assert hub.projects.stop(project_id)["state"] == "stopped"
        assert 1.5 < time.monotonic() - began < 8
        assert [each for each in before if alive(each)] == []
        assert command.result() is not None


# -- hubs that end ---------------------------------------------------------------------------------


def test_a_hub_killed_in_the_middle_of_anything(own_hub: HubProcess) -> None:
    dice = random.Random(7)
    with own_hub.hub() as hub:
        source, *ids = [hub.projects.create_project(title) for title in ("source", *"abcdef")]
        hub.project(source).system.exec("mkdir tree; seq 500 | split -l 1 -a 3 - tree/f", bash=True)
    titles = (f"made {number}" for number in itertools.count())
    for _ in range(4):
        with own_hub.hub() as hub:
            for project_id in ids:
                hub.projects.undelete(project_id)
            for project_id in ids[2:]:
                hub.projects.start(project_id)
            for project_id in ids[:2]:
                hub.projects.stop(project_id)
            before = states(hub)
        started, copied, stopped, restarted, deleted, _ = ids
        title = next(titles)
        acts: list[Callable[[Hub], Any]] = [
            lambda hub, each=started: hub.projects.start(each),
            lambda hub, each=copied: hub.projects.copy_path_between_projects(source, "tree", each),
            lambda hub, each=stopped: hub.projects.stop(each),
            lambda hub, each=restarted: hub.projects.restart(each),
            lambda hub, each=deleted: hub.projects.delete(each),
            lambda hub, title=title: hub.projects.create_project(title, start=True, idempotency_key=title),
        ]
        answered = _killed_meanwhile(own_hub, acts, dice.uniform(0.0, 0.06))
        own_hub.restart()
        with own_hub.hub() as hub:
            after = await_rest(hub)
            assert after[started] in ({"running"} if answered[0] else {"running", "stopped"})
            assert after[copied] == "stopped"
            assert after[stopped] in ({"stopped"} if answered[2] else {"running", "stopped"})
            assert after[restarted] == "running"
            is_deleted = bool(hub.projects.get(project_id=deleted)[0]["deleted"])
            assert after[deleted] == ("stopped" if is_deleted else "running")
            assert is_deleted or not answered[4]
            made = hub.projects.create_project(title, start=True, idempotency_key=title)
            assert set(states(hub)) - set(before) == {made}
            await_state(hub, made, "running")
            hub.projects.stop(made)
            hub.projects.copy_path_between_projects(source, "tree", copied)
            assert not list((own_hub.data_dir / "projects" / copied / "staging").iterdir())
            tree = own_hub.data_dir / "projects" / copied / "home" / "tree"
            assert sorted(int(file.read_text()) for file in tree.iterdir()) == list(range(1, 501))
            until(lambda: runs(own_hub) == {each for each, state in states(hub).items() if state == "running"}, "run/")
    assert "Traceback" not in own_hub.errors()


def _killed_meanwhile(process: HubProcess, acts: list[Callable[[Hub], Any]], after_s: float) -> list[bool]:
    """Make calls at once, and kill the hub a moment later; which of them were answered."""
    together = threading.Barrier(len(acts) + 1)

    def make(act: Callable[[Hub], Any]) -> bool:
        with process.hub(retries=0) as hub:
            together.wait()
            error = refusal(lambda: act(hub))
            assert error is None or isinstance(error, TransportError)
            return error is None

    with ThreadPoolExecutor(len(acts)) as pool:
        made = [pool.submit(make, act) for act in acts]
        together.wait()
        time.sleep(after_s)  # the very moment is what is drawn
        process.kill()
        return [one.result() for one in made]


def test_a_second_hub_leaves_the_first_alone(hub_process: HubProcess) -> None:
    with hub_process.hub() as hub:
        project_id = hub.projects.create_project()
        hub.projects.start(project_id)
        pid = hub_process.process.pid
        with pytest.raises(AssertionError, match=rf"another hub \(process {pid}\) uses this data directory; stop it"):
            HubProcess(hub_process.data_dir)
        assert hub.project(project_id).system.exec("echo undisturbed")["stdout"] == "undisturbed\n"


@pytest.mark.parametrize("way", ["PROJECTHUB_DATA_DIR", "PROJECTHUB_CONFIG", "PROJECTHUB_URL"])
def test_stop_all_finds_what_a_killed_hub_has_left(own_hub: HubProcess, way: str, tmp_path: Path) -> None:
    with own_hub.hub() as hub:
        ids = [hub.projects.create_project() for _ in range(3)]
        pids = [hub.projects.start(each) and hub.projects.status(each)["project"]["pid"] for each in ids]
    own_hub.kill()
    assert all(alive(pid) for pid in pids)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PROJECTHUB_", "COCALC_"))}
    if way == "PROJECTHUB_DATA_DIR":
        named = {way: str(own_hub.data_dir)}
    else:
        (tmp_path / "hub.toml").write_text(f"data_dir = '{own_hub.data_dir}'\n")
        named = {"PROJECTHUB_CONFIG": str(tmp_path / "hub.toml")}
    if way == "PROJECTHUB_URL":
        named[way] = own_hub.url
    stopped = subprocess.run(
        [sys.executable, "-m", "projecthub", "stop", "--all", "--json"],
        env={**kept, **named},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (stopped.returncode, '"stopped": 3' in stopped.stdout) == (0, True), stopped.stderr
    assert not any(alive(pid) for pid in pids)
    assert runs(own_hub) == set()
    own_hub.restart()
    with own_hub.hub() as hub:
        assert set(states(hub).values()) == {"stopped"}


def test_a_second_interrupt_does_not_wait(own_hub: HubProcess) -> None:
    with own_hub.hub() as hub:
        project_id = hub.projects.create_project()
        ignore = "(trap '' TERM HUP INT; touch ready; while :; do sleep 0.1; done) >/dev/null 2>&1 &"
        hub.project(project_id).system.exec(ignore, bash=True)
        home = own_hub.data_dir / "projects" / project_id / "home"
        until(lambda: (home / "ready").exists(), "the command does not run")
    own_hub.process.send_signal(signal.SIGINT)
    until(lambda: "Ctrl-C again does not wait" in own_hub.errors(), "the hub does not say that it stops")
    with contextlib.closing(sqlite3.connect(own_hub.data_dir / "hub.sqlite3")) as store:
        state = "SELECT state FROM projects"
        until(lambda: store.execute(state).fetchone() == ("stopping",), "the project is not being stopped")
    own_hub.process.send_signal(signal.SIGINT)
    assert own_hub.process.wait(1.5) == 130
    own_hub.restart()
    with own_hub.hub() as hub:
        assert await_rest(hub) == {project_id: "stopped"}
    assert runs(own_hub) == set()
