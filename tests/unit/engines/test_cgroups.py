"""Control groups: what is read of the machine, and what is written, in made-up trees of both versions."""

from __future__ import annotations

from pathlib import Path

import pytest

from projecthub.engines.local import cgroups
from projecthub.engines.local.cgroups import Group, Mount, Trees
from projecthub.engines.port import Limits

LIMITS = Limits(memory_bytes=100_000_000, cpu_cores=0.5, processes=64)
NONE = Limits()


def tree(directory: Path, *names: str) -> Path:
    """A group's directory as the kernel would have made it."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in names:
        (directory / name).write_text("")
    return directory


def v2(directory: Path) -> Path:
    return tree(directory, "cgroup.events", "cgroup.procs", "memory.max", "memory.swap.max", "cpu.max", "pids.max")


@pytest.mark.parametrize(
    ("limits", "written"),
    [
        (LIMITS, {"memory.max": "100000000", "memory.swap.max": "0", "cpu.max": "50000 100000", "pids.max": "64"}),
        (NONE, {"memory.max": "max", "memory.swap.max": "max", "cpu.max": "max 100000", "pids.max": "max"}),
        (Limits(cpu_cores=0.0001), {"cpu.max": "1000 100000"}),
    ],
)
def test_limits_in_version_2(tmp_path: Path, limits: Limits, written: dict[str, str]) -> None:
    directory = v2(tmp_path)
    Group(dict.fromkeys(("memory", "cpu", "processes"), str(directory))).limit(limits)
    assert {name: (directory / name).read_text() for name in written} == written


@pytest.mark.parametrize(
    ("limits", "memory", "quota", "pids"), [(LIMITS, "100000000", "50000", "64"), (NONE, "-1", "-1", "max")]
)
def test_limits_in_version_1(tmp_path: Path, limits: Limits, memory: str, quota: str, pids: str) -> None:
    group = Group(
        {
            "memory": str(tree(tmp_path / "memory", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes")),
            "cpu": str(tree(tmp_path / "cpu", "cpu.cfs_quota_us")),
            "processes": str(tree(tmp_path / "pids", "pids.max")),
        }
    )
    group.limit(limits)
    assert (tmp_path / "memory/memory.limit_in_bytes").read_text() == memory
    assert (tmp_path / "memory/memory.memsw.limit_in_bytes").read_text() == memory
    assert (tmp_path / "cpu/cpu.cfs_quota_us").read_text() == quota
    assert (tmp_path / "pids/pids.max").read_text() == pids


def test_swap_is_left_alone_where_the_kernel_does_not_account_for_it(tmp_path: Path) -> None:
    Group({"memory": str(tree(tmp_path, "memory.limit_in_bytes"))}).limit(LIMITS)
    assert [path.name for path in tmp_path.iterdir()] == ["memory.limit_in_bytes"]


@pytest.mark.parametrize(
    ("name", "text", "kills"),
    [
        ("memory.events", "low 0\nhigh 0\nmax 7\noom 2\noom_kill 3\noom_group_kill 0\n", 3),
        ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n", 4),
        ("memory.oom_control", "oom_kill_disable 0\n", 0),
        ("memory.events", "oom_kill x\n", 0),
    ],
)
def test_what_was_ended_for_want_of_memory(tmp_path: Path, name: str, text: str, kills: int) -> None:
    (tmp_path / name).write_text(text)
    assert Group({"memory": str(tmp_path)}).oom_kills() == kills
    assert Group({}).oom_kills() == 0


def test_processor_time_of_both_versions(tmp_path: Path) -> None:
    (tmp_path / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\n")
    assert Group({"account": str(tmp_path)}).cpu_s() == 2.5
    (tmp_path / "cpu.stat").unlink()
    (tmp_path / "cpuacct.usage").write_text("1500000000\n")
    assert Group({"account": str(tmp_path)}).cpu_s() == 1.5
    assert Group({}).cpu_s() is None


def proc(directory: Path, cgroup: str, mountinfo: str) -> Path:
    (directory / "cgroup").write_text(cgroup)
    (directory / "mountinfo").write_text(mountinfo)
    return directory


def test_both_versions_side_by_side(tmp_path: Path) -> None:
    unified = tree(tmp_path / "unified")
    (unified / "cgroup.controllers").write_text("hugetlb\n")
    found = cgroups.mounts(
        proc(
            tmp_path,
            "4:memory:/hub\n3:cpu,cpuacct:/\n1:name=systemd:/x\n0::/hub.slice/a b\n",
            "32 31 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
            "33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
            "23 1 0:20 / / rw - ext4 /dev/root rw\n"
            f"41 31 0:38 /hub.slice {unified} rw shared:5 - cgroup2 cgroup2 rw,nsdelegate\n",
        )
    )
    assert Mount(1, frozenset({"memory"}), Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup/memory/hub")) in found
    cpu = Path("/sys/fs/cgroup/cpu,cpuacct")
    assert Mount(1, frozenset({"cpu", "cpuacct"}), cpu, cpu) in found
    assert Mount(2, frozenset({"hugetlb"}), unified, unified / "a b") in found
    assert len(found) == 3


def test_a_mount_of_another_part_of_the_tree_does_not_hold_our_group(tmp_path: Path) -> None:
    unified = tree(tmp_path / "unified")
    (unified / "cgroup.controllers").write_text("memory pids\n")
    mountinfo = f"41 31 0:38 /docker/abc {unified} rw - cgroup2 cgroup2 rw\n"
    (found,) = cgroups.mounts(proc(tmp_path, "0::/docker/abcdef\n", mountinfo))
    assert found.own is None


def test_trees_name_their_versions_and_groups(tmp_path: Path) -> None:
    new, old = v2(tmp_path / "new"), tree(tmp_path / "old", "cgroup.procs")
    trees = Trees(memory=str(new), track=str(new), account=str(new), processes=str(old))
    assert [trees.version(purpose) for purpose in ("memory", "processes", "cpu")] == [2, 1, None]
    assert trees.all() == [new, old]
    group = trees.group("run")
    group.make()
    assert trees.names() == {"run"}
    with pytest.raises(FileExistsError):
        trees.group("run").make()
    assert trees.names() == set()  # what could not be made as a whole is not left in part
    group.make()
    assert group.remove()
    assert trees.names() == set()


def test_what_a_group_offers_is_what_its_own_file_says(tmp_path: Path) -> None:
    base = v2(tmp_path)
    (base / "cgroup.controllers").write_text("memory pids\n")
    mount = Mount(2, frozenset({"memory", "pids", "cpu"}), Path("/sys/fs/cgroup"), base)
    assert cgroups._offered(mount, base) == {"memory", "processes", "track", "account"}
    assert cgroups._offered(mount, base / "missing") == set()


def test_controllers_are_handed_down_once(tmp_path: Path) -> None:
    (tmp_path / "cgroup.subtree_control").write_text("memory\n")
    cgroups._hand_down(tmp_path, ["memory"])
    assert (tmp_path / "cgroup.subtree_control").read_text() == "memory\n"
    cgroups._hand_down(tmp_path, ["memory", "pids"])
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+pids"
