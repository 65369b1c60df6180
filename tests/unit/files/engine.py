"""Copies in steps, as the hub makes them for many targets, and processes that are killed in the middle of one."""

from __future__ import annotations

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from projecthub.files.copying import Application, End, PlanSummary, compare, record_path, walk
from projecthub.files.plans import CopyOptions, Course

Tree = dict[str, tuple[Any, ...]]


@dataclass
class Steps:
    """One copy, step by step."""

    source: End
    target: End
    options: CopyOptions
    work: Path
    base: Path | None = None
    uid: int | None = None
    hashes: bool = False

    @property
    def record(self) -> Path:
        return record_path(self.target.home, "operation-1")

    @property
    def manifest(self) -> Path:
        return self.work / "manifest"

    @property
    def plan_file(self) -> Path:
        return self.work / "plan"

    def plan(self) -> PlanSummary:
        self.work.mkdir(exist_ok=True)
        course = Course(None)
        walk(self.source, self.manifest, exclude=self.options.exclude, hashes=self.hashes, course=course)
        return self.compare()

    def compare(self) -> PlanSummary:
        return compare(
            self.source,
            self.manifest,
            self.target,
            self.plan_file,
            options=self.options,
            base=self.base,
            course=Course(None),
        )

    def application(self, course: Course | None = None) -> Application:
        return Application(
            self.record,
            self.source,
            self.manifest,
            self.target,
            self.plan_file,
            uid=self.uid,
            options=self.options,
            course=course or Course(None),
        )


def fingerprint(directory: Path) -> Tree:
    """All that is to be kept of a tree, but for what the directory itself is like."""
    found: Tree = {}
    for where, directories, files in os.walk(os.fsencode(directory)):
        for name in directories + files:
            path = os.path.join(where, name)
            status = os.lstat(path)
            content: object = None
            if os.path.islink(path):
                content = os.readlink(path)
            elif os.path.isfile(path):
                with open(path, "rb") as file:
                    content = file.read()
            relative = os.fsdecode(path[len(os.fsencode(directory)) + 1 :])
            found[relative] = (oct(status.st_mode), status.st_mtime_ns, content)
    return found


def killed_after(steps: int, work: Callable[[], object]) -> bool:
    """Do some work in a process of its own that is killed after so many steps; tells whether it was.

    A step is a call of the system, or a rename in place.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # about threads: the child starts none and waits for none
        child = os.fork()
    if child == 0:
        left = steps
        renames = {"exchange", "rename_to_free"}

        def count(frame: Any, event: str, argument: Any) -> None:
            nonlocal left
            is_call = event == "c_return" and getattr(argument, "__module__", None) == "posix"
            if is_call or (event == "return" and frame.f_code.co_name in renames):
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.setprofile(count)
            work()
            sys.setprofile(None)
            os._exit(0)
        except BaseException:
            sys.setprofile(None)
            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False
