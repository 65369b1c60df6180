"""Who asks, for the routes of a project: dependencies that every route takes one of."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Path
from starlette.requests import Request

from projecthub.api.requests import address_of, read_key
from projecthub.api.services import Services
from projecthub.errors import Conflict, NotSignedIn, PermissionDenied, StoreUnavailable
from projecthub.hub.permissions import within_scopes
from projecthub.hub.principals import Principal
from projecthub.store.records import Project
from projecthub.wire.ids import ProjectId
from projecthub.wire.methods import Ability

_NOBODY = "must be signed in: give an API key of an account or of the project as 'Authorization: Bearer <key>'"


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody who may do what the project's people may.

    Attributes:
        caller: Who: an account, or the project's own key.
        project: The project as it was when the request came.
        services: The hub's services.
        needs: What the route needs them to be able to do.
        key: The API key.
    """

    caller: Principal
    project: Project
    services: Services
    needs: Ability
    key: str = field(repr=False)

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
    request.state.caller = caller
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
class Asker:
    """Somebody whose request is about no project that is there.

    Attributes:
        caller: Who.
        services: The hub's services.
    """

    caller: Principal
    services: Services


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who may not be signed in.

    Attributes:
        caller: Who; None: nobody knows.
        services: The hub's services.
    """

    caller: Principal | None
    services: Services


async def _maker(request: Request) -> Asker:
    """Whoever makes projects.

    Raises:
        PermissionDenied: It is a project's own key, or one that has not the scope for it.
    """
    caller: Principal = request.state.caller
    within_scopes(caller, Ability.MANAGE, "this")
    if caller.project_id is not None:
        raise PermissionDenied("permission denied: a project's own key makes no projects; use one of an account")
    return Asker(caller, request.app.state.services)


async def _visitor(request: Request) -> Visitor:
    """Whoever looks at shares.

    Raises:
        PermissionDenied: The key has not the scope for it.
    """
    caller: Principal | None = request.state.caller
    if caller is not None:
        within_scopes(caller, Ability.READ, "this")
    return Visitor(caller, request.app.state.services)


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
        access = await services.calls.access(caller, services.calls.target(caller, project_id), needs)
        return Member(caller, access.project, services, needs, read_key(request))

    return member


Reader = Annotated[Member, Depends(_able_to(Ability.READ))]
"""For routes that show something."""

Writer = Annotated[Member, Depends(_able_to(Ability.WRITE))]
"""For routes that change files."""

Runner = Annotated[Member, Depends(_able_to(Ability.RUN))]
"""For routes that act on what runs, and need no running project."""


async def _awake(member: Runner) -> Member:
    """Have the project running, and mark it as used.

    Raises:
        Conflict, StartFailed: See `Lifecycle.start`.
    """
    await member.services.calls.wake(member.caller, member.project)
    return member


AwakeRunner = Annotated[Member, Depends(_awake)]
"""For routes that need the project to run: it is started first."""
