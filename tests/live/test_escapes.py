"""Ways out of a project and sideways into others (`escapes`): each is refused, and each is real."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from projecthub.engines.local import landlock, probe, seccomp
from projecthub.engines.local.engine import LocalEngine
from projecthub.engines.local.records import SOCKET_FILE, Record
from projecthub.engines.port import Instance, Isolation, Network, StartSpec
from projecthub.wire.ids import ProjectId

ESCAPES = Path(__file__).parent / "escapes.py"
UNPRIVILEGED = Path(__file__).parents[1] / "contract/unprivileged.py"
AS_ROOT = os.geteuid() == 0
ISOLATION = probe.best_isolation()
UID, OTHER_UID = (20_005, 20_006) if AS_ROOT else (None, None)
MQ_OPEN, MQ_UNLINK = {"x86_64": (240, 241), "aarch64": (180, 181)}.get(os.uname().machine, (0, 0))

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(ISOLATION is Isolation.NONE, reason="this machine offers no isolation to this user"),
]

# What a project does reach when it shares the machine's network, as the documentation says.
THROUGH_THE_HOSTS_NETWORK = {
    "connect_to_the_hub",
    "connect_to_the_hub_past_the_loopback",
    "connect_to_the_hub_past_the_loopback_by_ipv6",
    "connect_to_another_loopback_address_past_the_loopback",
    "send_to_the_hub_past_the_loopback",
    "ask_the_provider_for_credentials",
}
# Where 10.0.2.0/24 is any network of the machine: not an attempt on the hub at all.
OF_AN_UPLINK = {"connect_to_the_hub_by_a_gateway", "connect_to_the_hub_by_a_name_server"}

REACHED_WITHOUT_ISOLATION = {
    "read_the_home_of_another",
    "list_all_homes",
    "read_the_store",
    "write_into_the_data_directory",
    "read_the_store_through_a_symlink",
    "link_the_store_into_the_home",
    "climb_out_by_dots",
    "read_the_launchers_log",
    "speak_to_the_server_of_another",
    "hand_a_file_to_the_server_of_another",
    "find_files_in_the_tmp_of_the_machine",
    "find_shared_memory_of_the_machine",
    "watch_the_home_of_another",
    "signal_the_hub",
    "signal_the_launcher",
    "signal_another_project",
    "hold_the_hub_by_a_descriptor",
    "read_the_environment_of_the_hub",
    "read_the_environment_of_another",
    "change_the_priority_of_the_hub",
    "bind_the_hub_to_a_processor",
    "change_the_limits_of_the_hub",
    "connect_to_the_hub",
    "send_to_the_hub_past_the_loopback",
    "connect_to_an_abstract_socket",
    "attach_shared_memory_of_the_machine",
    "open_a_message_queue_of_the_machine",
    "enter_a_user_namespace",
    "fork_into_a_user_namespace",
    "fork_into_a_user_namespace_the_new_way",
    "use_the_keyring_of_the_user",
    "leave_a_key_for_others",
    "make_a_ring_of_calls",
    "read_what_is_executed",
    "find_a_device_of_the_machine",
}
REACHED_BY_ROOT = {
    "read_the_hubs_shadow_file",
    "write_a_program_of_the_system",
    "change_the_mode_of_a_program_of_the_system",
    "give_a_file_to_root",
    "open_a_file_by_its_number",
    "trace_the_launcher",
    "trace_the_own_init",
    "read_the_memory_of_the_launcher",
    "read_the_memory_of_the_own_init",
    "copy_the_memory_of_the_hub",
    "take_a_descriptor_of_the_own_init",
    "list_the_open_files_of_the_own_init",
    "become_root",
    "become_another_project",
    "mount_a_file_system",
    "make_the_system_writable",
    "unmount_the_home",
    "turn_the_root_round",
    "climb_out_of_a_root",
    "enter_a_mount_namespace",
    "enter_a_network_namespace",
    "open_a_file_system",
    "clone_the_mounts",
    "rename_the_machine",
    "choose_what_runs_at_a_crash",
    "make_a_disk",
    "make_the_memory_device",
    "make_raw_packets",
    "change_a_network_device",
}


class Loopback(asyncio.DatagramProtocol):
    """Services on the machine's loopback, and who has come."""

    def __init__(self) -> None:
        self.arrivals: list[tuple[str, Any]] = []

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        loop = asyncio.get_running_loop()
        async with AsyncExitStack() as opened:
            server = await opened.enter_async_context(await asyncio.start_server(self._greet, "127.0.0.1", 0))
            port: int = server.sockets[0].getsockname()[1]
            with suppress(OSError):  # a machine without IPv6
                await opened.enter_async_context(await asyncio.start_server(self._greet, "::1", port))
            for address in ("127.0.0.1", "127.5.5.5"):
                transport, _ = await loop.create_datagram_endpoint(lambda: self, (address, port))
                opened.callback(transport.close)
            yield port

    def datagram_received(self, data: bytes, sender: Any) -> None:
        self.arrivals.append(("udp", sender))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as answer:
            answer.sendto(data, sender)

    async def _greet(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.arrivals.append(("tcp", writer.get_extra_info("peername")))
        writer.close()


@contextmanager
def things_of_the_machine(directory: Path) -> Iterator[dict[str, Any]]:
    """What a project is not to reach, each of it really there."""
    name = f"projecthub-{uuid4().hex}"
    libc = ctypes.CDLL(None, use_errno=True)
    store = directory / "hub.sqlite3"
    store.write_text("of the hub")
    with ExitStack() as left:
        abstract = left.enter_context(socket.socket(socket.AF_UNIX))
        abstract.bind(f"\0{name}")
        abstract.listen()
        for path in (Path("/tmp", name), Path("/dev/shm", name)):
            path.touch()
            left.callback(path.unlink)
        shared = libc.shmget(key := uuid4().int % 2**31, 4096, 0o1600)
        assert shared >= 0
        left.callback(libc.shmctl, shared, 0, None)
        queue = ctypes.c_char_p(name.encode())
        assert libc.syscall(MQ_OPEN, queue, os.O_CREAT | os.O_RDWR, 0o600, None) >= 0
        left.callback(libc.syscall, MQ_UNLINK, queue)
        here = ctypes.create_string_buffer(b"of the hub")
        yield {
            "data_dir": str(directory),
            "store": str(store),
            "run": str(directory / "run"),
            "hub_pid": os.getpid(),
            "hub_address": ctypes.addressof(here),
            "abstract": name,
            "tmp_file": f"/tmp/{name}",
            "shm_file": name,
            "shm_key": key,
            "queue": name,
        }


@asynccontextmanager
async def opened(directory: Path, isolation: Isolation, network: Network) -> AsyncIterator[LocalEngine]:
    engine = LocalEngine(runtime_dir=directory / "run", isolation=isolation, hidden=[directory], network=network)
    await engine.open()
    try:
        yield engine
    finally:
        for instance in await engine.running():
            await engine.stop(instance, grace_s=0.0)
        await engine.close()


async def start(engine: LocalEngine, directory: Path, network: Network, uid: int | None) -> tuple[Instance, Path]:
    project_id = ProjectId(str(uuid4()))
    home = directory / "homes" / project_id
    home.mkdir(parents=True, mode=0o700)
    (home / "secret").write_text("of this project")
    shutil.copy(ESCAPES, home)
    shutil.copy("/usr/bin/id", home / "id-with-bits")
    if uid is not None:
        os.chown(home, uid, uid)
        os.chown(home / "secret", uid, uid)
    (home / "id-with-bits").chmod(0o6755)
    return await engine.start(StartSpec(project_id=project_id, epoch=1, home=home, uid=uid, network=network)), home


async def try_all(
    directory: Path, isolation: Isolation, network: Network
) -> tuple[dict[str, tuple[bool, str]], list[tuple[str, Any]]]:
    """Each attempt's name with whether it was refused, and how; and what has come to the machine's loopback."""
    isolated = isolation is not Isolation.NONE
    uid, other_uid = (UID, OTHER_UID) if isolated else (None, None)
    loopback = Loopback()
    async with opened(directory, isolation, network) as engine, loopback.listening() as port:
        with things_of_the_machine(directory) as targets:
            other, other_home = await start(engine, directory, network, other_uid)
            instance, home = await start(engine, directory, network, uid)
            record, launcher = Record.load(directory / "run" / instance.project_id), engine._launcher
            assert record is not None
            assert launcher is not None
            targets |= {
                "port": port,
                "launcher_pid": launcher.pid,
                "other_pid": other.pid,
                "other_uid": 20_006,
                "other_home": str(other_home),
                "other_socket": str(directory / "run" / other.project_id / SOCKET_FILE),
                "init_pid": 1 if isolated else record.init.pid,
                "server_pid": 2 if isolated else record.server.pid,
            }
            (home / "targets.json").write_text(json.dumps(targets))
            command = f"{sys.executable} escapes.py targets.json"
            result: Any = await engine.call(instance, "system.exec", [{"command": command, "bash": True}])
            assert await engine.find(other.project_id) == other
    return {name: (refused, how) for name, refused, how in json.loads(result["stdout"])}, loopback.arrivals


def reached(outcomes: dict[str, tuple[bool, str]]) -> dict[str, str]:
    return {name: how for name, (refused, how) in outcomes.items() if not refused}


@pytest.mark.parametrize("network", list(Network))
async def test_every_way_out_is_refused(tmp_path: Path, network: Network) -> None:
    async with opened(tmp_path, ISOLATION, network) as engine:
        if network not in engine.networks:
            pytest.skip(f"no network '{network}' here: see 'projecthub doctor'")
    outcomes, arrivals = await try_all(tmp_path, ISOLATION, network)
    expected: set[str] = set()
    if network is Network.HOST:
        outcomes = {name: outcome for name, outcome in outcomes.items() if name not in OF_AN_UPLINK}
        expected = THROUGH_THE_HOSTS_NETWORK
        if not landlock.has_scopes():
            expected = expected | {"connect_to_an_abstract_socket"}
    if not seccomp.is_offered():
        pytest.skip("this kernel filters no system calls: what only the filter forbids is open")
    assert len(outcomes) >= 80
    through = reached(outcomes)
    assert {name: how for name, how in through.items() if name not in expected} == {}
    assert bool(arrivals) is (network is Network.HOST), arrivals


async def test_without_isolation_the_same_ways_are_open(tmp_path: Path) -> None:
    """What shows that the attempts are real."""
    outcomes, arrivals = await try_all(tmp_path, Isolation.NONE, Network.HOST)
    expected = REACHED_WITHOUT_ISOLATION | (REACHED_BY_ROOT if AS_ROOT else set())
    assert {name: outcomes[name][1] for name in expected if outcomes[name][0]} == {}
    assert {kind for kind, _ in arrivals} == {"tcp", "udp"}


@pytest.mark.skipif(not AS_ROOT, reason="this user's level is tried directly")
@pytest.mark.parametrize("options", [(), ("--with-ids", "-k", "every_way_out")], ids=["plain", "with other ids"])
def test_the_suite_as_another_user(options: Sequence[str]) -> None:
    command = [sys.executable, str(UNPRIVILEGED), *options, str(Path(__file__).resolve())]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if "no user namespaces" in run.stdout:
        pytest.skip("this machine offers no user namespaces to users")
    assert run.returncode == 0, run.stdout + run.stderr
    assert " passed" in run.stdout
