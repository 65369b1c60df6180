"""Notebook files that are run in real projects: each cell's outputs in the file, whoever goes away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import nbformat
import pytest

from projecthub import Project
from projecthub.errors import NotFound, PermissionDenied
from tests.hubs import HubProcess


@pytest.fixture(scope="module")
def process() -> Iterator[HubProcess]:
    with HubProcess() as process:
        yield process


@pytest.fixture(scope="module")
def project(process: HubProcess) -> Iterator[Project]:
    with process.hub() as hub:
        project_id = str(hub.projects.create_project(title="notebooks"))
    with Project(process.admin_key, process.url, project_id) as project:
        yield project


def write(project: Project, path: str, *codes: str) -> None:
    cells = [nbformat.v4.new_markdown_cell("# Title"), *(nbformat.v4.new_code_cell(code) for code in codes)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    command = f"mkdir -p $(dirname {path}) && cat > {path} <<'END'\n{nbformat.writes(notebook)}\nEND"
    assert project.system.exec(command, bash=True)["exit_code"] == 0


def read(project: Project, path: str) -> list[Any]:
    """The outputs of each code cell."""
    notebook = nbformat.reads(project.system.exec("cat", args=[path])["stdout"], as_version=4)
    nbformat.validate(notebook)
    return [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]


def until(condition: Any) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_notebook(project: Project) -> None:
    write(project, "below/a.ipynb", "import os\nx = 6", "print(os.path.basename(os.getcwd()))", "x * 7")
    job = project.jupyter.run_notebook("below/a.ipynb")
    assert (job.wait()["exit_code"], job.read("stderr")) == (0, b"")
    assert job.read("stdout").decode().count(": done (") == 3
    first, second, third = read(project, "below/a.ipynb")
    assert (first, second[0].text, third[0].data["text/plain"]) == ([], "below\n", "42")
    assert project.system.exec("ls -A below")["stdout"] == "a.ipynb\n"


def test_a_cell_that_raises_ends_it_unless_it_is_allowed(project: Project) -> None:
    write(project, "b.ipynb", "1/0", "2")
    job = project.jupyter.run_notebook("b.ipynb")
    assert job.wait()["exit_code"] == 1
    assert b"ZeroDivisionError" in job.read()
    assert [len(outputs) for outputs in read(project, "b.ipynb")] == [1, 0]
    assert project.jupyter.run_notebook("b.ipynb", allow_errors=True).wait()["exit_code"] == 0
    assert [outputs[0].output_type for outputs in read(project, "b.ipynb")] == ["error", "execute_result"]


def test_what_cannot_be_run(process: HubProcess, project: Project) -> None:
    with pytest.raises(NotFound):
        project.jupyter.run_notebook("nowhere.ipynb")
    project.system.exec("echo nothing > c.ipynb")
    job = project.jupyter.run_notebook("c.ipynb")
    assert job.wait()["exit_code"] == 2 and b"no notebook" in job.read("stderr")
    write(project, "d.ipynb", "1")
    job = project.jupyter.run_notebook("d.ipynb", kernel="nope")
    assert job.wait()["exit_code"] == 2 and b"no kernel 'nope'" in job.read("stderr")
    _, key = process.person("stranger")
    with Project(key, process.url, project.project_id) as foreign, pytest.raises(PermissionDenied):
        foreign.jupyter.run_notebook("d.ipynb")


def test_a_kernel_that_dies_is_told_in_the_notebook(project: Project) -> None:
    write(project, "e.ipynb", "1", "import os; os._exit(1)", "3")
    assert project.jupyter.run_notebook("e.ipynb").wait()["exit_code"] == 1
    assert [len(outputs) for outputs in read(project, "e.ipynb")] == [1, 1, 0]


def test_a_hub_that_dies_is_outlived(own_hub: HubProcess) -> None:
    with own_hub.hub() as hub:
        project_id = str(hub.projects.create_project(title="outlives"))
    waiting = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\n'there'"
    with Project(own_hub.admin_key, own_hub.url, project_id) as project:
        write(project, "a.ipynb", "'first'", waiting)
        job_id = project.jupyter.run_notebook("a.ipynb").id
        until(lambda: [len(outputs) for outputs in read(project, "a.ipynb")] == [1, 0])
    own_hub.kill()
    own_hub.restart()
    with Project(own_hub.admin_key, own_hub.url, project_id) as project:
        project.system.exec("touch go")
        assert project.jobs.get(job_id).wait()["exit_code"] == 0
        assert read(project, "a.ipynb")[1][0].data["text/plain"] == "'there'"


def test_a_kill_leaves_a_valid_notebook_and_no_kernel(project: Project) -> None:
    write(project, "f.ipynb", "1", "import time\nwhile True: time.sleep(0.01)")
    job = project.jupyter.run_notebook("f.ipynb")
    until(lambda: [len(outputs) for outputs in read(project, "f.ipynb")] == [1, 0])
    assert job.kill() and job.wait()["state"] == "killed"
    assert [len(outputs) for outputs in read(project, "f.ipynb")] == [1, 0]
    assert project.system.exec("pgrep -fc ipykernel_launcher", bash=True, err_on_exit=False)["stdout"] == "0\n"


def test_the_command_line(process: HubProcess, project: Project) -> None:
    write(project, "g.ipynb", "1")
    environment = {**os.environ, "PROJECTHUB_URL": process.url, "PROJECTHUB_API_KEY": process.admin_key}
    command = [sys.executable, "-m", "projecthub", "jupyter", "run", project.project_id or "", "g.ipynb"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith("cell 1 of 1: done")
    detached = subprocess.run([*command, "-d", "--json"], env=environment, capture_output=True, timeout=60, check=True)
    assert project.jobs.get(json.loads(detached.stdout)["id"]).wait()["exit_code"] == 0


def test_a_kernel_that_does_not_come_up_is_told(project: Project) -> None:
    spec = {"argv": ["/bin/false", "{connection_file}"], "display_name": "Broken", "language": "none"}
    script = f"mkdir -p ~/.local/share/jupyter/kernels/broken; echo '{json.dumps(spec)}' > $_/kernel.json"
    project.system.exec(script, bash=True)
    write(project, "broken.ipynb", "1")
    job = project.jupyter.run_notebook("broken.ipynb", kernel="broken")
    assert job.wait()["exit_code"] == 2
    said = b"".join(piece.data for piece in job.output()).decode()
    assert "did not come up" in said and "Traceback" not in said
