"""What uploads and downloads read from and write to on this machine."""

from __future__ import annotations

import base64
import contextlib
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Final

PIECE_BYTES: Final = 1024 * 1024
SMALL_BYTES: Final = 8 * 1024 * 1024
"""What is no larger is sent in one request."""

Local = str | os.PathLike[str] | bytes | IO[bytes]
"""A path on this machine, bytes, or an open binary file."""
Progress = Callable[[int, int | None], None]
"""Called with how many bytes are done, and how many there are, if known."""


@contextlib.contextmanager
def reading(source: Local) -> Iterator[IO[bytes]]:
    """The source as an open binary file; one that was given stays open."""
    if isinstance(source, bytes | bytearray | memoryview):
        yield io.BytesIO(source)
    elif isinstance(source, str | os.PathLike):
        with open(source, "rb") as file:
            yield file
    else:
        yield source


@contextlib.contextmanager
def writing(target: str | os.PathLike[str] | IO[bytes]) -> Iterator[IO[bytes]]:
    """The target as an open binary file; a path gets its content only when all of it is there."""
    if not isinstance(target, str | os.PathLike):
        yield target
        return
    path = Path(target)
    partial = path.with_name(f".{path.name}.part-{os.getpid()}")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def remaining(file: IO[bytes]) -> int | None:
    """How many bytes are left in a file; None: it cannot be told, or the file cannot be read twice."""
    try:
        at = file.tell()
        end = file.seek(0, os.SEEK_END)
        file.seek(at)
    except (OSError, AttributeError, ValueError):
        return None
    return end - at


def metadata(values: dict[str, Any]) -> str:
    """The `Upload-Metadata` of tus; what is None is left out."""
    pairs = {name: str(value) for name, value in values.items() if value is not None}
    return ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in pairs.items())
