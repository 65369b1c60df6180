"""Control groups of this machine, where it lets us make some."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from projecthub.engines.local import cgroups

TELL = """
import pathlib, sys
from projecthub.engines.local import cgroups
print(cgroups.tree_name(pathlib.Path(sys.argv[1])))
"""


def test_the_same_directory_has_another_name_in_a_container(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    name = cgroups.tree_name(tmp_path)
    assert name == cgroups.tree_name(tmp_path / "other" / "..")
    assert name != cgroups.tree_name(tmp_path / "other")
    # Its process ids are what makes it one: what runs in there is not ours to end, whatever it is called.
    wrapped = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", TELL, str(tmp_path)]
    inside = subprocess.run(wrapped, capture_output=True, text=True, timeout=60, check=False)
    if "unshare failed" in inside.stderr:
        pytest.skip("this user may not make a pid namespace")
    assert inside.stdout.startswith("projecthub-")
    assert inside.stdout.strip() != name
