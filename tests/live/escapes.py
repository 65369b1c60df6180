"""Ways out of a project and sideways into others, to be tried from inside of one.

Usage: python escapes.py TARGETS, where TARGETS is a JSON file that names what is to be reached. Writes a JSON list of
``[name, refused, how]``. An attempt is refused when the kernel says so in one of the words of `REFUSALS`, or lets it
wait in vain; one that fails for any other reason counts as one that came through. What arrives without an answer is
told by who listens outside. All are made so that nothing is harmed where they succeed.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import mmap
import os
import platform
import pty
import resource
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

REFUSALS = {
    *(errno.EPERM, errno.EACCES, errno.EROFS, errno.ENOENT, errno.ESRCH, errno.ENODEV, errno.ENOSYS),
    *(errno.ECONNREFUSED, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EAFNOSUPPORT, errno.ENOSPC),
}
ATTEMPTS: dict[str, Callable[[], object]] = {}
T: dict[str, Any] = {}
LIBC = ctypes.CDLL(None, use_errno=True)
NUMBERS = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "bpf": (321, 280),
    "clone": (56, 220),
    "clone3": (435, 435),
    "fanotify_init": (300, 262),
    "fsopen": (430, 430),
    "init_module": (175, 105),
    "io_destroy": (207, 1),
    "io_setup": (206, 0),
    "io_uring_setup": (425, 425),
    "keyctl": (250, 219),
    "mount_setattr": (442, 442),
    "mq_open": (240, 180),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_vm_readv": (310, 270),
    "quotactl": (179, 60),
    "reboot": (169, 142),
    "settimeofday": (164, 170),
    "syslog": (103, 116),
    "userfaultfd": (323, 282),
}
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x20000, 0x10000000, 0x40000000
AT_FDCWD = -100


def attempt(function: Callable[[], object]) -> Callable[[], object]:
    ATTEMPTS[function.__name__] = function
    return function


def check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def call(name: str, *arguments: Any) -> int:
    number = NUMBERS[name][platform.machine() == "aarch64"]
    converted = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    return check(LIBC.syscall(ctypes.c_long(number), *converted))


def nothing(name: str) -> OSError:
    """What an attempt raises that has found nothing to use."""
    return OSError(errno.ENOENT, f"no {name}")


@contextlib.contextmanager
def by_ids() -> Iterator[None]:
    """Tell a user id that does not exist in this user namespace from a call that makes no sense."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise OSError(errno.EPERM, "no such user in here") from error
        raise


# Files.


@attempt
def read_the_home_of_another() -> object:
    return Path(T["other_home"], "secret").read_text()


@attempt
def list_all_homes() -> object:
    return os.listdir(Path(T["other_home"]).parent)


@attempt
def read_the_store() -> object:
    return Path(T["store"]).read_text()


@attempt
def write_into_the_data_directory() -> object:
    return Path(T["data_dir"], "planted").write_text("x")


@attempt
def read_the_store_through_roots_of_processes() -> object:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for way in ("root", "cwd"):
            with contextlib.suppress(OSError):
                return Path(f"/proc/{pid}/{way}/{'../' * 30 * (way == 'cwd')}{T['store']}").read_text()
    raise nothing("root with a store")


@attempt
def read_the_store_through_a_symlink() -> object:
    link = Path("link-to-store")
    link.unlink(missing_ok=True)
    link.symlink_to(T["store"])
    return link.read_text()


@attempt
def link_the_store_into_the_home() -> object:
    Path("hard").unlink(missing_ok=True)
    os.link(T["store"], "hard")
    return Path("hard").read_text()


@attempt
def climb_out_by_dots() -> object:
    return Path("../" * 30 + T["store"]).read_text()


@attempt
def read_the_hubs_shadow_file() -> object:
    return len(Path("/etc/shadow").read_bytes())


@attempt
def write_a_program_of_the_system() -> object:
    fd = os.open(os.path.realpath("/usr/bin/env"), os.O_WRONLY)
    return os.close(fd)


@attempt
def change_the_mode_of_a_program_of_the_system() -> object:
    path = os.path.realpath("/usr/bin/env")
    return os.chmod(path, os.stat(path).st_mode & 0o7777)


@attempt
def give_a_file_to_root() -> object:
    Path("mine").touch()
    with by_ids():
        return os.chown("mine", *((1, 1) if os.getuid() == 0 else (0, 0)))


@attempt
def read_the_launchers_log() -> object:
    return Path(T["run"], "launcher.log").read_text()


@attempt
def speak_to_the_server_of_another() -> object:
    with socket.socket(socket.AF_UNIX) as client:
        os.chdir(Path(T["other_socket"]).parent)  # an address has room for no more than 107 characters
        client.connect(Path(T["other_socket"]).name)
    return "connected"


@attempt
def hand_a_file_to_the_server_of_another() -> object:
    with socket.socket(socket.AF_UNIX) as client, open(__file__) as any_file:
        os.chdir(Path(T["other_socket"]).parent)
        client.connect(Path(T["other_socket"]).name)
        return socket.send_fds(client, [b"x"], [any_file.fileno()])


@attempt
def find_files_in_the_tmp_of_the_machine() -> object:
    return os.stat(T["tmp_file"]).st_size


@attempt
def find_shared_memory_of_the_machine() -> object:
    return os.stat(f"/dev/shm/{T['shm_file']}").st_size


@attempt
def watch_the_home_of_another() -> object:
    fd = check(LIBC.inotify_init())
    return check(LIBC.inotify_add_watch(fd, T["other_home"].encode(), 0xFFF))


@attempt
def watch_a_whole_file_system() -> object:
    return call("fanotify_init", 0x200, os.O_RDONLY)  # FAN_REPORT_FID: what users may ask for


@attempt
def open_a_file_by_its_number() -> object:
    handle = ctypes.create_string_buffer(struct.pack("Ii", 120, 0), 128)
    mount = ctypes.c_int()
    call("name_to_handle_at", AT_FDCWD, ctypes.c_char_p(b"."), handle, ctypes.byref(mount), 0)
    return call("open_by_handle_at", AT_FDCWD, handle, os.O_RDONLY)


# Processes.


@attempt
def signal_the_hub() -> object:
    return os.kill(T["hub_pid"], 0)


@attempt
def signal_the_launcher() -> object:
    return os.kill(T["launcher_pid"], 0)


@attempt
def signal_another_project() -> object:
    return os.kill(T["other_pid"], 0)


@attempt
def hold_the_hub_by_a_descriptor() -> object:
    return os.pidfd_open(T["hub_pid"])


@attempt
def trace_the_launcher() -> object:
    return check(LIBC.ptrace(0x4206, T["launcher_pid"], None, None))  # PTRACE_SEIZE, which stops nothing


@attempt
def trace_the_own_init() -> object:
    return check(LIBC.ptrace(0x4206, T["init_pid"], None, None))


@attempt
def read_the_memory_of_the_launcher() -> object:
    return _read_memory(T["launcher_pid"])


@attempt
def read_the_memory_of_the_own_init() -> object:
    return _read_memory(T["init_pid"])


def _read_memory(pid: int) -> int:
    address = int(Path(f"/proc/{pid}/maps").read_text().split("-")[0] or "0", 16)
    with open(f"/proc/{pid}/mem", "rb") as memory:
        memory.seek(address)
        return len(memory.read(1))


@attempt
def copy_the_memory_of_the_hub() -> object:
    there = (ctypes.c_size_t * 2)(int(T["hub_address"]), 1)
    here = ctypes.create_string_buffer(1)
    vector = (ctypes.c_size_t * 2)(ctypes.addressof(here), 1)
    return call("process_vm_readv", T["hub_pid"], vector, 1, there, 1, 0)


@attempt
def take_a_descriptor_of_the_own_init() -> object:
    return call("pidfd_getfd", os.pidfd_open(T["init_pid"]), 2, 0)


@attempt
def find_a_socket_of_the_launcher_in_the_own_server() -> object:
    server = os.pidfd_open(T["server_pid"])
    for fd in range(256):
        with contextlib.suppress(OSError), socket.socket(fileno=call("pidfd_getfd", server, fd, 0)) as taken:
            if taken.family == socket.AF_UNIX and taken.type == socket.SOCK_SEQPACKET:
                return fd
    raise nothing("such socket")


@attempt
def read_the_environment_of_the_hub() -> object:
    return len(Path(f"/proc/{T['hub_pid']}/environ").read_bytes())


@attempt
def read_the_environment_of_another() -> object:
    return len(Path(f"/proc/{T['other_pid']}/environ").read_bytes())


@attempt
def list_the_open_files_of_the_own_init() -> object:
    return os.listdir(f"/proc/{T['init_pid']}/fd")


@attempt
def change_the_priority_of_the_hub() -> object:
    return os.setpriority(os.PRIO_PROCESS, T["hub_pid"], os.getpriority(os.PRIO_PROCESS, T["hub_pid"]))


@attempt
def bind_the_hub_to_a_processor() -> object:
    return os.sched_setaffinity(T["hub_pid"], os.sched_getaffinity(T["hub_pid"]))


@attempt
def change_the_limits_of_the_hub() -> object:
    return resource.prlimit(T["hub_pid"], resource.RLIMIT_CORE)


@attempt
def sacrifice_the_hub_when_memory_is_short() -> object:
    path = f"/proc/{T['hub_pid']}/oom_score_adj"
    return Path(path).write_text(Path(path).read_text())


@attempt
def run_before_everybody_else() -> object:
    return os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


@attempt
def have_less_niceness() -> object:
    return os.nice(-1)


@attempt
def raise_the_limit_of_open_files() -> object:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limits = (ctypes.c_ulong * 2)(hard + 1, hard + 1)
    return check(LIBC.setrlimit(resource.RLIMIT_NOFILE, limits))


# Privileges.


@attempt
def become_root() -> object:
    with by_ids():
        return os.setresuid(0, 0, 0)


@attempt
def become_another_project() -> object:
    with by_ids():
        return os.setresuid(T["other_uid"], T["other_uid"], T["other_uid"])


@attempt
def run_a_file_with_the_bits_of_root() -> object:
    if os.getuid() == 0:
        return "root anyway"
    output = subprocess.run(["./id-with-bits", "-u"], capture_output=True, text=True, check=True).stdout
    if int(output) != os.getuid():
        return output
    raise OSError(errno.EPERM, "the bits mean nothing")


@attempt
def take_all_capabilities() -> object:
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()
    check(LIBC.capget(header, sets))
    sets[0] = sets[1] = sets[1] | 1  # the right to change owners
    return check(LIBC.capset(header, sets))


@attempt
def use_the_keyring_of_the_user() -> object:
    return call("keyctl", 0, -4, 1)


@attempt
def leave_a_key_for_others() -> object:
    return call("add_key", ctypes.c_char_p(b"user"), ctypes.c_char_p(b"left"), ctypes.c_char_p(b"x"), 1, -4)


# Mounts and namespaces.


@attempt
def mount_a_file_system() -> object:
    os.makedirs("mounted", exist_ok=True)
    check(LIBC.mount(b"none", b"mounted", b"tmpfs", 0, b""))
    return check(LIBC.umount2(b"mounted", 2))


@attempt
def mount_the_groups_of_the_kernel() -> object:
    os.makedirs("mounted", exist_ok=True)
    check(LIBC.mount(b"none", b"mounted", b"cgroup2", 0, b""))
    return check(LIBC.umount2(b"mounted", 2))


@attempt
def make_the_system_writable() -> object:
    attributes = struct.pack("QQQQ", 0, 1, 0, 0)  # to clear "read-only" of the root
    return call("mount_setattr", AT_FDCWD, ctypes.c_char_p(b"/"), 0, ctypes.c_char_p(attributes), 32)


@attempt
def unmount_the_home() -> object:
    return check(LIBC.umount2(b".", 2))


@attempt
def turn_the_root_round() -> object:
    return call("pivot_root", ctypes.c_char_p(b"."), ctypes.c_char_p(b"."))


@attempt
def climb_out_of_a_root() -> object:
    os.makedirs("root", exist_ok=True)
    outside = os.open("/", os.O_RDONLY)
    os.chroot("root")
    os.fchdir(outside)
    return Path("../" * 30 + T["store"]).read_text()


@attempt
def enter_a_user_namespace() -> object:
    return check(LIBC.unshare(CLONE_NEWUSER))


@attempt
def enter_a_mount_namespace() -> object:
    return check(LIBC.unshare(CLONE_NEWNS))


@attempt
def enter_a_network_namespace() -> object:
    return check(LIBC.unshare(CLONE_NEWNET))


@attempt
def fork_into_a_user_namespace() -> object:
    if call("clone", CLONE_NEWUSER | signal.SIGCHLD, 0, 0, 0, 0) == 0:
        os._exit(0)
    return "forked"


@attempt
def fork_into_a_user_namespace_the_new_way() -> object:
    arguments = ctypes.create_string_buffer(struct.pack("8Q", CLONE_NEWUSER, 0, 0, 0, signal.SIGCHLD, 0, 0, 0))
    if call("clone3", arguments, 64) == 0:
        os._exit(0)
    return "forked"


@attempt
def enter_the_namespaces_of_the_own_init() -> object:
    fd = os.open(f"/proc/{T['init_pid']}/ns/mnt", os.O_RDONLY)
    return check(LIBC.setns(fd, 0))


@attempt
def enter_a_namespace_by_number() -> object:
    return check(LIBC.setns(os.open("/proc/self/ns/uts", os.O_RDONLY), 0))


@attempt
def open_a_file_system() -> object:
    return call("fsopen", ctypes.c_char_p(b"tmpfs"), 0)


@attempt
def clone_the_mounts() -> object:
    return call("open_tree", AT_FDCWD, ctypes.c_char_p(b"/"), 1)


@attempt
def rename_the_machine() -> object:
    name = os.uname().nodename.encode()
    return check(LIBC.sethostname(name, len(name)))


@attempt
def join_a_group_of_the_kernel() -> object:
    for root, _, files in os.walk("/sys/fs/cgroup"):
        if "cgroup.procs" in files:
            return os.close(os.open(Path(root, "cgroup.procs"), os.O_WRONLY))
    raise nothing("groups")


# The kernel and the machine.


@attempt
def load_a_program_into_the_kernel() -> object:
    attributes = ctypes.create_string_buffer(struct.pack("IIII", 2, 4, 4, 1), 120)  # an array of one number
    return call("bpf", 0, attributes, 120)


@attempt
def load_a_module() -> object:
    return call("init_module", ctypes.c_char_p(b""), 0, ctypes.c_char_p(b""))


@attempt
def measure_the_kernel() -> object:
    attributes = ctypes.create_string_buffer(struct.pack("IIQ", 1, 128, 0), 128)  # the software clock
    return call("perf_event_open", attributes, 0, -1, -1, 0)


@attempt
def handle_own_page_faults() -> object:
    return call("userfaultfd", 1)


@attempt
def make_a_ring_of_calls() -> object:
    return call("io_uring_setup", 1, ctypes.create_string_buffer(120))


@attempt
def reboot_the_machine() -> object:
    return call("reboot", 0, 0, 0, 0)  # not the numbers that mean it


@attempt
def set_the_clock() -> object:
    return call("settimeofday", None, None)


@attempt
def read_the_log_of_the_kernel() -> object:
    return call("syslog", 10, None, 0)


@attempt
def account_for_processes() -> object:
    return call("acct", ctypes.c_char_p(b"/proc/self/stat"))


@attempt
def change_quotas() -> object:
    return call("quotactl", 0x800003 << 8, ctypes.c_char_p(b"none"), 0, None)


@attempt
def swap_onto_a_file() -> object:
    return check(LIBC.swapoff(b"mine"))


@attempt
def read_what_is_executed() -> object:
    return check(LIBC.personality(0x0400000))


@attempt
def call_as_another_architecture() -> object:
    if platform.machine() != "x86_64":
        raise OSError(errno.ENOSYS, "no other architecture here")
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b"\x53\xb8\x14\x00\x00\x00\xcd\x80\x5b\xc3")  # push rbx; mov eax, getpid; int 0x80; pop rbx; ret
    function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
    return check(function())


def _open_for_writing(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY))


@attempt
def choose_what_runs_at_a_crash() -> object:
    return _open_for_writing("/proc/sys/kernel/core_pattern")


@attempt
def press_keys_of_the_kernel() -> object:
    return _open_for_writing("/proc/sysrq-trigger")


@attempt
def allow_new_namespaces() -> object:
    return _open_for_writing("/proc/sys/user/max_user_namespaces")


@attempt
def forward_packets() -> object:
    return _open_for_writing("/proc/sys/net/ipv4/ip_forward")


@attempt
def read_all_of_memory() -> object:
    return os.close(os.open("/proc/kcore", os.O_RDONLY))


# Devices.


@attempt
def make_a_disk() -> object:
    os.mknod("disk", 0o600 | 0o060000, os.makedev(8, 0))
    return os.unlink("disk")


@attempt
def make_the_memory_device() -> object:
    os.mknod("memory", 0o600 | 0o020000, os.makedev(1, 1))
    return os.unlink("memory")


@attempt
def find_a_device_of_the_machine() -> object:
    known = {
        "null",
        "zero",
        "full",
        "random",
        "urandom",
        "tty",
        "fd",
        "stdin",
        "stdout",
        "stderr",
        "ptmx",
        "pts",
        "shm",
    }
    if found := sorted(set(os.listdir("/dev")) - known):
        return found
    raise nothing("device")


@attempt
def type_into_a_terminal() -> object:
    _, terminal = pty.openpty()
    return fcntl.ioctl(terminal, 0x5412, b"x")


# Network.


@attempt
def connect_to_the_hub() -> object:
    return _connect("127.0.0.1")


@attempt
def connect_to_the_hub_by_a_gateway() -> object:
    return _connect("10.0.2.2")


@attempt
def connect_to_the_hub_by_a_name_server() -> object:
    return _connect("10.0.2.3")


@attempt
def connect_to_the_hub_past_the_loopback() -> object:
    return _connect("127.0.0.1", _devices())


@attempt
def connect_to_another_loopback_address_past_the_loopback() -> object:
    return _connect("127.5.5.5", _devices())


@attempt
def connect_to_the_hub_past_the_loopback_by_ipv6() -> object:
    return _connect("::1", _devices())


def _devices() -> list[str]:
    return [name for _, name in socket.if_nameindex()]


def _connect(address: str, devices: list[str] | None = None) -> str:
    failure: OSError = nothing("device")
    for device in devices if devices is not None else [""]:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as client:
            client.settimeout(2)
            try:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
                client.connect((address, T["port"]))
            except OSError as error:
                failure = error
            else:
                return device or "connected"
    raise failure


@attempt
def send_to_the_hub_past_the_loopback() -> object:
    failure: OSError = nothing("device")
    for device in _devices():
        for address in ("127.0.0.1", "127.5.5.5"):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.settimeout(0.3)
                try:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
                    client.sendto(b"x", (address, T["port"]))
                    client.recv(1)
                except OSError as error:
                    failure = error
                else:
                    return device
    raise failure


@attempt
def ask_the_provider_for_credentials() -> object:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("169.254.169.254", 80))
        return client.send(b"x")


@attempt
def connect_to_an_abstract_socket() -> object:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(b"\0" + T["abstract"].encode())
    return "connected"


@attempt
def make_raw_packets() -> object:
    return socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()


@attempt
def read_all_packets() -> object:
    return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()


@attempt
def reach_the_host_of_a_virtual_machine() -> object:
    return socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).close()


@attempt
def keep_messages_in_memory_of_the_kernel() -> object:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 2).close()  # netlink for users: counted as nobody's


@attempt
def use_up_what_the_machine_counts_of_old_aio() -> object:
    context = ctypes.c_ulong(0)
    call("io_setup", 1, ctypes.byref(context))
    return call("io_destroy", context.value)


@attempt
def use_up_the_terminals_of_the_machine() -> object:
    masters = []
    try:
        for _ in range(300):
            masters.append(os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY))
    finally:
        for master in masters:
            os.close(master)
    return "300 terminals"


@attempt
def change_a_network_device() -> object:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = fcntl.ioctl(any_socket, 0x8913, struct.pack("16sh22x", b"lo", 0))
        fcntl.ioctl(any_socket, 0x8914, request)  # to what it is already
    return "changed"


# What processes share.


@attempt
def attach_shared_memory_of_the_machine() -> object:
    return check(LIBC.shmget(T["shm_key"], 0, 0))


@attempt
def open_a_message_queue_of_the_machine() -> object:
    return call("mq_open", ctypes.c_char_p(T["queue"].encode()), os.O_RDONLY, 0, None)


def _try(function: Callable[[], object]) -> tuple[bool, str]:
    """The outcome of one attempt, in a process of its own."""
    answers, answer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            outcome = (False, repr(function())[:200])
        except OSError as error:
            name = errno.errorcode.get(error.errno or 0, str(error))
            outcome = (error.errno in REFUSALS or isinstance(error, TimeoutError), f"{name}: {error.strerror}")
        except BaseException as error:
            outcome = (False, f"fails by itself: {error!r}")
        os.write(answer, json.dumps(outcome).encode())
        os._exit(0)
    os.close(answer)
    with os.fdopen(answers, "rb") as file:
        text = file.read()
    _, status = os.waitpid(child, 0)
    if text:
        refused, how = json.loads(text)
        return refused, how
    killed_by = os.waitstatus_to_exitcode(status)
    return killed_by == -signal.SIGSYS, f"ended with {killed_by}"


def main() -> None:
    T.update(json.loads(Path(sys.argv[1]).read_text()))
    json.dump([(name, *_try(function)) for name, function in ATTEMPTS.items()], sys.stdout)


if __name__ == "__main__":
    main()
