"""The life of projects, on real hubs with real processes."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from projecthub import Hub
from projecthub.errors import Conflict, HubError, InvalidArgument, OwnershipDenied, StartFailed
from tests.hubs import HubProcess


def alive(pid: int) -> bool:
    """Whether a process lives; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def await_state(hub: Hub, project_id: str, wanted: str, timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while (state := hub.projects.state(project_id)["state"]) != wanted:
        assert time.monotonic() < deadline, f"still {state}"
        time.sleep(0.02)


def test_start_run_stop(hub_process: HubProcess) -> None:
    with hub_process.hub() as hub:
        project_id = hub.projects.create_project(title="life")
        assert hub.projects.state(project_id)["state"] == "stopped"
        started = hub.projects.start(project_id)
        assert started["state"] == "running"
        assert started["ip"] == "127.0.0.1"
        pid = hub.projects.status(project_id)["project"]["pid"]
        assert alive(pid)
        assert hub.projects.start(project_id)["time"] == started["time"]
        assert hub.project(project_id).system.exec("echo hello")["stdout"] == "hello\n"
        assert hub.projects.stop(project_id)["state"] == "stopped"
        assert not alive(pid)
        assert hub.projects.stop(project_id)["state"] == "stopped"
        assert set(hub.projects.status(project_id)) == {"disk_MB", "disk_quota_MB", "disk_age_s"}


def test_status_tells_real_figures(hub_process: HubProcess) -> None:
    with hub_process.hub() as hub:
        project_id = hub.projects.create_project()
        hub.projects.start(project_id)
        system = hub.project(project_id).system
        system.exec("head -c 5000000 /dev/urandom > data; (exec sleep 60) >/dev/null 2>&1 &", bash=True)
        status = hub.projects.status(project_id)
        assert status["memory"]["count"] >= 3
        assert 0 < status["memory"]["pss"] <= status["memory"]["rss"]
        assert abs(status["start_ts"] / 1000 - time.time()) < 60
        assert status["isolation"] in ("full", "user", "none")
        deadline = time.monotonic() + 20
        while hub.projects.status(project_id)["disk_MB"] < 5:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        hub.projects.stop(project_id)
        assert hub.projects.status(project_id)["disk_MB"] >= 5


def test_many_clients_start_one_server(hub_process: HubProcess) -> None:
    with hub_process.hub() as hub:
        project_id = hub.projects.create_project()

        def start(_: int) -> int:
            with hub_process.hub() as own:
                own.projects.start(project_id)
                return own.projects.status(project_id)["project"]["pid"]

        with ThreadPoolExecutor(16) as pool:
            assert len(set(pool.map(start, range(16)))) == 1
        hub.projects.stop(project_id)


def test_starts_and_stops_from_many_sides_end_in_one_state(hub_process: HubProcess) -> None:
    with hub_process.hub() as hub:
        project_id = hub.projects.create_project()

        def shake(number: int) -> None:
            with hub_process.hub() as own:
                for turn in range(6):
                    try:
                        (own.projects.start if (number + turn) % 2 else own.projects.stop)(project_id)
                    except Conflict as error:
                        assert "cancelled by a stop" in error.message

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(shake, range(8)))
        assert hub.projects.start(project_id)["state"] == "running"
        pid = hub.projects.status(project_id)["project"]["pid"]
        assert hub.projects.stop(project_id)["state"] == "stopped"
        assert not alive(pid)


def test_a_stop_leaves_no_process(hub_process: HubProcess) -> None:
    with hub_process.hub() as hub:
        project_id = hub.projects.create_project()
        marker = f"{project_id[:8]}-left"
        script = (
            f"for i in 1 2 3; do (setsid bash -c 'trap \"\" TERM HUP; exec -a {marker} sleep 300' "
            "</dev/null >/dev/null 2>&1 &) ; done; sleep 0.2"
        )
        hub.project(project_id).system.exec(script, bash=True)
        assert processes_named(marker)
        hub.projects.stop(project_id)
        assert not processes_named(marker)


def processes_named(marker: str) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if marker.encode() in (entry / "cmdline").read_bytes():
                    found.append(entry.name)
            except OSError:
                continue
    return found


def test_touch_starts_and_marks(hub_process: HubProcess) -> None:
    with hub_process.hub() as hub:
        project_id = hub.projects.create_project()
        before = hub.projects.get(project_id=project_id)[0]["last_edited"]
        time.sleep(0.01)
        assert hub.projects.touch(project_id)["state"] == "running"
        assert hub.projects.get(project_id=project_id)[0]["last_edited"] > before
        hub.projects.delete(project_id)


def test_a_deleted_project_is_stopped_and_refused_until_undeleted(hub_process: HubProcess) -> None:
    with hub_process.hub() as hub:
        project_id = hub.projects.create_project()
        hub.project(project_id).system.exec("echo kept > file", bash=True)
        pid = hub.projects.status(project_id)["project"]["pid"]
        assert hub.projects.delete(project_id) == {"project_id": project_id, "deleted": True}
        assert hub.projects.delete(project_id) == {"project_id": project_id, "deleted": True}
        assert not alive(pid)
        assert hub.projects.get(project_id=project_id)[0]["deleted"] is True
        for refused in (hub.projects.start, hub.projects.touch, lambda p: hub.project(p).system.ping()):
            with pytest.raises(Conflict, match="deleted"):
                refused(project_id)
        hub.projects.undelete(project_id)
        assert hub.project(project_id).system.exec("cat file", bash=True)["stdout"] == "kept\n"
        hub.projects.stop(project_id)


def test_the_end_of_a_server_is_seen_and_told(hub_process: HubProcess) -> None:
    with hub_process.hub() as hub:
        project_id = hub.projects.create_project()
        hub.projects.start(project_id)
        os.kill(hub.projects.status(project_id)["project"]["pid"], signal.SIGKILL)
        await_state(hub, project_id, "error")
        assert "start it again" in hub.projects.state(project_id)["error"]
        assert hub.projects.start(project_id)["state"] == "running"
        hub.projects.stop(project_id)


def test_projects_survive_the_hub(own_hub: HubProcess) -> None:
    with own_hub.hub() as hub:
        project_id = hub.projects.create_project(title="survivor")
        stopped_id = hub.projects.create_project(title="stopped")
        hub.projects.start(project_id)
        before = hub.projects.status(project_id)
        hub.project(project_id).system.exec("(sleep 300 >/dev/null 2>&1 & echo $! > pid)", bash=True)
    own_hub.kill()
    assert alive(before["project"]["pid"])
    own_hub.restart()
    with own_hub.hub() as hub:
        assert hub.projects.state(project_id)["state"] == "running"
        after = hub.projects.status(project_id)
        assert (after["project"], after["start_ts"]) == (before["project"], before["start_ts"])
        assert hub.project(project_id).system.exec("kill -0 $(cat pid) && echo alive", bash=True)["stdout"] == "alive\n"
        assert hub.projects.state(stopped_id)["state"] == "stopped"
        assert hub.projects.start(stopped_id)["state"] == "running"
        assert hub.projects.stop(project_id)["state"] == "stopped"
    assert not alive(before["project"]["pid"])


def test_sigterm_leaves_projects_and_ctrl_c_stops_them(own_hub: HubProcess) -> None:
    with own_hub.hub() as hub:
        project_id = hub.projects.create_project()
        hub.projects.start(project_id)
        pid = hub.projects.status(project_id)["project"]["pid"]
    assert own_hub.terminate() == 0
    assert alive(pid)
    own_hub.restart()
    with own_hub.hub() as hub:
        assert hub.projects.status(project_id)["project"]["pid"] == pid
    assert own_hub.interrupt() == 0
    assert not alive(pid)
    own_hub.restart()
    with own_hub.hub() as hub:
        assert hub.projects.state(project_id)["state"] == "stopped"


def test_a_hub_killed_while_starting_many(own_hub: HubProcess) -> None:
    with own_hub.hub() as hub:
        ids = [hub.projects.create_project() for _ in range(20)]

    def start(project_id: str) -> None:
        try:
            with own_hub.hub(retries=0) as hub:
                hub.projects.start(project_id)
        except HubError:
            pass  # the hub was killed meanwhile

    with ThreadPoolExecutor(20) as pool:
        starting = [pool.submit(start, project_id) for project_id in ids]
        time.sleep(0.15)
        own_hub.kill()
        for one in starting:
            one.result()
    own_hub.restart()
    with own_hub.hub() as hub:
        for project_id in ids:
            assert hub.projects.state(project_id)["state"] in {"running", "starting", "stopped"}
            assert hub.projects.start(project_id)["state"] == "running"
            assert hub.project(project_id).system.ping()["now"] > 0


def test_a_failing_start_is_told_and_changes_nothing_else(own_hub: HubProcess) -> None:
    with own_hub.hub() as hub:
        project_id = hub.projects.create_project()
        home = own_hub.data_dir / "projects" / project_id
        home.parent.mkdir(exist_ok=True)
        home.write_text("not a directory")
        with pytest.raises(HubError) as failed:
            hub.projects.start(project_id)
        assert str(own_hub.data_dir) not in failed.value.message
        assert hub.projects.state(project_id)["state"] == "error"
        home.unlink()
        assert hub.projects.start(project_id)["state"] == "running"
        assert not isinstance(failed.value, StartFailed) or failed.value.message


def test_a_second_hub_on_the_same_data_is_refused(own_hub: HubProcess) -> None:
    with pytest.raises(AssertionError, match="another hub"):
        HubProcess(own_hub.data_dir)


def test_a_start_that_was_promised_survives_the_hub(own_hub: HubProcess) -> None:
    with own_hub.hub() as hub:
        project_id = hub.projects.create_project(start=True)
        own_hub.kill()
    own_hub.restart()
    with own_hub.hub() as hub:
        await_state(hub, project_id, "running")


def test_people_are_removed_all_or_none(hub_process: HubProcess) -> None:
    (ada, _), (bob, _) = hub_process.person("ada.r"), hub_process.person("bob.r")
    with hub_process.hub() as hub:
        one, two = hub.projects.create_project(), hub.projects.create_project()
        hub.projects.add_collaborator([one, two], [ada, bob])
        owner = hub.system.test()["account_id"]
        with pytest.raises(OwnershipDenied):
            hub.projects.remove_collaborator([one, two], [ada, owner])
        assert ada in hub.projects.get(project_id=one)[0]["users"]
        removed = hub.projects.remove_collaborator([one, two], [ada, bob])
        assert removed == {"project_id": [one, two], "account_id": [ada, bob]}
        assert set(hub.projects.get(project_id=one)[0]["users"]) == {owner}
        with pytest.raises(InvalidArgument, match="same length"):
            hub.projects.remove_collaborator([one, two], [ada])
