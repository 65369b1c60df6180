"""The sandbox: what a project sees of the machine, and what it may do there.

It is built in two steps, so that a start is fast. The launcher, once, enters namespaces of its own and builds a
*skeleton*: the read-only part that is the same for all projects. Each project then takes a copy of that mount
namespace and adds what is its own: home, ``/tmp``, ``/run``, ``/proc``, terminals, shared memory.
"""

from __future__ import annotations

import contextlib
import os
import resource
import stat
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import projecthub
from projecthub.engines.local import kernel, landlock, network, seccomp, user_namespaces
from projecthub.engines.port import Isolation
from projecthub.errors import StartFailed

HOME = "/home/user"
"""Where a project finds its home, whatever it is on the machine."""

HOST_NAME = "project"

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt")
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_DEVICE_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}
# Configuration of the machine that programs need and that holds no secret. Everything else of /etc stays out.
_ETC_COPIED = (
    *("bash.bashrc", "gai.conf", "hosts", "ld.so.cache", "ld.so.conf", "localtime", "mime.types", "profile"),
    *("protocols", "services", "ssl/openssl.cnf", "timezone"),
)
_ETC_BOUND = ("alternatives", "ca-certificates", "fonts", "pki", "ssl/certs")
_NSSWITCH = "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n"

_OWN_DIRECTORIES = {
    "/tmp": "size=25%,mode=1777",  # noqa: S108 - a project's own
    "/dev/shm": "size=25%,mode=1777",  # noqa: S108
    "/run": "size=64m,mode=0755",
}
_LIMITED_SHARES = {"/tmp": 4, "/dev/shm": 4, "/run": 8}  # noqa: S108
"""Which part of its memory limit a project's files in memory may fill: they count as memory, and cannot be ended."""
PROJECT_NAMESPACES = kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS | kernel.CLONE_NEWPID
"""What is always a project's own. Its network may be, too."""

_CLEAN = kernel.MS_NOSUID | kernel.MS_NODEV
MAX_OPEN_FILES = 4096
"""Of each process. What the kernel keeps for a socket is not all counted as the project's memory."""
_MAX_PROCESSES = 4096


@contextlib.contextmanager
def _step(what: str) -> Iterator[None]:
    """Say which step of building failed, without saying where on the machine."""
    try:
        yield
    except OSError as error:
        raise StartFailed(f"the sandbox could not be built: {what}: {error.strerror}") from error


def prepare(isolation: Isolation, root: Path, hidden: Sequence[Path]) -> None:
    """Enter the launcher's own namespaces and build the skeleton there. For a process of one thread.

    Args:
        isolation: ``FULL`` or ``USER``.
        root: An empty directory; the skeleton is mounted on it, visible to this process and its children only.
        hidden: Directories no project may see, even where they lie inside a tree that is shown (``/opt``).

    Raises:
        StartFailed: The kernel refuses, with the step that failed.
    """
    os.umask(0o022)
    _enter_own_namespaces(isolation)
    with _step("privileges"):
        kernel.empty_bounding_set()
        kernel.forbid_new_privileges()
    _build_skeleton(str(root), hidden)


def _enter_own_namespaces(isolation: Isolation) -> None:
    """Enter a mount namespace, in a user namespace in which ids mean what they mean outside."""
    with user_namespaces.mapped_by_helper(user_namespaces.write_same_ids) as go:
        try:
            kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS)
        except OSError as error:
            if isolation is not Isolation.FULL:
                raise StartFailed(f"this machine does not offer user namespaces: {error.strerror}") from error
            # Root can do without: what forbids user namespaces to root forbids them to projects too.
            with _step("mount namespace"):
                kernel.unshare(kernel.CLONE_NEWNS)
            return
        go()
    if isolation is Isolation.FULL:  # else each project enters one of its own, which allows no more
        user_namespaces.allow_no_more()


def _build_skeleton(root: str, hidden: Sequence[Path]) -> None:
    with _step("private mounts"):
        kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
        kernel.mount("project", root, "tmpfs", _CLEAN, "size=16m,mode=0755")
    for directory in ("etc/ssl", "dev/pts", "dev/shm", "proc", "run", "tmp", "var", HOME[1:], "root"):
        Path(root, directory).mkdir(parents=True, exist_ok=True)
    Path(root, "var/tmp").symlink_to("../tmp")
    Path(root, "var/run").symlink_to("../run")
    _show_system(root, hidden)
    with _step("configuration"):
        _make_etc(root)
    with _step("devices"):
        _make_dev(root)
    with _step("read-only system"):
        kernel.restrict(root, kernel.MS_RDONLY | kernel.MS_NOSUID)


def _show_system(root: str, hidden: Sequence[Path]) -> None:
    """Bind the system and this Python installation."""
    trees = []
    for path in _SYSTEM:
        if Path(path).is_symlink():
            Path(root + path).symlink_to(Path(path).readlink())
        elif Path(path).is_dir():
            trees.append(path)
    _show(root, [*trees, *_python_trees()], hidden)


def _show(root: str, trees: Sequence[str], hidden: Sequence[Path]) -> None:
    """Bind trees of the machine, and cover what is hidden in them, outer directories first."""
    shown = [(path, True) for path in trees]
    for path in {os.path.realpath(each) for each in hidden}:
        if any((path + "/").startswith(tree + "/") for tree in trees):
            shown.append((path, False))
    for path, visible in sorted(shown, key=lambda each: (each[0].count("/"), each[0], not each[1])):
        with _step("system directories"):
            target = root + path
            Path(target).mkdir(parents=True, exist_ok=True)
            if visible:
                kernel.bind(path, target, _CLEAN)
            else:
                kernel.mount("hidden", target, "tmpfs", _CLEAN, "size=1m,mode=0755")


def _python_trees() -> list[str]:
    """Where this Python, its packages and this package lie, if not in ``/usr``."""
    paths = {sys.prefix, sys.base_prefix, sysconfig.get_path("purelib"), str(Path(projecthub.__path__[0]))}
    paths |= {os.path.realpath(path) for path in paths}
    outside = [path for path in paths if not path.startswith("/usr/") and path not in ("/", "/usr")]
    return [path for path in outside if not any(path.startswith(other + "/") for other in outside)]


def _make_etc(root: str) -> None:
    etc, host = Path(root, "etc"), Path("/etc")
    for name in _ETC_COPIED:
        if (host / name).is_file() and os.access(host / name, os.R_OK):
            (etc / name).write_bytes((host / name).read_bytes())
    for name in _ETC_BOUND:
        if (host / name).is_dir():
            (etc / name).mkdir(parents=True)
            kernel.bind(str(host / name), str(etc / name), _CLEAN)
    (etc / "nsswitch.conf").write_text(_NSSWITCH)
    (etc / "hostname").write_text(HOST_NAME + "\n")
    for name in ("passwd", "group", "resolv.conf"):
        (etc / name).symlink_to(f"/run/project/{name}")


def _make_dev(root: str) -> None:
    dev = Path(root, "dev")
    for name in _DEVICES:
        (dev / name).touch()
        # Binding instead of making device files: that is refused inside a user namespace, even to root.
        kernel.mount(f"/dev/{name}", str(dev / name), None, kernel.MS_BIND)
    for name, target in _DEVICE_LINKS.items():
        (dev / name).symlink_to(target)


def covered_trees() -> list[str]:
    """Parts of this Python that a project's own directories cover, as when it lies in a checkout below ``/tmp``."""
    return [path for path in _python_trees() if any(path.startswith(own + "/") for own in _OWN_DIRECTORIES)]


def prepare_project(root: str, covered: Sequence[str], hidden: Sequence[Path], *, own_network: bool) -> None:
    """Add to the skeleton what each project has of its own and that does not depend on which it is.

    For a process in new namespaces of the kinds `PROJECT_NAMESPACES`.

    Args:
        root: Where `prepare` built the skeleton.
        covered: What `covered_trees` has found, shown again.
        hidden: As for `prepare`.
        own_network: Whether its network is its own, too.

    Raises:
        StartFailed: A step failed.
    """
    if own_network:
        with _step("network"):
            network.set_up_own()
    with _step("private directories"):
        kernel.mount("proc", root + "/proc", "proc", _CLEAN | kernel.MS_NOEXEC)
        for path, options in _OWN_DIRECTORIES.items():
            kernel.mount("project", root + path, "tmpfs", _CLEAN, options)
        kernel.mount(
            "devpts", root + "/dev/pts", "devpts", kernel.MS_NOSUID, "newinstance,ptmxmode=0666,mode=0620,max=256"
        )
        kernel.set_host_name(HOST_NAME)
    if covered:
        _show(root, covered, hidden)
    for path in covered:
        with _step("read-only system"):
            kernel.restrict(root + path, kernel.MS_RDONLY | kernel.MS_NOSUID)


def limit_files_in_memory(root: str, memory_bytes: int) -> None:
    """Keep what `prepare_project` has mounted below a project's memory limit: a full ``/tmp`` must leave room to work.

    Args:
        root: Where `prepare` built the skeleton.
        memory_bytes: The limit.

    Raises:
        StartFailed: The kernel refuses.
    """
    with _step("size of private directories"):
        for path, share in _LIMITED_SHARES.items():
            found = os.statvfs(root + path)
            size = min(memory_bytes // share, found.f_blocks * found.f_frsize)
            kernel.mount("project", root + path, "tmpfs", kernel.MS_REMOUNT | _CLEAN, f"size={size}")


def enter(*, root: str, home: str, uid: int | None, user: str, resolver: str) -> None:
    """Add a project's home and user to what `prepare_project` has made, and go in.

    Args:
        root: Where `prepare` built the skeleton.
        home: The project's home on the machine.
        uid: The project's uid and gid; None: the caller's own.
        user: The project's user name.
        resolver: What its ``/etc/resolv.conf`` is to say.

    Raises:
        StartFailed: A step failed.
    """
    owner = (os.getuid() if uid is None else uid, os.getgid() if uid is None else uid)
    home_fd = _open_home(home, owner[0])
    with _step("home"):
        kernel.bind(f"/proc/self/fd/{home_fd}", root + HOME, _CLEAN)
    os.close(home_fd)
    with _step("private directories"):
        _make_run(Path(root, "run"), owner, user)
        Path(root, "run/project/resolv.conf").write_text(resolver)
        kernel.change_root(root)


def enter_own_user_namespace() -> None:
    """Enter a user namespace for one project, of a hub that is not root; after `enter`, before `limit_resources`.

    Raises:
        StartFailed: The kernel refuses.
    """
    with _step("user namespace"):
        user_namespaces.enter_own()


def _open_home(home: str, uid: int) -> int:
    try:
        fd = os.open(home, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise StartFailed(f"the project's home cannot be opened: {error.strerror}") from error
    if os.fstat(fd).st_uid != uid:
        raise StartFailed(f"the project's home does not belong to the project's uid {uid}")
    return fd


def _make_run(run: Path, owner: tuple[int, int], user: str) -> None:
    """Name the project's user, and give it a directory for sockets as desktops and tools expect one."""
    uid, gid = owner
    (run / "project").mkdir()
    others = "".join(
        f"{name}:x:{number}:{number}:{name}:/:/usr/sbin/nologin\n"
        for name, number in (("root", 0), ("nobody", 65534))
        if number != uid
    )
    (run / "project/passwd").write_text(f"{user}:x:{uid}:{gid}:project:{HOME}:/bin/bash\n{others}")
    groups = "".join(f"{name}:x:{n}:\n" for name, n in (("root", 0), ("tty", 5), ("nogroup", 65534)) if n != gid)
    (run / "project/group").write_text(f"{user}:x:{gid}:\n{groups}")
    (run / f"user/{uid}").mkdir(parents=True)
    (run / f"user/{uid}").chmod(stat.S_IRWXU)
    os.chown(run / f"user/{uid}", uid, gid)


def clamp_resources(*, own_uid: bool) -> None:
    """Lower the limits that a project inherits; none is ever raised.

    Args:
        own_uid: Whether the project's uid is its own, so that counting the uid's processes counts the project's.
    """
    wanted = {resource.RLIMIT_CORE: 0, resource.RLIMIT_NOFILE: MAX_OPEN_FILES}
    if own_uid:
        wanted[resource.RLIMIT_NPROC] = _MAX_PROCESSES
    _lower(wanted)


def limit_resources(max_address_space_bytes: int | None, max_processes: int | None) -> None:
    """Hold a project to its limits where no control group does: memory of each process, and how many there are.

    Those are what our uid has in our user namespace; before Linux 5.14, on the machine.
    """
    limits = {resource.RLIMIT_AS: max_address_space_bytes, resource.RLIMIT_NPROC: max_processes}
    _lower({limit: value for limit, value in limits.items() if value is not None})


def _lower(wanted: Mapping[int, int]) -> None:
    for limit, value in wanted.items():
        hard = resource.getrlimit(limit)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (value, value))


def drop_privileges(uid: int | None) -> None:
    """Become ``uid`` (None: stay) without supplementary groups, capabilities or ways to new ones.

    Raises:
        StartFailed: The kernel refuses.
    """
    with _step("privileges"):
        if uid is not None:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
        kernel.join_new_keyring()
        kernel.drop_capabilities()
        kernel.forbid_new_privileges()


def confine_init(uid: int | None, *, isolated: bool) -> None:
    """Take from a project's init what it does not need, as from the others.

    But for Landlock: in a domain of its own it could not signal those whom it has to end, and in theirs they could
    signal it.

    Raises:
        StartFailed: The kernel refuses.
    """
    if isolated or uid is not None:
        drop_privileges(uid)
    if isolated:
        with _step("filter of system calls"):
            seccomp.install()


def add_second_layers() -> None:
    """Say again, to Landlock and to a filter of system calls, what namespaces and missing privileges forbid already.

    What the kernel does not offer is left out. The last step: nothing of the building is allowed from here on.

    Raises:
        StartFailed: The kernel offers it, but refuses.
    """
    with _step("Landlock"):
        landlock.restrict(HOME)
    with _step("filter of system calls"):
        seccomp.install()
