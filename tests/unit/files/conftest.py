from __future__ import annotations

import gc
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from two_homes import TwoHomes


@pytest.fixture
def homes(tmp_path: Path) -> Iterator[TwoHomes]:
    for name in ("one", "other"):
        (tmp_path / name / "home").mkdir(parents=True, mode=0o700)
    gc.collect()  # what earlier tests left is not to be closed in the middle of this one
    before = len(os.listdir("/proc/self/fd"))
    yield TwoHomes(tmp_path / "one" / "home", tmp_path / "other" / "home")
    subprocess.run(["rm", "-rf", tmp_path / "one", tmp_path / "other"], check=True)  # any depth, which pytest cannot
    assert len(os.listdir("/proc/self/fd")) == before, "a file descriptor was left open"
