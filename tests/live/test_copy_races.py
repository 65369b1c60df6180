"""Copies while a hostile project swaps what it can, and copies that are killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from projecthub.errors import HubError, LimitError
from projecthub.files.copying import Application, End, copy_path, discard, record_path, settle
from projecthub.files.copying.workers import Workers
from projecthub.files.paths import LeavesHomeError, open_by_hand, open_by_kernel
from projecthub.files.plans import CopyOptions, Course
from projecthub.files.staging import StagingRun, is_empty

RACE_S = 1.5
SECRET = b"SECRET"

# Names are swapped relative to descriptors from before: as if in a sandbox, the attacker himself never gets outside.
SWAP = """
import ctypes, os, sys
swap = ctypes.CDLL(None).renameat2
places = [(os.open(os.path.dirname(path), os.O_PATH), os.fsencode(os.path.basename(path))) for path in sys.argv[1:]]
print("ready", flush=True)
while os.getppid() != 1:
    for one, other in zip(places[::2], places[1::2]):
        swap(*one, *other, 2)
"""

COPY = """
import sys
from pathlib import Path
from projecthub.files.copying import End, copy_path
from projecthub.files.plans import CopyOptions, Course
top = Path(sys.argv[1])
print("ready", flush=True)
copy_path(
    End(top / "one/home", "src"), End(top / "other/home", "dst"), options=CopyOptions(overwrite_newer=True), uid=None,
    course=Course(None),
)
"""


@contextlib.contextmanager
def child(script: str, *arguments: Path | str) -> Iterator[subprocess.Popen[bytes]]:
    """A Python process that has told that it is ready, and is killed in the end."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)], stdout=subprocess.PIPE, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield process
        finally:
            process.kill()


def copy(top: Path, options: CopyOptions, uid: int | None = None, target: str = "dst") -> int:
    """Copy, and tell how many files were; that it could not be is no surprise here."""
    source, where = End(top / "one/home", "src"), End(top / "other/home", target)
    with contextlib.suppress(HubError):
        return copy_path(source, where, options=options, uid=uid, course=Course(20)).files
    return 0


def copy_by(workers: Workers, top: Path, options: CopyOptions, uid: int | None, target: str = "dst") -> int:
    """The same by other processes, in steps."""
    source, where, course = End(top / "one/home", "src"), End(top / "other/home", target), Course(20)
    manifest, plan, record = top / "work/manifest", top / "work/plan", record_path(where.home, "by-others")
    with contextlib.suppress(HubError):
        workers.walk(source, manifest, exclude=options.exclude, hashes=False, course=course)
        workers.compare(source, manifest, where, plan, options=options, course=course)
        one = Application(record, source, manifest, where, plan, uid=uid, options=options, course=course)
        failed = workers.stage_many([one])
        return 0 if failed else one.commit().files
    return 0


def fingerprint(directory: Path) -> dict[str, tuple[object, ...]]:
    """All that could be changed of a directory and of what is in it."""
    found: dict[str, tuple[object, ...]] = {}
    for path in (directory, *directory.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else None
        found[str(path)] = (status.st_ino, status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, content)
    return found


def contents(directory: Path) -> Iterator[bytes]:
    for where, _, names in os.walk(directory):
        for name in names:
            fd = None
            with contextlib.suppress(OSError):
                fd = os.open(Path(where) / name, os.O_RDONLY | os.O_NOFOLLOW)
            if fd is not None:
                with open(fd, "rb") as file:
                    yield file.read()


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """Two homes, and beside them what no copy may read or change."""
    for name in ("outside", "outside/deep"):
        (tmp_path / name).mkdir(parents=True)
        for number in range(5):
            (tmp_path / name / f"f{number}").write_bytes(SECRET)
    for home in ("one/home/src", "other/home/dst"):
        for name in ("", "dir", "dir/deep", "hide"):
            (tmp_path / home / name).mkdir(parents=True, exist_ok=True)
            for number in range(5):
                (tmp_path / home / name / f"f{number}").write_bytes(home.encode())
    return tmp_path


@pytest.mark.parametrize("by_workers", [False, True])
def test_a_copy_reads_and_changes_nothing_outside_of_the_homes(top: Path, by_workers: bool) -> None:
    (top / "work").mkdir()
    workers = Workers(1)
    outside = top / "outside"
    pairs = []
    for home in (top / "one/home", top / "other/home"):
        inner = home / ("src" if home == top / "one/home" else "dst")
        for number, (place, aim) in enumerate(
            [(inner / "dir", outside), (inner / "dir/deep", outside / "deep"), (inner / "f1", outside / "f1")]
        ):
            bait = home / f".bait{number}"
            bait.symlink_to(aim)
            pairs += [place, bait]
        (home / ".top").symlink_to(outside)
        pairs += [inner, home / ".top", inner / "hide", inner / "f2"]
    before = fingerprint(outside)
    uid = 12345 if os.geteuid() == 0 else None
    rounds = copied = 0
    with child(SWAP, *pairs), contextlib.closing(workers):
        end = time.monotonic() + RACE_S
        while time.monotonic() < end:
            options = CopyOptions(
                overwrite_newer=True,
                delete_missing=rounds % 2 == 1,
                backup=rounds % 5 == 1,
                exclude=("x",) * (rounds % 3),
            )
            target = "dst" if rounds % 4 else f"new{rounds}"
            if by_workers:
                copied += copy_by(workers, top, options, uid, target)
                discard(top / "other/copies/by-others")
            else:
                copied += copy(top, options, uid, target)
            rounds += 1
            assert fingerprint(outside) == before
    assert copied > 0
    assert SECRET not in set(contents(top / "other"))
    assert set(os.listdir(top)) == {"one", "other", "outside", "work"}
    assert set(os.listdir(top / "other")) == {"home", "staging", "copies"}
    assert os.listdir(top / "other/copies") == []
    assert os.listdir(top / "other/staging") == []


@pytest.mark.parametrize("opener", [open_by_kernel, open_by_hand])
def test_a_path_is_never_opened_outside(top: Path, opener: Callable[..., int]) -> None:
    home = top / "one/home"
    (home / ".bait").symlink_to(top / "outside")
    (home / "src/hide/link").symlink_to("../dir/deep")
    root_fd = os.open(home, os.O_PATH)
    opened = refused = 0
    with child(SWAP, home / "src/dir", home / ".bait", home / "src/dir/deep", home / "src/hide/f4"):
        end = time.monotonic() + RACE_S
        while time.monotonic() < end:
            for path, follow in (("src/dir/f1", True), ("src/dir/deep/f1", False), ("src/hide/link/f1", True)):
                try:
                    fd = opener(root_fd, path, os.O_RDONLY, follow=follow)
                except (LeavesHomeError, OSError):
                    refused += 1
                    continue
                with open(fd, "rb") as file:
                    assert file.read() == b"one/home/src"
                opened += 1
    os.close(root_fd)
    assert opened > 0, "the race was never lost by the attacker"
    assert refused > 0, "the race was never won by the attacker"


@pytest.mark.parametrize("exists", [True, False])
def test_a_killed_copy_leaves_the_old_or_the_new(top: Path, exists: bool) -> None:
    source, target = top / "one/home/src", top / "other/home/dst"
    for number in range(400):
        (source / f"dir/g{number}").write_bytes(f"{number} ".encode() * 20_000)
    new = {str(path.relative_to(source)): path.is_dir() or path.read_bytes() for path in source.rglob("*")}
    old: dict[str, object] = {}
    seen = [0, 0]
    for wanted in range(0, 440, 40):
        subprocess.run(["rm", "-rf", target], check=True)
        if exists:
            for number in range(400):
                (target / "dir").mkdir(parents=True, exist_ok=True)
                (target / f"dir/g{number}").write_bytes(b"old")
            old = {str(path.relative_to(target)): path.is_dir() or path.read_bytes() for path in target.rglob("*")}
        with child(COPY, top) as process:
            while process.poll() is None and _staged(top) < wanted:
                pass
            process.send_signal(signal.SIGKILL)
            process.wait()
        StagingRun(top / "other/staging").close()
        settle(top / "other/home")
        found = {str(path.relative_to(target)): path.is_dir() or path.read_bytes() for path in target.rglob("*")}
        assert found in (old, new)
        seen[found == new] += 1
        assert os.listdir(top / "other/staging") == []
        assert is_empty(top / "other/copies")
    assert seen[0] > 4
    copy(top, CopyOptions(overwrite_newer=True))
    assert {str(path.relative_to(target)) for path in target.rglob("*")} == set(new)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small file system")
@pytest.mark.parametrize("exists", [False, True])
def test_a_full_disk_ends_a_copy_and_changes_nothing(top: Path, exists: bool) -> None:
    source, target = top / "one/home/src", top / "other"
    for number in range(30):
        (source / f"g{number}").write_bytes(os.urandom(100_000))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", target], check=True)
    try:
        (target / "home").mkdir()
        if exists:
            (target / "home/dst").mkdir()
            for number in range(3):
                (target / f"home/dst/g{number}").write_bytes(b"old")
                os.utime(target / f"home/dst/g{number}", (1, 1))
        before = fingerprint(target / "home")
        ends = End(top / "one/home", "src"), End(target / "home", "dst")
        with pytest.raises(LimitError, match="no space left"):
            copy_path(*ends, options=CopyOptions(), uid=None, course=Course(None))
        assert fingerprint(target / "home") == before
        assert os.listdir(target / "staging") == []
        assert is_empty(target / "copies")
    finally:
        subprocess.run(["umount", target], check=True)


def _staged(top: Path) -> int:
    """How many files a copy has made ready."""
    return sum(len(names) for _, _, names in os.walk(top / "other/copies"))
