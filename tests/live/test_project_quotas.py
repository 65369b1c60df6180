"""Disk quotas that the file system holds, in a kernel that has them: few that tests run on do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TREE = Path(__file__).parents[2]
KERNEL = shutil.which("linux.uml")
KINDS = {"xfs": "mkfs.xfs", "ext4": "mkfs.ext4"}


@pytest.mark.skipif(KERNEL is None, reason="user-mode-linux is not installed")
@pytest.mark.parametrize("kind", KINDS)
def test_the_file_system_holds_projects_to_their_quotas(kind: str, tmp_path: Path) -> None:
    if shutil.which(KINDS[kind], path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
        pytest.skip(f"{KINDS[kind]} is not installed")
    assert KERNEL is not None
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(400_000_000)
    arguments = {
        "mem": "768M",
        "ubda": str(disk),
        "root": "none",
        "rootfstype": "hostfs",
        "rootflags": "/",
        "init": str(TREE / "tests/uml/init"),
        "con": "null",
        "con0": "null,fd:1",
        "KIND": kind,
        "TREE": str(TREE),
        "PYTHON": sys.executable,
        "PYTHONPATH": str(TREE / "src"),
        "TESTS": "tests/uml/project_quotas.py",
    }
    run = subprocess.run(
        [KERNEL, "rw", "quiet", *(f"{name}={value}" for name, value in arguments.items())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=tmp_path,
        timeout=300,
        check=False,
    )
    told = run.stdout.decode(errors="replace")
    if "the kernel has booted" not in told:
        pytest.skip(f"a kernel in user mode does not boot here: {told[-500:]}")
    assert re.search(r"tests ended with 0\r?\n", told), told[-8000:]
    assert re.search(r"\d+ passed", told), told[-8000:]
