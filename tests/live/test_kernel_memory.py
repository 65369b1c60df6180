"""Kernels that exhaust the memory of their project, and kernels of a hub that is no root."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from projecthub import Project
from tests.hubs import HubProcess

UNPRIVILEGED = Path(__file__).parents[1] / "contract/unprivileged.py"
HOG = "rows = []\nwhile True: rows.append('x' * 1_000_000)"
ENDS = ("KernelDied", "MemoryError")
"""By a control group the kernel is ended; below an rlimit the code is refused more."""


@pytest.fixture(scope="module")
def process() -> Iterator[HubProcess]:
    # An rlimit counts addresses, of which a kernel that is started as a program takes some 700 MB.
    with HubProcess(PROJECTHUB_MEMORY_MB="400" if os.geteuid() == 0 else "1000") as process:
        yield process


@pytest.fixture
def project(process: HubProcess) -> Iterator[Project]:
    with process.hub() as hub:
        project_id = str(hub.projects.create_project(title="memory"))
        with Project(process.admin_key, process.url, project_id) as project:
            yield project
        hub.projects.delete(project_id)


def status(process: HubProcess, project: Project) -> dict[str, Any]:
    with process.hub() as hub:
        return dict(hub.projects.status(project.project_id or ""))


def test_a_call_whose_kernel_exhausts_memory_says_so_and_the_next_one_works(
    process: HubProcess, project: Project
) -> None:
    pid = status_pid(process, project)
    told = project.system.jupyter_execute(HOG, "python3")[-1]
    assert told["ename"] in ENDS
    assert "memory" in told["evalue"] or told["ename"] == "MemoryError"
    assert project.system.jupyter_execute("1+1", "python3") == [{"data": {"text/plain": "2"}}]
    now = status(process, project)
    assert now["project"]["pid"] == pid  # the server was not what went
    if told["ename"] == "KernelDied":
        assert now["oom_kills"] >= 1


def test_a_session_whose_kernel_exhausts_memory_is_dead_until_it_is_restarted(
    process: HubProcess, project: Project
) -> None:
    with project.jupyter.session("a") as session, project.jupyter.session("b") as other:
        other.execute("kept = 7").wait()
        hungry = session.execute(f"print('before', flush=True)\n{HOG}")
        outputs = list(hungry)
        assert outputs[0]["text"] == "before\n"
        assert outputs[-1]["ename"] in ENDS
        if outputs[-1]["ename"] == "KernelDied":
            assert (hungry.state, session.info()["state"]) == ("died", "dead")
            session.restart()
        assert [each["data"]["text/plain"] for each in session.execute("6 * 7")] == ["42"]
        assert [each["data"]["text/plain"] for each in other.execute("kept")] == ["7"]


def run_notebook(project: Project, *codes: str) -> list[dict[str, Any]]:
    """Run one that fails; its cells as they are then."""
    cells = [
        {"cell_type": "code", "source": code, "metadata": {}, "outputs": [], "execution_count": None} for code in codes
    ]
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {"cells": cells, "metadata": {"kernelspec": spec}, "nbformat": 4, "nbformat_minor": 4}
    project.files.write_bytes("n.ipynb", json.dumps(notebook).encode())
    job = project.jupyter.run_notebook("n.ipynb")
    assert (job.info["command"], job.info["args"]) == ("run notebook", ["n.ipynb"])
    assert job.wait()["exit_code"] == 1
    return list(json.loads(project.files.read_bytes("n.ipynb"))["cells"])


def test_an_error_that_a_kernel_has_no_memory_to_show_is_told_all_the_same(project: Project) -> None:
    silent = "get_ipython().showtraceback = lambda *a, **k: print('cannot')"
    (said, told) = project.system.jupyter_execute(f"{silent}\nraise MemoryError('all of it')", "python3")
    assert said["text"] == "cannot\n"
    assert (told["ename"], told["evalue"]) == ("MemoryError", "all of it")
    with project.jupyter.session("s") as session:
        session.execute(silent).wait()
        (_, told) = list(session.execute("raise MemoryError"))
        assert (told["output_type"], told["ename"]) == ("error", "MemoryError")
        assert [each["text"] for each in session.execute("1/0")] == ["cannot\n"]  # what people handle stays theirs
        assert told["traceback"] == ["MemoryError: "]
    done = run_notebook(project, silent, "raise MemoryError")
    assert [output.get("ename") for output in done[1]["outputs"]] == [None, "MemoryError"]


def test_a_notebook_that_exhausts_memory_keeps_what_it_had(project: Project) -> None:
    done = run_notebook(project, "print('first')", HOG, "print('third')")
    assert done[0]["outputs"][0]["text"] in ("first\n", ["first\n"])
    assert [each for each in done[1]["outputs"] if each.get("ename") in ENDS], done
    assert done[2]["outputs"] == []


def status_pid(process: HubProcess, project: Project) -> int:
    project.system.ping()
    return int(status(process, project)["project"]["pid"])


@pytest.mark.skipif(os.geteuid() != 0, reason="this user's level is tried directly")
@pytest.mark.parametrize("file", ["test_kernel_memory.py", "test_jupyter.py", "test_jupyter_sessions.py"])
def test_kernels_of_a_hub_that_is_no_root(file: str) -> None:
    chosen = "memory or outputs or state or notebook or interrupt or second_kernel or in_the_log"
    command = [sys.executable, str(UNPRIVILEGED), str(Path(__file__).with_name(file)), "-k", chosen]
    run = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    if "no user namespaces" in run.stdout:
        pytest.skip("this machine offers no user namespaces to users")
    assert run.returncode == 0, run.stdout + run.stderr
    assert " passed" in run.stdout
