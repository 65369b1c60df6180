"""A hub that is asked to end, while people read from it, or do not."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

from projecthub.errors import HubError, TransportError
from tests.hubs import HubProcess
from tests.live.test_jobs import Jobs, until

ANSWER_WITHIN_S = 10.0
"""What docs/operating.md promises to those who were being answered."""
SLACK_S = 5.0
CHUNKS = "application/vnd.projecthub.chunks"


@contextmanager
def asked(jobs: Jobs, path: str, accept: str = "*/*") -> Iterator[socket.socket]:
    """A request whose answer nobody takes."""
    with socket.socket() as idle:
        idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        idle.connect(("127.0.0.1", int(jobs.process.url.rpartition(":")[2])))
        lines = [
            f"GET /api/v1/projects/{jobs.project_id}{path} HTTP/1.1",
            "host: hub",
            f"accept: {accept}",
            f"authorization: Bearer {jobs.key}",
        ]
        idle.sendall("\r\n".join([*lines, "", ""]).encode())
        yield idle


def seconds_to_end(process: HubProcess) -> float:
    begin = time.monotonic()
    assert process.terminate() == 0
    return time.monotonic() - begin


def test_whoever_follows_and_takes_nothing_does_not_keep_it(own_hub: HubProcess) -> None:
    jobs = Jobs(own_hub)
    job = jobs.start("echo begun; while [ ! -e go ]; do echo 'all work and no play'; done; echo done", bash=True)
    until(lambda: jobs.ask("GET", f"/{job['id']}").json()["output_bytes"] > 10_000_000)
    output = f"/jobs/{job['id']}/output?follow=true"
    ways = [(f"/jobs/{job['id']}/events", "*/*"), (output, CHUNKS), (output, "*/*")]
    with ExitStack() as stack:
        for path, accept in ways * 20:
            idle = stack.enter_context(asked(jobs, path, accept))
            assert idle.recv(12, socket.MSG_PEEK) == b"HTTP/1.1 200"
        stack.enter_context(asked(jobs, f"/jobs/{job['id']}?wait=true"))
        time.sleep(1)
        assert seconds_to_end(own_hub) < SLACK_S
    assert "Error" not in own_hub.errors()
    own_hub.restart()
    (jobs.home / "go").touch()
    assert jobs.ended(job)["state"] == "completed"
    assert jobs.output(job).endswith(b"\ndone\n")


def test_whoever_takes_nothing_of_what_has_an_end_keeps_it_no_longer_than_is_promised(own_hub: HubProcess) -> None:
    jobs = Jobs(own_hub)
    job = jobs.start("head -c 50000000 /dev/urandom | tee large", bash=True)
    jobs.ended(job)
    with ExitStack() as stack:
        for path in [f"/jobs/{job['id']}/output", "/files/content?path=large", "/files/archive?path=", "/export"] * 5:
            idle = stack.enter_context(asked(jobs, path))
            assert idle.recv(12, socket.MSG_PEEK) == b"HTTP/1.1 200", idle.recv(1000)
        time.sleep(1)
        assert seconds_to_end(own_hub) < ANSWER_WITHIN_S + SLACK_S


def test_who_waits_for_a_long_command_is_told_that_the_hub_was_stopped(own_hub: HubProcess) -> None:
    jobs = Jobs(own_hub)
    job = jobs.start("sleep 10000", bash=True)
    told: list[HubError] = []

    def run() -> None:
        with own_hub.hub() as hub:
            try:
                hub.project(jobs.project_id).system.exec("touch begun; sleep 1000", timeout=1000, bash=True)
            except HubError as error:
                told.append(error)

    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(run)
        until((jobs.home / "begun").exists)
        assert seconds_to_end(own_hub) < ANSWER_WITHIN_S + SLACK_S
        waiting.result()
    [error] = told
    assert isinstance(error, TransportError)
    assert "the hub was stopped or is restarted" in error.message
    assert "Exception in ASGI" not in own_hub.errors()
    own_hub.restart()
    assert jobs.ask("GET", f"/{job['id']}").json()["state"] == "running"
    jobs.ask("POST", f"/{job['id']}/kill")
