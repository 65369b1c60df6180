"""What was handed out, in backups: the lists by which `merge` and `keep` know whose a change is.

Without them whatever differs would count as people's own, and none of the untouched files of a class would be mended
any more after a restore. They are small, and never change once they are written.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from projecthub.files import Homes
from projecthub.files.archives import COMPRESSED_SUFFIX, SUFFIX, Archived, archive, unpack
from projecthub.hub.copies.ground import MANIFEST
from projecthub.wire.ids import is_uuid

LISTS: Final = "handouts"
_NAME: Final = re.compile(r"[0-9a-f-]{36}/[0-9a-f]{32}")
_FILE: Final = re.compile(rf"[0-9a-f]{{32}}{re.escape(MANIFEST)}")


def lists_part(compressed: bool) -> str:
    """What the part of a backup is called that holds them."""
    return f"{LISTS}{COMPRESSED_SUFFIX if compressed else SUFFIX}"


async def archive_lists(homes: Homes, names: Iterable[str], target: Path, *, compressed: bool) -> Archived | None:
    """Write lists to a new file; None: none of them is there.

    One that is not there any more has been followed by another since the store was copied.

    Args:
        homes: The homes, with the lists beside them.
        names: Of the lists, as the store has them.
        target: The file.
        compressed: Whether by zstd.

    Raises:
        LimitError: No space is left.
        InternalError: tar failed.
    """
    files = sorted(f"{name}{MANIFEST}" for name in names if _NAME.fullmatch(name))
    there = await asyncio.to_thread(lambda: [file for file in files if (homes.operations / file).is_file()])
    return await archive(homes.operations, target, compressed=compressed, files=there) if there else None


async def unpack_lists(source: Path, projects: Path, *, compressed: bool) -> Sequence[str]:
    """Bring lists back to beside the homes of a new hub; tells what could not be.

    Args:
        source: The part of the backup.
        projects: The directory of the homes.
        compressed: Whether by zstd.

    Raises:
        LimitError: No space is left.
        InternalError: It is no archive, or tar failed.
    """
    operations = Homes(projects).operations
    operations.mkdir(mode=0o700)
    notes = await unpack(source, operations, uid=None, compressed=compressed)
    await asyncio.to_thread(_keep_lists, operations)
    return notes


def _keep_lists(operations: Path) -> None:
    """Remove whatever an archive of anybody's held beside lists, such as symlinks to other places."""
    for directory in operations.iterdir():
        if directory.is_symlink() or not directory.is_dir():
            directory.unlink()
        elif not is_uuid(directory.name):
            shutil.rmtree(directory)
        else:
            directory.chmod(0o700)
            for file in directory.iterdir():
                if file.is_dir() and not file.is_symlink():
                    shutil.rmtree(file)
                elif file.is_symlink() or not file.is_file() or not _FILE.fullmatch(file.name):
                    file.unlink()
