"""An export that becomes the home of a new project: all of it, exactly as it was, or nothing.

Nothing of the file is believed: see `unpacking`. What is more, it has to be whole: a manifest first, then the home,
then the seal, whose checksum is that of all before it.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from projecthub.errors import InvalidArgument
from projecthub.files.archive_readers import Packed
from projecthub.files.export_reader import ExportReader
from projecthub.files.exporting import FORMAT, HOME, MANIFEST, SEAL, VERSION
from projecthub.files.making import KEPT_MODE
from projecthub.files.packing import KEEPING
from projecthub.files.paths import rename_to_free, shown
from projecthub.files.places import movable
from projecthub.files.staging import StagingRun
from projecthub.files.unpacking import Unpacking, set_time

_MAX_DOCUMENT_BYTES: Final = 1024 * 1024
_TEXTS: Final = {"title": 1_000_000, "description": 1_000_000, "color": 100, "compute_image": 200}
"""What a manifest may say of the project, and how many characters of it."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an export says of its project."""

    title: str | None = None
    description: str | None = None
    color: str | None = None
    compute_image: str | None = None


class Importing(Unpacking):
    """Makes a home of one export.

    Attributes:
        manifest: What it says of the project, when that has been read.
        left_out: What was not exported, as the seal has it.
    """

    manifest: Manifest = Manifest()
    left_out: int = 0

    def steps_of(self, fd: int) -> Generator[bytes, None, None]:
        """Make the home, in steps that take not long each; what they yield is empty.

        Args:
            fd: The export, a file that stays open.

        Raises:
            InvalidArgument: It is no export, damaged, not whole, or holds what is refused.
            LimitError: It would not fit.
            FileExistsError: There is a home already.
        """
        return self.unpack(self._read(ExportReader(fd, SEAL)))

    def _read(self, export: ExportReader) -> Iterator[Packed]:
        packed = export.things()
        self.manifest = _manifest_of(_document(next(packed, None), MANIFEST))
        for thing in packed:
            if thing.name == SEAL:
                self._check(thing, export.sum_before_seal)
                break
            if (inner := _inside(thing)) is not None:
                yield inner
        else:
            raise InvalidArgument("the export has no seal at its end: a part of it is missing; export it again")
        for thing in packed:
            raise InvalidArgument(f"the export holds '{shown(thing.name)[:200]}' behind its seal; export it again")

    def _check(self, thing: Packed, sha256: str) -> None:
        seal = _document(thing, SEAL)
        if not sha256 or seal.get("sha256") != sha256:
            raise InvalidArgument("the export is not what it was: its checksum is another; export it again")
        left_out = seal.get("left_out")
        self.left_out = left_out if isinstance(left_out, int) else 0

    def _dress_directory(self, fd: int, thing: Packed) -> None:
        self._set_xattrs(fd, thing)
        self._own(fd, thing.mode | (0o700 if fd == self._root_fd else 0))
        set_time(fd, thing)

    def _settle(self, run: StagingRun, staged: str) -> None:
        """Give the home its place, which nobody else has."""
        home = self._home.path
        parent_fd = os.open(home.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            with movable(run.fd, staged):
                rename_to_free(run.fd, staged, parent_fd, home.name)
            os.fsync(parent_fd)
        finally:
            os.close(parent_fd)
        self.done.created = True


def _inside(thing: Packed) -> Packed | None:
    """A thing as it is in the home; None: it is what a hub keeps there for itself."""
    name = _without_prefix(thing.name)
    if next((part for part in name.split("/") if part not in ("", ".")), None) == KEEPING:
        return None
    mode = stat.S_IFMT(thing.mode) | thing.mode & KEPT_MODE
    same_as = None if thing.same_as is None else _without_prefix(thing.same_as)
    return replace(thing, name=name or ".", mode=mode, same_as=same_as)


def _without_prefix(name: str) -> str:
    if name == HOME:
        return ""
    if name.startswith(f"{HOME}/"):
        return name.removeprefix(f"{HOME}/")
    raise InvalidArgument(f"the export holds '{shown(name)[:200]}', which is not in its '{HOME}'; export it again")


def _document(thing: Packed | None, name: str) -> Mapping[str, Any]:
    if thing is None or thing.name != name or not stat.S_ISREG(thing.mode) or thing.size > _MAX_DOCUMENT_BYTES:
        raise InvalidArgument(
            f"this is no export of a project: it does not begin with '{MANIFEST}'; give a file that "
            "`projecthub projects export` has made"
        )
    with contextlib.suppress(ValueError, RecursionError):
        value = json.loads(b"".join(piece for _, piece in thing.content))
        if isinstance(value, dict):
            return value
    raise InvalidArgument(f"'{name}' of the export is no JSON object; export it again")


def _manifest_of(value: Mapping[str, Any]) -> Manifest:
    version = value.get("version")
    if value.get("format") != FORMAT or not isinstance(version, int):
        raise InvalidArgument(f"'{MANIFEST}' is not that of an export of a project; export it again")
    if version != VERSION:
        raise InvalidArgument(
            f"the export has version {version} of its format, and this hub reads version {VERSION}; upgrade this hub"
        )
    project = value.get("project")
    texts: dict[str, str] = {}
    for name, longest in _TEXTS.items():
        text = project.get(name) if isinstance(project, dict) else None
        if text is None:
            continue
        if not isinstance(text, str) or len(text) > longest or "\0" in text or not _is_text(text):
            raise InvalidArgument(f"the {name} in the export's manifest is no text of at most {longest} characters")
        texts[name] = text
    return Manifest(**texts)


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
