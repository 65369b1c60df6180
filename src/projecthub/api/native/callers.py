"""Who asks, for the routes of a project: dependencies that every route takes one of."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, TypeVar

from fastapi import Depends, Path
from starlette.requests import Request

from projecthub.api.auditing import SAFE
from projecthub.api.departures import unless_left
from projecthub.api.native.targets import named_by
from projecthub.api.requests import address_of, read_key
from projecthub.api.services import Services
from projecthub.errors import CallerError, Conflict, NotFound, NotSignedIn, PermissionDenied, StoreUnavailable
from projecthub.files.threads import until_ended
from projecthub.hub.audited_calls import AuditedCall
from projecthub.hub.permissions import within_scopes
from projecthub.hub.principals import Principal
from projecthub.store.records import Project
from projecthub.wire.ids import ProjectId
from projecthub.wire.methods import Ability

CHECKED_AGAIN_S: Final = 1.0
"""So long after it was looked whether somebody may still have something, in seconds, it is looked at again before
anything more is told or done. Not for each piece: a look takes 0.2 ms, and would slow down streams of many."""

_T = TypeVar("_T")
_NOBODY = "must be signed in: give an API key of an account or of the project as 'Authorization: Bearer <key>'"


class Admitted:
    """Somebody who was let in, and may be at it for long."""

    __slots__ = ()

    request: Request | None

    async def is_still_one(self) -> bool:
        """Whether they may do now, too, what they asked for: answers may go on for days."""
        raise NotImplementedError

    async def while_still_one(self, work: Awaitable[_T]) -> _T:
        """Do some work that may take long, as long as the key and the access hold; see `is_still_one`.

        Raises:
            PermissionDenied: They hold no more; the work was cancelled.
        """
        task = asyncio.ensure_future(work)
        try:
            while not (await asyncio.wait({task}, timeout=CHECKED_AGAIN_S))[0]:
                await self.check()
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await until_ended(task)

    def body(self) -> AsyncGenerator[bytes, None]:
        """What the request holds, as it comes, as long as the key and the access hold; after all of it an empty part.

        Raises:
            PermissionDenied: They hold no more.
            ClientDisconnect: They went away.
        """
        assert self.request is not None
        return self.told(self.request.stream())

    async def told(self, content: AsyncGenerator[_T, None]) -> AsyncGenerator[_T, None]:
        """What is on its way to them, or from them, as long as the key and the access hold.

        Raises:
            PermissionDenied: They hold no more: what was told so far is not all.
        """
        now = asyncio.get_running_loop().time
        checked_at = now()
        async with aclosing(content):
            async for part in content:
                if now() - checked_at >= CHECKED_AGAIN_S:
                    await self.check()
                    checked_at = now()
                yield part

    async def check(self) -> None:
        """Let nobody go on whose key or access has ended.

        Raises:
            PermissionDenied: It has.
        """
        if not await self.is_still_one():
            raise PermissionDenied("your key, or what you may do with it, has ended meanwhile")


@dataclass(frozen=True, slots=True)
class Member(Admitted):
    """Somebody who may do what the project's people may.

    Attributes:
        caller: Who: an account, or the project's own key.
        project: The project as it was when the request came.
        services: The hub's services.
        needs: What the route needs them to be able to do.
        key: The API key.
        request: What they ask.
    """

    caller: Principal
    project: Project
    services: Services
    needs: Ability
    key: str = field(repr=False)
    request: Request | None = field(default=None, repr=False)

    @property
    def project_id(self) -> ProjectId:
        """Which project."""
        return self.project.project_id

    async def is_still_one(self) -> bool:
        """Whether the key, its scopes and the access hold now, too: answers may go on for days."""
        try:
            caller = await self.services.keys.check(self.key)
            if caller is None or self.needs not in caller.scopes:
                return False
            await self.services.calls.access(self.caller, self.project_id, self.needs)
        except (PermissionDenied, Conflict):
            return False
        except StoreUnavailable:  # nobody can have taken anything away meanwhile
            return True
        return True

    async def unless_left(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Do some work, and give it up when they go away: a project may not answer at all.

        Raises:
            ClientDisconnect: They went away.
        """
        assert self.request is not None
        try:
            async for _ in self.request.stream():  # a body that nobody has read; after it comes only the caller's end
                pass
        except BaseException:
            work.close()
            raise
        return await unless_left(work, self.request.receive)


async def identify(request: Request) -> None:
    """Find out who asks.

    Raises:
        NotSignedIn: No key, or one that is not valid.
        RateLimited: It is used too often, or too many wrong ones came from there.
    """
    services: Services = request.app.state.services
    caller = await services.admission.admit(read_key(request), address_of(request.scope))
    if caller is None:
        raise NotSignedIn(_NOBODY)
    request.state.caller = request.state.audited.caller = caller
    request.state.account_id = caller.account_id


async def identify_if_signed_in(request: Request) -> None:
    """Find out who asks; somebody without a key is nobody, and let in.

    Raises:
        NotSignedIn, RateLimited: As `identify`, of whoever gives a key; and others come too often.
    """
    if "authorization" in request.headers:
        await identify(request)
        return
    services: Services = request.app.state.services
    services.admission.visit(address_of(request.scope))
    request.state.caller = None


@dataclass(frozen=True, slots=True)
class Asker(Admitted):
    """Somebody whose request is about no project that is there.

    Attributes:
        caller: Who.
        services: The hub's services.
        call: The request, as it is to stand in the audit log.
        key: The API key.
        request: What they ask.
    """

    caller: Principal
    services: Services
    call: AuditedCall
    key: str = field(repr=False)
    request: Request

    async def is_still_one(self) -> bool:
        """Whether the key and its scopes hold now, too."""
        try:
            caller = await self.services.keys.check(self.key)
        except StoreUnavailable:  # nobody can have taken anything away meanwhile
            return True
        return caller is not None and Ability.MANAGE in caller.scopes

    async def making(self, work: Awaitable[_T], made: Callable[[_T], Mapping[str, Any]]) -> _T:
        """Do some work that goes on after the request was answered; the audit log tells what came of it.

        Args:
            work: It.
            made: Tells what its result names.
        """
        self.call.goes_on = True

        async def done() -> _T:
            return await work

        result: _T = await self.services.audit.through(self.call, done, made)
        return result


@dataclass(frozen=True, slots=True)
class Visitor(Admitted):
    """Somebody who may not be signed in, and looks at shares.

    Attributes:
        caller: Who; None: nobody knows.
        services: The hub's services.
        share_id: Which share; None: none of its own.
        key: The API key; None: there is none.
        request: What they ask.
    """

    caller: Principal | None
    services: Services
    share_id: str | None = None
    key: str | None = field(default=None, repr=False)
    request: Request | None = field(default=None, repr=False)

    async def is_still_one(self) -> bool:
        """Whether the key, if there is one, and the share hold now, too."""
        try:
            if self.key is not None:
                caller = await self.services.keys.check(self.key)
                if caller is None or Ability.READ not in caller.scopes:
                    return False
            if self.share_id is not None:
                await self.services.shares.shown(self.caller, self.share_id)
        except CallerError:
            return False
        except StoreUnavailable:  # nobody can have taken anything away meanwhile
            return True
        return True


async def _maker(request: Request) -> Asker:
    """Whoever makes projects.

    Raises:
        PermissionDenied: It is a project's own key, or one that has not the scope for it.
    """
    caller: Principal = request.state.caller
    within_scopes(caller, Ability.MANAGE, "this")
    if caller.project_id is not None:
        raise PermissionDenied("permission denied: a project's own key makes no projects; use one of an account")
    services: Services = request.app.state.services
    request.state.audited.target |= await named_by(request)
    await services.audit.begin(request.state.audited)
    return Asker(caller, services, request.state.audited, read_key(request), request)


async def _visitor(request: Request) -> Visitor:
    """Whoever looks at shares.

    Raises:
        PermissionDenied: The key has not the scope for it.
    """
    caller: Principal | None = request.state.caller
    if caller is not None:
        within_scopes(caller, Ability.READ, "this")
    key = None if caller is None else read_key(request)
    return Visitor(caller, request.app.state.services, request.path_params.get("share_id"), key, request)


AMaker = Annotated[Asker, Depends(_maker)]
"""For routes that make projects."""

AVisitor = Annotated[Visitor, Depends(_visitor)]
"""For routes that show something to people who are not signed in, too."""


def _able_to(needs: Ability) -> Callable[..., Awaitable[Member]]:
    async def member(
        request: Request, project_id: Annotated[str, Path(description="The project's id, a uuid.")]
    ) -> Member:
        """Whoever asks, if they may.

        Raises:
            InvalidArgument: No uuid.
            PermissionDenied: The caller is not on the project, or may not do this; or the key is of another one, or
                has not the scope for it.
            Conflict: The project is deleted.
        """
        services: Services = request.app.state.services
        caller: Principal = request.state.caller
        within_scopes(caller, needs, "this")
        target = services.calls.target(caller, project_id)
        request.state.audited.target["project_id"] = target
        access = await services.calls.access(caller, target, needs)
        if needs is not Ability.READ and request.method not in SAFE:
            request.state.audited.target |= await named_by(request)
            await services.audit.begin(request.state.audited)
        return Member(caller, access.project, services, needs, read_key(request), request)

    return member


Reader = Annotated[Member, Depends(_able_to(Ability.READ))]
"""For routes that show something."""

Writer = Annotated[Member, Depends(_able_to(Ability.WRITE))]
"""For routes that change files."""

Runner = Annotated[Member, Depends(_able_to(Ability.RUN))]
"""For routes that act on what runs, and need no running project."""


async def _awake(member: Runner) -> Member:
    """Have the project running, and mark it as used. A request that is safe otherwise is noted as one that starts it.

    Raises:
        Conflict, StartFailed: See `Lifecycle.start`.
    """
    assert member.request is not None
    call: AuditedCall = member.request.state.audited
    if not call.has_begun and not member.services.calls.reaches(member.project_id):
        await member.services.audit.begin(call)
    await member.services.calls.wake(member.caller, member.project)
    return member


AwakeRunner = Annotated[Member, Depends(_awake)]
"""For routes that need the project to run: it is started first."""


async def _runs(member: Runner) -> Member:
    """Look at a project as it is, and mark it as used.

    Raises:
        NotFound: It does not run.
    """
    if not member.services.calls.reaches(member.project_id):
        raise NotFound(f"project '{member.project_id}' does not run, so that there is nothing of that kind; start it")
    await member.services.calls.touch(member.caller, member.project)
    return member


Onlooker = Annotated[Member, Depends(_runs)]
"""For routes that look at what is there only while the project runs: nobody starts it by looking."""
