"""Code in real kernels of real projects: the wire's shapes and texts, and pools that outlive their kernels."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from projecthub import Hub, Project
from projecthub.errors import HubError, InvalidArgument, PermissionDenied
from tests.hubs import HubProcess

TWO = [{"data": {"text/plain": "2"}}]


@pytest.fixture(scope="module")
def person(hub_process: HubProcess) -> tuple[str, str]:
    return hub_process.person("jupyter")


@pytest.fixture(scope="module")
def hub(hub_process: HubProcess, person: tuple[str, str]) -> Iterator[Hub]:
    with Hub(api_key=person[1], host=hub_process.url) as hub:
        yield hub


@pytest.fixture(scope="module")
def project(hub: Hub) -> Iterator[Project]:
    project = hub.project(hub.projects.create_project("kernels"))
    yield project
    hub.projects.delete(project.project_id or "")


def run(project: Project, code: str, **options: Any) -> list[Any]:
    return list(project.system.jupyter_execute(code, "python3", **options))


@pytest.mark.parametrize(
    ("code", "history", "expected"),
    [
        ("sum(range(100))", None, [{"data": {"text/plain": "4950"}}]),
        ("print('hi')", None, [{"name": "stdout", "text": "hi\n"}]),
        ("a+1", ["a=100", "print(a)"], [{"data": {"text/plain": "101"}}]),
        ("", None, []),
        (
            "import sys\nprint(1)\nprint(2,file=sys.stderr)\n3",
            None,
            [{"name": "stdout", "text": "1\n"}, {"name": "stderr", "text": "2\n"}, {"data": {"text/plain": "3"}}],
        ),
    ],
)
def test_outputs(project: Project, code: str, history: list[str] | None, expected: list[Any]) -> None:
    assert run(project, code, history=history) == expected


def test_an_exception_is_an_output(project: Project) -> None:
    (error,) = run(project, "1/0")
    assert (error["ename"], error["evalue"]) == ("ZeroDivisionError", "division by zero")
    assert error.keys() == {"ename", "evalue", "traceback"}


def test_every_call_has_a_fresh_kernel(project: Project) -> None:
    run(project, "left = 1")
    assert run(project, "left")[0]["ename"] == "NameError"


def test_kernels_of_one_template_draw_numbers_of_their_own(project: Project) -> None:
    code = "import random, uuid, os\nprint(random.random(), uuid.uuid4(), os.getpid())"
    drawn = [run(project, code)[0]["text"].split() for _ in range(3)]
    assert all(len(set(column)) == 3 for column in zip(*drawn, strict=True))


def test_a_directory_and_one_that_is_missing(project: Project) -> None:
    project.system.exec("mkdir -p below")
    assert run(project, "import os; print(os.path.basename(os.getcwd()))", path="below")[0]["text"] == "below\n"
    said, result = run(project, "1+1", path="nowhere")
    assert said["name"] == "stderr"
    assert "nowhere" in said["text"]
    assert [result] == TWO


@pytest.mark.parametrize(
    ("code", "ename"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "KernelDied"),
        ("import os; os._exit(3)", "KernelDied"),
        ("while True: pass", "TimeoutError"),
        ("while True: print('x' * 1000)", "TimeoutError"),
        ("import os, signal; os.kill(os.getppid(), signal.SIGKILL); 1/0", "ZeroDivisionError"),
    ],
)
def test_what_happens_to_a_kernel_is_told_and_the_next_one_is_good(project: Project, code: str, ename: str) -> None:
    begin = time.monotonic()
    outputs = run(project, code, limits={"timeout_s": 2})
    assert outputs[-1]["ename"] == ename
    assert time.monotonic() - begin < 15
    assert run(project, "1+1") == TWO


def test_a_template_that_hangs_is_replaced(hub: Hub) -> None:
    """A quarter of a minute: so long it is waited for before another way is taken."""
    project = hub.project(hub.projects.create_project("a template that hangs"))  # whose first kernel is forked
    (said,) = run(project, "import os, signal; print(os.getppid()); os.kill(os.getppid(), signal.SIGSTOP)")
    for _ in range(3):  # a kernel or two may have been there already
        assert run(project, "1+1") == TWO
    shown = project.system.exec("ps", args=["-o", "stat=", "-p", said["text"].strip()], err_on_exit=False)
    assert shown["stdout"] == ""
    hub.projects.delete(project.project_id or "")


def test_output_has_a_bound(project: Project) -> None:
    outputs = run(project, "print('x' * 100_000)", limits={"max_output_bytes": 1000})
    assert outputs[-1]["output_type"] == "stream"
    assert isinstance(outputs[-1]["text"], list)


def test_kernels_are_listed_and_stopped_and_nothing_else_is(project: Project) -> None:
    run(project, "1")
    kernels = project.system.list_jupyter_kernels()
    assert kernels
    assert {*kernels[0]} == {"pid", "connectionFile", "kernel_name"}
    pid = kernels[0]["pid"]
    assert project.system.stop_jupyter_kernel(pid) == {"success": True}
    assert pid not in [kernel["pid"] for kernel in project.system.list_jupyter_kernels()]
    assert project.system.stop_jupyter_kernel(pid) == {"success": False}
    assert project.system.stop_jupyter_kernel(1) == {"success": False}
    assert run(project, "1+1") == TWO


def test_an_unknown_kernel_and_none(project: Project) -> None:
    with pytest.raises(HubError, match=r'No spec available for kernel "nope"\.  Available specs: ') as caught:
        project.system.jupyter_execute("1", "nope")
    assert "\n\nTry this in a terminal to help debug this" in caught.value.message
    with pytest.raises(InvalidArgument, match="cannot spawn since no kernel is set"):
        project.call("system.jupyterExecute", [{"input": "1"}])


def test_calls_of_the_hub(hub: Hub, project: Project) -> None:
    (python,) = [kernel for kernel in hub.jupyter.kernels(project.project_id) if kernel["name"] == "python3"]
    assert python["language"] == "python"
    result = hub.jupyter.execute("1+1", "python3", project_id=project.project_id)
    assert result["output"] == TWO
    assert result["created"].endswith("Z")
    assert hub.call("jupyter.execute", [{"hash": "x", "project_id": project.project_id}]) is None


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"kernel": "python3"}, "input or hash must not be null"),
        ({"input": "1"}, "kernel must be specified in hash is not specified"),
        ({"input": "1", "kernel": "python3"}, "Jupyter API is not enabled on this server."),
    ],
)
def test_refusals_of_the_hub(hub: Hub, arguments: dict[str, str], text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        hub.call("jupyter.execute", [arguments])
    assert caught.value.message == text


def test_a_stranger_is_refused(hub_process: HubProcess, hub: Hub, project: Project) -> None:
    _, key = hub_process.person("stranger")
    with Hub(api_key=key, host=hub_process.url) as stranger:
        for call in (
            lambda: stranger.jupyter.kernels(project.project_id),
            lambda: stranger.jupyter.execute("1", "python3", project_id=project.project_id),
            lambda: stranger.project(project.project_id or "").system.jupyter_execute("1", "python3"),
            lambda: stranger.project(project.project_id or "").system.list_jupyter_kernels(),
            lambda: stranger.project(project.project_id or "").system.stop_jupyter_kernel(1),
        ):
            with pytest.raises(PermissionDenied, match="collaborator on"):
                call()


def test_a_second_kernel(project: Project) -> None:
    assert project.system.exec(f"{sys.executable} -m bash_kernel.install --prefix ~/.local")["exit_code"] == 0
    assert project.system.jupyter_execute("echo hello; echo $((6*7))", "bash") == [
        {"name": "stdout", "text": "hello\n42\n"}
    ]


def test_a_thousand_in_a_row(project: Project) -> None:
    assert all(run(project, "1+1") == TWO for _ in range(1000))


def test_the_official_client(hub_process: HubProcess, person: tuple[str, str], project: Project) -> None:
    script = (
        "import sys; from cocalc_api import Hub, Project\n"
        "key, host, project_id = sys.argv[1:]\n"
        "run = dict(input='1+1', kernel='python3')\n"
        "print(Project(key, host, project_id).system.jupyter_execute(**run))\n"
        "print(Hub(key, host).jupyter.execute(project_id=project_id, **run)['output'])\n"
        "print(Hub(key, host).jupyter.kernels(project_id)[0]['argv'] != [])\n"
    )
    command = [sys.executable, "-c", script, person[1], hub_process.url, project.project_id or ""]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == f"{TWO}\n{TWO}\nTrue\n"


def test_many_small_values_pass(hub: Hub, project: Project) -> None:
    code = "from IPython.display import display\ndisplay({'application/json': [[]] * 500_000}, raw=True)"
    (output,) = run(project, code)
    assert len(output["data"]["application/json"]) == 500_000
    reply = hub.jupyter.execute(code, "python3", project_id=project.project_id or "")
    assert reply is not None and reply["output"] == [output]


def test_who_ran_which_code_is_in_the_log(hub: Hub, project: Project) -> None:
    run(project, "'noted'")
    run(project, "1/0  # noted")
    deadline = time.monotonic() + 30
    while True:
        query = {"project_log": [{"project_id": project.project_id, "event": None, "account_id": None, "time": None}]}
        entries = hub.db.query(query)["project_log"]
        cells = [cell for each in entries for cell in each["event"].get("cells", ()) if "noted" in cell["code"]]
        if len(cells) == 2:
            break
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert {(cell["code"], cell["outcome"], cell["session"]) for cell in cells} == {
        ("'noted'", "ok", None),
        ("1/0  # noted", "ZeroDivisionError", None),
    }
    assert all(cell["bytes"] > 10 and cell["seconds"] > 0 for cell in cells)
