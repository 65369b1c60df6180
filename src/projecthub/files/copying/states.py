"""What is there under a name, and whether it is the same as what was there before, or is elsewhere."""

from __future__ import annotations

import os
import stat
from typing import Any

from projecthub.files.copying.manifests import DIRECTORY, FILE, LINKED, OTHER, SYMLINK, Entry
from projecthub.files.copying.walking import hash_at

_OLD_KINDS = {stat.S_IFREG: FILE, stat.S_IFLNK: SYMLINK, stat.S_IFDIR: DIRECTORY}


def identity(status: os.stat_result) -> list[Any]:
    """What tells one state of a file from another: kind, inode, times, size; and its mode."""
    kind = _OLD_KINDS.get(stat.S_IFMT(status.st_mode), OTHER)
    mode = stat.S_IMODE(status.st_mode)
    return [kind, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size, mode]


def status_at(directory_fd: int, name: str) -> os.stat_result | None:
    """What is there under a name; None: nothing."""
    try:
        return os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def is_same(entry: Entry, fd: int, name: str, there: os.stat_result) -> bool:
    """Whether what is in a directory is the same as an entry of a manifest; a hash decides where times differ."""
    if entry[1] == SYMLINK:
        if not stat.S_ISLNK(there.st_mode):
            return False
        try:
            return bool(os.readlink(name, dir_fd=fd) == entry[6])
        except OSError:
            return False
    if not stat.S_ISREG(there.st_mode) or there.st_size != entry[3]:
        return False
    if there.st_mtime_ns == entry[4]:
        return True
    known = entry[6] if len(entry) > 6 and entry[1] in (FILE, LINKED) else None
    return known is not None and hash_at(fd, name) == known


def has_moved(entry: Entry, before: Entry) -> bool:
    """Whether an entry of the source is another one than before."""
    is_link = entry[1] == SYMLINK
    if is_link != (before[1] == SYMLINK):
        return True
    if is_link:
        return bool(entry[6] != before[6])
    if entry[3] != before[3]:
        return True
    if entry[4] == before[4]:
        return False
    hashes = [each[6] for each in (entry, before) if len(each) > 6 and each[1] in (FILE, LINKED)]
    return len(hashes) < 2 or hashes[0] != hashes[1]
