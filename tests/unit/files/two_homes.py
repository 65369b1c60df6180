"""Two homes on disk, and trees of files in them."""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from projecthub.files.copying import End, copy_path
from projecthub.files.plans import CopyOptions, CopySummary, Course
from projecthub.files.staging import is_empty

NOBODY = 65534


@dataclass
class TwoHomes:
    """Two homes on disk, with the shortest way to copy from one to the other."""

    one: Path
    other: Path

    @property
    def staging(self) -> Path:
        return self.other.with_name("staging")

    def copy(self, source: str, target: str, **wanted: Any) -> CopySummary:
        return self.run(self.one, source, target, **wanted)

    def copy_within(self, source: str, target: str, **wanted: Any) -> CopySummary:
        return self.run(self.other, source, target, **wanted)

    def run(
        self,
        home: Path,
        source: str,
        target: str,
        *,
        uid: int | None = None,
        course: Course | None = None,
        **options: Any,
    ) -> CopySummary:
        wanted = CopyOptions(**options)
        try:
            return copy_path(
                End(home, source),
                End(self.other, target),
                options=wanted,
                uid=uid,
                course=course or Course(wanted.timeout_s),
            )
        finally:
            if self.staging.exists():
                assert os.listdir(self.staging) == []
            assert is_empty(self.other.with_name("copies"))


def as_plain_user(directory: Path, work: Callable[[], Any]) -> Any:
    """Run ``work`` as a user without rights who owns all that is in ``directory``; return or raise what it does."""
    if os.geteuid() != 0:
        return work()
    for where, _, names in os.walk(directory):
        for name in (".", *names):
            os.chown(Path(where) / name, NOBODY, NOBODY, follow_symlinks=False)
    for parent in [directory, *directory.parents][:-2]:
        parent.chmod(parent.stat().st_mode | 0o711)
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # about threads: the child starts none and waits for none
        child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            try:
                answer = (True, work())
            except BaseException as error:
                answer = (False, error)
            with os.fdopen(writing, "wb") as file:
                pickle.dump(answer, file)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        succeeded, result = pickle.load(file)
    os.waitpid(child, 0)
    if not succeeded:
        raise result
    return result


def write(path: Path, content: str | bytes = "x", *, mtime_s: int | None = None, mode: int | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    if mode is not None:
        path.chmod(mode)
    if mtime_s is not None:
        os.utime(path, (mtime_s, mtime_s))
    return path


def tree(directory: Path) -> dict[str, str]:
    """What a directory holds: path to content of files, ``-> text`` of links, ``/`` of directories."""
    found: dict[str, str] = {}
    for where, directories, files in os.walk(directory):
        for name in directories + files:
            path = Path(where) / name
            relative = str(path.relative_to(directory))
            if path.is_symlink():
                found[relative] = f"-> {os.readlink(path)}"
            elif path.is_dir():
                found[relative] = "/"
            elif path.is_file():
                found[relative] = path.read_bytes().decode()
            else:
                found[relative] = "special"
    return found


def make_deep(directory: Path, depth: int) -> None:
    """Make directories called ``d``, each in the one before, deeper than a path can tell."""
    fd = os.open(directory, os.O_PATH)
    for _ in range(depth):
        os.mkdir("d", dir_fd=fd)
        inner = os.open("d", os.O_PATH, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)


def write_at(directory: Path, path: str, content: bytes) -> None:
    """Write a file whose path is too long together with that of the directory."""
    directory_fd = os.open(directory, os.O_PATH)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, dir_fd=directory_fd), "wb") as file:
        file.write(content)
    os.close(directory_fd)
