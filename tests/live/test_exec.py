"""`system.exec` with real commands: results, error texts and limits as the wire contract 5.6 has them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from projecthub.errors import ExecFailed, NotFound
from projecthub.projectserver.environment import make_environment
from projecthub.projectserver.execution import Executor
from projecthub.projectserver.identity import Identity
from projecthub.projectserver.jobs import Jobs
from projecthub.wire.ids import ProjectId

pytestmark = pytest.mark.anyio
PROJECT_ID = ProjectId("01234567-89ab-cdef-0123-456789abcdef")


class Runner:
    """Runs commands in a home of their own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        identity = Identity(project_id=PROJECT_ID, epoch=1, session_id="s", home=str(home))
        place = {"home": str(home), "environment": make_environment(identity), "session_id": "s"}
        self._executor = Executor(**place, jobs=Jobs(**place))

    async def run(self, command: str, **options: object) -> dict[str, Any]:
        return await self._executor.execute([{"command": command, **options}])

    async def out(self, command: str, **options: object) -> str:
        return str((await self.run(command, **options))["stdout"])

    async def error(self, command: str, **options: object) -> str:
        with pytest.raises(ExecFailed) as caught:
            await self.run(command, **options)
        return caught.value.message


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


async def test_a_program_with_arguments(runner: Runner) -> None:
    result = await runner.run("echo", args=["hello"])
    assert result == {"type": "blocking", "stdout": "hello\n", "stderr": "", "exit_code": 0}


async def test_a_whole_line_is_a_script(runner: Runner) -> None:
    assert await runner.out("echo 'hello  there'; id -u") == f"hello  there\n{os.geteuid()}\n"


async def test_arguments_of_a_script_are_quoted(runner: Runner) -> None:
    assert await runner.out("printf '<%s>'", args=["a b", "$HOME", "'"], bash=True) == "<a b><$HOME><'>"


async def test_a_failure_of_a_script(runner: Runner) -> None:
    text = await runner.error("echo out; echo err >&2; exit 3")
    assert text == "command 'echo out; echo err >&2; exit 3' exited with nonzero code 3 -- stderr='err\n'"


async def test_a_failure_of_a_program(runner: Runner) -> None:
    text = await runner.error("ls", args=["-d", "/no-such-place"])
    assert text.startswith("command ''ls' (args=-d /no-such-place)' exited with nonzero code 2 -- stderr='ls: ")


async def test_the_shown_errors_are_short(runner: Runner) -> None:
    text = await runner.error("head -c 5000 /dev/zero | tr '\\0' x >&2; exit 1")
    assert text.endswith(f"-- stderr='{'x' * 1024}'")


async def test_a_failure_can_be_a_result(runner: Runner) -> None:
    result = await runner.run("exit 3", bash=True, err_on_exit=False)
    assert result == {"type": "blocking", "stdout": "", "stderr": "", "exit_code": 3}


async def test_errors_of_a_script_name_a_line_of_its_file(runner: Runner) -> None:
    for limited in (True, False):
        options = {"bash": True, "err_on_exit": False, "ulimit_timeout": limited}
        result = await runner.run("no-such-program-xyz", **options)
        assert result["exit_code"] == 127
        assert re.fullmatch(r"/tmp/\S+/a\.sh: line 2: no-such-program-xyz: command not found\n", result["stderr"])


NOT_FOUND = (
    '{"errno":-2,"code":"ENOENT","syscall":"spawn no-such-program-xyz","path":"no-such-program-xyz","spawnargs":["é"]}'
)


async def test_a_program_that_is_not_there(runner: Runner) -> None:
    text = await runner.error("no-such-program-xyz", args=["é"])
    assert text == f"command ''no-such-program-xyz' (args=é)' exited with nonzero code 1 -- stderr='{NOT_FOUND}'"
    result = await runner.run("no-such-program-xyz", args=["é"], err_on_exit=False)
    assert result == {"type": "blocking", "stdout": "", "stderr": NOT_FOUND, "exit_code": 1}


async def test_a_directory_that_is_not_there(runner: Runner) -> None:
    text = await runner.error("pwd", path="nope")
    expected = '{"errno":-2,"code":"ENOENT","syscall":"spawn pwd","path":"pwd","spawnargs":[]}'
    assert text == f"command ''pwd' (args=)' exited with nonzero code 1 -- stderr='{expected}'"


async def test_programs_that_cannot_be_run(runner: Runner) -> None:
    (runner.home / "text").write_text("no program")
    assert '"code":"EACCES"' in await runner.error(str(runner.home / "text"))
    (runner.home / "text").chmod(0o755)
    assert await runner.error(str(runner.home / "text")) == "error Error: spawn ENOEXEC"
    assert await runner.error("pwd", path="text") == "error Error: spawn ENOTDIR"
    assert await runner.error("true", args=["x" * 200_000]) == "error Error: spawn E2BIG"


async def test_directories(runner: Runner) -> None:
    (runner.home / "sub").mkdir()
    assert await runner.out("pwd") == f"{runner.home}\n"
    assert await runner.out("pwd", path="sub") == f"{runner.home}/sub\n"
    assert await runner.out("pwd", path="sub", cwd="/usr") == "/usr\n"
    assert await runner.out("pwd", path="/usr") == "/usr\n"


async def test_environment(runner: Runner) -> None:
    assert (
        await runner.out("echo $FOO $N $USER", env={"FOO": "bar", "N": 3}) == f"bar 3 {PROJECT_ID.replace('-', '')}\n"
    )
    (runner.home / "bin").mkdir()
    (runner.home / "bin/greet").write_text("#!/bin/sh\necho hello\n")
    (runner.home / "bin/greet").chmod(0o755)
    assert await runner.out("greet", bash=True) == "hello\n"


async def test_time_is_up(runner: Runner) -> None:
    began = time.monotonic()
    text = await runner.error("sleep 1000 & sleep 1000", timeout=0.2, err_on_exit=False)
    assert re.fullmatch(r"killed command 'bash /tmp/\S+/a\.sh'", text)
    assert await runner.error("sleep", args=["1000"], timeout=0.2) == "killed command 'sleep 1000'"
    assert time.monotonic() - began < 10


async def test_time_up_takes_the_whole_group(runner: Runner) -> None:
    await runner.error("sleep 1000 & echo $! > pid; wait", timeout=0.3)
    assert (
        await runner.out("kill -0 $(cat pid) 2>/dev/null && grep State /proc/$(cat pid)/status | grep -v Z; true") == ""
    )


async def test_processor_time_is_limited_in_scripts(runner: Runner) -> None:
    assert await runner.out("ulimit -t", bash=True, timeout=7.5) == "8\n"
    assert await runner.out("ulimit -t", bash=True, timeout=7.5, ulimit_timeout=False) == "unlimited\n"


async def test_a_signal_is_not_a_success(runner: Runner) -> None:
    assert (await runner.run("kill -9 $$", bash=True, err_on_exit=False))["exit_code"] == 137
    assert "exited with nonzero code 139" in await runner.error("kill -SEGV $$")


async def test_output_is_cut_at_the_limit(runner: Runner) -> None:
    result = await runner.run("seq 1 1000; echo ok >&2", max_output=20)
    assert result["stdout"] == "1\n2\n3\n4\n5\n6\n7\n8\n9\n10 (truncated at 20 characters)"
    assert result["stderr"] == "ok\n"
    assert await runner.out("printf 12345", max_output=5) == "12345"
    assert await runner.out("printf äöü€", max_output=3) == "äöü (truncated at 3 characters)"


async def test_the_limit_by_default(runner: Runner) -> None:
    text = await runner.out("head -c 30000000 /dev/zero | tr '\\0' x")
    assert len(text) == 10 * 1024 * 1024 + len(" (truncated at 10485760 characters)")


async def test_bytes_that_are_no_text(runner: Runner) -> None:
    assert await runner.out("printf '\\xff\\xfe'") == "\ufffd\ufffd"
    assert await runner.out("printf '\\xe2\\x82'") == "\ufffd"
    assert await runner.out("printf '\\xe2'; sleep 0.05; printf '\\x82\\xac'") == "€"


async def test_what_is_left_behind_is_not_waited_for(runner: Runner) -> None:
    began = time.monotonic()
    assert await runner.out("sleep 20 & echo pid $!") != ""
    assert time.monotonic() - began < 5


async def test_late_output_of_a_child_is_still_taken(runner: Runner) -> None:
    assert await runner.out("(sleep 0.05; echo late) & echo now") == "now\nlate\n"


async def test_input_is_empty(runner: Runner) -> None:
    assert await runner.out("cat; echo end") == "end\n"


async def test_equal_calls_share_one_run(runner: Runner) -> None:
    command = "sleep 0.2; date +%N; echo run >> runs"
    same = [runner.out(command, aggregate=1) for _ in range(5)]
    other = [runner.out(command, aggregate=2), runner.out(command), runner.out(command, aggregate=None)]
    outputs = await asyncio.gather(*same, *other)
    assert len(set(outputs[:5])) == 1
    assert len((runner.home / "runs").read_text().split()) == 4
    assert await runner.out(command, aggregate=1) not in outputs


async def test_a_waiter_that_leaves_does_not_end_a_shared_run(runner: Runner) -> None:
    calls = [asyncio.create_task(runner.out("sleep 0.2; echo done", aggregate="x")) for _ in range(2)]
    await asyncio.sleep(0)
    calls[0].cancel()
    assert await calls[1] == "done\n"


async def test_scripts_leave_no_files(runner: Runner) -> None:
    def files() -> set[str]:
        return {name for name in os.listdir(tempfile.gettempdir()) if name.startswith("exec-")}

    before = files()
    directory = (await runner.out("dirname $0", bash=True)).strip()
    assert Path(directory).parent == Path("/tmp")
    assert not Path(directory).exists()
    assert files() <= before


async def test_many_commands_at_once_leave_no_open_files(runner: Runner) -> None:
    await runner.run("true", args=[])
    before = len(os.listdir("/proc/self/fd"))
    outputs = await asyncio.gather(*(runner.out("echo", args=[str(n)]) for n in range(30)))
    assert outputs == [f"{n}\n" for n in range(30)]
    assert len(os.listdir("/proc/self/fd")) == before


async def test_results_are_json(runner: Runner) -> None:
    assert json.loads(json.dumps(await runner.run("head -c 1000 /dev/urandom", err_on_exit=False)))


async def ended(runner: Runner, job_id: object) -> dict[str, Any]:
    return await runner.run("", async_get=job_id, async_await=True)


async def test_an_asynchronous_call(runner: Runner) -> None:
    os.mkfifo(runner.home / "go")
    begun = await runner.run("echo out; read x < go; echo $x; echo err >&2", bash=True, async_call=True)
    assert begun["type"] == "async" and begun["status"] == "running" and begun["exit_code"] == 0
    assert begun["pid"] > 0 and abs(begun["start"] / 1000 - time.time()) < 60
    while (await runner.run("", async_get=begun["job_id"]))["stdout"] != "out\n":
        await asyncio.sleep(0.01)
    await asyncio.to_thread((runner.home / "go").write_text, "went\n")
    end = await ended(runner, begun["job_id"])
    assert {key: end[key] for key in ("status", "stdout", "stderr", "exit_code", "job_id")} == {
        "status": "completed", "stdout": "out\nwent\n", "stderr": "err\n", "exit_code": 0, "job_id": begun["job_id"],
    }  # fmt: skip
    assert 0 <= end["elapsed_s"] < 60 and "stats" not in end
    assert (await runner.run("", async_get=begun["job_id"], async_stats=True))["stats"] == []


async def test_asynchronous_failures(runner: Runner) -> None:
    def told(end: dict[str, Any]) -> tuple[object, ...]:
        return tuple(end[key] for key in ("status", "stdout", "stderr", "exit_code"))

    async def outcome(command: str, **options: object) -> tuple[object, ...]:
        begun = await runner.run(command, async_call=True, **options)
        return told(await ended(runner, begun["job_id"]))

    assert await outcome("echo out; exit 3") == ("error", "", "No result", 1)
    assert await outcome("echo out; echo err >&2; exit 3") == ("error", "", "err\n", 1)
    assert await outcome("echo out; exit 3", err_on_exit=False) == ("completed", "out\n", "", 3)
    assert await outcome("seq 10 99", max_output=5) == ("completed", "10\n11 (truncated at 5 characters)", "", 0)
    assert await outcome("sleep 100", timeout=0.1, err_on_exit=False) == ("error", "", "No result", 1)
    status, stdout, stderr, code = await outcome("no-such-program-xyz", args=["x"])
    assert (status, stdout, code) == ("error", "", 1) and "No such file" in str(stderr)


async def test_an_asynchronous_call_that_is_not_there(runner: Runner) -> None:
    for job_id in ("nope", "../../etc", "01234567-89ab-cdef-0123-456789abcdef"):
        with pytest.raises(NotFound, match=r"^Async operation '.*' does not exist\.$"):
            await runner.run("", async_get=job_id)


async def test_a_shared_run_ends_when_all_have_left(runner: Runner) -> None:
    command = "echo $$ > pid; sleep 1000"
    calls = [asyncio.create_task(runner.out(command, aggregate="x")) for _ in range(2)]
    while not (runner.home / "pid").exists() or not (runner.home / "pid").read_text():
        await asyncio.sleep(0.01)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    while Path(f"/proc/{(runner.home / 'pid').read_text().strip()}").exists():
        await asyncio.sleep(0.01)
