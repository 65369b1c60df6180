"""The kernel's calls that Python does not offer: namespaces, mounts, privileges. Through libc, by ctypes."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
from pathlib import Path

CLONE_PARENT = 0x00008000
CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
_CLONE_INTO_CGROUP = 0x200000000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MNT_DETACH = 0x2

# Younger system calls have the same numbers on every architecture, alpha aside.
_SYS_MOUNT_SETATTR = 442
_SYS_LANDLOCK_CREATE_RULESET = 444
_SYS_LANDLOCK_ADD_RULE = 445
_SYS_LANDLOCK_RESTRICT_SELF = 446
_LANDLOCK_CREATE_RULESET_VERSION = 1
_LANDLOCK_RULE_PATH_BENEATH = 1
_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
# The low bits of mount_setattr's attributes are those of mount(2): rdonly 1, nosuid 2, nodev 4, noexec 8.

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NAME = 15
_PR_SET_SECCOMP = 22
_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522
_SECCOMP_MODE_FILTER = 2

# The younger clone3 is forbidden in many containers; it serves where the number of the older one is not known.
_SYS_CLONE = {"x86_64": 56, "aarch64": 220, "riscv64": 220, "loongarch64": 220}.get(os.uname().machine, 0)
_SYS_CLONE3 = 435

_libc = ctypes.CDLL(None, use_errno=True)
_libc_with_lock = ctypes.PyDLL(None, use_errno=True)
"""For what must not let go of the interpreter's lock."""
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_libc.prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)


class _MountAttributes(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


class _LandlockRuleset(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _LandlockPathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


class _FilterProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def unshare(flags: int) -> None:
    """Enter new namespaces of the kinds in ``flags`` (``CLONE_NEW*``)."""
    _check(_libc.unshare(flags))


def fork_sibling(flags: int, group: int | None = None) -> int:
    """Fork a process whose parent is ours, in new namespaces of the kinds in ``flags`` (``CLONE_NEW*``).

    Args:
        flags: Of the namespaces.
        group: The directory of a control group of version 2, in which it is to be from the beginning (Linux 5.7).

    For a process of one thread. Nothing of what modules have asked to be told of a fork runs in the new process, which
    costs each some 700 KB of memory: what its own children do by `os.fork`.

    Returns:
        The new process's id; 0 in the new process.

    Raises:
        OSError: The kernel refuses.
    """
    return _check(_libc_with_lock.syscall(*_clone_call(flags | CLONE_PARENT, group)))


def _clone_call(flags: int, group: int | None) -> tuple[object, ...]:
    if _SYS_CLONE and group is None:
        zero = ctypes.c_ulong(0)
        return ctypes.c_long(_SYS_CLONE), ctypes.c_ulong(flags | signal.SIGCHLD), zero, zero, zero, zero
    # The signal of its end is that of the parent's other children.
    arguments = (ctypes.c_uint64 * 8)(flags)
    if group is not None:
        arguments = (ctypes.c_uint64 * 11)(flags | _CLONE_INTO_CGROUP)
        arguments[10] = group
    return ctypes.c_long(_SYS_CLONE3), ctypes.byref(arguments), ctypes.c_size_t(ctypes.sizeof(arguments))


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """Mount ``source`` at ``target``; the arguments are those of the system call."""
    _check(
        _libc.mount(os.fsencode(source), os.fsencode(target), kind.encode() if kind else None, flags, options.encode())
    )


def bind(source: str, target: str, attributes: int) -> None:
    """Show the tree at ``source`` at ``target`` too, every mount below it included.

    Args:
        source: A directory or file.
        target: An existing one of the same sort.
        attributes: ``MS_RDONLY``, ``MS_NOSUID``, ``MS_NODEV``, ``MS_NOEXEC`` to set on the whole tree.
    """
    mount(source, target, None, MS_BIND | MS_REC)
    restrict(target, attributes)


def restrict(target: str, attributes: int) -> None:
    """Add ``MS_RDONLY``, ``MS_NOSUID``, ``MS_NODEV``, ``MS_NOEXEC`` to a mount and to all mounts below it."""
    wanted = _MountAttributes(attr_set=attributes)
    try:
        _check(
            _libc.syscall(
                ctypes.c_long(_SYS_MOUNT_SETATTR),
                ctypes.c_int(_AT_FDCWD),
                ctypes.c_char_p(os.fsencode(target)),
                ctypes.c_uint(_AT_RECURSIVE),
                ctypes.byref(wanted),
                ctypes.c_size_t(ctypes.sizeof(wanted)),
            )
        )
    except OSError as error:
        # Linux before 5.12, or a filter that does not know the call.
        if error.errno not in (errno.ENOSYS, errno.EPERM):
            raise
        for path, present in _mounts_below(target):
            mount("none", path, None, MS_REMOUNT | MS_BIND | present | attributes)


def _mounts_below(target: str) -> list[tuple[str, int]]:
    """The mount at ``target`` and all below it, each with the attributes that it has already."""
    known = {"ro": MS_RDONLY, "nosuid": MS_NOSUID, "nodev": MS_NODEV, "noexec": MS_NOEXEC}
    found: dict[str, int] = {}
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        fields = line.split()
        path = os.fsdecode(fields[4].decode("unicode_escape").encode("latin-1"))
        if path == target or path.startswith(target.rstrip("/") + "/"):
            found[path] = sum(known.get(option, 0) for option in fields[5].decode().split(","))
    return list(found.items())


def change_root(new_root: str) -> None:
    """Make the mount ``new_root`` the root of this mount namespace and let go of the old one."""
    os.chdir(new_root)
    _check(_libc.pivot_root(b".", b"."))
    # The old root now lies over the new one; taking it off leaves the new one alone.
    _check(_libc.umount2(b".", MNT_DETACH))
    os.chdir("/")


def set_host_name(name: str) -> None:
    """Set the host name of this uts namespace."""
    encoded = name.encode()
    _check(_libc.sethostname(encoded, ctypes.c_size_t(len(encoded))))


def set_process_name(name: str) -> None:
    """Set what `ps` shows as the command's name: 15 characters at most."""
    buffer = ctypes.create_string_buffer(name.encode()[:15])
    _check(_libc.prctl(_PR_SET_NAME, ctypes.addressof(buffer), 0, 0, 0))


def set_dumpable(dumpable: bool) -> None:
    """Whether processes of the same uid may look into this one, and whether its /proc files are its own."""
    _check(_libc.prctl(_PR_SET_DUMPABLE, int(dumpable), 0, 0, 0))


def adopt_orphans() -> None:
    """Become the parent of every descendant whose parent ends."""
    _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))


def die_with_parent() -> None:
    """Be killed when the thread that has started this process ends, however it ends; even while stopped."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))


def forbid_new_privileges() -> None:
    """Let no program that is executed from here on gain anything: set-uid bits and file capabilities are void."""
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def empty_bounding_set() -> None:
    """Give up every capability for the programs that are executed from here on; this process keeps its own."""
    for capability in range(64):
        if _libc.prctl(_PR_CAPBSET_READ, capability, 0, 0, 0) < 0:
            return
        _check(_libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0))


def drop_capabilities() -> None:
    """Give up every capability of this process: ambient, effective, permitted and inheritable."""
    _check(_libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
    header = _CapabilityHeader(version=_CAPABILITY_VERSION_3, pid=0)
    _check(_libc.capset(ctypes.byref(header), (ctypes.c_uint32 * 6)()))


def landlock_abi() -> int:
    """The version of Landlock that the kernel offers; 0: none."""
    return max(
        0,
        int(
            _libc.syscall(
                ctypes.c_long(_SYS_LANDLOCK_CREATE_RULESET),
                ctypes.c_void_p(None),
                ctypes.c_size_t(0),
                ctypes.c_uint32(_LANDLOCK_CREATE_RULESET_VERSION),
            )
        ),
    )


def landlock_ruleset(handled_access_fs: int, scoped: int) -> int:
    """A new Landlock ruleset, as a file descriptor.

    Args:
        handled_access_fs: What is denied unless a rule allows it; bits of ``LANDLOCK_ACCESS_FS_*``.
        scoped: What ends at the border of the domain; bits of ``LANDLOCK_SCOPE_*``.
    """
    attributes = _LandlockRuleset(handled_access_fs=handled_access_fs, scoped=scoped)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    call = ctypes.c_long(_SYS_LANDLOCK_CREATE_RULESET)
    return _check(_libc.syscall(call, ctypes.byref(attributes), size, ctypes.c_uint32(0)))


def allow_beneath(ruleset_fd: int, path: str, access_fs: int) -> None:
    """Allow kinds of access to a directory and all below it. Nothing if there is no such directory."""
    try:
        parent_fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        rule = _LandlockPathBeneath(allowed_access=access_fs, parent_fd=parent_fd)
        call = ctypes.c_long(_SYS_LANDLOCK_ADD_RULE)
        kind = ctypes.c_int(_LANDLOCK_RULE_PATH_BENEATH)
        _check(_libc.syscall(call, ctypes.c_int(ruleset_fd), kind, ctypes.byref(rule), ctypes.c_uint32(0)))
    finally:
        os.close(parent_fd)


def restrict_by_landlock(ruleset_fd: int) -> None:
    """Hold this process and all it will start to a ruleset, for good. Needs `forbid_new_privileges`."""
    _check(_libc.syscall(ctypes.c_long(_SYS_LANDLOCK_RESTRICT_SELF), ctypes.c_int(ruleset_fd), ctypes.c_uint32(0)))


def filter_system_calls(program: bytes) -> None:
    """Have every system call of this process and of all it will start judged by a program, for good.

    Args:
        program: Classic BPF, 8 bytes an instruction. Needs `forbid_new_privileges`.
    """
    filter_program = _FilterProgram(length=len(program) // 8, instructions=program)
    _check(_libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(filter_program), 0, 0))


_KEYCTL = {"x86_64": 250, "aarch64": 219, "riscv64": 219}.get(os.uname().machine)
_KEYCTL_JOIN_SESSION_KEYRING = 1


def join_new_keyring() -> None:
    """Let go of the session keyring that was inherited, for an empty one: what it holds is open to all who have it."""
    if _KEYCTL is not None and _libc.syscall(_KEYCTL, _KEYCTL_JOIN_SESSION_KEYRING, None) < 0:
        code = ctypes.get_errno()
        if code != errno.ENOSYS:  # a kernel without keyrings
            raise OSError(code, os.strerror(code))
