"""Jobs by both clients and by the command line, on the real hub."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from projecthub import AsyncProject, Project
from projecthub.errors import Conflict, InvalidArgument, NotFound, PermissionDenied
from tests.hubs import HubProcess


@pytest.fixture(scope="module")
def process() -> Iterator[HubProcess]:
    with HubProcess() as process:
        yield process


@pytest.fixture(scope="module")
def project_id(process: HubProcess) -> str:
    with process.hub() as hub:
        return str(hub.projects.create_project(title="clients"))


@pytest.fixture
def project(process: HubProcess, project_id: str) -> Iterator[Project]:
    with Project(process.admin_key, process.url, project_id) as project:
        yield project


def test_a_job(project: Project) -> None:
    job = project.jobs.start("echo out; echo err >&2; exit 3")
    pieces = list(job.output())
    assert {piece.stream: piece.data for piece in pieces} == {"stdout": b"out\n", "stderr": b"err\n"}
    assert (job.state, job.exit_code) == ("failed", 3)
    assert [piece.end for piece in job.output(offset=4)][-1] == 8
    assert job.read("stderr") == b"err\n"
    assert project.jobs.get(job.id).info == job.wait()
    assert job.id in [each.id for each in project.jobs.list()]
    job.remove()
    with pytest.raises(NotFound):
        job.refresh()


def test_input_and_signals(project: Project) -> None:
    job = project.jobs.start("cat", stdin=True)
    job.write(bytes(range(256)) * 4000)
    with pytest.raises(Conflict):
        job.remove()
    job.write(b"end", close=True)
    assert b"".join(piece.data for piece in job.output()) == bytes(range(256)) * 4000 + b"end"
    with pytest.raises(Conflict):
        job.write(b"x")
    asleep = project.jobs.start("sleep 1000")
    with pytest.raises(InvalidArgument):
        asleep.signal("NOPE")
    assert asleep.kill() and asleep.wait()["signal"] == "SIGKILL"
    assert not asleep.kill()


def test_somebody_elses_project(process: HubProcess, project_id: str) -> None:
    _, key = process.person("stranger")
    with Project(key, process.url, project_id) as project, pytest.raises(PermissionDenied):
        project.jobs.list()


def test_a_projects_own_key(process: HubProcess, project_id: str) -> None:
    with process.hub() as hub:
        key = hub.keys.create(project_id=project_id, name="own")["secret"]
    with Project(key, process.url) as project:
        assert project.jobs.start("true", args=[]).wait()["state"] == "completed"


@pytest.mark.anyio
async def test_the_async_client(process: HubProcess, project_id: str) -> None:
    async with AsyncProject(process.admin_key, process.url, project_id) as project:
        job = await project.jobs.start("seq 3")
        assert b"".join([piece.data async for piece in job.output()]) == b"1\n2\n3\n"
        assert job.state == "completed"


def run(process: HubProcess, *words: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PROJECTHUB_URL": process.url, "PROJECTHUB_API_KEY": process.admin_key}
    command = [sys.executable, "-m", "projecthub", *words]
    return subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False, **options)


def test_exec_on_the_command_line(process: HubProcess, project_id: str) -> None:
    done = run(process, "exec", project_id, "--", "bash", "-c", r"printf '\xff\x00out'; echo err >&2; exit 42")
    assert (done.returncode, done.stdout, done.stderr) == (42, b"\xff\x00out", b"err\n")
    assert run(process, "exec", project_id, "-i", "--", "sort", input=b"b\na\n").stdout == b"a\nb\n"
    assert (
        run(process, "exec", project_id, "--bash", "-e", "X=1", "--", "echo", "$X;", "kill", "-9", "$$").returncode
        == 137
    )
    missing = run(process, "exec", project_id, "--", "no-such-program", "x")
    assert missing.returncode == 1 and b"could not be run" in missing.stderr


def test_ctrl_c_is_passed_on(process: HubProcess, project_id: str) -> None:
    environment = {**os.environ, "PROJECTHUB_URL": process.url, "PROJECTHUB_API_KEY": process.admin_key}
    script = "trap 'echo caught; exit 9' INT; echo ready; while true; do sleep 0.01; done"
    command = [sys.executable, "-m", "projecthub", "exec", project_id, "--", "bash", "-c", script]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None and running.stdout.readline() == b"ready\n"
        running.send_signal(signal.SIGINT)
        assert running.stdout.read() == b"caught\n"
        assert running.wait(timeout=30) == 9


def test_jobs_on_the_command_line(process: HubProcess, project_id: str) -> None:
    job_id = (
        run(process, "exec", "--detach", project_id, "--", "sh", "-c", "echo begun; sleep 1000").stdout.decode().strip()
    )
    deadline = time.monotonic() + 30
    while run(process, "jobs", "logs", project_id, job_id).stdout != b"begun\n":
        assert time.monotonic() < deadline
    assert job_id in run(process, "jobs", "list", project_id).stdout.decode()
    assert run(process, "jobs", "rm", project_id, job_id).returncode == 1
    assert run(process, "jobs", "kill", project_id, job_id[:8]).returncode == 0
    waited = run(process, "jobs", "wait", project_id, job_id, "--json")
    assert waited.returncode == 137 and json.loads(waited.stdout)["state"] == "killed"
    assert b"killed" in run(process, "jobs", "show", project_id, job_id).stdout
    assert b"ended already" in run(process, "jobs", "signal", project_id, job_id, "INT").stderr
    assert run(process, "jobs", "logs", "-f", project_id, job_id).stdout == b"begun\n"
    assert run(process, "jobs", "rm", project_id, job_id).returncode == 0
    assert run(process, "jobs", "show", project_id, job_id).returncode == 3
