"""What all projects share, compared with what they may ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from projecthub.engines.local import probe, shared
from projecthub.engines.local.probe import Check

USUAL = {
    "kernel/pid_max": "4194304",
    "kernel/threads-max": "200000",
    "fs/file-max": "9223372036854775807",
    "net/ipv4/udp_mem": "1\t2\t500000",
    "fs/epoll/max_user_watches": "1000",
}


def seen(sysctl: Path, memory_version: int | None = 2, *, is_root: bool = True, **changed: str) -> dict[str, Check]:
    for name, value in (USUAL | {name.replace("__", "/"): value for name, value in changed.items()}).items():
        (sysctl / name).parent.mkdir(parents=True, exist_ok=True)
        (sysctl / name).write_text(value + "\n")
    return {check.name: check for check in shared.checks(1024, memory_version, sysctl=sysctl, is_root=is_root)}


def test_a_machine_with_room_is_well(tmp_path: Path) -> None:
    checks = seen(tmp_path)
    assert list(checks) == ["machine's processes", "machine's open files"]
    assert all(check.ok for check in checks.values())


def test_what_is_to_be_raised_is_named(tmp_path: Path) -> None:
    checks = seen(tmp_path, kernel__pid_max="32768", **{"fs__file-max": "100000"})
    processes, files = checks.values()
    assert (processes.ok, files.ok) == (False, False)
    assert "32768 for all: 32 projects of 1024" in processes.detail
    assert "kernel.pid_max" in processes.remedy
    assert f"fs.file-max: {1024 * 4096}" in files.remedy


def test_older_control_groups_and_a_plain_user_share_more(tmp_path: Path) -> None:
    checks = seen(tmp_path, 1, is_root=False)
    assert not checks["machine's UDP buffers"].ok
    assert "share 1000 epoll watches" in checks["tables of the user"].detail
    assert "as root" in checks["tables of the user"].remedy
    assert "subordinate ids" in checks["tables of the user"].remedy


def test_what_cannot_be_read_is_not_told_as_a_bound(tmp_path: Path) -> None:
    assert all(check.ok for check in shared.checks(1024, 2, sysctl=tmp_path / "none", is_root=True))


@pytest.mark.skipif(not Path("/proc/sys/kernel").exists(), reason="no sysctl here")
def test_this_machine_can_be_looked_at() -> None:
    assert shared.checks(1024, probe.control_groups()["memory"])
