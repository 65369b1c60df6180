"""Whether files of which all else is the same have other extended attributes."""

from __future__ import annotations

import os

from projecthub.files.paths import DIRECTORY, open_beneath


class SourceAttributes:
    """The attributes of files of a source, asked for one directory after the other."""

    def __init__(self, source_fd: int) -> None:
        """Make ready; ``source_fd``: the directory that is copied, or that a copied file is in."""
        self._source_fd = source_fd
        self._path = ""
        self._fd: int | None = None

    def close(self) -> None:
        """Let go of the directory that was asked for last."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def differ(self, path: str, name: str, fd: int, there: str) -> bool:
        """Whether a file has others than one of the target; what cannot be told does not differ.

        Args:
            path: The directory of the source.
            name: The file in it.
            fd: The directory of the target.
            there: The file in that.
        """
        try:
            if self._fd is None or self._path != path:
                self.close()
                self._fd, self._path = open_beneath(self._source_fd, path, DIRECTORY, follow=False), path
            return _of_users(self._fd, name) != _of_users(fd, there)
        except OSError:
            return False


def _of_users(fd: int, name: str) -> dict[str, bytes]:
    path = f"/proc/self/fd/{fd}/{name}"
    names = os.listxattr(path, follow_symlinks=False)
    return {one: os.getxattr(path, one, follow_symlinks=False) for one in names if one.startswith("user.")}
