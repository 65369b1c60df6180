"""Copies of very many files: as whole as any other, and in little memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

FILES = 100_000

COPY = """
import resource, sys
from pathlib import Path
from projecthub.files.copying import End, copy_path
from projecthub.files.plans import CopyOptions, Course
top = Path(sys.argv[1])
def copy(source, target):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    summary = copy_path(
        End(top / "one/home", source), End(top / "other/home", target),
        options=CopyOptions(delete_missing=True), uid=None, course=Course(None),
    )
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(summary.files, summary.unchanged, summary.deleted, grown // 1024, flush=True)
copy("few", "few")
copy("many", "many")
copy("many", "many")
copy("few", "many")  # where those of many are newer
"""


@pytest.fixture
def top() -> Iterator[Path]:
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as directory:
        yield Path(directory)


def test_a_hundred_thousand_files(top: Path) -> None:
    for name, count in (("few", 100), ("many", FILES)):
        for number in range(count):
            directory = top / f"one/home/{name}/d{number // 100}"
            directory.mkdir(parents=True, exist_ok=True)
            (directory / f"f{number}").write_bytes(b"x" * (number % 200))
    (top / "other/home").mkdir(parents=True)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", COPY, top], check=True, capture_output=True, text=True, env=environment
    )
    counts = [[int(word) for word in line.split()] for line in done.stdout.splitlines()]
    assert [line[:3] for line in counts] == [
        [100, 0, 0],
        [FILES, 0, 0],
        [0, FILES, 0],
        [0, 0, FILES - 100 + FILES // 100 - 1],
    ]
    assert sum(line[3] for line in counts[1:]) < 24, "megabytes more than for few"
    assert sum(len(names) for _, _, names in os.walk(top / "other/home/many")) == 100
