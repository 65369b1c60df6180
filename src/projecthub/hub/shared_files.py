"""The files of shares, for everybody who may see them: looked at, downloaded, never changed.

To look at a share is no use of the project that it is of.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, TypeVar

from projecthub.errors import Conflict
from projecthub.files import packing, views
from projecthub.files.packing import KEEPING
from projecthub.files.paths import DIRECTORY, open_beneath, shown
from projecthub.files.sharing import open_shared_file, opened_share, told_of_share
from projecthub.hub.archives import OpenDirectory
from projecthub.hub.files import OpenFile, etag_of
from projecthub.hub.shares import path_below

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from projecthub.files.packing import Form
    from projecthub.hub.principals import Principal
    from projecthub.hub.shares import Shares
    from projecthub.hub.workplaces import Workplaces

T = TypeVar("T")


class SharedFiles:
    """Reads what is shared. ``caller`` is None for somebody who is not signed in; paths are below what is shared."""

    def __init__(self, shares: Shares, workplaces: Workplaces) -> None:
        """Make the service."""
        self._shares = shares
        self._workplaces = workplaces

    async def listing(
        self,
        caller: Principal | None,
        id: str,
        path: str,
        made: Callable[[Iterator[views.Entry]], T],
        *,
        hidden: bool,
        after: str = "",
    ) -> T:
        """What is made of what a directory of a share holds. See `Files.listing`.

        Raises:
            HubError: As `Shares.shown`, and `NotFound` and `Conflict` if there is no such directory.
        """
        share, inner = await self._shares.shown(caller, id), path_below(path)
        home = await self._workplaces.homes.opened(share.project)

        def work() -> T:
            with opened_share(home.path, share.path, inner) as (root_fd, below):
                listed = views.entries_of(root_fd, below, hidden=hidden, after=after, telling=told_of_share)
                with contextlib.closing(listed) as entries:
                    if share.path or inner:
                        return made(entries)
                    return made(entry for entry in entries if entry.raw_name != KEEPING)

        return await self._workplaces.run(home, work)

    async def open(self, caller: Principal | None, id: str, path: str) -> tuple[OpenFile, str]:
        """Open a file of a share to be read in pieces; tells its name, too.

        Raises:
            HubError: As `Shares.shown`, and `NotFound` and `Conflict` if there is no such file.
        """
        share, inner = await self._shares.shown(caller, id), path_below(path)
        home = await self._workplaces.homes.opened(share.project)

        def work() -> OpenFile:
            fd = open_shared_file(home.path, share.path, inner)
            status = os.fstat(fd)
            return OpenFile(home, fd, status, etag_of(status))

        name = (inner or share.path).rpartition("/")[2]
        return await self._workplaces.run(home, work), shown(name)

    async def open_directory(self, caller: Principal | None, id: str, path: str, form: Form) -> OpenDirectory:
        """Open a directory of a share to be packed.

        Raises:
            HubError: As `Shares.shown`; `NotFound` and `Conflict` if there is no such directory, `InvalidArgument` if
                it holds more than an archive of that form can.
        """
        share, inner = await self._shares.shown(caller, id), path_below(path)
        home = await self._workplaces.homes.opened(share.project)

        def work() -> OpenDirectory:
            with opened_share(home.path, share.path, inner) as (root_fd, below):
                try:
                    fd = open_beneath(root_fd, below, DIRECTORY, follow=True)
                except NotADirectoryError as error:
                    raise Conflict("this is no directory; download it as a file") from error
                try:
                    if form == "zip":
                        packing.require_few(fd)
                except BaseException:
                    os.close(fd)
                    raise
                name = shown((inner or share.path).rpartition("/")[2]) or "home"
                return OpenDirectory(home, fd, name, not share.path and not inner)

        return await self._workplaces.run(home, work)
