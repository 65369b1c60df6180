"""What the client's docstrings show works, on both sides; and everything public of the client shows something.

An example is run as it stands, by a site admin of its own. The names that it takes for granted are made by `_NAMES`,
which is written as examples are: in the words of the async side, without which it is the sync one.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import json
import pkgutil
import re
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from itertools import count
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

import projecthub.client._async
import projecthub.client._sync
from projecthub import AsyncHub, AsyncProject, Hub, Project
from projecthub.errors import PermissionDenied
from tests.hubs import HubProcess

_BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
_ASYNC_WORDS = re.compile(r"\b(await|async) ")
_ADDRESS = re.compile(r"\b(\w+)@example\.org")
_ORGANIZATION = '"physics"'
_INNER = {"connection", "native"}
"""Modules of the client that are not for its users."""

_NAMES = {
    "project_id": 'project_id = await hub.projects.create_project("Example")',
    "project": 'project = hub.project(project_id)\nawait project.files.upload_dir("home", "")',
    "course": 'course = await hub.projects.create_project("Course")\n'
    'await hub.project(course).files.write_text("week1/task.py", "print(42)")',
    "student": 'student = await hub.projects.create_project("Student")',
    "account_id": 'account_id = (await hub.accounts.get("hedy@example.org"))["account_id"]',
    "password": 'password = "correct horse battery staple"\n'
    'await hub.accounts.set_password(password, "ada@example.org")',
    "ada": 'ada = hub.with_key((await hub.accounts.sign_in("ada@example.org", password))["secret"])',
    "key_id": 'key_id = (await hub.keys.create(name="laptop"))["id"]',
    "license_id": 'license_id = (await hub.licenses.create({"cpu": 2}))["id"]',
    "token": "token = await hub.system.generate_user_auth_token(account_id)",
    "link": 'theirs = await ada.projects.create_project("Shared")\n'
    'link = "https://hub.example.org/invite/" + await ada.projects.create_invite_token(theirs)',
    "reset_link": "reset_link = await hub.system.admin_reset_password_link(account_id)",
    "job": 'job = await project.jobs.start("echo done")',
    "job_id": "job_id = job.id",
    "pid": 'pid = (await session.info())["pid"]',
    "session": 'session = await project.jupyter.session("analysis").open()',
    "execution": 'execution = await session.execute("print(6 * 7)")',
    "snapshot": "snapshot = await project.snapshots.create()",
    "students": 'students = [await hub.projects.create_project(f"Student {number}") for number in range(4)]',
    "source": 'await hub.project(course).files.write_text("hw1/task.py", "print(42)")\n'
    'source = {"project_id": course, "path": "hw1"}',
    "plan": "plan = await hub.copies.plan(source, students)",
    "share_id": 'for path in ("soil.csv", "data/rain.csv"):\n'
    '    await hub.project(project_id).files.write_text(f"shared/{path}", "1,2")\n'
    'share_id = (await hub.shares.create(project_id, "shared"))["id"]',
    "other": "other = hub",
    "message_id": 'me = (await hub.system.test())["account_id"]\n'
    'message_id = await ada.messages.send("Hello", "there", [me])',
}
"""How the names come about that examples use and do not make."""

_FRITZ, _OTTO = (f'await hub.org.add_user("physics", "{name}@example.org")' for name in ("fritz", "otto"))
_LISE = 'await hub.org.add_admin("physics", "lise@example.org")'
_MEMBER = "await hub.projects.add_collaborator(project_id, account_id)"
_HOMEWORK = 'await hub.project(project_id).files.write_text("homework.py", "print(42)")'
_CLASS = """files = hub.project(project_id).files
await files.write_text("hw1/task.py", "print(42)")
await files.write_text("graded/hw1/ada/task.py", "print(42)  # good")
await files.write_text("class.toml", '[[item]]\\nname = "hw1"\\n[[student]]\\nid = "ada"\\nemail = "ada@x.org"')"""
_APPLIED = f"{_CLASS}\nawait hub.classes.apply(project_id)"
_BEFORE = {
    "Classes.apply": _CLASS,
    "Classes.diff": _CLASS,
    "Classes.status": _CLASS,
    "Classwork.collect": _APPLIED,
    "Classwork.read": _CLASS,
    "Classwork.return_graded": _APPLIED,
    "Copies.list": 'await hub.copies.apply(plan["id"])',
    "Copies.plan": "source",
    "Copies.retry": 'await hub.copies.cancel(plan["id"])',
    "Copies.undo": 'await hub.copies.apply(plan["id"])',
    "ProjectCopies.copy_paths": "source",
    "ProjectMaking.templates": "await hub.projects.set_template(project_id)",
    "ProjectPeople.of_course": 'await hub.projects.create_project(course={"project_id": project_id, "student": "ada"})',
    "Shares.create": 'await hub.project(project_id).files.write_text("course/week1/task.py", "print(42)")',
    "Shares.list": "share_id",
    "Job.signal": 'job = await project.jobs.start("sleep 60")',
    "Job.kill": 'job = await project.jobs.start("sleep 60")',
    "Jobs.list": 'await project.jobs.start("true")',
    "JupyterSession.executions": "execution",
    "Licenses.list": "license_id",
    "Messages.get": "message_id",
    "Messages.mark": "message_id",
    "Organizations.create_token": _FRITZ,
    "Organizations.remove_admin": _LISE,
    "Organizations.remove_user": _OTTO,
    "ProjectInvitations.invite_tokens": "await hub.projects.create_invite_token(project_id)",
    "ProjectInvitations.revoke_invite_token": "token = await hub.projects.create_invite_token(project_id)",
    "ProjectJupyter.sessions": "session",
    "ProjectPeople.change_user_type": _MEMBER,
    "ProjectPeople.hand_over": _MEMBER,
    "ProjectPeople.leave": f"{_MEMBER}\nawait hub.projects.hand_over(project_id, account_id)",
    "ProjectPeople.remove_collaborator": _MEMBER,
    "ProjectQuotas.add_license": "await hub.projects.start(project_id)",
    "ProjectQuotas.remove_license": "await hub.projects.add_license(project_id, license_id)",
    "ProjectTrash.list": 'await project.files.delete("names.txt")',
    "ProjectTrash.empty": 'await project.files.delete("names.txt")',
    "Snapshots.list": "snapshot",
    "Snapshots.diff": 'snapshot\nawait project.files.write_text("names.txt", "other")',
    "Projects.get": "await hub.projects.start(project_id)",
    "Projects.idle": "await hub.projects.start(project_id)",
    "Sync.checkpoint": _HOMEWORK,
    "Sync.history": _HOMEWORK,
    "Sync.text": _HOMEWORK,
    "Projects.undelete": "await hub.projects.delete(project_id)",
}
"""What has happened before an example, where a name does not say it."""

_MAKES_THE_ACCOUNT = {
    "Accounts.create",
    "Organizations.create_user",
    "ProjectInvitations.invite_collaborator_without_account",
}
_MAKES_THE_ORGANIZATION = {"Organizations.create"}


@dataclass(frozen=True)
class Example:
    """The example of a class or of a method, such as ``Projects.start``."""

    name: str
    text: str


def public_classes(side: Any) -> Iterator[type]:
    for module in pkgutil.iter_modules(side.__path__, f"{side.__name__}."):
        if module.name.rpartition(".")[2] not in _INNER:
            for name, each in vars(import_module(module.name)).items():
                if inspect.isclass(each) and each.__module__ == module.name and not name.startswith("_"):
                    yield each


def public_methods(side: Any) -> dict[str, str]:
    """Their docstrings, by the names that they have on the sync side."""
    return {
        f"{each.__name__}.{name.replace('aclose', 'close')}".removeprefix("Async"): inspect.getdoc(method) or ""
        for each in public_classes(side)
        for name, method in vars(each).items()
        if isinstance(method, classmethod) or (inspect.isfunction(method) and not name.startswith("_"))
        if not name.startswith("_")
    }


def examples(side: Any) -> list[Example]:
    docs = {each.__name__.removeprefix("Async"): inspect.getdoc(each) or "" for each in public_classes(side)}
    docs |= public_methods(side)
    return [Example(name, textwrap.dedent(text)) for name in sorted(docs) for text in _BLOCK.findall(docs[name])]


SYNC, ASYNC = examples(projecthub.client._sync), examples(projecthub.client._async)


def test_every_method_shows_how_it_is_used() -> None:
    methods = public_methods(projecthub.client._sync)
    assert len(methods) > 100
    assert methods.keys() - {example.name for example in SYNC} == set()


def test_both_sides_show_the_same() -> None:
    assert [example.name for example in SYNC] == [example.name for example in ASYNC]


def names_in(text: str) -> tuple[set[str], set[str]]:
    """The names that a text uses and does not make, and those that it makes."""
    names = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)]
    made = {name.id for name in names if isinstance(name.ctx, ast.Store)}
    made |= {node.arg for node in ast.walk(ast.parse(text)) if isinstance(node, ast.arg)}
    return {name.id for name in names} - made - vars(builtins).keys(), made


def preparation(text: str, given: set[str]) -> str:
    """What makes the names that a text wants, in the words of the async side; ``given`` grows by them."""
    parts = []
    for name in sorted(names_in(text)[0] - given):
        if name not in given:  # what made the one before may have made it, too
            parts += [preparation(_NAMES[name], given), _NAMES[name]]
            given |= {name, *names_in(_NAMES[name])[1]}
    return "\n".join(parts)


class Stage:
    """Where examples are run: a directory with the files that they name, and a hub."""

    def __init__(self, process: HubProcess, directory: Path, patch: pytest.MonkeyPatch) -> None:
        self.process = process
        self.admin = process.hub()
        self._numbers = count()
        cell = {
            "cell_type": "code",
            "source": "6 * 7",
            "metadata": {},
            "outputs": [],
            "execution_count": None,
            "id": "a",
        }
        contents = {
            "home/week1/task.py": "print(42)",
            "home/names.txt": "b\na\nb\n",
            "home/Makefile": "all:\n\t@echo made\n",
            "home/report.ipynb": json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}),
            "handout/read me.txt": "Hello",
            "data.csv": "1,2\n",
            "collected/.keep": "",
            "data/.keep": "",
        }
        for name, content in contents.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        denied = process.hub(process.person("denied")[1])
        with denied, suppress(PermissionDenied):  # so that there is something to be told of
            denied.accounts.list()
        patch.chdir(directory)
        patch.setenv("PROJECTHUB_URL", process.url)

    def program(self, example: Example, patch: pytest.MonkeyPatch) -> tuple[str, str, str]:
        """The key of the example's own site admin, what comes before it, and its text, in fresh names."""
        number = next(self._numbers)
        given = {"hub", "Hub", "Project", "AsyncHub", "AsyncProject"}
        special = _BEFORE.get(example.name, "")
        before = f"{preparation(special, given)}\n{special}\n"
        before += preparation(example.text, given | names_in(special)[1])
        whole = before + example.text
        for name in set(_ADDRESS.findall(whole)):
            if example.name not in _MAKES_THE_ACCOUNT or f"{name}@" not in example.text:
                self.admin.accounts.create(f"{name}@{number}.example.org", first_name=name.capitalize())
        if _ORGANIZATION in whole and example.name not in _MAKES_THE_ORGANIZATION:
            self.admin.org.create(f"physics-{number}")
        address = f"admin@{number}.example.org"
        self.admin.accounts.create(address, admin=True)
        key = self.admin.keys.create(address)["secret"]
        patch.setenv("PROJECTHUB_API_KEY", key)
        return key, _fresh(before, number), _fresh(example.text, number)

    def close(self) -> None:
        self.admin.close()


def _fresh(text: str, number: int) -> str:
    """The text with e-mail addresses and an organization of its own: they hold for the whole hub."""
    return _ADDRESS.sub(rf"\1@{number}.example.org", text).replace(_ORGANIZATION, f'"physics-{number}"')


class Lines:
    """Which lines of an example were run."""

    def __init__(self, code: CodeType) -> None:
        self._file = code.co_filename
        self.due = set(_lines_of(code))

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename != self._file:
            return None
        self.due.discard(frame.f_lineno)
        return self

    def __enter__(self) -> None:
        self._before = sys.gettrace()
        sys.settrace(self)

    def __exit__(self, *details: object) -> None:
        sys.settrace(self._before)


def _lines_of(code: CodeType) -> Iterator[int]:
    yield from (line for _, _, line in code.co_lines() if line)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _lines_of(constant)


@pytest.fixture(scope="module")
def stage(hub_process: HubProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with pytest.MonkeyPatch.context() as patch:
        stage = Stage(hub_process, tmp_path_factory.mktemp("examples"), patch)
        yield stage
        stage.close()


@pytest.fixture(scope="module")
async def async_hub(stage: Stage) -> AsyncIterator[AsyncHub]:
    async with AsyncHub(api_key=stage.process.admin_key, host=stage.process.url) as hub:
        yield hub


@pytest.fixture(autouse=True)
def _nothing_runs_on(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "stage" in request.fixturenames:
        request.getfixturevalue("stage").admin.projects.stop_all()


@pytest.mark.parametrize("example", SYNC, ids=lambda example: example.name)
def test_on_the_sync_side(stage: Stage, example: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    key, before, text = stage.program(example, monkeypatch)
    code = compile(text, f"<{example.name}>", "exec")
    names: dict[str, Any] = {"hub": stage.admin.with_key(key), "Hub": Hub, "Project": Project}
    exec(_ASYNC_WORDS.sub("", before), names)
    with (lines := Lines(code)):
        exec(code, names)
    assert lines.due == set()


@pytest.mark.parametrize("example", ASYNC, ids=lambda example: example.name)
async def test_on_the_async_side(
    stage: Stage, async_hub: AsyncHub, example: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, before, text = stage.program(example, monkeypatch)
    code = _awaiting(text, f"<{example.name}>")
    names: dict[str, Any] = {"hub": async_hub.with_key(key), "AsyncHub": AsyncHub, "AsyncProject": AsyncProject}
    await _run(_awaiting(before, "<before>"), names)
    with (lines := Lines(code)):
        await _run(code, names)
    assert lines.due == set()


def _awaiting(text: str, name: str) -> CodeType:
    code = compile(text, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    assert isinstance(code, CodeType)
    return code


async def _run(code: CodeType, names: dict[str, Any]) -> None:
    outcome = eval(code, names)
    if inspect.isawaitable(outcome):
        await outcome
