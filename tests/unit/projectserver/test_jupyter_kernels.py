"""One kernel, and what it leaves behind."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from projecthub.projectserver.jupyter.kernels import Kernel

pytestmark = pytest.mark.anyio


async def test_the_end_of_a_kernel_takes_no_files_of_others(tmp_path: Path) -> None:
    own = {"kernel-1.json", "kernel-1-1", "kernel-1-5"}
    foreign = {"kernel-10.json", "kernel-10-1", "kernel-11-5", "kernel-2.json"}
    for name in own | foreign:
        (tmp_path / name).touch()
    pidfd = os.pidfd_open(os.getpid())
    kernel = Kernel("python3", os.getpid(), pidfd, tmp_path / "kernel-1.json")
    kernel.died.set()  # nothing is to be killed
    kernel.kill()
    asyncio.get_running_loop().remove_reader(pidfd)
    os.close(pidfd)
    assert {path.name for path in tmp_path.iterdir()} == foreign
