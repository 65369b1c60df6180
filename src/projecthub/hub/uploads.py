"""Uploads of files to projects in several parts, which go on after whatever ended them."""

from __future__ import annotations

import contextlib
import functools
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import structlog

from projecthub.errors import Conflict, HubError, InvalidArgument, NotFound
from projecthub.files import staging, uploads
from projecthub.files.changes import write_all
from projecthub.files.paths import shown
from projecthub.hub.files import Precondition, gathered
from projecthub.hub.workplaces import path_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from projecthub.files import Home
    from projecthub.files.uploads import Upload, UploadPlan
    from projecthub.hub.principals import Principal
    from projecthub.hub.workplaces import Workplaces
    from projecthub.store.records import Project
    from projecthub.wire.ids import ProjectId

MAX_BYTES: Final = 2**50
UPLOADED: Final = "uploaded"
_HOMES_A_SWEEP: Final = 200

_log = structlog.get_logger()


class Uploads:
    """Takes parts."""

    def __init__(self, workplaces: Workplaces) -> None:
        """Make the service."""
        self._workplaces = workplaces
        self._swept = ""

    async def begin(self, caller: Principal, project: Project, plan: UploadPlan) -> Upload:
        """Begin an upload; one of nothing is complete at once.

        Raises:
            InvalidArgument: The path leads out of the home, or the length is out of range.
            LimitError: It would not fit, or there are too many.
        """
        if not 0 <= plan.length <= MAX_BYTES:
            raise InvalidArgument(f"an upload of {plan.length} bytes is out of range: from 0 to {MAX_BYTES}")
        home = await self._workplaces.home(caller, project)
        plan = replace(plan, path=path_in(home, plan.path))
        if not plan.path:
            raise InvalidArgument("the home itself cannot be replaced; give the path of a file in it")
        # What is asked for may not come for long: that it fits is seen now, and room is taken when it comes.
        (await self._workplaces.homes.reserve(project, plan.length)).close()
        upload = await self._workplaces.run(home, lambda: uploads.find(home, uploads.begin(home, plan)))
        if not plan.length:
            await self.add(caller, project, upload.id, 0, _nothing())
        return upload

    async def find(self, caller: Principal, project: Project, upload_id: str) -> Upload:
        """An upload as it is. One of which all is there, but which a hub did not live to finish, is finished now.

        Raises:
            NotFound: There is none of that id.
            HubError: It cannot get its place. See `uploads.finish`.
        """
        home = await self._workplaces.home(caller, project)
        upload = await self._workplaces.run(home, lambda: uploads.find(home, upload_id))
        if upload.offset == upload.plan.length:
            try:
                await self.add(caller, project, upload_id, upload.offset, _nothing())
            except NotFound:  # whoever added the last of it was about to finish, and has
                pass
            except Conflict as error:
                if not error.details.get("busy"):
                    raise
        return upload

    async def unfinished(self, caller: Principal, project: Project, path: str | None) -> list[Upload]:
        """Uploads that go on, to one path or all. See `uploads.unfinished`."""
        home = await self._workplaces.home(caller, project)
        inner = None if path is None else path_in(home, path)
        return await self._workplaces.run(home, lambda: uploads.unfinished(home, inner))

    async def add(
        self,
        caller: Principal,
        project: Project,
        upload_id: str,
        offset: int,
        chunks: AsyncIterator[bytes],
        *,
        sha256: str | None = None,
    ) -> tuple[int, Upload]:
        """Add bytes at the end. When it is complete the file gets its place.

        What came before the sender left stays.

        Args:
            caller: Who.
            project: Where.
            upload_id: To what.
            offset: Where it ends.
            chunks: The bytes.
            sha256: What the checksum of the whole has to be, in hex; None: what was said before, or any.

        Returns:
            How many bytes are there now, and the upload as it was before.

        Raises:
            NotFound: There is none of that id.
            Conflict: ``offset`` is not where it ends, somebody else adds to it, or its place is taken.
            CallTimeout: Nothing came for long.
            InvalidArgument: More came than was announced, or the whole has another checksum than that.
            LimitError: There is no room.
        """
        home = await self._workplaces.home(caller, project)
        run, adding = self._workplaces.run, uploads.adding(home, upload_id, offset)
        upload, fd = await run(home, adding.__enter__)
        at = offset

        def write(piece: bytes) -> None:
            allowance.take(len(piece))
            write_all(fd, piece)

        try:
            if sha256 is not None:
                upload = await run(home, functools.partial(uploads.promise, home, upload, sha256))
            allowance = await self._workplaces.homes.reserve(project, upload.plan.length - offset, beside=True)
            with contextlib.closing(allowance):
                async for piece in gathered(chunks):
                    if at + len(piece) > upload.plan.length:
                        raise InvalidArgument(f"more than the {upload.plan.length} bytes came that were announced")
                    await run(home, lambda piece=piece: write(piece))  # type: ignore[misc]
                    at += len(piece)
                if at == upload.plan.length:
                    await self._finish(caller, project, home, upload, fd)
                    allowance.move_in(at)
        finally:
            await run(None, lambda: adding.__exit__(None, None, None))
        if at == upload.plan.length:
            event = {"event": "file_written", "path": shown(upload.plan.path), "bytes": at}
            await self._workplaces.note(caller, project, event)
        return at, upload

    async def _finish(self, caller: Principal, project: Project, home: Home, upload: Upload, fd: int) -> None:
        histories, check = self._workplaces.histories, _condition(upload).check
        async with histories.recording(project.project_id, caller.account_id, UPLOADED) as keeper:
            await self._workplaces.run(home, lambda: uploads.finish(home, upload, fd, check, keeper))

    async def cancel(self, caller: Principal, project: Project, upload_id: str) -> None:
        """Forget an upload. See `uploads.cancel`."""
        home = await self._workplaces.home(caller, project)
        await self._workplaces.run(home, lambda: uploads.cancel(home, upload_id))

    async def sweep(self) -> None:
        """Finish uploads of which all is there, and forget those to which nothing was added for long.

        Remove what killed hubs have left in staging directories, too. In the next few hundred homes.
        """
        homes, now, histories = self._workplaces.homes, self._workplaces.clock.now(), self._workplaces.histories
        finished: list[ProjectId] = []

        def work() -> None:
            ids = homes.ids_after(self._swept, _HOMES_A_SWEEP)
            for project_id in ids:
                try:
                    home = homes.found(project_id)
                    keeper = histories.keeper(project_id, None, UPLOADED)
                    with contextlib.closing(keeper):
                        if uploads.finish_complete(home, lambda upload: _condition(upload).check, keeper):
                            finished.append(project_id)
                    uploads.expire(home, now)
                    staging.sweep(home.staging)
                except (HubError, OSError) as error:
                    _log.warning("uploads.not_swept", project_id=project_id, error=str(error))
            self._swept = ids[-1] if len(ids) == _HOMES_A_SWEEP else ""

        await self._workplaces.run(None, work)
        for project_id in finished:
            histories.poke(project_id)


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""


def _condition(upload: Upload) -> Precondition:
    return Precondition(absent=upload.plan.exclusive)
