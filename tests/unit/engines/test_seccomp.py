"""The filter of system calls, run here as the kernel runs it."""

from __future__ import annotations

import errno
import struct

import pytest

from projecthub.engines.local import seccomp

ALLOWED, KILLED = 0x7FFF0000, 0x80000000
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


def run(program: bytes, architecture: int, number: int, *arguments: int) -> int:
    """What a program of classic BPF answers to a system call."""
    values = [each % 2**64 for each in (*arguments, *(0,) * (6 - len(arguments)))]
    data = struct.pack("=IIQ6Q", number, architecture, 0, *values)
    instructions = list(struct.iter_unpack("=HBBI", program))
    at = accumulator = 0
    while True:
        code, then, otherwise, value = instructions[at]
        at += 1
        if code == 0x20:
            [accumulator] = struct.unpack_from("=I", data, value)
        elif code == 0x06:
            return int(value)
        else:
            holds = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}[code]
            at += then if holds else otherwise


def judge(machine: str, number: int, *arguments: int) -> int | str:
    """The error that a call gets, or the word for what happens else."""
    program = seccomp.program(machine)
    assert program is not None
    answer = run(program, ARCHITECTURES[machine], number, *arguments)
    if answer in (ALLOWED, KILLED):
        return "allowed" if answer == ALLOWED else "killed"
    assert answer >> 16 == 5
    return answer & 0xFFFF


machines = pytest.mark.parametrize("machine", list(ARCHITECTURES))
NUMBERS = {
    "clone": (56, 220),
    "clone3": (435, 435),
    "unshare": (272, 97),
    "ioctl": (16, 29),
    "personality": (135, 92),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "read": (0, 63),
    "execve": (59, 221),
    "ptrace": (101, 117),
    "seccomp": (317, 277),
    "mount": (165, 40),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "io_uring_setup": (425, 425),
}


def number_of(name: str, machine: str) -> int:
    return NUMBERS[name][list(ARCHITECTURES).index(machine)]


@machines
def test_every_listed_call_is_refused(machine: str) -> None:
    for name, call in seccomp._REFUSED.items():
        number = call.x86_64 if machine == "x86_64" else call.aarch64
        if number is not None:
            assert judge(machine, number) == errno.EPERM, name


@machines
@pytest.mark.parametrize("name", ["mount", "keyctl", "bpf", "io_uring_setup"])
def test_numbers_are_those_of_the_machine(machine: str, name: str) -> None:
    assert judge(machine, number_of(name, machine)) == errno.EPERM


@machines
@pytest.mark.parametrize("name", ["read", "execve", "ptrace", "seccomp"])
def test_ordinary_calls_are_allowed(machine: str, name: str) -> None:
    assert judge(machine, number_of(name, machine)) == "allowed"


@machines
@pytest.mark.parametrize("flag", [0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000])
def test_no_new_namespaces(machine: str, flag: int) -> None:
    assert judge(machine, number_of("clone", machine), flag | 17) == errno.EPERM
    assert judge(machine, number_of("unshare", machine), flag) == errno.EPERM


@machines
def test_forks_and_threads_are_allowed(machine: str) -> None:
    clone = number_of("clone", machine)
    assert judge(machine, clone, 17) == "allowed"
    assert judge(machine, clone, 0x3D0F00) == "allowed"  # a thread
    assert judge(machine, clone, 0x4000 | 0x100 | 17) == "allowed"  # vfork
    assert judge(machine, number_of("clone3", machine)) == errno.ENOSYS
    assert judge(machine, number_of("unshare", machine), 0x600) == "allowed"  # files of its own, for a thread
    assert judge(machine, number_of("unshare", machine), 0x80) == errno.EPERM


@machines
def test_nobody_types_for_others(machine: str) -> None:
    ioctl = number_of("ioctl", machine)
    for command in (0x5412, 0x541C):
        assert judge(machine, ioctl, 0, command) == errno.EPERM
        # The kernel looks at the lower half only, so a filter that looked at all of it could be passed.
        assert judge(machine, ioctl, 0, command | 1 << 32) == errno.EPERM
    assert judge(machine, ioctl, 0x5412, 0x5401) == "allowed"


@machines
def test_nobody_takes_a_file_out_of_its_quota(machine: str) -> None:
    for command in (0x40086602, 0x401C5820):  # FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR
        assert judge(machine, number_of("ioctl", machine), 3, command) == errno.EPERM
    for command in (0x80086601, 0x801C581F):  # to look is allowed
        assert judge(machine, number_of("ioctl", machine), 3, command) == "allowed"
    assert judge(machine, 469) == errno.EPERM  # file_setattr


@machines
def test_families_of_sockets(machine: str) -> None:
    for name in ("socket", "socketpair"):
        number = number_of(name, machine)
        for family in range(64):
            expected = "allowed" if family in (1, 2, 10, 16) else errno.EAFNOSUPPORT
            assert judge(machine, number, family) == expected


@machines
def test_personalities(machine: str) -> None:
    personality = number_of("personality", machine)
    for value in (0, 0x40000, 0xFFFFFFFF, 2**64 - 1):
        assert judge(machine, personality, value) == "allowed"
    for value in (0x400000, 8, 0x40008):
        assert judge(machine, personality, value) == errno.EPERM


def test_other_architectures() -> None:
    for machine in ARCHITECTURES:
        program = seccomp.program(machine)
        assert program is not None
        assert run(program, 0x40000003, 20) == KILLED
    assert judge("x86_64", 0x40000000 | 39) == errno.ENOSYS
    assert seccomp.program("vax") is None
