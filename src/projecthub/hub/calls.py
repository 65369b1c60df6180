"""Calls into a project: whoever may make them wakes the project and counts as its user.

Source: Wire contract 1.4, 1.7.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import aclosing, contextmanager
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import structlog

from projecthub.errors import Conflict, InvalidArgument, LimitError, PermissionDenied, ServerLost, StoreUnavailable
from projecthub.hub.permissions import is_able, member_access, not_deleted, project_id_of, within_scopes
from projecthub.wire.methods import Ability

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence

    from projecthub.engines.port import Engine, Instance
    from projecthub.hub.clock import Clock
    from projecthub.hub.lifecycle import Lifecycle
    from projecthub.hub.principals import Principal
    from projecthub.store import Store
    from projecthub.store.records import Access, Project
    from projecthub.wire.ids import AccountId, ProjectId

TOUCH_EVERY: Final = timedelta(seconds=15)
"""Activity is written at most this often for each account and project, so that a loop of calls is not one of writes."""

ASK_WITHIN_S: Final = 3.0
"""How long a project may take to answer the hub's own questions, in seconds."""

MAX_ANSWER_BYTES: Final = 1024 * 1024
"""Of an answer to such a question: nobody but the hub wanted it, and all projects may be asked at once."""

MAX_UNDER_WAY: Final = 1000
"""Calls into one project at a time: each holds a connection, and a project that does not answer holds it for ever."""

WAITED_S: Final[ContextVar[float | None]] = ContextVar("waited_s", default=None)
"""For how many seconds somebody waits for the call that is served; None: until it is answered, or he leaves.

Whoever serves a call that goes on when that time is over says so here: from then on it is no use of the project.
"""

_MAX_REMEMBERED: Final = 10_000

_log = structlog.get_logger()


class ProjectCalls:
    """Brings calls to project servers."""

    def __init__(self, store: Store, clock: Clock, lifecycle: Lifecycle, engine: Engine) -> None:
        """Make the service."""
        self._store = store
        self._clock = clock
        self._lifecycle = lifecycle
        self._engine = engine
        self._touched: dict[tuple[ProjectId, AccountId], datetime] = {}
        self._under_way: Counter[ProjectId] = Counter()
        self._left: Counter[ProjectId] = Counter()

    def under_way(self, project_id: ProjectId) -> int:
        """How many calls into a project have not been answered yet, and are still waited for."""
        return self._under_way[project_id] - self._left[project_id]

    def target(self, caller: Principal, project_id: object) -> ProjectId:
        """Which project a call is for: the one given, or that of the key.

        Raises:
            InvalidArgument: None is given and the key is an account's; or no uuid.
            PermissionDenied: A project key for another project.
        """
        if not project_id:
            if caller.project_id is None:
                raise InvalidArgument("must specify project_id or use project-specific api key")
            return caller.project_id
        checked = project_id_of(project_id)
        if caller.project_id is not None and caller.project_id != checked:
            raise PermissionDenied("project specific api key must match requested project")
        return checked

    async def access(self, caller: Principal, project_id: ProjectId, needs: Ability) -> Access:
        """The project, and what the caller is to it, for whoever may make calls into it that need this ability.

        Raises:
            PermissionDenied: The caller is not on the project, or has not the role for it.
            Conflict: The project is deleted.
        """
        async with self._store.glance() as tx:
            access = await member_access(tx, caller, project_id, "user must be a collaborator on the project", needs)
        not_deleted(access.project)
        return access

    async def prepare(self, caller: Principal, access: Access, *, inside: bool) -> None:
        """Before a call: have the project running, if the caller may start it; for others it stays as it is.

        Args:
            caller: Who calls.
            access: What `access` told.
            inside: Whether only the running project can answer.

        Raises:
            Conflict: It does not run, the caller may not start it, and nobody else can answer.
            PermissionDenied: The same, where it is the key that may not.
            StartFailed: See `Lifecycle.start`.
        """
        project = access.project
        may_start = is_able(access.role, Ability.RUN)
        if may_start and Ability.RUN in caller.scopes:
            await self.wake(caller, project)
        elif inside and not self.reaches(project.project_id):
            if may_start:
                within_scopes(caller, Ability.RUN, "to start the project")
            raise Conflict(
                f"project '{project.project_id}' does not run, and who only views it may not start it; "
                "ask one of its collaborators"
            )

    async def wake(self, caller: Principal, project: Project) -> None:
        """Have a project running, and mark it as used.

        Raises:
            Conflict, StartFailed: See `Lifecycle.start`.
        """
        await self.touch(caller, project)
        await self._lifecycle.start(project, by=caller.account_id)

    async def touch(self, caller: Principal, project: Project) -> None:
        """Mark a project as used, whether it runs or not. Those who only view it do not use it."""
        now = self._clock.now()
        touched = (project.project_id, caller.account_id)
        last = self._touched.get(touched)
        if last is None or not timedelta(0) <= now - last < TOUCH_EVERY:  # a clock may be set back
            # A project key stands for no person: only the project counts as used.
            person = caller.account_id if caller.project_id is None else None
            try:
                async with self._store.jot() as tx:
                    role = await tx.collaborators.role(project.project_id, caller.account_id)
                    looks = not is_able(role, Ability.RUN)
                    await tx.projects.touch(project.project_id, person, now, only_viewed=looks)
            except (
                LimitError,
                StoreUnavailable,
            ) as error:  # what is inside a project is of use even while the hub's disk is full
                _log.warning("project.not_touched", project_id=project.project_id, error=error.message)
            if len(self._touched) >= _MAX_REMEMBERED:
                self._touched.clear()
            self._touched[touched] = now

    def reaches(self, project_id: ProjectId) -> bool:
        """Whether a project runs, so that calls reach it without starting it."""
        return self._lifecycle.instance(project_id) is not None

    async def call(self, project_id: ProjectId, name: str, arguments: Sequence[object]) -> object:
        """Call a method of a project that `wake` has started.

        Raises:
            ServerLost: It has stopped meanwhile.
            LimitError: Too many calls are under way in it.
            HubError: What the project server refuses; see `Engine.call`.
        """
        instance = self._instance(project_id)
        with self._counted(project_id):
            return await self._engine.call(instance, name, arguments)

    async def ask(self, project_id: ProjectId, name: str, arguments: Sequence[object]) -> object:
        """Call a method on the hub's own account: it is no use of the project, and waits for no more than a moment.

        Raises:
            ProjectError: It does not run, or does not answer, or not in time.
            HubError: What the project server refuses; see `Engine.call`.
        """
        instance = self._instance(project_id)
        return await self._engine.call(
            instance, name, arguments, timeout_s=ASK_WITHIN_S, max_reply_bytes=MAX_ANSWER_BYTES
        )

    async def stream(
        self, project_id: ProjectId, name: str, arguments: Sequence[object]
    ) -> AsyncGenerator[object, None]:
        """The values of a streaming method of a project that `wake` has started. Close it when no more are wanted.

        Raises:
            ServerLost: It has stopped meanwhile.
            LimitError: Too many calls are under way in it.
            HubError: What the project server refuses; see `Engine.stream`.
        """
        instance = self._instance(project_id)
        with self._counted(project_id):
            async with aclosing(self._engine.stream(instance, name, arguments)) as values:
                async for value in values:
                    yield value

    def _instance(self, project_id: ProjectId) -> Instance:
        instance = self._lifecycle.instance(project_id)
        if instance is None:
            raise ServerLost(f"project '{project_id}' was stopped before the call reached it; call again")
        return instance

    @contextmanager
    def _counted(self, project_id: ProjectId) -> Iterator[None]:
        """Count a call as under way, and from when nobody waits for it any more as left, too.

        Raises:
            LimitError: Too many are under way.
        """
        if self._under_way[project_id] >= MAX_UNDER_WAY:
            raise LimitError(f"{MAX_UNDER_WAY} calls into project '{project_id}' are under way; wait for some of them")
        self._under_way[project_id] += 1
        counted = [self._under_way]

        def leave() -> None:
            self._left[project_id] += 1
            counted.append(self._left)

        waited_s = WAITED_S.get()
        timer = None if waited_s is None else asyncio.get_running_loop().call_later(waited_s, leave)
        try:
            yield
        finally:
            if timer is not None:
                timer.cancel()
            for counter in counted:
                counter[project_id] -= 1
                if not counter[project_id]:
                    del counter[project_id]
