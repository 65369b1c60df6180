"""What is written to control groups and read from them, on made-up trees: few machines have both versions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from projecthub.engines.local import cgroups
from projecthub.engines.local.cgroups import Group, Mount, Trees
from projecthub.engines.port import Limits

# The kernel's files, as a new group has them.
V2 = {
    "cgroup.events": "populated 0\nfrozen 0\n",
    "cgroup.procs": "",
    "cgroup.kill": "",
    "cpu.max": "max 100000\n",
    "cpu.stat": "usage_usec 0\nuser_usec 0\n",
    "memory.events": "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\n",
    "memory.max": "max\n",
    "memory.swap.max": "max\n",
    "pids.max": "max\n",
}
V1 = {
    "cgroup.procs": "",
    "cpu.cfs_period_us": "100000\n",
    "cpu.cfs_quota_us": "-1\n",
    "cpuacct.usage": "0\n",
    "memory.limit_in_bytes": "9223372036854771712\n",
    "memory.memsw.limit_in_bytes": "9223372036854771712\n",
    "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n",
    "pids.max": "max\n",
}
PURPOSES = ("memory", "cpu", "processes", "account", "track")

MOUNTINFO = """\
22 1 0:20 / /sys rw,relatime - sysfs sysfs rw
25 22 0:23 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
26 25 0:24 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
27 25 0:25 /docker/abc /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
28 25 0:26 / /sys/fs/cgroup/the\\040pids rw shared:7 - cgroup cgroup rw,pids
29 25 0:27 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
"""
CGROUP = """\
4:memory:/user/hub
3:cpu,cpuacct:/docker/abc/inner
2:pids:/
1:name=systemd:/
0::/user.slice
"""


def a_group(directory: Path, files: dict[str, str]) -> Group:
    directory.mkdir()
    for name, text in files.items():
        (directory / name).write_text(text)
    return Group(dict.fromkeys(PURPOSES, str(directory)))


def changed(directory: Path, files: dict[str, str]) -> dict[str, str]:
    now = {path.name: path.read_text() for path in directory.iterdir()}
    assert now.keys() == files.keys()  # the kernel makes the files: none is ever made by us
    return {name: text for name, text in now.items() if text != files[name]}


@pytest.mark.parametrize(
    ("files", "limits", "written"),
    [
        (V2, Limits(memory_bytes=5_000_000), {"memory.max": "5000000", "memory.swap.max": "0"}),
        (V2, Limits(cpu_cores=0.5), {"cpu.max": "50000 100000"}),
        (V2, Limits(cpu_cores=2.25), {"cpu.max": "225000 100000"}),
        (V2, Limits(cpu_cores=0.000001), {"cpu.max": "1000 100000"}),
        (V2, Limits(processes=20), {"pids.max": "20"}),
        (
            V1,
            Limits(memory_bytes=5_000_000),
            {"memory.limit_in_bytes": "5000000", "memory.memsw.limit_in_bytes": "5000000"},
        ),
        (V1, Limits(cpu_cores=0.5), {"cpu.cfs_quota_us": "50000"}),
        (V1, Limits(cpu_cores=0.000001), {"cpu.cfs_quota_us": "1000"}),
        (V1, Limits(processes=20), {"pids.max": "20"}),
    ],
)
def test_each_limit_is_written_as_its_version_has_it(
    files: dict[str, str], limits: Limits, written: dict[str, str], tmp_path: Path
) -> None:
    a_group(tmp_path / "run", files).limit(limits)
    unlimited = {"max", "-1", "max 100000"}
    found = changed(tmp_path / "run", files)
    assert {name: text for name, text in found.items() if text not in unlimited} == written


@pytest.mark.parametrize(("files", "swap"), [(V2, "memory.swap.max"), (V1, "memory.memsw.limit_in_bytes")])
def test_a_kernel_that_does_not_count_swap_limits_memory_alone(
    files: dict[str, str], swap: str, tmp_path: Path
) -> None:
    fewer = {name: text for name, text in files.items() if name != swap}
    a_group(tmp_path / "run", fewer).limit(Limits(memory_bytes=5_000_000))
    assert "5000000" in changed(tmp_path / "run", fewer).values()


def test_counters_of_version_2(tmp_path: Path) -> None:
    group = a_group(tmp_path / "run", V2)
    assert (group.oom_kills(), group.cpu_s()) == (0, 0.0)
    (tmp_path / "run/memory.events").write_text("low 0\nhigh 9\nmax 8\noom 7\noom_kill 3\noom_group_kill 0\n")
    (tmp_path / "run/cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\n")
    assert (group.oom_kills(), group.cpu_s()) == (3, 2.5)


def test_counters_of_version_1(tmp_path: Path) -> None:
    group = a_group(tmp_path / "run", V1)
    (tmp_path / "run/memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 1\noom_kill 4\n")
    (tmp_path / "run/cpuacct.usage").write_text("1500000000\n")
    assert (group.oom_kills(), group.cpu_s()) == (4, 1.5)


def test_what_is_gone_counts_nothing(tmp_path: Path) -> None:
    group = Group(dict.fromkeys(PURPOSES, str(tmp_path / "gone")))
    assert (group.oom_kills(), group.cpu_s(), group.pids()) == (0, None, [])
    assert group.remove()
    assert (Group({}).oom_kills(), Group({}).cpu_s()) == (0, None)


@pytest.mark.anyio
async def test_a_group_of_version_2_is_killed_by_one_word(tmp_path: Path) -> None:
    group = a_group(tmp_path / "run", V2)
    # Pids that no machine has: were they signalled one by one, that would be seen by the word that is missing.
    (tmp_path / "run/cgroup.procs").write_text("4194305\n4194306\n")
    assert group.pids() == [4194305, 4194306]
    group._kill_all(group.pids())
    assert (tmp_path / "run/cgroup.kill").read_text() == "1"


def test_trees_are_found_where_they_are_mounted(tmp_path: Path) -> None:
    unified = tmp_path / "unified"
    unified.mkdir()
    (unified / "cgroup.controllers").write_text("cpu io memory pids\n")
    (tmp_path / "mountinfo").write_text(MOUNTINFO + f"30 25 0:28 / {unified} rw - cgroup2 cgroup2 rw,nsdelegate\n")
    (tmp_path / "cgroup").write_text(CGROUP)
    top = Path("/sys/fs/cgroup")
    assert cgroups.mounts(tmp_path) == [
        Mount(1, frozenset({"memory"}), top / "memory", top / "memory/user/hub"),
        Mount(1, frozenset({"cpu", "cpuacct"}), top / "cpu,cpuacct", top / "cpu,cpuacct/inner"),
        Mount(1, frozenset({"pids"}), top / "the pids", top / "the pids"),
        Mount(1, frozenset({"name=systemd"}), top / "systemd", top / "systemd"),
        Mount(2, frozenset({"cpu", "io", "memory", "pids"}), unified, unified / "user.slice"),
    ]


def test_a_mount_of_another_part_of_a_tree_does_not_show_our_group(tmp_path: Path) -> None:
    (tmp_path / "mountinfo").write_text("26 25 0:24 /docker/abc /mnt rw - cgroup cgroup rw,memory\n")
    (tmp_path / "cgroup").write_text("4:memory:/docker/abcdef\n")
    assert [mount.own for mount in cgroups.mounts(tmp_path)] == [None]


def test_a_machine_without_control_groups_has_no_trees(tmp_path: Path) -> None:
    (tmp_path / "mountinfo").write_text("22 1 0:20 / /sys rw,relatime - sysfs sysfs rw\n")
    (tmp_path / "cgroup").write_text("")
    assert cgroups.mounts(tmp_path) == []
    assert (Trees().all(), Trees().group().directories, Trees().version("memory")) == ([], {}, None)


def test_a_version_is_told_by_the_files_of_a_tree(tmp_path: Path) -> None:
    a_group(tmp_path / "new", V2)
    a_group(tmp_path / "old", V1)
    trees = Trees(memory=str(tmp_path / "old"), track=str(tmp_path / "new"))
    assert (trees.version("memory"), trees.version("track"), trees.version("cpu")) == (1, 2, None)
    assert trees.group("run").directories == {
        "memory": str(tmp_path / "old/run"),
        "track": str(tmp_path / "new/run"),
    }


def test_controllers_are_handed_down_all_at_once(tmp_path: Path) -> None:
    """By one write: the kernel refuses it as a whole where processes are, and would not refuse cpu and pids alone."""
    control = tmp_path / "cgroup.subtree_control"
    control.write_text("memory io\n")
    cgroups._hand_down(tmp_path, ["cpu", "memory", "pids"])
    assert control.read_text() == "+cpu +pids"


def test_groups_are_made_beside_our_own_where_what_holds_it_is_given_to_us(tmp_path: Path) -> None:
    """So a service manager can start the hub again: it puts nothing into a group that hands controllers down."""
    own = tmp_path / "our.slice/hub.service"
    own.mkdir(parents=True)
    mount = Mount(2, frozenset(), tmp_path, own)
    assert own.parent not in cgroups._bases(mount)
    (own.parent / "cgroup.procs").touch()
    assert list(cgroups._bases(mount))[-2:] == [own.parent, own]
    own_is_all = Mount(2, frozenset(), own.parent, own.parent)
    (tmp_path / "cgroup.procs").touch()
    assert tmp_path not in cgroups._bases(own_is_all)


@pytest.mark.parametrize("has_file", [True, False])
def test_a_process_that_cannot_be_forked_into_a_group_goes_there_itself(tmp_path: Path, has_file: bool) -> None:
    """The kernel refuses a directory that is no group, as older kernels and filters refuse all."""
    if has_file:
        (tmp_path / "cgroup.procs").touch()
    script = (
        "import os, sys; from projecthub.engines.local.zygote import _fork;"
        "pid = _fork(0, os.open(sys.argv[1], os.O_RDONLY)); print(pid, flush=True) if pid else os._exit(7)"
    )
    run = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    _, status = os.waitpid(int(run.stdout), 0)  # a sibling of that process, so a child of ours
    assert os.waitstatus_to_exitcode(status) == (7 if has_file else 1)
    if has_file:
        assert (tmp_path / "cgroup.procs").read_text() == "0"


def test_all_of_a_run_is_at_one_place_of_a_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its processes are in one group there: limits of another one would be told, and not hold."""
    own = tmp_path / "hub"  # beside which groups are made before they are made in it
    own.mkdir()
    for directory in (tmp_path, own):
        (directory / "cgroup.controllers").write_text("memory pids\n")
    limited = {"memory", "processes"}

    def as_the_kernel_has_it(mount: Mount, tree: Path, purposes: set[str]) -> Path | None:
        return tree if tree.parent == own or not purposes & limited else None

    monkeypatch.setattr(cgroups, "_usable", as_the_kernel_has_it)
    mount = Mount(2, frozenset({"memory", "pids"}), tmp_path, own)
    assert cgroups._found_in(mount, "runs", ()) == dict.fromkeys((*limited, "track", "account"), str(own / "runs"))
    assert cgroups._found_in(mount, "runs", limited) == dict.fromkeys(("track", "account"), str(tmp_path / "runs"))
