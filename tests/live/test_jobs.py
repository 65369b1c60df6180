"""Jobs with the real hub: over HTTP, through its death, after the project's, and with hostile files."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import struct
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.hubs import HubProcess

DEADLINE_S = 30.0


class Jobs:
    """The jobs of one project, over HTTP."""

    def __init__(self, process: HubProcess, project_id: str | None = None, key: str | None = None) -> None:
        self.process = process
        self.project_id = (
            project_id or process.post({"name": "projects.createProject", "args": [{"title": "jobs"}]}).json()
        )
        self.key = key or process.admin_key

    @property
    def home(self) -> Path:
        return self.process.data_dir / "projects" / self.project_id / "home"

    def ask(self, method: str, path: str = "", **options: Any) -> httpx2.Response:
        url = f"{self.process.url}/api/v1/projects/{self.project_id}/jobs{path}"
        return httpx2.request(
            method, url, timeout=60, **{"headers": {"authorization": f"Bearer {self.key}"}, **options}
        )

    def start(self, command: str, **options: Any) -> Any:
        answer = self.ask("POST", json={"command": command, **options})
        assert answer.status_code == 201, answer.text
        return answer.json()

    def ended(self, job: Any) -> Any:
        return self.ask("GET", f"/{job['id']}?wait=true").json()

    def output(self, job: Any, query: str = "", **options: Any) -> bytes:
        return self.ask("GET", f"/{job['id']}/output{query}", **options).content

    def log(self, *kinds: str) -> list[Any]:
        query = {"query": {"project_log": [{"project_id": self.project_id, "time": None, "event": None}]}}
        rows = self.process.post({"name": "db.userQuery", "args": [query]}).json()["project_log"]
        return [row["event"] for row in rows if row["event"]["event"] in kinds]


def until(condition: Any) -> Any:
    deadline = time.monotonic() + DEADLINE_S
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return value


@pytest.fixture(scope="module")
def process() -> Iterator[HubProcess]:
    with HubProcess() as process:
        yield process


@pytest.fixture(scope="module")
def jobs(process: HubProcess) -> Jobs:
    return Jobs(process)


def test_a_job(jobs: Jobs) -> None:
    job = jobs.start("echo out; echo err >&2; exit 3", path="/tmp")
    assert job["by"] and job["bash"] and job["directory"] == "/tmp"
    end = jobs.ended(job)
    assert (end["state"], end["exit_code"], end["output_bytes"]) == ("failed", 3, 8)
    assert end["started_at"] <= end["ended_at"]
    assert jobs.output(job, "?stream=stdout") == b"out\n"
    assert jobs.output(job, "?stream=stderr") == b"err\n"
    assert sorted(jobs.output(job).splitlines()) == [b"err", b"out"]
    assert jobs.ask("GET", f"/{job['id']}").json() == end
    del end["samples"]
    assert end in jobs.ask("GET").json()


def test_a_program_that_is_not_there(jobs: Jobs) -> None:
    job = jobs.start("no-such-program", args=["x"])
    assert (job["state"], job["exit_code"]) == ("failed", 127)
    assert "No such file" in job["error"]


def test_bytes_that_are_no_text_come_as_they_are(jobs: Jobs) -> None:
    job = jobs.start('for n in $(seq 0 255); do printf "\\\\x$(printf %x $n)"; done', bash=True)
    jobs.ended(job)
    assert jobs.output(job) == bytes(range(256))
    assert jobs.output(job, "?offset=250") == bytes(range(250, 256))
    part = jobs.ask(
        "GET", f"/{job['id']}/output", headers={"authorization": f"Bearer {jobs.key}", "range": "bytes=10-19"}
    )
    assert (part.status_code, part.content) == (206, bytes(range(10, 20)))
    assert part.headers["content-range"] == "bytes 10-19/256"


def test_events_follow_and_resume(jobs: Jobs) -> None:
    job = jobs.start("echo one; read x; echo $x; echo oops >&2", bash=True, stdin=True)
    url = f"{jobs.process.url}/api/v1/projects/{jobs.project_id}/jobs/{job['id']}/events"
    headers = {"authorization": f"Bearer {jobs.key}"}
    seen = []
    with httpx2.stream("GET", url, headers=headers, timeout=60) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            seen.append(line)
            if '"stream":"stdout"' in line and len([each for each in seen if '"stdout"' in each]) == 1:
                assert jobs.ask("POST", f"/{job['id']}/stdin", content=b"two\n").status_code == 204
    assert [line.split(": ")[1] for line in seen if line.startswith("event")][-1] == "end"
    data = [json.loads(line[6:]) for line in seen if line.startswith("data: ") and '"stream"' in line]
    assert data[0] == {"offset": 0, "time": data[0]["time"], "stream": "stdout", "data": "b25lCg=="}
    again = httpx2.get(url, headers={**headers, "last-event-id": "4"}, timeout=60).text
    assert "b25lCg==" not in again and "event: end" in again


def test_signals_and_input(jobs: Jobs) -> None:
    job = jobs.start("trap 'echo caught; exit 5' INT; echo ready; while true; do sleep 0.01; done", bash=True)
    until(lambda: jobs.output(job) == b"ready\n")
    assert jobs.ask("POST", f"/{job['id']}/signal", json={"signal": "INT"}).json() == {"sent": True}
    end = jobs.ended(job)
    assert (end["state"], end["exit_code"]) == ("failed", 5)
    assert jobs.ask("POST", f"/{job['id']}/signal", json={"signal": "INT"}).json() == {"sent": False}
    assert jobs.ask("POST", f"/{job['id']}/stdin", content=b"x").status_code == 409
    cat = jobs.start("cat", stdin=True)
    assert jobs.ask("POST", f"/{cat['id']}/stdin?close=true", content=b"\xff" * 700_000).status_code == 204
    assert jobs.ended(cat)["state"] == "completed"
    assert jobs.output(cat) == b"\xff" * 700_000
    assert jobs.ask("POST", f"/{jobs.start('sleep 9')['id']}/stdin", content=b"x").status_code == 409


def test_kill_finds_what_has_daemonised(jobs: Jobs) -> None:
    job = jobs.start("setsid sleep 1000 & echo $! > daemon; sleep 1000", bash=True)
    until(lambda: (jobs.home / "daemon").exists() and (jobs.home / "daemon").read_text())
    assert jobs.ask("POST", f"/{job['id']}/signal", json={"signal": "SIGKILL"}).json() == {"sent": True}
    end = jobs.ended(job)
    assert (end["state"], end["signal"], end["exit_code"]) == ("killed", "SIGKILL", 137)
    look = jobs.start("kill -0 $(cat daemon)", bash=True)
    assert jobs.ended(look)["exit_code"] == 1


def test_a_command_that_daemonises_has_ended(jobs: Jobs) -> None:
    job = jobs.start("(setsid sleep 30 &) ; echo left", bash=True)
    assert jobs.ended(job)["state"] == "completed"
    assert jobs.output(job) == b"left\n"


def test_time_is_up(jobs: Jobs) -> None:
    job = jobs.start("echo begun; sleep 1000", timeout=0.3)
    assert jobs.ended(job)["state"] == "timed_out"
    assert jobs.output(job) == b"begun\n"


def test_a_log_is_bounded(jobs: Jobs) -> None:
    job = jobs.start("head -c 3000000 /dev/zero", max_log_bytes=100_000)
    end = jobs.ended(job)
    assert end["truncated"] and end["state"] == "completed" and end["stdout_bytes"] == 3_000_000
    assert 50_000 < end["output_bytes"] == len(jobs.output(job)) <= 100_000


def test_many_readers(jobs: Jobs) -> None:
    job = jobs.start("for n in $(seq 100); do echo line $n; sleep 0.01; done", bash=True)
    with ThreadPoolExecutor(12) as pool:
        followed = list(pool.map(lambda _: jobs.output(job, "?follow=true"), range(12)))
    assert set(followed) == {b"".join(b"line %d\n" % n for n in range(1, 101))}


def rss_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_large_output_fills_no_memory_and_stalls_nobody(jobs: Jobs) -> None:
    before = rss_bytes(jobs.process.process.pid)
    job = jobs.start("head -c 100000000 /dev/zero")
    began, is_over, waits = time.monotonic(), threading.Event(), []

    def ask() -> None:
        """Make small calls meanwhile, of the hub and of the project."""
        while not is_over.is_set():
            for endpoint in ("hub", "project"):
                asked = time.monotonic()
                call = {"name": "system.ping", "project_id": jobs.project_id}
                assert "now" in jobs.process.post(call, endpoint=endpoint).json()
                waits.append(time.monotonic() - asked)

    asking = threading.Thread(target=ask)
    asking.start()
    count = most = 0
    with httpx2.stream(
        "GET",
        f"{jobs.process.url}/api/v1/projects/{jobs.project_id}/jobs/{job['id']}/output?follow=true",
        headers={"authorization": f"Bearer {jobs.key}"},
        timeout=60,
    ) as answer:
        for part in answer.iter_bytes():
            count += len(part)
            most = max(most, rss_bytes(jobs.process.process.pid) - before)
    is_over.set()
    asking.join()
    assert count == 100_000_000
    assert most < 50_000_000  # some pieces on their way, and what Python keeps
    assert waits and max(waits) < 5
    print(f"{count / 1e6 / (time.monotonic() - began):.0f} MB/s")


def test_removal(jobs: Jobs) -> None:
    job = jobs.start("sleep 1000")
    assert jobs.ask("DELETE", f"/{job['id']}").status_code == 409
    jobs.ask("POST", f"/{job['id']}/signal", json={"signal": "KILL"})
    jobs.ended(job)
    assert jobs.ask("DELETE", f"/{job['id']}").status_code == 204
    assert jobs.ask("GET", f"/{job['id']}").status_code == 404


def test_refusals(jobs: Jobs) -> None:
    other = jobs.process.person("stranger")[1]
    for method, path in (("GET", ""), ("POST", ""), ("GET", f"/{uuid.uuid4()}/output"), ("DELETE", f"/{uuid.uuid4()}")):
        answer = Jobs(jobs.process, jobs.project_id, other).ask(
            method, path, **({"json": {"command": "id"}} if method == "POST" else {})
        )
        assert answer.status_code == 403, (method, path)
    for job_id in (str(uuid.uuid4()), "nope", "..%2f.."):
        assert jobs.ask("GET", f"/{job_id}").status_code == 404
        assert jobs.ask("GET", f"/{job_id}/output").status_code == 404
    assert jobs.ask("POST", json={"command": "id", "nope": 1}).status_code == 422
    assert jobs.ask("POST", json={"command": " "}).status_code == 400
    jobs.ended(jobs.start("true"))
    kept = jobs.home / ".projecthub"
    kept.rename(jobs.home / "moved")
    kept.symlink_to("nowhere")
    try:
        refused = jobs.ask("POST", json={"command": "id"})
        assert (refused.status_code, "a link or a file stands in the way" in refused.json()["detail"]) == (409, True)
    finally:
        kept.unlink()
        (jobs.home / "moved").rename(kept)


def test_hostile_files(jobs: Jobs) -> None:
    directory = jobs.home / ".projecthub/jobs"
    true_state = {"state": "completed", "command": "x", "started_at": 1}

    def plant(name: str, *, state: Any = None, output: bytes = b"abc") -> str:
        place = directory / str(uuid.uuid4())
        place.mkdir(parents=True)
        (place / "job.json").write_text(json.dumps({**true_state, "id": place.name} if state is None else state))
        (place / "output").write_bytes(output)
        return place.name

    secret = jobs.process.data_dir / "admin-key"
    linked = plant("linked")
    (directory / linked / "output").unlink()
    (directory / linked / "output").symlink_to(secret)
    assert jobs.output({"id": linked}) == b""
    fifo = plant("fifo")
    (directory / fifo / "chunks").unlink(missing_ok=True)
    os.mkfifo(directory / fifo / "chunks")
    assert jobs.output({"id": fifo}) == b"abc"
    garbage = plant("garbage")
    (directory / garbage / "chunks").write_bytes(os.urandom(10_000))
    assert jobs.output({"id": garbage}) == b"abc"
    short = plant("short", state={**true_state, "output_bytes": 1000})
    part = jobs.ask("GET", f"/{short}/output", headers={"authorization": f"Bearer {jobs.key}", "range": "bytes=1-"})
    assert (part.content, part.headers["content-range"]) == (b"bc", "bytes 1-2/3")
    lying = plant("lying")
    (directory / lying / "chunks").write_bytes(struct.pack("<QqII", 0, 1, 1_000_000, 1))
    assert jobs.ask("GET", f"/{lying}/output").status_code == 200
    huge = plant("huge")
    with (directory / huge / "chunks").open("wb") as file:
        file.truncate(10**12)
    assert jobs.output({"id": huge}) == b"abc"
    for state in ([], {"state": "nope"}, {"state": "completed", "args": 5, "samples": [1, {"mem_rss": 1e400}]}):
        assert jobs.ask("GET", f"/{plant('odd', state=state)}").status_code in (200, 404)
    (directory / str(uuid.uuid4())).symlink_to("/etc")
    assert jobs.ask("GET").status_code == 200


def test_who_ran_what_is_in_the_log(jobs: Jobs) -> None:
    call = {"name": "system.exec", "project_id": jobs.project_id}
    for _ in range(3):
        jobs.process.post({**call, "args": [{"command": "echo", "args": ["noted"]}]}, endpoint="project")
    jobs.process.post({**call, "args": [{"command": "exit 7", "bash": True}]}, endpoint="project")
    begun = jobs.process.post(
        {**call, "args": [{"command": "echo job", "async_call": True}]}, endpoint="project"
    ).json()
    until(lambda: [event for event in jobs.log("job_ended") if event["job_id"] == begun["job_id"]])
    run = [each for event in jobs.log("commands_run") for each in event["commands"]]
    (echo,) = [each for each in run if each["command"] == "echo noted"]
    assert (echo["exit_code"], echo["times"], echo["bytes"]) == (0, 3, 18)
    assert [each["exit_code"] for each in run if each["command"] == "exit 7"] == [7]
    (start,) = [event for event in jobs.log("job_started") if event["job_id"] == begun["job_id"]]
    assert start["command"] == "echo job"


def test_a_caller_that_leaves_ends_its_command(jobs: Jobs) -> None:
    call = {
        "name": "system.exec",
        "project_id": jobs.project_id,
        "args": [{"command": "echo $$ > pid-left; sleep 1000", "bash": True, "timeout": 1000}],
    }
    headers = {"authorization": f"Bearer {jobs.key}"}
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.post(f"{jobs.process.url}/api/conat/project", json=call, headers=headers, timeout=1.0)
    look = "! kill -0 $(cat pid-left) 2>/dev/null && echo gone; true"
    until(lambda: jobs.output(j := jobs.start(look, bash=True)) is not None and jobs.ended(j) and jobs.output(j))


def test_a_caller_that_leaves_waits_no_more(jobs: Jobs) -> None:
    job = jobs.start("echo begun; sleep 1000")
    until(lambda: jobs.output(job) == b"begun\n")
    fds = f"/proc/{jobs.process.process.pid}/fd"
    before = len(os.listdir(fds))
    for _ in range(5):
        with pytest.raises(httpx2.ReadTimeout):
            httpx2.get(
                f"{jobs.process.url}/api/v1/projects/{jobs.project_id}/jobs/{job['id']}?wait=true",
                headers={"authorization": f"Bearer {jobs.key}"},
                timeout=0.5,
            )
    until(lambda: len(os.listdir(fds)) <= before + 1)  # a connection to the store may have come
    jobs.ask("POST", f"/{job['id']}/signal", json={"signal": "SIGKILL"})
    assert jobs.ended(job)["state"] == "killed"


def test_who_waits_and_who_writes_is_looked_at_again(jobs: Jobs) -> None:
    """A key that ends, and a member who is removed, while a request of theirs is under way."""
    process, job = jobs.process, jobs.start("sleep 1000", stdin=True)
    account_id, key = process.person("goes")
    with process.hub() as hub:
        hub.projects.add_collaborator(jobs.project_id, account_id)
    url = f"{process.url}/api/v1/projects/{jobs.project_id}/jobs/{job['id']}"
    mine = {"authorization": f"Bearer {key}"}
    waits_too = process.post({"name": "keys.create", "args": [{"name": "second"}]}, key=key).json()

    def body() -> Iterator[bytes]:
        yield b"first\n"
        time.sleep(17)
        yield b"x" * 70_000

    with ThreadPoolExecutor(3) as pool:
        waiting = pool.submit(httpx2.get, f"{url}?wait=true", headers=mine, timeout=60)
        revoked = {"authorization": f"Bearer {waits_too['secret']}"}
        second = pool.submit(httpx2.get, f"{url}?wait=true", headers=revoked, timeout=60)
        writing = pool.submit(httpx2.post, f"{url}/stdin", headers=mine, content=body(), timeout=60)
        time.sleep(1)
        process.post({"name": "keys.revoke", "args": [{"id": waits_too["id"]}]}, key=key)
        assert second.result().status_code == 403
        with process.hub() as hub:
            hub.projects.remove_collaborator(jobs.project_id, account_id)
        for each in (waiting, writing):
            assert each.result().status_code == 403
            assert "ended meanwhile" in each.result().text
    jobs.ask("POST", f"/{job['id']}/signal", json={"signal": "SIGKILL"})


def test_readers_that_leave_hold_no_files(jobs: Jobs) -> None:
    job = jobs.start("head -c 50000000 /dev/zero", bash=True)
    assert jobs.ended(job)["output_bytes"] == 50_000_000
    fds = f"/proc/{jobs.process.process.pid}/fd"
    logs = f"{jobs.home}/.projecthub/jobs/{job['id']}/"
    url = f"{jobs.process.url}/api/v1/projects/{jobs.project_id}/jobs/{job['id']}/output"

    def leave(number: int) -> None:
        accept = {"accept": "application/vnd.projecthub.chunks"} if number % 2 else {}
        with httpx2.stream("GET", url, headers={"authorization": f"Bearer {jobs.key}", **accept}) as answer:
            next(answer.iter_raw())

    def held() -> list[str]:
        places = []
        for fd in os.listdir(fds):
            with contextlib.suppress(FileNotFoundError):
                places.append(os.readlink(f"{fds}/{fd}"))
        return [place for place in places if place.startswith(logs)]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(leave, range(100)))
    until(lambda: not held())


def test_a_thousand_jobs(process: HubProcess) -> None:
    jobs = Jobs(process)
    with ThreadPoolExecutor(8) as pool:
        started = list(pool.map(lambda n: jobs.start("echo", args=[str(n)]), range(1000)))
    for number in (0, 500, 999):
        assert jobs.ended(started[number])["state"] == "completed"
        assert jobs.output(started[number]) == b"%d\n" % number
    until(lambda: all(job["state"] == "completed" for job in jobs.ask("GET").json()))
    assert len(jobs.ask("GET").json()) == 1000


def test_a_job_outlives_the_hub_and_its_log_the_project() -> None:
    with HubProcess() as process:
        jobs = Jobs(process)
        until_told = "while [ $n = 100 ] && [ ! -e go ]; do sleep 0.05; done"
        job = jobs.start(f"for n in $(seq 200); do echo $n; sleep 0.02; {until_told}; done", bash=True)
        stays = jobs.start("echo begun; trap '' TERM; while true; do sleep 0.1; done", bash=True)
        until(lambda: jobs.output(job).count(b"\n") > 20)
        process.kill()
        process.restart()
        assert jobs.ask("GET", f"/{job['id']}").json()["state"] == "running"
        (jobs.home / "go").touch()
        followed = jobs.output(job, "?follow=true")
        assert followed == b"".join(b"%d\n" % n for n in range(1, 201))
        assert jobs.ended(job)["state"] == "completed"
        process.post({"name": "projects.stop", "args": [{"project_id": jobs.project_id}]})
        assert jobs.ask("GET", f"/{stays['id']}").json()["state"] in ("killed", "lost")
        assert jobs.output(stays) == b"begun\n"
        assert jobs.output(job) == followed
        until(lambda: len(jobs.log("job_ended")) == 2)
        process.terminate()
        process.restart()
        assert len(jobs.log("job_ended")) == 2


def test_a_server_that_is_killed_loses_its_jobs_and_keeps_their_logs(process: HubProcess) -> None:
    jobs = Jobs(process)
    job = jobs.start("echo begun; sleep 1000")
    until(lambda: jobs.output(job) == b"begun\n")
    status = process.post({"name": "projects.status", "args": [{"project_id": jobs.project_id}]}).json()
    os.kill(status["project"]["pid"], signal.SIGKILL)
    until(lambda: jobs.ask("GET", f"/{job['id']}").json()["state"] == "lost")
    assert jobs.output(job, "?follow=true") == b"begun\n"
    jobs.start("true", args=[])
    assert jobs.ask("GET", f"/{job['id']}").json()["state"] == "lost"
