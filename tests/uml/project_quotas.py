"""Run by `tests/live/test_project_quotas.py` inside a kernel that has project quotas, on XFS and on ext4."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from projecthub import Project
from projecthub.errors import LimitError
from projecthub.files import CopyOptions, Homes, kernel_quotas
from projecthub.wire.ids import ProjectId
from tests.hubs import HubProcess

TOP = Path("/mnt/quotas")
MB = 1_000_000
UID = 20_001
ONE, OTHER = (ProjectId(f"{n}0000000-0000-4000-8000-000000000000") for n in (1, 2))


def write(path: Path, size: int) -> int:
    """Have a project's user write so much; tells how much that became."""
    with path.open("wb") as file:
        os.fchown(file.fileno(), UID, UID)
        subprocess.run(
            ["head", "-c", str(size), "/dev/zero"], stdout=file, stderr=subprocess.DEVNULL, user=UID, check=False
        )
    return path.stat().st_size


@pytest.fixture
def root() -> Iterator[Path]:
    root = TOP / "projects"
    root.mkdir()
    yield root
    subprocess.run(["rm", "-rf", str(root)], check=True)


@pytest.fixture
def homes(root: Path) -> Iterator[Homes]:
    made = Homes(root)
    made.open()
    yield made
    made.close()


def limit_mb(root: Path, project_id: ProjectId) -> float:
    return round((kernel_quotas.limit_of(root / project_id) or 0) / MB, 1)


def test_limits_are_for_each_directory(root: Path) -> None:
    assert kernel_quotas.is_offered(root)
    assert os.listdir(root) == []  # the trial has left nothing
    one, other, bare = (root / name for name in ("one", "other", "bare"))
    for directory in (one, other, bare):
        directory.mkdir()
    for directory in (one, other):
        kernel_quotas.number(directory)
        assert kernel_quotas.limit_of(directory) is None
    assert kernel_quotas.limit(one, 2 * MB)
    assert not kernel_quotas.limit(bare, 2 * MB)
    (one / "deep").mkdir()
    assert 1.5 * MB < write(one / "deep/file", 4 * MB) < 2.1 * MB
    assert write(other / "file", 4 * MB) == write(bare / "file", 4 * MB) == 4 * MB
    (one / "deep/file").unlink()
    os.chown(one, UID, UID)
    subprocess.run(["sh", "-c", "seq 3000 | xargs touch"], cwd=one, user=UID, stderr=subprocess.DEVNULL, check=False)
    assert 1900 < len(os.listdir(one)) < 2000  # empty ones, which take no room
    assert kernel_quotas.limit(one, None)
    assert write(one / "deep/file", 4 * MB) == 4 * MB
    with pytest.raises(OSError) as refused:
        os.rename(bare / "file", one / "moved")
    assert refused.value.errno == errno.EXDEV


async def test_copies_may_write_what_they_were_promised(root: Path, homes: Homes) -> None:
    assert homes.holds.are_offered
    for project_id in (ONE, OTHER):
        await homes.ensure(project_id, uid=UID)
    assert not await homes.is_held(ONE)
    await homes.hold(ONE, 5 * MB)
    assert await homes.is_held(ONE)
    held = limit_mb(root, ONE)
    assert write(homes.path(ONE) / "hw", 4 * MB) == 4 * MB
    assert write(homes.path(OTHER) / "hw", 4 * MB) == 4 * MB
    os.utime(homes.path(OTHER) / "hw", (2**31, 2**31))

    async def copy(target_path: str) -> None:
        await homes.copy(
            src_project_id=OTHER,
            src_path="hw",
            target_project_id=ONE,
            target_path=target_path,
            options=CopyOptions(),
            uid=UID,
            quota_bytes=5 * MB,
        )

    with pytest.raises(LimitError, match="disk quota of 5 MB"):
        await copy("another")
    assert limit_mb(root, ONE) == held
    await copy("hw")  # old and new are there at a time
    assert limit_mb(root, ONE) == round(held + 4, 1)
    assert homes.holds.promised() == {ONE}
    await homes.hold(ONE, 5 * MB)
    assert (limit_mb(root, ONE), homes.holds.promised()) == (held, set())
    assert write(homes.path(ONE) / "more", 4 * MB) < 3 * MB


async def test_the_hub_can_work_in_a_full_home(root: Path, homes: Homes) -> None:
    await homes.ensure(ONE, uid=UID)
    await homes.hold(ONE, 2 * MB)
    held = limit_mb(root, ONE)
    assert write(homes.path(ONE) / "big", 4 * MB) < 3.1 * MB

    def make() -> None:
        assert held + 1.5 < limit_mb(root, ONE) < held + 2.5
        for n in range(20):
            (homes.path(ONE) / f"{n}").write_bytes(bytes(8192))

    homes.holds.lending([homes.path(ONE).parent], make)()
    assert limit_mb(root, ONE) == held


async def test_what_a_killed_hub_has_left_in_a_full_home_goes(root: Path, homes: Homes) -> None:
    home = await homes.ensure(ONE, uid=UID)
    await homes.hold(ONE, 2 * MB)
    left = root / ONE / "staging/left"
    left.mkdir()
    with contextlib.suppress(OSError):  # to the last block
        for n in range(9):
            write(home / f"{n}", 4 * MB)
    await homes.ensure(ONE, uid=UID)
    assert not left.exists()


async def test_another_hub_knows_the_limit(root: Path, homes: Homes) -> None:
    await homes.ensure(ONE, uid=UID)
    await homes.hold(ONE, 5 * MB)
    held = limit_mb(root, ONE)
    another = Homes(root)
    another.open()
    allowance = await another.reserve(ONE, 2 * MB, 0, 5 * MB, "this file")
    assert limit_mb(root, ONE) == round(held + 2, 1)
    allowance.close()  # nothing was written
    assert limit_mb(root, ONE) == held
    allowance = await another.reserve(ONE, 100 * MB, 200 * MB, 5 * MB, "this file")
    assert limit_mb(root, ONE) == 2 * held  # never more than twice
    allowance.close()
    another.close()


async def test_a_home_from_before_is_not_held(root: Path) -> None:
    before = Homes(root)
    await before.ensure(ONE, uid=UID)
    before.close()
    after = Homes(root)
    after.open()
    await after.ensure(ONE, uid=UID)
    await after.hold(ONE, 5 * MB)
    assert not await after.is_held(ONE)
    (allowance,) = await asyncio.gather(after.reserve(ONE, MB, 0, 5 * MB, "this file"))
    allowance.close()
    after.close()


_TAKE_OUT = """
import fcntl, os
for number, size in ((0x401C5820, 28), (0x40086602, 8)):
    try:
        fcntl.ioctl(os.open(".", os.O_RDONLY), number, bytes(size))
    except OSError as error:
        print(error.errno)
"""


@pytest.mark.skipif(os.environ.get("KIND") != "xfs", reason="one hub is enough")
def test_a_project_without_a_user_namespace_cannot_leave_its_quota() -> None:
    most = Path("/proc/sys/user/max_user_namespaces")
    before = most.read_text()
    most.write_text("0")
    directory = TOP / "without"
    directory.mkdir()
    try:
        with contextlib.closing(HubProcess(directory)) as process, process.hub() as hub:
            project = hub.project(hub.projects.create_project(title="one"))
            hub.projects.start(project.project_id)
            done = project.system.exec("python3", ["-c", _TAKE_OUT])
            assert str(done["stdout"]).split() == [str(errno.EPERM)] * 2
    finally:
        most.write_text(before)


@pytest.mark.skipif(
    os.environ.get("KIND") != "xfs", reason="one hub is enough: starting it takes a quarter of a minute"
)
def test_a_project_is_held_to_its_quota() -> None:
    directory = TOP / "data"
    directory.mkdir()
    with contextlib.closing(HubProcess(directory, PROJECTHUB_DISK_MB="10")) as process, process.hub() as hub:
        full, other = (hub.project(hub.projects.create_project(title=title)) for title in ("full", "other"))
        for project in (full, other):
            hub.projects.start(project.project_id)

        def bash(project: Project, script: str) -> str:
            return str(project.system.exec(script, bash=True, err_on_exit=False)["stdout"])

        status = hub.projects.status(full.project_id)
        assert status["limits"]["enforced_by"]["disk"] == "project quotas"
        assert 9 * MB < int(bash(full, "head -c 20000000 /dev/zero >big 2>/dev/null; stat -c %s big")) < 11.1 * MB
        assert bash(full, "echo more 2>/dev/null >more || echo full") == "full\n"
        assert int(bash(other, "head -c 9000000 /dev/zero >big; stat -c %s big")) == 9 * MB

        # A full project still opens, lists and deletes.
        hub.projects.stop(full.project_id)
        hub.projects.start(full.project_id)
        assert "big" in {entry["name"] for entry in full.files.list()}
        full.files.delete("big")
        full.files.trash.empty()
        assert int(bash(full, "head -c 6000000 /dev/zero >big; stat -c %s big")) == 6 * MB

        # What is kept to undo a copy lies beside the quota.
        bash(full, "touch -d 2001-01-01 big")
        bash(other, "head -c 6000000 /dev/zero >big")
        hub.projects.copy_path_between_projects(other.project_id, "big", full.project_id)
        assert int(bash(full, "head -c 3000000 /dev/zero >more; stat -c %s more")) == 3 * MB
        assert int(bash(full, "head -c 9000000 /dev/zero >more 2>/dev/null; stat -c %s more")) < 5 * MB
