"""Making ready all that a copy puts into a target, beside it: the target stays as it is.

Several targets of one source are made ready together, so that each file of the source is read once. On the way it is
verified that each target still is as its plan saw it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

from projecthub.errors import HubError
from projecthub.files.copying import records
from projecthub.files.copying.manifests import NAME, SYMLINK
from projecthub.files.copying.plan_files import Row
from projecthub.files.copying.sources import VANISHED, SourceReader, UnreadableError
from projecthub.files.copying.staged_targets import StagedTarget, Staging
from projecthub.files.copying.walking import End, open_home
from projecthub.files.ends import open_source
from projecthub.files.failures import unreadable
from projecthub.files.paths import DIRECTORY as OPEN_DIRECTORY
from projecthub.files.paths import join, open_beneath, shown

_GROUP = 64
"""How many targets are made ready at once: each has a few files open."""


def stage(source: End, stagings: Sequence[Staging]) -> None:
    """Make several targets of one source ready. What fails for one of them is left with that one, its record gone.

    Raises:
        HubError: The source cannot be read: nothing is ready.
        CopyCancelledError: A course was cancelled: nothing is ready.
    """
    try:
        for begin in range(0, len(stagings), _GROUP):
            _stage_group(source, stagings[begin : begin + _GROUP])
    except BaseException:
        for staging in stagings:
            with contextlib.suppress(HubError):
                records.discard(staging.record)
        raise


def _stage_group(source: End, stagings: Sequence[Staging]) -> None:
    with contextlib.ExitStack() as opened:
        home_fd = open_home(source.home)
        opened.callback(os.close, home_fd)
        found = open_source(home_fd, source.path)
        opened.callback(os.close, found.fd)
        made = []
        for staging in stagings:
            one = StagedTarget(staging)
            with one.told():
                one.open()
                made.append(one)
            opened.callback(one.close)
        _Group(made, found.fd, found.path, found.name).run()
        for one in made:
            with one.told():
                one.end()


class _Group:
    """Targets that are made ready together, part by part of their common source."""

    def __init__(self, ones: list[StagedTarget], source_fd: int, source_path: str, name: str | None) -> None:
        self._ones = ones
        self._source_fd = source_fd
        self._source_path = source_path
        self._name = name
        self._reader = SourceReader()

    def run(self) -> None:
        under_way = [one for one in self._ones if one.is_well() and one.advance()]
        while under_way:
            index = min(one.index for one in under_way)
            here = [one for one in under_way if one.index == index]
            if index < 0:
                for one in here:
                    with one.told():
                        one.prepare()
            else:
                self._part(here)
            under_way = [one for one in under_way if one.is_well() and (one not in here or one.advance())]

    def _part(self, ones: list[StagedTarget]) -> None:
        """Make ready one directory of the source, or a part of one."""
        path = ones[0].part["q"]
        fd = self._open(path)
        try:
            wanted: dict[str, list[tuple[StagedTarget, Row]]] = {}
            for one in ones:
                with one.told():
                    for row in one.prepare(fd):
                        wanted.setdefault(row.name, []).append((one, row))
            if fd is None:
                return
            check = ones[0].staging.course.check
            for at, (name, takers) in enumerate(wanted.items()):
                if not at % 16:
                    check()
                self._make(fd, path, self._name or name, takers)
        finally:
            if fd is not None:
                os.close(fd)

    def _open(self, path: str) -> int | None:
        try:
            return open_beneath(self._source_fd, path, OPEN_DIRECTORY, follow=False)
        except OSError as error:
            if error.errno in VANISHED:
                return None
            raise unreadable(error, self._shown(path)) from error

    def _make(self, fd: int, path: str, name: str, takers: list[tuple[StagedTarget, Row]]) -> None:
        """Make one file or symlink for all who want it."""
        kind = takers[0][1].kind
        if kind == SYMLINK:
            for one, row in takers:
                one.attempt(one.make_link, row)
            return
        if kind == NAME:
            takers = [(one, row) for one, row in takers if not one.attempt(one.make_name, row)]
        if not takers:
            return
        try:
            file = self._reader.open(fd, name)
            if file is None:
                return
            try:
                for one, row in takers:
                    one.attempt(one.make_file, row, file)
            finally:
                os.close(file.fd)
        except UnreadableError as error:
            assert isinstance(error.__cause__, OSError)
            raise unreadable(error.__cause__, self._shown(join(path, name))) from error

    def _shown(self, path: str) -> str:
        return shown(join(self._source_path, path))
