"""Log lines, in a process of their own: logging belongs to the whole process."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

PROGRAM = """
import asyncio, logging, sys, threading, warnings
import structlog
from structlog.contextvars import bound_contextvars
from projecthub.logs import set_up_logs

set_up_logs(sys.argv[1], sys.argv[2])
log = structlog.get_logger()

async def inner():
    log.info("inner")
    raise ValueError("in a task\\nof two lines")

async def main():
    with bound_contextvars(request_id="abcdefgh"):
        log.info("outer", title="half \\ud800 of a character", kind=ValueError)
        task = asyncio.create_task(inner())
    try:
        await task
    except ValueError:
        log.exception("caught")
    log.debug("not shown")

asyncio.run(main())
logging.getLogger("uvicorn.error").warning("from %s", "uvicorn")
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("asyncio").exception("from asyncio")
logging.getLogger("uvicorn.error").info("not shown")
warnings.warn("deprecated")
thread = threading.Thread(target=lambda: {}["missing"])
thread.start()
thread.join()
secret = "sk-very-secret"
raise RuntimeError("the end")
"""


def stderr(level: str, form: str) -> list[str]:
    ran = subprocess.run([sys.executable, "-c", PROGRAM, level, form], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert ran.stdout == ""
    assert "sk-very-secret" not in ran.stderr
    return ran.stderr.splitlines()


@pytest.fixture(scope="module")
def lines() -> list[dict[str, Any]]:
    return [json.loads(line) for line in stderr("info", "json")]


def test_every_line_is_json_whoever_writes_it(lines: list[dict[str, Any]]) -> None:
    events = [line["event"].split("\n")[0] for line in lines]
    assert events[:5] == ["outer", "inner", "caught", "from uvicorn", "from asyncio"]
    assert "deprecated" in events[5]
    assert events[6:] == ["thread.failed", "hub.ended"]
    assert [line["level"] for line in lines] == [
        "info", "info", "error", "warning", "error", "warning", "error", "critical",
    ]  # fmt: skip
    assert all(line["timestamp"].endswith("Z") for line in lines)


def test_tracebacks_are_within_their_line(lines: list[dict[str, Any]]) -> None:
    caught, asyncio_, thread, ended = (lines[place] for place in (2, 4, 6, 7))
    for line, error in (
        (caught, "ValueError"),
        (asyncio_, "ZeroDivisionError"),
        (thread, "KeyError"),
        (ended, "the end"),
    ):
        assert line["exception"].startswith("Traceback")
        assert error in line["exception"]


def test_what_a_request_causes_names_it(lines: list[dict[str, Any]]) -> None:
    assert [line.get("request_id") for line in lines[:3]] == ["abcdefgh", "abcdefgh", None]


def test_lines_for_people() -> None:
    text = "\n".join(stderr("warning", "console"))
    assert "caught" in text
    assert "WARNING uvicorn.error from uvicorn" in text
    assert "outer" not in text
