"""What a project can see and do from inside its sandbox, tried from there."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from projecthub.engines.local import landlock, probe, seccomp
from projecthub.engines.local.engine import LocalEngine
from projecthub.engines.port import Instance, Isolation, StartSpec
from projecthub.errors import ServerLost
from projecthub.wire.ids import ProjectId

UNPRIVILEGED = Path(__file__).parents[1] / "contract/unprivileged.py"
AS_ROOT = os.geteuid() == 0
ISOLATION = probe.best_isolation()
UID = 20_002 if AS_ROOT else None

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(ISOLATION is Isolation.NONE, reason="this machine offers no isolation to this user"),
]


class Inside:
    """A running project, seen from inside."""

    def __init__(self, engine: LocalEngine, instance: Instance, home: Path) -> None:
        self.engine = engine
        self.instance = instance
        self.home = home

    async def try_to(self, script: str) -> tuple[int, str]:
        """Run a script; its exit code and all that it wrote."""
        options = {"command": script, "bash": True, "err_on_exit": False}
        result: Any = await self.engine.call(self.instance, "system.exec", [options])
        return result["exit_code"], result["stdout"] + result["stderr"]

    async def read(self, script: str) -> str:
        code, text = await self.try_to(script)
        assert code == 0, text
        return text.strip()


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[LocalEngine]:
    engine = LocalEngine(runtime_dir=tmp_path / "run", hidden=[tmp_path])
    await engine.open()
    yield engine
    for instance in await engine.running():
        await engine.stop(instance, grace_s=0.0)
    await engine.close()


async def start(engine: LocalEngine, directory: Path, uid: int | None = UID) -> Inside:
    project_id = ProjectId(str(uuid4()))
    home = directory / "homes" / project_id
    home.mkdir(parents=True, mode=0o700)
    if uid is not None:
        os.chown(home, uid, uid)
    instance = await engine.start(StartSpec(project_id=project_id, epoch=1, home=home, uid=uid))
    return Inside(engine, instance, home)


@pytest.fixture
async def inside(engine: LocalEngine, tmp_path: Path) -> Inside:
    return await start(engine, tmp_path)


async def test_its_home_is_the_only_place_that_lasts(inside: Inside) -> None:
    assert await inside.read("pwd; echo $HOME; echo kept > file; stat -c %U file") == (
        f"/home/user\n/home/user\n{inside.instance.project_id.replace('-', '')}"
    )
    assert (inside.home / "file").read_text() == "kept\n"
    assert (inside.home / "file").stat().st_uid == (os.getuid() if UID is None else UID)


@pytest.mark.parametrize("place", ["/", "/usr", "/etc", "/opt", "/home", "/root", "/dev", "/var", "/run", sys.prefix])
async def test_the_system_cannot_be_written(inside: Inside, place: str) -> None:
    code, text = await inside.try_to(f"[ -d {place} ] || exit 3; touch {place}/new")
    if place == "/run" and UID is None and not landlock.is_offered():
        assert code == 0  # its own, and nobody else sees it
    else:
        assert code, text


async def test_tmp_is_private(inside: Inside, tmp_path: Path) -> None:
    name = uuid4().hex
    other = await start(inside.engine, tmp_path, None if UID is None else UID + 1)
    await inside.read(f"touch /tmp/{name} /dev/shm/{name}")
    assert name not in await other.read("ls /tmp /dev/shm")
    assert not Path("/tmp", name).exists()


async def test_other_processes_are_out_of_sight_and_reach(inside: Inside, tmp_path: Path) -> None:
    other = await start(inside.engine, tmp_path, None if UID is None else UID + 1)
    seen = await inside.read("cat /proc/[0-9]*/comm; echo; ls -d /proc/[0-9]* | wc -l")
    assert seen.startswith("project-init\nproject-server\n")
    assert int(seen.split()[-1]) < 10
    for pid in (os.getpid(), other.instance.pid, inside.instance.pid):
        if pid > 50:  # small numbers are processes in there, too
            assert "No such process" in (await inside.try_to(f"kill -0 {pid}"))[1]
    with pytest.raises(ServerLost):
        await inside.try_to("kill -9 -1")
    assert (await other.read("echo here")) == "here"


async def test_the_hubs_files_and_other_homes_are_out_of_sight(inside: Inside, tmp_path: Path) -> None:
    secret = tmp_path / "database"
    secret.write_text("of the hub")
    other = await start(inside.engine, tmp_path, None if UID is None else UID + 1)
    for path in (secret, tmp_path, other.home, Path("/etc/shadow"), Path("/sys"), Path("/boot")):
        code, text = await inside.try_to(f"ls -d {path}")
        assert code == 2, text
        assert "No such file" in text
    assert await inside.read("ls /home") == "user"


async def test_what_is_hidden_stays_hidden_inside_the_system(tmp_path: Path) -> None:
    with_data = Path(sys.prefix, f"data-{uuid4().hex}")
    try:
        with_data.mkdir()
    except OSError:
        pytest.skip("the test's Python cannot be written to by this user")
    try:
        (with_data / "secret").touch()
        engine = LocalEngine(runtime_dir=tmp_path / "run", hidden=[with_data])
        await engine.open()
        try:
            inside = await start(engine, tmp_path)
            assert await inside.read(f"ls -A {with_data}") == ""
            assert (await inside.try_to(f"touch {with_data}/new"))[0]
            await engine.stop(inside.instance)
        finally:
            await engine.close()
        assert (with_data / "secret").exists()
    finally:
        (with_data / "secret").unlink()
        with_data.rmdir()


async def test_nothing_of_the_hubs_environment_is_inside(inside: Inside) -> None:
    environment = await inside.read("cat /proc/2/environ | tr '\\0' '\\n'; env")
    names = {line.split("=")[0] for line in environment.splitlines() if "=" in line}
    kept = {"PATH", "LANG", "PYTHONPATH", "LD_LIBRARY_PATH", "LC_CTYPE"}
    ours = {"HOME", "USER", "LOGNAME", "SHELL", "TERM", "DATA", "LOGS", "PWD", "OLDPWD", "SHLVL", "_"}
    assert {name for name in names - kept - ours if not name.startswith(("COCALC_", "PROJECTHUB_"))} == set()


async def test_privileges_are_gone_for_good(inside: Inside) -> None:
    status = await inside.read("cat /proc/self/status")
    fields = {line.split(":")[0]: line.split(":")[1].split() for line in status.splitlines() if ":" in line}
    assert fields["NoNewPrivs"] == ["1"]
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(fields[name][0], 16) == 0, name
    own = str(os.getuid() if UID is None else UID)
    assert fields["Uid"] == fields["Gid"] == [own] * 4
    assert fields["Groups"] in ([], [own])
    assert await inside.read("cat /proc/1/status | grep -c 'CapEff:.0000000000000000'") == "1"


@pytest.mark.parametrize(
    "attempt",
    [
        "mount -t tmpfs none /tmp",
        "mount -o remount,rw /usr",
        "umount /home/user",
        "unshare --user --map-root-user true",
        "unshare --mount true",
        "chroot / true",
        "mknod /tmp/disk b 8 0",
        "hostname other",
        "echo 1 > /proc/sys/kernel/sysrq",
        "echo 0 > /proc/sys/user/max_user_namespaces",
        "chown 0 ~",
        "cat /proc/1/environ",
        "ls /proc/1/fd/",
    ],
)
async def test_it_cannot_gain_privileges(inside: Inside, attempt: str) -> None:
    code, text = await inside.try_to(attempt)
    assert code, text
    assert "not found" not in text


async def test_files_with_special_bits_mean_nothing(inside: Inside) -> None:
    await inside.read("cp /bin/id . && chmod 6755 id")
    (inside.home / "id").chmod(0o6755)
    if UID is not None:
        os.chown(inside.home / "id", 0, 0)
        (inside.home / "id").chmod(0o6755)
    assert await inside.read("./id -u; ./id -g") == f"{UID or os.getuid()}\n{UID or os.getgid()}"


async def test_its_socket_is_out_of_reach(inside: Inside, tmp_path: Path) -> None:
    path = tmp_path / "run" / inside.instance.project_id / "server.sock"
    assert path.is_socket()
    assert "No such file" in (await inside.try_to(f"ls {path}"))[1]
    assert path.parent.stat().st_mode & 0o077 == 0


async def test_ordinary_programs_work(inside: Inside) -> None:
    assert await inside.read("whoami") == inside.instance.project_id.replace("-", "")
    assert await inside.read("hostname") == "project"
    assert await inside.read("echo x > /dev/null; head -c 3 /dev/zero | wc -c; echo to > /dev/stderr") == "3\nto"
    assert await inside.read("getent hosts localhost >/dev/null; echo $?") == "0"
    assert await inside.read("script -qec 'tty' /dev/null | tr -d '\\r'") == "/dev/pts/0"
    code = "import multiprocessing, ssl; multiprocessing.Lock(); print(len(ssl.get_default_verify_paths()))"
    assert await inside.read(f'{sys.executable} -c "{code}"') == "6"
    assert await inside.read("umask; ulimit -c; ulimit -n | grep -c .") == "0022\n0\n1"


_WORK = """
import asyncio, ctypes, multiprocessing, os, socket, sqlite3, threading
from multiprocessing import shared_memory

thread = threading.Thread(target=lambda: None)
thread.start()
thread.join()
with multiprocessing.Pool(2) as pool:
    assert pool.map(abs, [-1, -2]) == [1, 2]
block = shared_memory.SharedMemory(create=True, size=100)
block.close()
block.unlink()
async def run():
    return await (await asyncio.create_subprocess_exec("true")).wait()
assert asyncio.run(run()) == 0
connection = sqlite3.connect("work.db")
connection.execute("pragma journal_mode=wal")
connection.execute("create table t (x)")
os.makedirs("from", exist_ok=True)
os.makedirs("to", exist_ok=True)
open("from/file", "w").write("abc")
os.rename("from/file", "to/file")
os.link("to/file", "from/file")
os.truncate("to/file", 1)
os.mkfifo("/tmp/fifo")
server, client = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
server.bind("\\0own")
server.listen()
client.connect("\\0own")
if (child := os.fork()) == 0:
    ctypes.CDLL(None).ptrace(0, 0, None, None)  # as below a debugger
    os.kill(os.getpid(), 19)
    os._exit(7)
assert os.WIFSTOPPED(os.waitpid(child, 0)[1])
assert ctypes.CDLL(None).ptrace(7, child, None, None) == 0
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
os.setpgid(0, 0)
print("worked")
"""


async def test_ordinary_work_goes_on_below_the_second_layers(inside: Inside) -> None:
    (inside.home / "work.py").write_text(_WORK)
    assert await inside.read(f"{sys.executable} work.py") == "worked"
    assert await inside.read("echo 500 > /proc/self/oom_score_adj; setsid -w echo here") == "here"
    if shutil.which("git") is not None:
        assert (
            await inside.read(
                "git init -q work && cd work && git config user.email a@b && git config user.name a && touch file &&"
                "git add . && git commit -qm one && mkdir d && git mv file d/ && git commit -qm two &&"
                "git log --oneline | wc -l"
            )
            == "2"
        )
    if seccomp.is_offered():
        assert await inside.read("grep Seccomp: /proc/1/status /proc/2/status /proc/self/status | cut -f2") == "2\n2\n2"


_RECEIVE = """
import os, socket
server = socket.socket(socket.AF_UNIX)
server.bind("here.sock")
os.chmod("here.sock", 0o777)
server.listen()
connection, _ = server.accept()
_, [directory], _, _ = socket.recv_fds(connection, 1, 1)
try:
    print(os.read(os.open("secret", os.O_RDONLY, dir_fd=directory), 100))
except PermissionError:
    print("refused")
"""


@pytest.mark.skipif(not landlock.is_offered(), reason="this kernel offers no Landlock of use")
async def test_an_open_directory_from_outside_is_of_no_use(inside: Inside, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of the hub")
    tmp_path.chmod(0o755)  # so that nothing but Landlock is in the way
    (inside.home / "receive.py").write_text(_RECEIVE)
    received = asyncio.create_task(inside.read(f"{sys.executable} receive.py"))
    with contextlib.ExitStack() as opened:
        home, outside = (os.open(path, os.O_RDONLY) for path in (inside.home, tmp_path))
        opened.callback(os.close, home)
        opened.callback(os.close, outside)
        client = opened.enter_context(socket.socket(socket.AF_UNIX))
        async with asyncio.timeout(10):
            while not received.done():
                with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
                    client.connect(f"/proc/self/fd/{home}/here.sock")
                    break
                await asyncio.sleep(0.01)
        socket.send_fds(client, [b"x"], [outside])
        assert await received == "refused"


async def test_paths_longer_than_an_address_are_no_matter(tmp_path: Path) -> None:
    engine = LocalEngine(runtime_dir=tmp_path / ("long" * 40) / "run")
    await engine.open()
    try:
        inside = await start(engine, tmp_path)
        assert await inside.read("echo here") == "here"
        await engine.stop(inside.instance)
    finally:
        await engine.close()


async def test_the_log_is_bounded(inside: Inside, tmp_path: Path) -> None:
    log = tmp_path / "run" / inside.instance.project_id / "server.log"
    await inside.read("head -c 3000000 /dev/zero > /proc/$PPID/fd/2")
    assert log.stat().st_size <= 256 * 1024


async def test_open_files_of_the_launcher_are_closed(inside: Inside) -> None:
    opened = await inside.read("for fd in /proc/$PPID/fd/*; do readlink $fd || true; done")
    kinds = {line.split(":")[0] for line in opened.splitlines()}
    assert kinds <= {"/dev/null", "pipe", "socket", "anon_inode"}
    assert opened.count("socket:") <= 4  # the listener, this call's connection, the event loop's pair


async def test_killing_the_server_is_the_end_of_the_project(inside: Inside) -> None:
    options = {"command": "sleep 1000 & kill -KILL $PPID", "bash": True}
    with pytest.raises(ServerLost, match="ended before it answered"):
        await inside.engine.call(inside.instance, "system.exec", [options])
    assert (await inside.engine.wait(inside.instance)).signal == signal.SIGKILL


@pytest.mark.skipif(not AS_ROOT, reason="this user's level is tried directly")
def test_the_suite_as_another_user() -> None:
    command = [sys.executable, str(UNPRIVILEGED), str(Path(__file__).resolve())]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if "no user namespaces" in run.stdout:
        pytest.skip("this machine offers no user namespaces to users")
    assert run.returncode == 0, run.stdout + run.stderr
    assert " passed" in run.stdout


def test_the_report_for_the_operator(tmp_path: Path) -> None:
    checks = {check.name: check for check in probe.checks(tmp_path)}
    assert checks["sandbox"].ok
    assert checks["sandbox"].detail == f"isolation '{ISOLATION}' works"
    assert checks["pidfd"].ok
    assert checks["network"].ok or "slirp4netns" in checks["network"].detail + checks["network"].remedy
    assert checks["network"].detail.startswith("'none'")
    assert checks["Landlock"].ok == landlock.is_offered()
    assert checks["seccomp filters"].ok == seccomp.is_offered()
    assert {"limit of memory", "limit of processes", "limit of cpu", "Landlock", "network", "reflinks"} < checks.keys()
    assert all(check.detail and check.remedy for check in checks.values())
    assert list(tmp_path.iterdir()) == []


_SCAN = """
import re, sys
memory, found = open("/proc/2/mem", "rb", 0), 0
for line in open("/proc/2/maps").read().splitlines():
    low, high, mode = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\\S+)", line).groups()
    if mode.startswith("rw"):
        memory.seek(int(low, 16))
        try:
            held = memory.read(int(high, 16) - int(low, 16))
            found += sum(held.count(secret) for secret in open("secrets", "rb").read().split())
        except OSError:
            pass
print(found > 0)
"""


async def test_a_project_holds_nothing_of_another_in_its_memory(tmp_path: Path) -> None:
    """Every project server is a copy of the zygote's memory, which must never have held what is another's."""
    engine = LocalEngine(runtime_dir=tmp_path / "run", isolation=ISOLATION)
    await engine.open()
    secret = "topsecret" + uuid4().hex
    secrets = secret
    try:
        found = []
        for environment in ({"SECRET": secret}, {}):
            project_id = ProjectId(str(uuid4()))
            home = tmp_path / project_id
            home.mkdir()
            (home / "scan.py").write_text(_SCAN)
            (home / "secrets").write_text(secrets)
            if UID is not None:
                os.chown(home, UID, UID)
            spec = StartSpec(project_id=project_id, epoch=1, home=home, uid=UID, environment=environment)
            instance = await engine.start(spec)
            result: Any = await engine.call(instance, "system.exec", [{"command": "python3 scan.py"}])
            found.append(result["stdout"])
            secrets += f" {project_id} {instance.session_id}"
        assert found == ["True\n", "False\n"]
    finally:
        for instance in await engine.running():
            await engine.stop(instance)
        await engine.close()


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers of the calls are those of x86_64")
async def test_the_hubs_keyring_is_not_the_projects(tmp_path: Path) -> None:
    add_key, keyctl, join, search, session_keyring = 248, 250, 1, 10, -3
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(keyctl, join, None) < 0:
        pytest.skip("this kernel has no keyrings")
    assert libc.syscall(add_key, b"user", b"of-the-hub", b"ticket", 6, session_keyring) > 0
    assert libc.syscall(keyctl, search, session_keyring, b"user", b"of-the-hub", 0) > 0
    engine = LocalEngine(runtime_dir=tmp_path / "run", isolation=ISOLATION)
    await engine.open()
    project_id = ProjectId(str(uuid4()))
    home = tmp_path / project_id
    home.mkdir()
    script = (
        "import ctypes\n"
        f"print(ctypes.CDLL(None).syscall({keyctl}, {search}, {session_keyring}, b'user', b'of-the-hub', 0))\n"
    )
    (home / "search.py").write_text(script)
    if UID is not None:
        os.chown(home, UID, UID)
    instance = await engine.start(StartSpec(project_id=project_id, epoch=1, home=home, uid=UID))
    try:
        result: Any = await engine.call(instance, "system.exec", [{"command": "python3 search.py"}])
        assert result["stdout"] == "-1\n"
    finally:
        await engine.stop(instance)
        await engine.close()
