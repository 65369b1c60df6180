"""What a project tells of itself, and which signals it sends."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import Any

import pytest

from projecthub.errors import HubError, InvalidArgument, NotFound
from projecthub.projectserver.system import MAX_PIDS, System

pytestmark = pytest.mark.anyio


@pytest.fixture
def system() -> System:
    return System("/home/user", {"PATH": "/usr/bin:/bin"})


async def test_configuration(system: System) -> None:
    told: Any = await system.configuration([])
    assert told["capabilities"]["homeDirectory"] == "/home/user"
    assert told["capabilities"]["hashsums"] == {"sha1sum": True, "sha256sum": True, "md5sum": True}
    nothing: Any = await System("/home/user", {"PATH": "/nonexistent"}).configuration(["main", True])
    assert nothing["capabilities"]["hashsums"] == {"sha1sum": False, "sha256sum": False, "md5sum": False}
    for other in (["y"], [None], [{}], [["main"]], [1]):
        with pytest.raises(InvalidArgument, match="main"):
            await system.configuration(other)


async def test_a_signal_reaches_those_that_can_be_reached(system: System) -> None:
    with subprocess.Popen(["sleep", "60"]) as one, subprocess.Popen(["sleep", "60"]) as other:
        with pytest.raises(NotFound, match="no process 2147483647"):
            await system.signal([{"signal": 15, "pid": one.pid, "pids": [2**31 - 1, other.pid]}])
        assert (one.wait(10), other.wait(10)) == (-signal.SIGTERM, -signal.SIGTERM)


@pytest.mark.parametrize("given", [0, "term", "SIGTERM", "Int", 9])
async def test_signals_by_any_name(system: System, given: object) -> None:
    assert await system.signal([{"signal": given, "pids": []}]) is None


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"signal": None, "pid": 5},
        {"signal": True, "pid": 5},
        {"signal": 1000, "pid": 5},
        {"signal": -1, "pid": 5},
        {"signal": "NONE", "pid": 5},
        {"signal": [], "pid": 5},
        *({"signal": 0, "pid": pid} for pid in (0, 1, -1, -5, True, "5", 2.0, 2**31, os.getpid(), os.getppid())),
        {"signal": 0, "pids": 5},
        {"signal": 0, "pids": [2] * (MAX_PIDS + 1)},
        {"signal": 0, "pids": [os.getpid()]},
    ],
)
async def test_what_is_refused_sends_nothing(system: System, options: dict[str, Any]) -> None:
    with pytest.raises(HubError) as caught:
        await system.signal([options])
    assert type(caught.value) is InvalidArgument
