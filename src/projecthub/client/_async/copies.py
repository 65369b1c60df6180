from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from projecthub.client._async.connection import AsyncConnection
from projecthub.client.requests import of_method
from projecthub.errors import CallTimeout, TransportError
from projecthub.wire import copies as shapes
from projecthub.wire.methods import METHODS, Endpoint

AWAY_S: Final = 30.0
"""How long a hub may be away before whoever waits for a copy gives up, in seconds."""

_METHODS: Final = METHODS[Endpoint.HUB]
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 1.0
_UNDER_WAY: Final = ("planning", "running")
_Operations: TypeAlias = list[shapes.CopyOperation]  # within the class below, `list` is a method


class AsyncCopies:
    """Copies from one project to many, or from many to one: planned, applied, followed, undone."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def plan(
        self,
        source: shapes.ProjectPath | shapes.SharedPath | None = None,
        targets: Sequence[str | shapes.TargetPath] | None = None,
        *,
        sources: Sequence[shapes.SourcePath] | None = None,
        target: shapes.ProjectPath | None = None,
        policy: str = "update",
        overwrite_newer: bool = False,
        delete_missing: bool = False,
        backup: bool = False,
        exclude: list[str] | None = None,
        skip_missing: bool = False,
        wait: bool = True,
    ) -> shapes.CopyOperation:
        """Find out what copies would do; a plan that is not applied is a dry run.

        It is kept for a day; of more than a hundred, the oldest is cancelled.

        Args:
            source: What to hand out: `project_id`, and `path` relative to its home; one that ends with a slash has to
                be a directory. Or what is shared: `public_path_id`, and perhaps a `path` below it.
            targets: Projects to hand it out to: their ids, or `project_id` with `path`. Default path: the source's.
                With `source_path`, that is handed out and not the source's path: to each something of its own.
            sources: What to collect: `project_id`, `path`, and perhaps `target_path`, as what. Default: the target's
                path, and in it the source's project id.
            target: Where to collect it: `project_id` and `path`.
            policy: What happens to what people have changed. ``update``: what is newer in the target is kept.
                ``overwrite``: nothing is. ``keep``: all of it is. ``merge``: it is kept, and the new version of what
                has changed on both sides is put beside it.
            overwrite_newer: With ``update``: replace files that are newer in the target.
            delete_missing: Delete what a target directory has and the source has not.
            backup: Keep a replaced file as ``name~``.
            exclude: Patterns of names to leave out.
            skip_missing: Take a source that is not there for one of which there is nothing to copy: its target is
                ``missing``, and nothing has failed.
            wait: Whether to wait for the plan; else `wait` does.

        Returns:
            The operation: its `id`, `state`, `totals`, and for each of its `targets` the `counts` of files by status,
            `files` and `bytes` to write, and whether it would be `over_quota`.

        Raises:
            PermissionDenied: You may copy to none of the targets.
            NotFound: There is no such source.
            InvalidArgument: Two copies would go to one place; an unknown policy; more than 10,000 pairs.
            LimitError: 100 plans of yours are being made.

        Example:
            ```python
            plan = await hub.copies.plan({"project_id": course, "path": "hw1"}, students, policy="merge")
            print(plan["totals"]["counts"])
            await hub.copies.apply(plan["id"])
            ```
        """
        arguments = shapes.PlanCopies(
            source=_plain(source),
            targets=None if targets is None else [one if isinstance(one, str) else {**one} for one in targets],
            sources=None if sources is None else [{**one} for one in sources],
            target=_plain(target),
            policy=policy,
            overwrite_newer=overwrite_newer,
            delete_missing=delete_missing,
            backup=backup,
            exclude=exclude,
            skip_missing=skip_missing,
            wait=wait,
        )
        return await self._operation("copies.plan", arguments)

    async def files(
        self, id: str, number: int = 0, *, statuses: list[str] | None = None, after: int = 0, limit: int = 1000
    ) -> shapes.PlannedFiles:
        """A page of the files of one target that are not the same already, and what is to become of each.

        Args:
            id: The operation.
            number: The target's number in it.
            statuses: Only those: ``new``, ``changed_by_us``, ``changed_by_them``, ``conflict``, ``deleted_by_them``,
                ``would_be_deleted``.
            after: The last `number` of the page before.
            limit: How many at most, 1 to 10,000.

        Returns:
            `files`, and `next`: what to give as ``after`` for the next page; null if there is none.

        Raises:
            NotFound: There is no such operation or target, or its list is not kept any more.

        Example:
            ```python
            for file in (await hub.copies.files(plan["id"], 3))["files"]:
                print(file["path"], file["status"], file["action"])
            ```
        """
        arguments = shapes.CopyFiles(id=id, number=number, statuses=statuses, after=after, limit=limit)
        reply: shapes.PlannedFiles = await self._call("copies.files", arguments)
        return reply

    async def apply(self, id: str, *, only: str | None = None, wait: bool = True) -> shapes.CopyOperation:
        """Do what is planned, each target whole or not at all. A target that has moved since the plan is refused.

        Args:
            id: The operation.
            only: ``failed``: as `retry`.
            wait: Whether to wait for its end; else `wait` does.

        Returns:
            The operation. In state ``failed`` some targets are ``failed`` or ``refused``, each with its `error`; all
            others are done. A target tells under `vanished` how many files of the plan were gone from the source.

        Raises:
            NotFound: There is no such operation of yours.
            Conflict: It is no plan any more.

        Example:
            ```python
            done = await hub.copies.apply(plan["id"])
            print(done["state"], done["totals"]["files"])
            ```
        """
        return await self._operation("copies.apply", shapes.ApplyCopies(id=id, only=only, wait=wait))

    async def get(self, id: str, *, targets: bool = True) -> shapes.CopyOperation:
        """How far an operation is.

        Args:
            id: The operation.
            targets: Whether to tell of each target.

        Raises:
            NotFound: There is no such operation of yours.

        Example:
            ```python
            print((await hub.copies.get(plan["id"]))["progress"])
            ```
        """
        return await self._operation("copies.get", shapes.GetCopies(id=id, targets=targets))

    async def list(
        self,
        project_id: str | None = None,
        *,
        plans: bool = False,
        limit: int = 100,
        after: str | None = None,
    ) -> _Operations:
        """Your operations, newest first, without their targets; they are remembered for 30 days after their end.

        Each tells under `source` and `target` how many `projects` it copies from and to, and where that is the same
        for all targets, the `project_id` and the `path`.

        Args:
            project_id: Only those that copy from or to this project.
            plans: Also plans that were never applied; they are remembered for a day.
            limit: How many at most, 1 to 500.
            after: The last `id` of the page before.

        Raises:
            NotFound: There is no operation ``after``.

        Example:
            ```python
            for operation in await hub.copies.list(course):
                print(operation["created"], operation["state"], operation["source"], operation["target"])
            ```
        """
        arguments = shapes.ListCopies(project_id=project_id, plans=plans, limit=limit, after=after)
        reply: _Operations = await self._call("copies.list", arguments)
        return reply

    async def cancel(self, id: str) -> shapes.CopyOperation:
        """Stop an operation, or drop a plan. What is copied by then stays; all other targets are as they were.

        Args:
            id: The operation.

        Raises:
            NotFound: There is no such operation of yours.
            Conflict: It has ended.

        Example:
            ```python
            await hub.copies.cancel(plan["id"])
            ```
        """
        return await self._operation("copies.cancel", shapes.CancelCopies(id=id))

    async def retry(self, id: str, *, wait: bool = True) -> shapes.CopyOperation:
        """Plan anew what has failed, was refused or cancelled, and apply that; all else stays as it is.

        Args:
            id: The operation.
            wait: Whether to wait for its end; else `wait` does.

        Raises:
            NotFound: There is no such operation of yours.
            Conflict: It has not ended, or nothing of it has failed.

        Example:
            ```python
            await hub.copies.retry(plan["id"])
            ```
        """
        return await self._operation("copies.retry", shapes.RetryCopies(id=id, wait=wait))

    async def undo(self, id: str, targets: Sequence[int] | None = None, *, wait: bool = True) -> shapes.CopyOperation:
        """Put back what an operation has replaced or deleted, and take away what it has made; for a week.

        What was changed since stays, and is named.

        Args:
            id: The operation. Of a single copy, the project's log tells it as `operation_id`.
            targets: Numbers of targets. Default: all.
            wait: Whether to wait for its end; else `wait` does.

        Returns:
            The operation; each target tells under `undone` what was restored, removed and kept.

        Raises:
            NotFound: There is no such operation of yours, or no such target.
            Conflict: It has not ended, or cannot be undone any more.
            PermissionDenied: You may not change files of the projects any more.

        Example:
            ```python
            await hub.copies.undo(plan["id"], [3])
            ```
        """
        arguments = shapes.UndoCopies(id=id, targets=None if targets is None else [*targets], wait=wait)
        return await self._operation("copies.undo", arguments)

    async def forget(self, id: str | None = None, *, project_id: str | None = None) -> shapes.ForgottenCopies:
        """Let go for good of what copies have displaced, which frees the room; they cannot be undone any more.

        Args:
            id: Only of this operation of yours.
            project_id: Only of copies into this project, whoever made them.

        Returns:
            How many `targets` cannot be undone any more, `freed_bytes`, and `project_ids`, the projects they are in.

        Raises:
            InvalidArgument: Neither is given.
            NotFound: There is no such operation of yours.
            PermissionDenied: You may not manage the project, or none of those that were copied to.

        Example:
            ```python
            print((await hub.copies.forget(project_id=project_id))["freed_bytes"])
            ```
        """
        reply: shapes.ForgottenCopies = await self._call(
            "copies.forget", shapes.ForgetCopies(id=id, project_id=project_id)
        )
        return reply

    async def wait(
        self,
        id: str,
        timeout_s: float | None = None,
        on_progress: Callable[[shapes.CopyOperation], object] | None = None,
    ) -> shapes.CopyOperation:
        """Wait until an operation is planned, or has ended; also while the hub is away for a moment.

        Args:
            id: The operation.
            timeout_s: Seconds to wait; None: as long as it needs. The operation goes on beyond it.
            on_progress: Called every now and then with the operation, without its targets.

        Raises:
            NotFound: There is no such operation of yours.
            CallTimeout: It did not end in time.
            TransportError: The hub was away for longer than `AWAY_S` seconds.

        Example:
            ```python
            started = await hub.projects.copy_paths(source, students, wait=False)
            done = await hub.copies.wait(started["id"], on_progress=lambda now: print(now["progress"]))
            ```
        """
        began = heard_at = time.monotonic()
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                operation = await self.get(id, targets=False)
                heard_at = time.monotonic()
                if on_progress is not None:
                    on_progress(operation)
                if operation["state"] not in _UNDER_WAY:
                    return await self.get(id)
            except TransportError:
                if time.monotonic() - heard_at > AWAY_S:
                    raise
            left_s = math.inf if timeout_s is None else began + timeout_s - time.monotonic()
            if left_s <= 0:
                raise CallTimeout(f"timeout: copy operation '{id}' did not end within {timeout_s:g} s; it goes on")
            await asyncio.sleep(min(pause_s, left_s))
            pause_s = min(_LONGEST_PAUSE_S, pause_s * 1.5)

    async def _operation(self, name: str, arguments: Any) -> shapes.CopyOperation:
        reply: shapes.CopyOperation = await self._call(name, arguments)
        return reply

    async def _call(self, name: str, arguments: Any) -> Any:
        # What waits for copies may take as long as they need.
        request = of_method(_METHODS[name], arguments, wait_s=math.inf if getattr(arguments, "wait", False) else None)
        return await self._connection.call(_METHODS[name], request)


def _plain(path: shapes.ProjectPath | shapes.SharedPath | None) -> dict[str, Any] | None:
    return None if path is None else {**path}
