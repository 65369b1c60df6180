"""What the guide for operators and the unit file say holds for this program."""

from __future__ import annotations

import configparser
import os
import re
import tomllib
from pathlib import Path

import pytest
import typer

from projecthub.cli.commands import app
from projecthub.settings import Settings

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "docs" / "operating.md").read_text()
UNIT = ROOT / "contrib" / "projecthub.service"


def test_the_settings_of_the_guide_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PROJECTHUB_")]:
        monkeypatch.delenv(name)
    text = "".join(re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL))
    settings = Settings(**tomllib.loads(text.replace("# store_url", "store_url")))
    assert (settings.memory_mb, settings.url_of_store.partition(":")[0]) == (2000, "postgresql")


def test_the_figures_of_the_guide_are_there() -> None:
    source = "".join(path.read_text() for path in (ROOT / "src" / "projecthub").rglob("*.py"))
    for name in set(re.findall(r"`projecthub_([a-z_]+)", GUIDE)):
        counter = name.removesuffix("_total")
        assert f'"projecthub_{counter}"' in source or f'queue("{counter}"' in source, name


def _names(commands: typer.Typer) -> set[str]:
    return {
        each.name or each.callback.__name__.replace("_", "-") for each in commands.registered_commands if each.callback
    }


def test_commands_of_guide_and_unit_file_exist() -> None:
    groups = {group.name: _names(group.typer_instance) for group in app.registered_groups if group.typer_instance}
    commands = {(name, "") for name in _names(app)} | {(group, each) for group in groups for each in groups[group]}
    for text in (GUIDE, UNIT.read_text()):
        used = re.findall(
            r"(?:bin/|^|: |`)projecthub (?:--config \S+ (?!COMMAND))?([a-z]\w*) ?([a-z-]*)", text, re.MULTILINE
        )
        assert used
        for name, word in used:
            assert (name, word if name in groups else "") in commands


def _unit(text: str, *, strict: bool = False) -> configparser.ConfigParser:
    unit = configparser.ConfigParser(interpolation=None, strict=strict)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(text)
    return unit


def test_the_unit_file_of_a_hub_that_is_not_root() -> None:
    unit = _unit(re.sub(r"^#(?=\w+=)", "", UNIT.read_text(), flags=re.MULTILINE))
    user, slice_of, before = (unit["Service"][key] for key in ("User", "Slice", "ExecStartPre"))
    for path in ("", "/cgroup.procs"):
        assert f" /sys/fs/cgroup/{slice_of}{path}" in before
    assert before.startswith(f"-+/bin/chown {user} ")
    ids = unit["Unit"]["Requires"]
    assert ids.removesuffix(".service") in unit["Service"]["ExecStart"]
    assert unit["Unit"]["After"] == ids
    holder = _unit(UNIT.with_name(ids).read_text())
    assert holder["Service"]["User"] == user
    assert "NoNewPrivileges" not in holder["Service"]


def test_the_unit_file() -> None:
    unit = _unit(UNIT.read_text(), strict=True)
    service = unit["Service"]
    assert (service["Delegate"], service["KillMode"], service["Restart"]) == ("yes", "process", "on-failure")
    # What is set here reaches every project: nothing that keeps it from its namespaces or its /proc.
    assert not [key for key in service if re.match("Private|Protect|Restrict|SystemCall|MemoryDeny", key)]
    assert unit["Install"]["WantedBy"] == "multi-user.target"
