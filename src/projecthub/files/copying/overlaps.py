"""How source and target lie to each other in a home."""

from __future__ import annotations

import os
from pathlib import Path

from projecthub.errors import Conflict, InvalidArgument
from projecthub.files.ends import Source, Target
from projecthub.files.paths import is_within, join, same, shown
from projecthub.files.plans import CopyOptions


def overlap(source: Source, target: Target, home: os.stat_result, options: CopyOptions) -> bool:
    """Whether source and target are one and the same directory of a home, so that there is nothing to do.

    Raises:
        InvalidArgument: One contains the other in a way that can come to no good end.
    """
    source_status, target_status = os.fstat(source.fd), os.fstat(target.fd)
    if target.name is None and same(source_status, target_status):
        return True
    if is_within(target.fd, source_status, home):
        path = shown(join(target.path, target.name or ""))
        raise InvalidArgument(
            f"cannot copy a directory into itself: '{path}' lies inside of the source; choose another target path"
        )
    if target.name is None and options.delete_missing and is_within(source.fd, target_status, home):
        raise InvalidArgument(
            f"delete_missing would delete the source '{shown(source.path)}', which lies inside of "
            f"'{shown(target.path)}': choose another target path"
        )
    return False


def real_path(home_fd: int, fd: int, given: str) -> str:
    """Where an open directory lies in its home, without symlinks."""
    home, here = (str(Path(f"/proc/self/fd/{each}").readlink()) for each in (home_fd, fd))
    if here == home:
        return ""
    if not here.startswith(home + "/"):
        raise Conflict(f"cannot write '{shown(given)}': a directory that holds it was moved meanwhile; copy again")
    return here.removeprefix(home + "/")
