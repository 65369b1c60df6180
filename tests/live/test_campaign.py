"""A small fault campaign. `make campaign` runs large ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_everything_agrees_after_random_lifecycles_and_faults() -> None:
    # Deaths are noticed within a second; on a machine that has much else to do it may take longer.
    options = ["--lifecycles=40", "--faults=16", "--seed=5", "--noticed-within=5"]
    ran = subprocess.run(
        [sys.executable, "-m", "campaign", *options], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "0 violations" in ran.stdout
