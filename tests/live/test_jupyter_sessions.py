"""Sessions in real kernels of real projects: state, streams, callers and hubs that go away."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx2
import psutil
import pytest

from projecthub import AsyncProject, Project
from projecthub.errors import Conflict, InvalidArgument, NotFound, PermissionDenied, ServerLost
from tests.hubs import HubProcess


@pytest.fixture(scope="module")
def process() -> Iterator[HubProcess]:
    with HubProcess() as process:
        yield process


@pytest.fixture(scope="module")
def project_id(process: HubProcess) -> str:
    with process.hub() as hub:
        return str(hub.projects.create_project(title="sessions"))


@pytest.fixture
def project(process: HubProcess, project_id: str) -> Iterator[Project]:
    with Project(process.admin_key, process.url, project_id) as project:
        yield project
        for session in project.jupyter.sessions():
            project.jupyter.session(session["name"]).close()


def text_of(outputs: Any) -> str:
    return "".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs)


def until(condition: Any) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_session_keeps_its_state(project: Project) -> None:
    with project.jupyter.session("a") as session:
        session.execute("x = 6")
        execution = session.execute("print('on the way')\nx * 7")
        outputs = list(execution)
        assert outputs == [
            {"output_type": "stream", "name": "stdout", "text": "on the way\n"},
            {"output_type": "execute_result", "data": {"text/plain": "42"}, "metadata": {}, "execution_count": 2},
        ]
        assert (execution.state, execution.info["execution_count"]) == ("ok", 2)
        assert text_of(session.execute("_ + 1")) == "43"
        assert [each["name"] for each in project.jupyter.sessions()] == ["a"]
        assert session.info()["state"] == "idle"
    assert project.jupyter.sessions() == []
    with pytest.raises(NotFound):
        session.execute("1")


def test_to_open_is_idempotent(project: Project) -> None:
    project.system.exec("mkdir -p below")
    first = project.jupyter.session("same", "python3", path="below").open()
    pid = first.info()["pid"]
    again = project.jupyter.session("same").open()
    assert again.info()["pid"] == pid
    assert project.jupyter.session("same", path="./below/").open().info()["pid"] == pid
    assert text_of(again.execute("import os; print(os.path.basename(os.getcwd()))")) == "below\n"
    for kernel, path in (("bash", None), (None, "elsewhere")):
        with pytest.raises(Conflict):
            project.jupyter.session("same", kernel, path=path).open()


def test_what_cannot_be_opened(project: Project) -> None:
    with pytest.raises(NotFound, match="no directory 'nowhere'"):
        project.jupyter.session("a", path="nowhere").open()
    with pytest.raises(InvalidArgument, match="path"):
        project.jupyter.session("a", path="/etc").open()
    with pytest.raises(NotFound, match="no kernel 'nope'"):
        project.jupyter.session("a", "nope").open()
    with pytest.raises(InvalidArgument, match="name"):
        project.jupyter.session("a b").open()
    assert project.jupyter.sessions() == []


def test_an_exception_is_an_output(project: Project) -> None:
    with project.jupyter.session("a") as session:
        failing = session.execute("1/0")
        (error,) = list(failing)
        assert (error["output_type"], error["ename"], failing.state) == ("error", "ZeroDivisionError", "error")
        assert text_of(session.execute("2")) == "2"


def test_outputs_come_while_it_runs(project: Project) -> None:
    with project.jupyter.session("a") as session:
        outputs = iter(session.execute("print('begun', flush=True)\nimport time\nwhile True: time.sleep(0.01)"))
        assert text_of([next(outputs)]) == "begun\n"
        waiting = session.execute("'never'")
        assert session.info()["state"] == "busy"
        session.interrupt()
        assert [each["ename"] for each in outputs] == ["KeyboardInterrupt"]
        assert waiting.wait()["state"] == "aborted"
        assert text_of(session.execute("'after'")) == "'after'"


def test_an_interrupt_just_after_the_call_is_not_lost(project: Project) -> None:
    with project.jupyter.session("a") as session:
        for _ in range(10):
            endless = session.execute("while True: pass")
            session.interrupt()
            assert endless.wait()["state"] in ("error", "aborted")


def test_a_caller_that_goes_away_finds_its_outputs(process: HubProcess, project: Project, project_id: str) -> None:
    code = "import time, os\nprint('one', flush=True)\nwhile not os.path.exists('go'): time.sleep(0.01)\nprint('two')"
    with Project(process.admin_key, process.url, project_id) as other:
        execution = other.jupyter.session("left").open().execute(code)
        assert text_of([next(iter(execution))]) == "one\n"
    project.system.exec("touch go")
    (found,) = project.jupyter.session("left").executions()
    assert (found.id, text_of(found)) == (execution.id, "one\ntwo\n")
    assert text_of(found.outputs(index=1)) == "two\n"
    assert text_of(found) == "one\ntwo\n"
    project.system.exec("rm go")


def test_a_hub_that_dies_is_outlived(own_hub: HubProcess) -> None:
    with own_hub.hub() as hub:
        project_id = str(hub.projects.create_project(title="outlives"))
        hub.projects.start(project_id)
    with Project(own_hub.admin_key, own_hub.url, project_id) as project:
        session = project.jupyter.session("a").open()
        pid = session.info()["pid"]
        session.execute("x = 1\nimport os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\nprint('there')")
    own_hub.kill()
    own_hub.restart()
    with Project(own_hub.admin_key, own_hub.url, project_id) as project:
        project.system.exec("touch go")
        session = project.jupyter.session("a")
        assert text_of(session.executions()[0]) == "there\n"
        assert session.info()["pid"] == pid
        assert text_of(session.execute("x")) == "1"


def test_a_restart_leaves_nothing_and_a_dead_kernel_is_told(project: Project) -> None:
    with project.jupyter.session("a") as session:
        session.execute("x = 1").wait()
        endless, waiting = session.execute("while True: pass"), session.execute("x")
        session.restart()
        assert (endless.wait()["state"], waiting.wait()["state"]) == ("aborted", "aborted")
        (error,) = list(session.execute("x"))
        assert error["ename"] == "NameError"
        dying = session.execute("import os; os._exit(1)")
        assert [each["ename"] for each in dying] == ["KernelDied"]
        assert (dying.state, session.info()["state"]) == ("died", "dead")
        with pytest.raises(Conflict, match="restart"):
            session.execute("1")
        with pytest.raises(Conflict, match="restart"):
            session.complete("im")
        session.restart()
        assert text_of(session.execute("1")) == "1"


def test_the_oldest_outputs_go_first(project: Project) -> None:
    with project.jupyter.session("a") as session:
        code = "for i in range(40): print(str(i).zfill(2) + 'x' * 1_000_000)"
        execution = session.execute(code)
        info = execution.wait()
        assert info["first_output"] > 0
        kept = text_of(execution)
        assert 8_000_000 < len(kept) <= 16 * 1024 * 1024
        assert kept.endswith("39" + "x" * 1_000_000 + "\n")
        large = list(
            session.execute("from IPython.display import display\ndisplay({'text/plain': 'x' * 10**7}, raw=True)")
        )
        assert "left out" in text_of(large)


def test_many_small_values_pass(project: Project) -> None:
    with project.jupyter.session("a") as session:
        code = "from IPython.display import display\ndisplay({'application/json': [[]] * 200_000}, raw=True)"
        (output,) = list(session.execute(code))
        assert len(output["data"]["application/json"]) == 200_000


def test_completion(project: Project) -> None:
    with project.jupyter.session("a") as session:
        session.execute("a_long_name = 1").wait()
        reply = session.complete("a_long + 1", 6)
        assert "a_long_name" in reply["matches"]
        assert (reply["cursor_start"], reply["cursor_end"]) == (0, 6)


def test_the_same_id_runs_once(project: Project) -> None:
    with project.jupyter.session("a") as session:
        session.execute("n = 0").wait()
        id = str(uuid.uuid4())
        for _ in range(3):
            session.execute("n += 1", id=id).wait()
        assert text_of(session.execute("n")) == "1"
        with pytest.raises(Conflict, match="other code"):
            session.execute("n += 2", id=id)


def test_several_callers_open_one_session(process: HubProcess, project: Project, project_id: str) -> None:
    pids = []

    def open_it() -> None:
        with Project(process.admin_key, process.url, project_id) as each:
            pids.append(each.jupyter.session("shared").open().info()["pid"])

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pids) == 4 and len(set(pids)) == 1
    assert pids[0] in [kernel["pid"] for kernel in project.system.list_jupyter_kernels()]
    assert project.system.stop_jupyter_kernel(pids[0]) == {"success": True}
    assert project.jupyter.session("shared").info()["state"] == "dead"


def test_another_kernel(project: Project) -> None:
    assert project.system.exec(f"{sys.executable} -m bash_kernel.install --prefix ~/.local")["exit_code"] == 0
    assert {"python3", "bash"} <= {kernel["name"] for kernel in project.jupyter.kernels()}
    with project.jupyter.session("shell", "bash") as session:
        session.execute("x=5")
        assert text_of(session.execute("echo $((x+1))")) == "6\n"
        asleep = session.execute("sleep 1000")
        until(lambda: session.executions()[-1].state == "running")
        session.interrupt()
        assert asleep.wait()["state"] in ("ok", "error")
        assert text_of(session.execute("echo $x")) == "5\n"
        assert "echo" in session.complete("ech")["matches"]


def test_strangers_are_refused(process: HubProcess, project: Project, project_id: str) -> None:
    project.jupyter.session("a").open().execute("1")
    _, key = process.person("stranger")
    with Project(key, process.url, project_id) as foreign:
        session = foreign.jupyter.session("a")
        for call in (
            foreign.jupyter.kernels,
            foreign.jupyter.sessions,
            session.open,
            session.info,
            session.executions,
            session.interrupt,
            session.restart,
            session.close,
            lambda: session.execute("1"),
            lambda: session.complete("1"),
        ):
            with pytest.raises(PermissionDenied):
                call()
    execution = project.jupyter.session("a").executions()[0]
    url = f"{process.url}/api/v1/projects/{project_id}/jupyter/sessions/a/executions/{execution.id}/events"
    assert httpx2.get(url, headers={"authorization": f"Bearer {key}"}).status_code == 403


@pytest.mark.anyio
async def test_the_async_client(process: HubProcess, project_id: str) -> None:
    async with AsyncProject(process.admin_key, process.url, project_id) as project:
        async with project.jupyter.session("async") as session:
            await session.execute("x = 6")
            assert text_of([output async for output in await session.execute("x * 7")]) == "42"
        assert await project.jupyter.sessions() == []


def run(process: HubProcess, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PROJECTHUB_URL": process.url, "PROJECTHUB_API_KEY": process.admin_key}
    command = [sys.executable, "-m", "projecthub", "jupyter", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False, **options)


def test_the_command_line(process: HubProcess, project: Project, project_id: str) -> None:
    assert "python3" in run(process, "kernels", project_id).stdout
    done = run(process, "exec", project_id, "import sys; print('out'); print('err', file=sys.stderr); 6 * 7")
    assert (done.returncode, done.stdout, done.stderr) == (0, "out\n42\n", "err\n")
    assert project.jupyter.sessions() == []
    assert run(process, "exec", project_id, "-s", "kept", "-", input="x = 1").returncode == 0
    told = json.loads(run(process, "exec", project_id, "-s", "kept", "--json", "x").stdout)
    assert (told["state"], told["outputs"][0]["data"]["text/plain"]) == ("ok", "1")
    assert "kept" in run(process, "sessions", project_id).stdout
    failed = run(process, "exec", project_id, "-s", "kept", "1/0")
    assert failed.returncode == 1 and "ZeroDivisionError" in failed.stderr
    assert run(process, "close", project_id, "kept").returncode == 0
    assert run(process, "close", project_id, "kept").returncode == 3


def log_of(process: HubProcess, project_id: str, kind: str) -> list[dict[str, Any]]:
    with process.hub() as hub:
        entries = hub.db.query({"project_log": [{"project_id": project_id, "event": None, "time": None}]})
    return [each["event"] for each in entries["project_log"] if each["event"]["event"] == kind]


def test_executions_are_in_the_log(process: HubProcess, project: Project, project_id: str) -> None:
    with project.jupyter.session("noted") as session:
        session.execute("print('short')").wait()
        endless = session.execute("import time\nwhile True: time.sleep(0.1)")
        until(lambda: log_of(process, project_id, "cell_started"))
        (begun,) = log_of(process, project_id, "cell_started")
        assert (begun["session"], begun["execution_id"]) == ("noted", endless.id)
        session.interrupt()
        until(lambda: log_of(process, project_id, "cell_ended"))
    (ended,) = log_of(process, project_id, "cell_ended")
    assert (ended["execution_id"], ended["state"]) == (endless.id, "error")
    assert ended["bytes"] > 10 and ended["seconds"] > 1
    cells = [cell for event in log_of(process, project_id, "cells_run") for cell in event["cells"]]
    (short,) = [cell for cell in cells if "short" in cell["code"]]
    assert (short["session"], short["outcome"], short["times"]) == ("noted", "ok", 1)


def test_what_runs_keeps_its_project_alive_and_an_idle_kernel_does_not(
    process: HubProcess, project: Project, project_id: str
) -> None:
    with process.hub() as hub, project.jupyter.session("a") as session:
        session.execute("1").wait()
        assert hub.projects.idle(project_id)["blocked_by"] == []
        asleep = session.execute("import time; time.sleep(1000)")
        until(lambda: session.executions()[-1].state == "running")
        job = project.jobs.start("sleep infinity")
        assert hub.projects.idle(project_id)["blocked_by"] == ["a job runs", "an execution runs in a session"]
        assert hub.projects.idle(project_id)["would_stop_at"] is None
        job.kill()
        job.wait()
        session.interrupt()
        asleep.wait()
        project.system.exec("(sleep infinity &)")  # what outlives its command keeps nothing alive
        assert hub.projects.idle(project_id)["blocked_by"] == []
        assert hub.projects.idle(project_id)["would_stop_at"] is not None


def test_callers_who_leave_a_project_that_does_not_answer_leave_nothing(
    process: HubProcess, project: Project, project_id: str
) -> None:
    project.jupyter.session("a").open()
    with process.hub() as hub:
        pid = hub.projects.status(project_id)["project"]["pid"]
    server = next(each for each in psutil.Process(process.process.pid).children(recursive=True) if each.pid == pid)
    fds = f"/proc/{process.process.pid}/fd"
    url = f"{process.url}/api/v1/projects/{project_id}/jupyter"
    mine = {"authorization": f"Bearer {process.admin_key}"}
    id = uuid.uuid4()
    asks = [
        *(("GET", f"{url}/{path}") for path in ("kernels", "sessions", "sessions/a", "sessions/a/executions")),
        *(("POST", f"{url}/sessions/a/{what}") for what in ("interrupt", "restart")),
        *(("GET", f"{url}/sessions/a/executions/{id}{what}") for what in ("", "/events")),
        *(("PUT", f"{url}/sessions/b"), ("DELETE", f"{url}/sessions/a")),
    ]
    code = {"project_id": project_id, "input": "1", "kernel": "python3"}
    server.suspend()
    try:
        before = len(os.listdir(fds))
        for method, address in asks:
            with pytest.raises(httpx2.ReadTimeout):
                httpx2.request(method, address, headers=mine, timeout=0.3, json={} if method == "PUT" else None)
        for call in ({"name": "jupyter.execute", "args": [code]}, {"name": "jupyter.kernels", "args": [code]}):
            with pytest.raises(httpx2.ReadTimeout):
                httpx2.post(f"{process.url}/api/conat/hub", headers=mine, timeout=0.3, json=call)
        until(lambda: len(os.listdir(fds)) <= before + 1)  # a connection to the store may have come
    finally:
        server.resume()


def test_a_server_that_is_killed_ends_its_sessions_and_says_so(
    process: HubProcess, project: Project, project_id: str
) -> None:
    session = project.jupyter.session("a").open()
    execution = session.execute("print('begun, to be killed', flush=True)\nimport time\ntime.sleep(1000)")
    outputs = iter(execution)
    assert text_of([next(outputs)]) == "begun, to be killed\n"
    with process.hub() as hub:
        os.kill(hub.projects.status(project_id)["project"]["pid"], signal.SIGKILL)
    with pytest.raises((ServerLost, NotFound)):
        list(outputs)

    def is_gone() -> bool:
        try:
            session.info()
        except (ServerLost, NotFound) as error:  # the first until the hub has seen that it ended
            return isinstance(error, NotFound)
        return False

    until(is_gone)
    assert text_of(session.open().execute("'again'")) == "'again'"

    def ends() -> list[Any]:
        lost = [event for event in log_of(process, project_id, "cell_ended") if event["execution_id"] == execution.id]
        short = [cell for event in log_of(process, project_id, "cells_run") for cell in event["cells"]]
        return [*lost, *(cell for cell in short if cell["code"].startswith("print('begun, to be killed', flush=True)"))]

    until(ends)
    assert (ends()[0].get("state") or ends()[0]["outcome"]) == "lost"


def test_a_kernel_that_speaks_nonsense_is_heard_on(process: HubProcess, project: Project, project_id: str) -> None:
    nonsense = """
from IPython import get_ipython
k = get_ipython().kernel
for content in (b'[1]', b'5', b'{}', b'{"text": {}}', b'[' * 10**5 + b']' * 10**5):
    for kind in ('stream', 'status', 'error', 'execute_result', 'display_data'):
        message = k.session.msg(kind, parent=k.get_parent())
        message['content'] = content
        k.session.send(k.iopub_socket, message, ident=b'x')
'said'"""
    with project.jupyter.session("a") as session:
        execution = session.execute(nonsense)
        assert [each["data"] for each in execution if "data" in each] == [{"text/plain": "'said'"}]
        assert execution.state == "ok"
        assert text_of(session.execute("6 * 7")) == "42"
    shown = run(process, "exec", project_id, nonsense)
    assert (shown.returncode, shown.stdout) == (0, "'said'\n")
    assert "Traceback" not in shown.stderr
    said = project.system.jupyter_execute(nonsense, "python3")
    assert {"data": {"text/plain": "'said'"}} in said


def test_who_looks_at_sessions_starts_no_project(process: HubProcess) -> None:
    with process.hub() as hub:
        project_id = hub.projects.create_project(title="at rest")
        url = f"{process.url}/api/v1/projects/{project_id}/jupyter"
        headers = {"authorization": f"Bearer {process.admin_key}"}
        execution = f"/sessions/a/executions/{uuid.uuid4()}"
        for path in ("/sessions/a", "/sessions/a/executions", execution, f"{execution}/events"):
            answer = httpx2.get(f"{url}{path}", headers=headers)
            assert answer.status_code == 404
            assert "does not run" in answer.json()["detail"]
        assert httpx2.get(f"{url}/sessions", headers=headers).json() == []
        assert hub.projects.state(project_id)["state"] == "stopped"
        started = [each for each in hub.audit.list(project_id=project_id)["entries"] if "jupyter" in each["method"]]
        assert started == []

        assert httpx2.get(f"{url}/kernels", headers=headers, timeout=60).status_code == 200
        assert hub.projects.state(project_id)["state"] == "running"
        httpx2.get(f"{url}/kernels", headers=headers, timeout=60)
        started = [each for each in hub.audit.list(project_id=project_id)["entries"] if "jupyter" in each["method"]]
        assert [(each["outcome"], each["method"]) for each in started] == [
            ("ok", "GET /projects/{project_id}/jupyter/kernels")
        ]
