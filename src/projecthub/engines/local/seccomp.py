"""System calls that no project needs: the kernel refuses them before it looks at any right.

Namespaces and missing capabilities forbid most of this already. The filter is a second layer: what is refused here is
code of the kernel that a project cannot reach at all, whatever mistake is found in it one day.

What is refused is listed, and all else is allowed: people bring programs that we do not know. Debuggers are used by
people, so `ptrace` stays allowed. It reaches the processes of the same project only, and not the project's init.
"""

from __future__ import annotations

import errno
import functools
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from projecthub.engines.local import kernel


@dataclass(frozen=True, slots=True)
class _Call:
    """A system call by its number on each machine; None where it does not exist."""

    x86_64: int | None
    aarch64: int | None


_REFUSED = {
    # Mounts, and roots.
    "mount": _Call(165, 40),
    "umount2": _Call(166, 39),
    "pivot_root": _Call(155, 41),
    "chroot": _Call(161, 51),
    "open_tree": _Call(428, 428),
    "move_mount": _Call(429, 429),
    "fsopen": _Call(430, 430),
    "fsconfig": _Call(431, 431),
    "fsmount": _Call(432, 432),
    "fspick": _Call(433, 433),
    "mount_setattr": _Call(442, 442),
    "open_tree_attr": _Call(467, 467),
    # Namespaces of others. For new ones see `_REFUSED_BY_ARGUMENT`.
    "setns": _Call(308, 268),
    # Code in the kernel, and ways to hold the kernel up in the middle of something.
    "bpf": _Call(321, 280),
    "create_module": _Call(174, None),
    "init_module": _Call(175, 105),
    "finit_module": _Call(313, 273),
    "delete_module": _Call(176, 106),
    "kexec_load": _Call(246, 104),
    "kexec_file_load": _Call(320, 294),
    "userfaultfd": _Call(323, 282),
    "io_uring_setup": _Call(425, 425),
    "io_uring_enter": _Call(426, 426),
    "io_uring_register": _Call(427, 427),
    "perf_event_open": _Call(298, 241),
    "lookup_dcookie": _Call(212, 18),
    "nfsservctl": _Call(180, 42),
    "uselib": _Call(134, None),
    # Keys of the kernel: those of a user id are common to all its processes, in all projects where they share one.
    "add_key": _Call(248, 217),
    "request_key": _Call(249, 218),
    "keyctl": _Call(250, 219),
    # Files by number instead of by path, and what happens to files of others.
    "name_to_handle_at": _Call(303, 264),
    "open_by_handle_at": _Call(304, 265),
    "fanotify_init": _Call(300, 262),
    # Takes a file out of what the file system holds a project's directory to. See `_SET_FLAGS`.
    "file_setattr": _Call(469, 469),
    # The machine as a whole.
    "acct": _Call(163, 89),
    "swapon": _Call(167, 224),
    "swapoff": _Call(168, 225),
    "reboot": _Call(169, 142),
    "settimeofday": _Call(164, 170),
    "clock_settime": _Call(227, 112),
    "quotactl": _Call(179, 60),
    "quotactl_fd": _Call(443, 443),
    "sethostname": _Call(170, 161),
    "setdomainname": _Call(171, 162),
    "syslog": _Call(103, 116),
    "vhangup": _Call(153, 58),
    "iopl": _Call(172, None),
    "ioperm": _Call(173, None),
}

_CLONE = _Call(56, 220)
_CLONE3 = _Call(435, 435)
_UNSHARE = _Call(272, 97)
_IOCTL = _Call(16, 29)
_PERSONALITY = _Call(135, 92)
_IO_SETUP = _Call(206, 0)
_SOCKET = _Call(41, 198)
_SOCKETPAIR = _Call(53, 199)

# Mount, cgroup, uts, ipc, user, pid and network namespaces. The flag of a time namespace is a signal's number to clone.
_NEW_NAMESPACES = 0x7E020000
_NEW_TIME_NAMESPACE = 0x80
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
"""Typing into another's terminal, and the console's own."""
_SET_FLAGS, _SET_ATTRIBUTES = 0x40086602, 0x401C5820
"""`FS_IOC_SETFLAGS` and `FS_IOC_FSSETXATTR`: by these the owner of a file may take it out of the quota of its
directory, unless he is in a user namespace, which root can do without."""
_PERSONALITIES = (0, 0x0040000, 0xFFFFFFFF)
"""Plain; without random addresses, for debuggers; and the question which one is in force."""
_NETLINK, _NETLINK_ROUTE = 16, 0
_FAMILIES = (1, 2, 10, _NETLINK)
"""Unix, IPv4, IPv6, netlink. Others are rare, or, as vsock, know nothing of namespaces and reach past the sandbox."""

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32 = 0x40000000

_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16
_KILL, _ALLOW = 0x80000000, 0x7FFF0000


def _refuse(number: int) -> int:
    return 0x00050000 | number


def _instruction(code: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
    """One instruction; a jump skips as many of the next ones as it says."""
    return struct.pack("=HBBI", code, then, otherwise, value)


def _on(number: int, then: list[bytes]) -> list[bytes]:
    """Do something for one system call, which must end in a return; the number is loaded before and after."""
    return [_instruction(_JUMP_EQUAL, number, 0, len(then)), *then]


def _returns(value: int) -> bytes:
    return _instruction(_RETURN, value)


def _argument(index: int) -> bytes:
    """Load the lower half of an argument: the kernel reads no more of those that we judge."""
    return _instruction(_LOAD, _ARGUMENTS_AT + 8 * index)


def _unless_one_of(index: int, allowed: tuple[int, ...], refusal: int) -> list[bytes]:
    tests = [_instruction(_JUMP_EQUAL, value, len(allowed) - i) for i, value in enumerate(allowed)]
    return [_argument(index), *tests, _returns(_refuse(refusal)), _returns(_ALLOW)]


def _if_one_of(index: int, refused: tuple[int, ...]) -> list[bytes]:
    tests = [_instruction(_JUMP_EQUAL, value, len(refused) - i) for i, value in enumerate(refused)]
    return [_argument(index), *tests, _returns(_ALLOW), _returns(_refuse(errno.EPERM))]


def _if_any_bit(index: int, bits: int) -> list[bytes]:
    test = _instruction(_JUMP_ANY_BIT, bits, 0, 1)
    return [_argument(index), test, _returns(_refuse(errno.EPERM)), _returns(_ALLOW)]


def _unless_family(allowed: tuple[int, ...], refusal: int) -> list[bytes]:
    """As `_unless_one_of` for the family of a socket; of netlink only routes, which tell what a network is like.

    Other protocols of netlink carry messages between processes, in the kernel's memory and beyond every limit.
    """
    others = tuple(family for family in allowed if family != _NETLINK)
    judged = [_argument(2), _instruction(_JUMP_EQUAL, _NETLINK_ROUTE, 1), _returns(_refuse(refusal)), _returns(_ALLOW)]
    is_netlink = _instruction(_JUMP_EQUAL, _NETLINK, 0, len(judged))
    tests = [_instruction(_JUMP_EQUAL, value, len(others) - i) for i, value in enumerate(others)]
    return [_argument(0), is_netlink, *judged, *tests, _returns(_refuse(refusal)), _returns(_ALLOW)]


_REFUSED_BY_ARGUMENT = (
    (_CLONE, _if_any_bit(0, _NEW_NAMESPACES)),
    # Its arguments are out of a filter's sight. A libc that is told that there is none uses clone.
    (_CLONE3, [_returns(_refuse(errno.ENOSYS))]),
    (_UNSHARE, _if_any_bit(0, _NEW_NAMESPACES | _NEW_TIME_NAMESPACE)),
    (_IOCTL, _if_one_of(1, (_TIOCSTI, _TIOCLINUX, _SET_FLAGS, _SET_ATTRIBUTES))),
    (_PERSONALITY, _unless_one_of(0, _PERSONALITIES, errno.EPERM)),
    # Asynchronous input and output of old: its contexts are counted for the whole machine, and are soon used up.
    (_IO_SETUP, [_returns(_refuse(errno.ENOSYS))]),
    (_SOCKET, _unless_family(_FAMILIES, errno.EAFNOSUPPORT)),
    (_SOCKETPAIR, _unless_one_of(0, _FAMILIES, errno.EAFNOSUPPORT)),
)


def _assemble(machine: str) -> Iterator[bytes]:
    def number(call: _Call) -> int | None:
        return call.x86_64 if machine == "x86_64" else call.aarch64

    yield _instruction(_LOAD, _ARCHITECTURE_AT)
    # Calls of another architecture, as i386 on x86_64, have numbers of their own.
    yield _instruction(_JUMP_EQUAL, _ARCHITECTURES[machine], 1)
    yield _returns(_KILL)
    yield _instruction(_LOAD, _NUMBER_AT)
    if machine == "x86_64":
        yield _instruction(_JUMP_AT_LEAST, _X32, 0, 1)
        yield _returns(_refuse(errno.ENOSYS))
    for call in _REFUSED.values():
        if (refused := number(call)) is not None:
            yield from _on(refused, [_returns(_refuse(errno.EPERM))])
    for call, then in _REFUSED_BY_ARGUMENT:
        if (judged := number(call)) is not None:
            yield from _on(judged, then)
    yield _returns(_ALLOW)


@functools.cache
def program(machine: str) -> bytes | None:
    """The filter in the kernel's language (classic BPF); None for a machine that it is not written for.

    Args:
        machine: Such as ``x86_64``, as `os.uname` names it.
    """
    return b"".join(_assemble(machine)) if machine in _ARCHITECTURES else None


def is_offered() -> bool:
    """Whether there is a filter for this machine, and a kernel that takes it."""
    return program(os.uname().machine) is not None and Path("/proc/sys/kernel/seccomp/actions_avail").exists()


def install() -> None:
    """Filter the system calls of this process and of all it will start, where that `is_offered`.

    Raises:
        OSError: The kernel offers filters, but refuses this one.
    """
    filter_program = program(os.uname().machine)
    if filter_program is None:
        return
    try:
        kernel.filter_system_calls(filter_program)
    except OSError as error:
        if error.errno != errno.EINVAL:  # what a kernel without filters says
            raise
