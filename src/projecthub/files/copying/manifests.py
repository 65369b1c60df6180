"""Manifests: what a walk has found in a source, in a file, so that memory does not grow with the tree.

Lines of JSON. The first says what was walked, the last sums up; each in between is a directory, or a part of one with
many entries. A directory stands before what is in it, names are in their order. Bytes that are no UTF-8 are half
characters, as everywhere in Python.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

PART: Final = 2_000
"""How many entries a line holds at most."""

FILE = "f"
LINKED = "F"
"""A file that later entries are other names of."""
NAME = "h"
"""Another name of an earlier file: a hard link."""
SYMLINK = "l"
DIRECTORY = "d"
OTHER = "x"
"""What is there and is not copied: excluded, or a device, socket or fifo."""

Entry = list[Any]
"""Name and kind; of what is copied and no directory also mode, size, mtime_ns and blocks of 512 bytes, then of a
symlink its text, of a name the path of its file, of a file its hash if that was asked for."""

encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
VERSION: Final = 1


def fields_of(told: Any) -> dict[str, Any]:
    """What a data class with slots holds, by name; `dataclasses.asdict` would copy all that is in it."""
    return {name: getattr(told, name) for name in told.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSummary:
    """What a walk has found.

    Attributes:
        name: Of the file or symlink that is copied; None: a directory is.
        files: Files and symlinks.
        bytes: Sum of the sizes of the files.
        disk_bytes: What they and their directories take on disk.
        directories: Directories, with the one that is copied.
        skipped: Devices, sockets and fifos, which are not copied.
    """

    name: str | None
    files: int
    bytes: int
    disk_bytes: int
    directories: int
    skipped: int

    @property
    def is_directory(self) -> bool:
        """Whether a directory is copied, and not one file."""
        return self.name is None


class ManifestWriter:
    """Writes a manifest."""

    def __init__(self, file: IO[str], name: str | None, origin: Sequence[str] | None = None) -> None:
        """Begin it; ``origin``: where that is which it tells of."""
        self._file = file
        file.write(encode({"version": VERSION, "name": name, "origin": origin}) + "\n")

    def directory(
        self, path: str, mode: int, mtime_ns: int, blocks: int, entries: list[Entry], ctime_ns: int = 0
    ) -> None:
        """Write a directory, or the next part of it; ``ctime_ns``: the latest at which a file's status has changed."""
        about = {"p": path, "m": mode, "t": mtime_ns, "b": blocks, "c": ctime_ns}
        self._file.write(encode({**about, "e": entries}) + "\n")

    def end(self, summary: SourceSummary) -> None:
        """Sum up."""
        self._file.write(encode({"end": fields_of(summary)}) + "\n")


class Manifest:
    """Reads a manifest. Closed by whoever opens it."""

    def __init__(self, path: Path) -> None:
        """Open it."""
        self._file = path.open("rb")
        head = json.loads(self._file.readline())
        self.name: str | None = head["name"]
        self.origin: list[str] | None = head.get("origin")
        self._first = self._file.tell()

    def close(self) -> None:
        """Close it."""
        self._file.close()

    def __enter__(self) -> Manifest:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def parts(self) -> Iterator[dict[str, Any]]:
        """Directories, large ones in several parts that follow upon each other."""
        self._file.seek(self._first)
        for line in self._file:
            part: dict[str, Any] = json.loads(line)
            if "p" in part:
                yield part

    def names(self) -> Iterator[set[str]]:
        """For each directory, one after the other, all names in it."""
        path, found = None, set[str]()
        for part in self.parts():
            if part["p"] != path:
                if path is not None:
                    yield found
                path, found = part["p"], set()
            found.update(entry[0] for entry in part["e"])
        if path is not None:
            yield found

    def summary(self) -> SourceSummary:
        """What the last line says."""
        self._file.seek(self._first)
        last = b""
        for last in self._file:  # noqa: B007
            pass
        return SourceSummary(**json.loads(last)["end"])


class BaseManifest:
    """What was handed out before: asked for one directory after the other. Remembers where each is, and no more."""

    def __init__(self, path: Path) -> None:
        """Open it, and read once through it."""
        self._file = path.open("rb")
        self._places: dict[str, list[int]] = {}
        head = self._file.readline()
        self.origin: list[str] | None = json.loads(head).get("origin")
        at = len(head)
        for line in self._file:
            part = json.loads(line)
            if "p" in part:
                self._places.setdefault(part["p"], []).append(at)
            at += len(line)

    def close(self) -> None:
        """Close it."""
        self._file.close()

    def has(self, path: str) -> bool:
        """Whether it tells of such a directory."""
        return path in self._places

    def mode(self, path: str) -> int | None:
        """The mode of a directory; None: it was not among it."""
        for place in self._places.get(path, ()):
            self._file.seek(place)
            mode: int = json.loads(self._file.readline())["m"]
            return mode
        return None

    def entries(self, path: str) -> dict[str, Entry]:
        """Entries of a directory by their names."""
        found: dict[str, Entry] = {}
        for place in self._places.get(path, ()):
            self._file.seek(place)
            for entry in json.loads(self._file.readline())["e"]:
                found[entry[0]] = entry
        return found
