"""Trying what this machine offers, where that cannot even be tried."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from projecthub.engines.local import probe
from projecthub.engines.local.cgroups import Trees
from projecthub.engines.local.launching import Launching
from projecthub.engines.port import Isolation, Network
from projecthub.errors import StartFailed

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def closed_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if our Python lay where this user may not go."""
    closed = tmp_path / "python"
    closed.write_text("")
    monkeypatch.setattr(sys, "executable", str(closed))


def test_a_python_that_cannot_be_run_again_is_told() -> None:
    assert probe.best_isolation() is Isolation.NONE
    sandbox = probe.checks(Path("/tmp"))[0]
    assert not sandbox.ok
    assert "cannot be run by a process of its own (Permission denied)" in sandbox.detail


async def test_and_so_is_a_launcher_that_cannot_be_started(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(StartFailed, match=r"cannot be run by a process of its own \(Permission denied\)"):
        await Launching.begin(
            isolation=Isolation.NONE, network=Network.HOST, trees=Trees(), runtime_dir=tmp_path / "run", hidden=[]
        )
