"""What is beneath a shared path of a home, and nothing else of it, whatever symlinks say.

A shared directory is opened beneath its home once, and all that others see of it beneath that: a symlink that leads out
of the share leads nowhere for them. If a file is shared, there is nothing but that file.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from projecthub.errors import InvalidArgument, NotFound
from projecthub.files.packing import KEEPING
from projecthub.files.paths import DIRECTORY, LeavesHomeError, open_beneath, shown, split
from projecthub.files.places import closing, open_file, opened_home, told

_ALONE: Final = ""


@contextlib.contextmanager
def told_of_share(path: str) -> Iterator[None]:
    """What the system refuses in here about ``path``, for people who see a share, and nothing else of its home."""
    with told(path):
        try:
            yield
        except LeavesHomeError as error:
            raise InvalidArgument(
                f"'{shown(path) or '.'}' leads out of what is shared, by a symlink, and so is not shared; ask whose "
                "share it is for what it leads to"
            ) from error


@contextlib.contextmanager
def opened_share(home: Path, shared: str, path: str) -> Iterator[tuple[int, str]]:
    """The directory beneath which a path of a share is, open, and the path in it.

    Args:
        home: The home.
        shared: What is shared, reduced.
        path: Which part of it, reduced; empty for all of it.

    Raises:
        NotFound: It is not there, or is what the hub keeps in a home for its project alone.
    """
    with opened_home(home) as home_fd, told_of_share(path or shared):
        if is_kept_back(f"{shared}/{path}".strip("/")):
            raise NotFound(f"there is nothing at '{shown(path)}' of this share")
        try:
            root_fd = open_beneath(home_fd, shared, DIRECTORY, follow=True)
        except NotADirectoryError:
            if path != _ALONE:
                raise NotFound(f"this share is a single file, which has no '{shown(path)}' in it") from None
            parent, name = split(shared)
            root_fd, path = open_beneath(home_fd, parent, DIRECTORY, follow=True), name
        with closing(root_fd):
            yield root_fd, path


def require_within(home: Path, shared: str, path: str) -> None:
    """Make sure that a path of a share is there, and no symlink leads it out.

    Raises:
        InvalidArgument: One does.
        NotFound: It is not there.
    """
    with opened_share(home, shared, path) as (root_fd, inner):
        os.close(open_beneath(root_fd, inner, os.O_PATH, follow=True))


def open_shared_file(home: Path, shared: str, path: str) -> int:
    """A file of a share, open for reading.

    Raises:
        InvalidArgument: A symlink leads it out of the share.
        NotFound: It is not there.
        Conflict: It is no file.
    """
    with opened_share(home, shared, path) as (root_fd, inner):
        return open_file(root_fd, inner)


def is_kept_back(path: str) -> bool:
    """Whether a reduced path is of what the hub keeps in a home for its project alone."""
    return path == KEEPING or path.startswith(f"{KEEPING}/")
