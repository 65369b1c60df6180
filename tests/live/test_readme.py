"""What the README shows works when pasted."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hubs import HubProcess

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"```(python|sh)\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
PYTHON = [text for language, text in BLOCKS if language == "python"]
SHELL = [text for language, text in BLOCKS if language == "sh" and "make" not in text]


def environment(process: HubProcess) -> dict[str, str]:
    programs = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "PROJECTHUB_URL": process.url,
        "PROJECTHUB_API_KEY": process.admin_key,
        "PATH": f"{programs}:{os.environ['PATH']}",
    }


def run(command: list[str], text: str, process: HubProcess) -> str:
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, timeout=120, env=environment(process), check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_readme_has_what_is_tested_here() -> None:
    assert (len(PYTHON), len(SHELL)) == (3, 2)


@pytest.mark.parametrize("text", PYTHON)
def test_python(hub_process: HubProcess, text: str) -> None:
    assert run([sys.executable, "-"], text, hub_process).strip()


def test_the_class_of_thirty_collects_thirty_answers(hub_process: HubProcess) -> None:
    text = next(text for text in PYTHON if "range(30)" in text)
    assert run([sys.executable, "-"], text, hub_process).split() == ["30", "42"]


def test_command_line(hub_process: HubProcess) -> None:
    run([sys.executable, "-"], PYTHON[0], hub_process)  # makes the project that it names
    with hub_process.hub() as hub:
        for row in hub.projects.get(all=True):
            if row["title"] == "First steps" and not row.get("deleted"):
                hub.db.query({"projects": {"project_id": row["project_id"], "title": "First steps (old)"}})
    run([sys.executable, "-"], PYTHON[0], hub_process)
    assert "First steps" in run(["bash", "-e"], SHELL[0], hub_process)


def test_sharing_on_the_command_line(hub_process: HubProcess, tmp_path: Path) -> None:
    run(["bash", "-e"], f"cd {tmp_path}\n{SHELL[1]}", hub_process)
    with hub_process.hub() as hub:
        titles = {row["title"] for row in hub.projects.get()}
    assert {"Notes", "My notes", "Notes of next year", "Notes, back"} <= titles


def test_what_serve_prints_works_when_pasted(hub_process: HubProcess) -> None:
    examples = hub_process.output.partition("# Python\n")[2]
    python, _, rest = examples.partition("# curl\n")
    curl, _, command_line = rest.partition("# command line\n")
    for example in (python, curl, command_line, examples):  # each as it stands, and all at once
        assert run(["bash", "-e"], example, hub_process).strip()
