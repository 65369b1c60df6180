"""What projects reach with each kind of network, and how long their way out lives."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest

from projecthub.engines.local import probe, processes
from projecthub.engines.local.cgroups import Group
from projecthub.engines.local.engine import LocalEngine
from projecthub.engines.local.processes import Process
from projecthub.engines.local.records import LIFELINE_FILE, NETWORK_FILE, UPLINK_FILE, Record
from projecthub.engines.local.uplink import attach_again
from projecthub.engines.port import Instance, Isolation, Network, StartSpec
from projecthub.errors import StartFailed
from projecthub.wire.ids import ProjectId

UNPRIVILEGED = Path(__file__).parents[1] / "contract/unprivileged.py"
AS_ROOT = os.geteuid() == 0
ISOLATION = probe.best_isolation()
UID = 20_007 if AS_ROOT else None
DEADLINE_S = 10.0
OF_UPLINKS = ("slirp4netns", "unshare")  # which it begins as

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(ISOLATION is Isolation.NONE, reason="this machine offers no isolation to this user"),
]

FETCH = """
import socket, sys
client = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5)
print(client.recv(100).decode())
"""


class Bench:
    """An engine, and projects for it."""

    def __init__(self, directory: Path, network: Network) -> None:
        self.directory = directory
        self.runtime_dir = directory / "run"
        self.engine = LocalEngine(runtime_dir=self.runtime_dir, isolation=ISOLATION, network=network)

    def spec(self, network: Network) -> StartSpec:
        project_id = ProjectId(str(uuid4()))
        home = self.directory / project_id
        home.mkdir()
        (home / "fetch.py").write_text(FETCH)
        if UID is not None:
            os.chown(home, UID, UID)
        return StartSpec(project_id=project_id, epoch=1, home=home, uid=UID, network=network)

    async def start(self, network: Network) -> Instance:
        if network not in self.engine.networks:
            pytest.skip(f"no network '{network}' here: see 'projecthub doctor'")
        return await self.engine.start(self.spec(network))

    async def bash(self, instance: Instance, script: str) -> tuple[int, str]:
        options = {"command": script, "bash": True, "err_on_exit": False}
        result: Any = await self.engine.call(instance, "system.exec", [options])
        return result["exit_code"], result["stdout"] + result["stderr"]

    async def fetch(self, instance: Instance, listener: socket.socket) -> str:
        address, port = listener.getsockname()
        fetched = asyncio.create_task(self.bash(instance, f"{sys.executable} fetch.py {address} {port}"))
        loop = asyncio.get_running_loop()
        accepted = asyncio.create_task(loop.sock_accept(listener))
        await asyncio.wait([fetched, accepted], return_when=asyncio.FIRST_COMPLETED)
        if accepted.done():
            connection, _ = accepted.result()
            with connection:
                connection.sendall(b"hello")
        else:
            accepted.cancel()
        return (await fetched)[1]

    async def devices(self, instance: Instance) -> str:
        return (await self.bash(instance, "cat /proc/net/dev"))[1]

    def uplink(self, instance: Instance) -> Process:
        return Process(**json.loads((self.runtime_dir / instance.project_id / UPLINK_FILE).read_text()))

    def record(self, instance: Instance) -> Record:
        record = Record.load(self.runtime_dir / instance.project_id)
        assert record is not None
        return record


async def ended(process: Process) -> bool:
    async with asyncio.timeout(DEADLINE_S):
        await processes.end_of(process)
    return not processes.is_alive(process)


# The spare is of one kind; projects of the other kind are made on request.
@pytest.fixture(params=[Network.NONE, Network.HOST])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path, request.param)
    await bench.engine.open()
    yield bench
    for instance in await bench.engine.running():
        await bench.engine.stop(instance, grace_s=0.0)
    await bench.engine.close()


@pytest.fixture
def loopback() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


@pytest.fixture
def outside() -> Iterator[socket.socket]:
    """A service of the machine on an address that others see, too."""
    for each in (address for addresses in psutil.net_if_addrs().values() for address in addresses):
        if each.family == socket.AF_INET and not each.address.startswith("127."):
            with socket.create_server((each.address, 0)) as listener:
                listener.setblocking(False)
                yield listener
                return
    pytest.skip("this machine has no address but its loopback's")


async def test_without_a_network_a_project_has_a_loopback_and_nothing_else(
    bench: Bench, loopback: socket.socket, outside: socket.socket
) -> None:
    instance = await bench.start(Network.NONE)
    assert "ConnectionRefused" in await bench.fetch(instance, loopback)
    assert "Network is unreachable" in await bench.fetch(instance, outside)
    assert await bench.bash(instance, "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '; cat /etc/resolv.conf") == (
        0,
        "lo\n",
    )
    script = (
        "import socket; server = socket.create_server(('127.0.0.1', 0));"
        "client = socket.create_connection(server.getsockname(), timeout=5); print('connected')"
    )
    assert await bench.bash(instance, f'{sys.executable} -c "{script}"') == (0, "connected\n")
    script = script.replace("('127.0.0.1', 0)", "('::1', 0), family=socket.AF_INET6").replace(
        "getsockname()", "getsockname()[:2]"
    )
    if Path("/proc/net/if_inet6").exists():
        assert await bench.bash(instance, f'{sys.executable} -c "{script}"') == (0, "connected\n")


async def test_two_projects_may_listen_at_the_same_port(bench: Bench) -> None:
    script = (
        "import socket, time; server = socket.create_server(('127.0.0.1', 8080));"
        "print('up', flush=True); time.sleep(60)"
    )
    for _ in range(2):
        instance = await bench.start(Network.NONE)
        command = f'{sys.executable} -c "{script}" > out 2>&1 & until [ -s out ]; do sleep 0.01; done; cat out'
        assert await bench.bash(instance, command) == (0, "up\n")


async def test_the_way_out_reaches_the_world_and_not_the_machines_loopback(
    bench: Bench, loopback: socket.socket, outside: socket.socket
) -> None:
    instance = await bench.start(Network.INTERNET)
    assert await bench.fetch(instance, outside) == "hello\n"
    assert "ConnectionRefused" in await bench.fetch(instance, loopback)
    assert await bench.bash(instance, "cat /etc/resolv.conf") == (0, "nameserver 10.0.2.3\n")


async def test_with_the_machines_network_all_is_in_reach(
    bench: Bench, loopback: socket.socket, outside: socket.socket
) -> None:
    instance = await bench.start(Network.HOST)
    assert await bench.fetch(instance, outside) == "hello\n"
    assert await bench.fetch(instance, loopback) == "hello\n"
    assert (await bench.bash(instance, "cat /etc/resolv.conf"))[1] == Path("/etc/resolv.conf").read_text()


async def test_the_way_out_ends_with_a_stop(bench: Bench) -> None:
    instance = await bench.start(Network.INTERNET)
    uplink = bench.uplink(instance)
    assert processes.is_alive(uplink)
    await bench.engine.stop(instance)
    assert not processes.is_alive(uplink)
    assert not psutil.pid_exists(uplink.pid)
    assert not (bench.runtime_dir / instance.project_id).exists()


async def test_the_way_out_ends_with_a_killed_init_though_no_hub_is_there(bench: Bench) -> None:
    instance = await bench.start(Network.INTERNET)
    uplink, init = bench.uplink(instance), bench.record(instance).init
    await bench.engine.close()
    os.kill(init.pid, signal.SIGKILL)
    assert await ended(uplink)
    await bench.engine.open()
    assert await bench.engine.find(instance.project_id) is None
    await bench.engine.stop(instance)
    assert not psutil.pid_exists(uplink.pid)


async def test_nobody_inside_holds_the_way_out(bench: Bench) -> None:
    """A process that kept the lifeline open would keep the uplink past the project's end."""
    instance = await bench.start(Network.INTERNET)
    inode = (bench.runtime_dir / instance.project_id / LIFELINE_FILE).stat().st_ino
    holders = set()
    for fd in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):  # of a process that has ended, or is not ours to look into
            if os.readlink(fd).endswith(LIFELINE_FILE) and fd.stat().st_ino == inode:
                holders.add(int(fd.parts[2]))
    # Only root may look into an init, and into what its sandbox made its own.
    allowed = {bench.record(instance).init.pid, bench.uplink(instance).pid}
    assert holders == allowed if AS_ROOT else holders <= allowed


HUB = """
import asyncio, json, sys
from pathlib import Path
from projecthub.engines.local.engine import LocalEngine
from projecthub.engines.port import Isolation, Network, StartSpec

async def main(runtime_dir, isolation, project_id, home, uid):
    engine = LocalEngine(runtime_dir=Path(runtime_dir), isolation=Isolation(isolation))
    await engine.open()
    spec = StartSpec(project_id=project_id, epoch=1, home=Path(home), uid=uid, network=Network.INTERNET)
    await engine.start(spec)
    print("started", flush=True)
    await asyncio.sleep(1000)

asyncio.run(main(*json.loads(sys.argv[1])))
"""


async def test_the_way_out_outlives_a_killed_hub(bench: Bench, outside: socket.socket) -> None:
    if Network.INTERNET not in bench.engine.networks:
        pytest.skip("no network 'internet' here: see 'projecthub doctor'")
    spec = bench.spec(Network.INTERNET)
    arguments = json.dumps([str(bench.runtime_dir), ISOLATION, spec.project_id, str(spec.home), spec.uid])
    hub = subprocess.Popen([sys.executable, "-c", HUB, arguments], stdout=subprocess.PIPE, start_new_session=True)
    assert hub.stdout is not None
    with hub.stdout:
        assert await asyncio.to_thread(hub.stdout.readline) == b"started\n"
        os.killpg(hub.pid, signal.SIGKILL)
        hub.wait()
    instance = await bench.engine.find(spec.project_id)
    assert instance is not None
    assert await bench.fetch(instance, outside) == "hello\n"
    uplink = bench.uplink(instance)
    assert processes.is_alive(uplink)
    await bench.engine.stop(instance)
    assert not processes.is_alive(uplink)


async def replaced(bench: Bench, instance: Instance, uplink: Process) -> Process:
    """The uplink after one that has ended, once it works."""
    async with asyncio.timeout(DEADLINE_S):
        while (another := bench.uplink(instance)) == uplink or "tap0" not in await bench.devices(instance):
            await asyncio.sleep(0.05)
    return another


async def test_a_way_out_that_was_killed_is_replaced(bench: Bench, outside: socket.socket) -> None:
    instance = await bench.start(Network.INTERNET)
    for _ in range(2):
        uplink = bench.uplink(instance)
        os.kill(uplink.pid, signal.SIGKILL)
        another = await replaced(bench, instance, uplink)
        assert await bench.fetch(instance, outside) == "hello\n"
        assert not psutil.pid_exists(uplink.pid)
    await bench.engine.stop(instance)
    assert not psutil.pid_exists(another.pid)
    assert not (bench.runtime_dir / instance.project_id).exists()


async def test_a_way_out_that_was_killed_while_no_hub_was_there_is_replaced(
    bench: Bench, outside: socket.socket
) -> None:
    instance = await bench.start(Network.INTERNET)
    uplink = bench.uplink(instance)
    await bench.engine.close()
    os.kill(uplink.pid, signal.SIGKILL)
    await bench.engine.open()
    assert await bench.engine.find(instance.project_id) == instance
    await replaced(bench, instance, uplink)
    assert await bench.fetch(instance, outside) == "hello\n"


async def test_no_other_network_than_its_own_is_given_a_way_out(bench: Bench) -> None:
    instance = await bench.start(Network.INTERNET)
    record = bench.record(instance)
    own = os.stat("/proc/self/ns/net")
    (bench.runtime_dir / instance.project_id / NETWORK_FILE).write_text(f"{own.st_dev}:{own.st_ino}")
    uplink = bench.uplink(instance)
    os.kill(uplink.pid, signal.SIGKILL)
    assert await ended(uplink)
    with pytest.raises(StartFailed, match="not in its own network any more"):
        await attach_again(bench.runtime_dir / instance.project_id, record.init, record.server, Group(record.groups))
    await asyncio.sleep(1)
    assert bench.uplink(instance) == uplink
    assert "tap0" not in await bench.devices(instance)


async def test_a_stop_waits_for_no_other_way_out(bench: Bench) -> None:
    for wait_s in (0, 0.2, 0.26, 0.28, 0.3):
        instance = await bench.start(Network.INTERNET)
        os.kill(bench.uplink(instance).pid, signal.SIGKILL)
        await asyncio.sleep(wait_s)
        await bench.engine.stop(instance)
        assert not (bench.runtime_dir / instance.project_id).exists()
        assert [each for each in psutil.Process().children() if each.name() in OF_UPLINKS] == []


async def test_a_start_without_its_way_out_is_not_found(bench: Bench) -> None:
    """As after a hub that was killed before it had connected the project."""
    instance = await bench.start(Network.INTERNET)
    saved = bench.runtime_dir / instance.project_id / UPLINK_FILE
    text = saved.read_text()
    saved.unlink()
    assert await bench.engine.find(instance.project_id) is None
    saved.write_text(text)
    assert await bench.engine.find(instance.project_id) == instance


async def test_a_cancelled_start_leaves_no_way_out(bench: Bench) -> None:
    if Network.INTERNET not in bench.engine.networks:
        pytest.skip("no network 'internet' here: see 'projecthub doctor'")
    for after_ms in (5, 15, 20, 25, 30):
        spec = bench.spec(Network.INTERNET)
        start = asyncio.create_task(bench.engine.start(spec))
        await asyncio.wait([start], timeout=after_ms / 1000)
        if start.cancel():
            with pytest.raises(asyncio.CancelledError):
                await start
        else:
            await bench.engine.stop(await start)
        assert not (bench.runtime_dir / spec.project_id).exists()
        assert [each for each in psutil.Process().children() if each.name() in OF_UPLINKS] == []


async def test_without_isolation_there_is_only_the_machines_network(tmp_path: Path) -> None:
    engine = LocalEngine(runtime_dir=tmp_path / "run", isolation=Isolation.NONE)
    await engine.open()
    try:
        assert engine.networks == {Network.HOST}
        bench = Bench(tmp_path, Network.HOST)
        with pytest.raises(StartFailed, match="offers no network 'none'"):
            await engine.start(bench.spec(Network.NONE))
    finally:
        await engine.close()


@pytest.mark.skipif(not AS_ROOT, reason="only root has mounts that could be lost")
def test_the_machine_keeps_its_mounts_where_they_are_shared() -> None:
    """As systemd has them. The way out that was tried first took away all mounts below others of the machine."""
    trial = (
        "import asyncio; from projecthub.engines.local import probe;"
        "print(asyncio.run(probe._offered(probe.Isolation.FULL)))"
    )
    script = (
        'mount --make-rshared / && cut -d" " -f1-5 /proc/self/mountinfo && echo tried && "$0" -c "$1" >&2'
        ' && cut -d" " -f1-5 /proc/self/mountinfo'
    )
    command = ["unshare", "--mount", "sh", "-c", script, sys.executable, trial]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    before, after = run.stdout.split("tried\n")
    assert after == before
    if "INTERNET" not in run.stderr:
        pytest.skip("no network 'internet' here: see 'projecthub doctor'")


@pytest.mark.skipif(not AS_ROOT, reason="this user's level is tried directly")
def test_the_suite_as_another_user() -> None:
    command = [sys.executable, str(UNPRIVILEGED), str(Path(__file__).resolve())]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if "no user namespaces" in run.stdout:
        pytest.skip("this machine offers no user namespaces to users")
    assert run.returncode == 0, run.stdout + run.stderr
    assert " passed" in run.stdout
