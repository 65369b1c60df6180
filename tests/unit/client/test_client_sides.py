"""The sync side is the async side without its words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import projecthub.client

ROOT = Path(projecthub.client.__file__).parents[3]
TOOL = ROOT / "tools" / "unasync.py"


@pytest.mark.skipif(not TOOL.exists(), reason="tools/unasync.py is only in the source tree")
def test_the_sync_side_is_up_to_date() -> None:
    checked = subprocess.run([sys.executable, str(TOOL), "--check"], capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_the_client_loads_no_more_than_it_needs() -> None:
    heavy = "{'asyncio', 'pydantic', 'typer', 'rich', 'projecthub.client._async.hub'}"
    script = f"import sys; from projecthub import Hub, Project; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "[]\n"
