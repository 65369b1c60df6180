"""New projects: there whole, or not at all.

Source: Wire contract 0 (`license`, `public_path_id`), 2.2.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from projecthub.errors import Conflict, InvalidArgument, PermissionDenied
from projecthub.hub.beginnings import Beginning, Copied
from projecthub.hub.copies import COPIED
from projecthub.hub.courses import course_of, join_course
from projecthub.hub.permissions import project_id_of, within_scopes
from projecthub.wire.ids import ProjectId, is_uuid
from projecthub.wire.methods import Ability

if TYPE_CHECKING:
    from projecthub.files import Course
    from projecthub.hub.beginnings import Filling
    from projecthub.hub.clock import Clock
    from projecthub.hub.histories import Histories
    from projecthub.hub.homes import ProjectHomes
    from projecthub.hub.lifecycle import Lifecycle
    from projecthub.hub.principals import Principal
    from projecthub.hub.shares import Shares
    from projecthub.hub.templates import Templates
    from projecthub.store import Store, Transaction
    from projecthub.wire import shapes

DEFAULT_TITLE: Final = "No Title"
_MAX_IDEMPOTENCY_KEY: Final = 200
_MAX_EPHEMERAL_MS: Final = 10 * 365 * 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """One call that makes a project.

    Attributes:
        caller: Becomes its owner.
        request: What it is to be like.
        project_id: Its id.
        key: Names the call, if anything does.
        fingerprint: Of what was asked for.
        filling: What it begins with; None: nothing.
    """

    caller: Principal
    request: shapes.CreateProject
    project_id: ProjectId
    key: str | None
    fingerprint: str
    filling: Filling | None


class Creation:
    """Makes projects."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        lifecycle: Lifecycle,
        homes: ProjectHomes,
        shares: Shares,
        templates: Templates,
        histories: Histories,
    ) -> None:
        """Make the service; `open` before use."""
        self._histories = histories
        self._store = store
        self._clock = clock
        self._lifecycle = lifecycle
        self._homes = homes
        self._shares = shares
        self._templates = templates

    async def open(self) -> None:
        """Settle what a killed hub had begun: a home whose project is there stays, any other goes."""
        for project_id in await self._homes.unfinished():
            await self._settle_home(project_id)

    async def _settle_home(self, project_id: ProjectId) -> None:
        # The store alone knows: a call that was cancelled while its row was being kept may have kept it.
        async with self._store.read() as tx:
            project = await tx.projects.get(project_id)
        await (self._homes.remove(project_id) if project is None else self._homes.finish(project_id))

    async def create(
        self,
        caller: Principal,
        request: shapes.CreateProject,
        *,
        idempotency_key: str | None = None,
        course: Course | None = None,
    ) -> ProjectId:
        """Make a project that belongs to the caller.

        Args:
            caller: Becomes its owner.
            request: What it is to be like.
            idempotency_key: A name for this very call, up to 200 characters; the same call again within 24 hours
                answers the same project.
            course: By which others see how far the copy of what it begins with is.

        Raises:
            InvalidArgument: A license or share that is none; a bad id; a key that was used for another request.
            NotFound: There is no such template, or what is shared is not there any more.
            PermissionDenied: ``project_id`` is given by somebody who is no site admin; or it is to be started, and the
                caller's key has not the scope for that; or ``course`` by somebody who does not teach it.
            Conflict: There is a project of that id, or one of that student in the course.
            LimitError: There is no user id left for another project, no room for what is shared, or the disk is full.
        """
        project_id = _checked(caller, request, idempotency_key)
        filling: Filling | None = None
        if request.public_path_id is not None:
            content = await self._shares.content(request.public_path_id)
            what = f"what is shared under public_path_id '{request.public_path_id}'"
            source = (content.project_id, content.unix_slot, content.path)
            filling = Copied(self._homes, source, content.beginning, what, course=course)
        elif request.template_id is not None:
            template, beginning = await self._templates.content(caller, request.template_id)
            source = (template.project_id, template.unix_slot, "")
            filling = Copied(self._homes, source, beginning, f"template '{template.project_id}'", course=course)
        return await self._carry_out(caller, request, project_id, idempotency_key, request, filling)

    async def populate(
        self,
        caller: Principal,
        request: shapes.CreateProject,
        filling: Filling,
        *,
        told: Any = None,
        idempotency_key: str | None = None,
    ) -> ProjectId:
        """Make a project that begins with something.

        Args:
            caller: Becomes its owner.
            request: What it is to be like, beside that.
            filling: What it begins with.
            told: What was asked for, a dataclass: by which a repetition of the call is known. Default: ``request``.
            idempotency_key: As for `create`.

        Raises:
            HubError: As `create`, and what the filling raises; no project was made.
        """
        project_id = _checked(caller, request, idempotency_key)
        return await self._carry_out(caller, request, project_id, idempotency_key, told or request, filling)

    async def _carry_out(
        self,
        caller: Principal,
        request: shapes.CreateProject,
        project_id: ProjectId,
        key: str | None,
        told: Any,
        filling: Filling | None,
    ) -> ProjectId:
        fingerprint = ""
        if key is not None:
            fingerprint = hashlib.sha256(json.dumps(asdict(told), sort_keys=True).encode()).hexdigest()
        order = _Order(
            caller=caller, request=request, project_id=project_id, key=key, fingerprint=fingerprint, filling=filling
        )
        made = await (self._make(order) if filling is None else self._make_populated(order, filling))
        if request.start and made == project_id:
            self._lifecycle.start_soon(project_id, by=caller.account_id)
        return made

    async def _make(self, order: _Order, slot: int | None = None, beginning: Beginning | None = None) -> ProjectId:
        """Write the project and the answer to its idempotency key in one transaction; tells the project of the key."""
        caller, key = order.caller, order.key
        begin = self._store.jot if beginning is None else self._store.write
        try:
            async with begin() as tx:
                if key is not None and (earlier := await _earlier(tx, order)) is not None:
                    return earlier
                await self._insert(tx, order, slot, beginning)
                if key is not None:
                    await tx.idempotency.put(
                        caller.account_id,
                        key,
                        fingerprint=order.fingerprint,
                        result=order.project_id,
                        at=self._clock.now(),
                    )
        except Conflict:
            # Another hub on the same store may have answered the same call between our look and our write.
            async with self._store.read() as tx:
                earlier = await _earlier(tx, order)
            if earlier is None:
                raise
            return earlier
        return order.project_id

    async def _make_populated(self, order: _Order, filling: Filling) -> ProjectId:
        """Fill a home that no project has yet, and then make the project.

        The files come before the row, for to bring them may take long and a transaction must not. What would be refused
        is checked first. A hub that is killed meanwhile leaves a home that is marked as unfinished, for `open`.
        """
        async with self._store.write() as tx:
            if (earlier := await _earlier(tx, order)) is not None:
                return earlier
            await _licenses(tx, order.request, None)
            slot = await tx.projects.reserve_slot()
        self._homes.require_spare()
        await self._homes.begin(order.project_id)
        try:
            async with self._histories.recording(order.project_id, order.caller.account_id, COPIED) as keeper:
                beginning = await filling.fill(order.project_id, slot, keeper)
            return await self._make(order, slot, beginning)
        finally:
            await self._settle_home(order.project_id)
            self._histories.poke(order.project_id)

    async def _insert(self, tx: Transaction, order: _Order, slot: int | None, beginning: Beginning | None) -> None:
        self._homes.require_spare()
        request, now = order.request, self._clock.now()
        begins = beginning or Beginning(title=DEFAULT_TITLE)
        title = begins.title if request.title is None else request.title
        isolated = {"disableInternet": True} if _customized(request).get("disableInternet") else None
        slot = await tx.projects.create(
            project_id=order.project_id,
            owner=order.caller.account_id,
            title=title,
            description=begins.description if request.description is None else request.description,
            created_at=now,
            compute_image=request.image or begins.compute_image,
            ephemeral_ms=request.ephemeral,
            site_license=await _licenses(tx, request, begins.license_id),
            settings=isolated or begins.settings,
            env=begins.env,
            unix_slot=slot,
            desired="running" if request.start else "stopped",
        )
        self._homes.uid(slot)  # no project beyond the range of user ids
        if begins.looks:
            await tx.projects.update(order.project_id, begins.looks)
        for account_id, role in begins.people.items():
            await tx.collaborators.add([(order.project_id, account_id)], at=now, role=role)
        if begins.share_id is not None:
            await tx.shares.count(begins.share_id)
        if order.request.course is not None:
            await join_course(tx, order.caller, order.project_id, course_of(order.request.course))
        event: dict[str, Any] = {"event": "project_created", "title": title, **begins.event}
        await tx.log.append(order.project_id, order.caller.account_id, event, at=now)


def _checked(caller: Principal, request: shapes.CreateProject, key: str | None) -> ProjectId:
    """Refuse what cannot be, before anything is done; tells the id of the new project."""
    if request.start:
        within_scopes(caller, Ability.RUN, "to start a project")
    if key is not None and not 0 < len(key) <= _MAX_IDEMPOTENCY_KEY:
        raise InvalidArgument(f"the Idempotency-Key has {len(key)} characters; give 1 to {_MAX_IDEMPOTENCY_KEY}")
    if request.ephemeral is not None and not 0 < request.ephemeral <= _MAX_EPHEMERAL_MS:
        raise InvalidArgument(f"ephemeral is {request.ephemeral}; give a lifetime in milliseconds, up to ten years")
    if request.public_path_id is not None and request.template_id is not None:
        raise InvalidArgument("public_path_id and template_id cannot go together; give one of both")
    if request.project_id is None:
        return ProjectId(str(uuid.uuid4()))
    if not caller.is_admin:
        raise PermissionDenied("only admins can specify the project_id")
    for name in ("public_path_id", "template_id"):
        if getattr(request, name) is not None:
            # The home is made first and removed if the rest fails: it must be one that nobody else can have.
            raise InvalidArgument(f"project_id and {name} cannot go together; leave project_id out")
    return project_id_of(request.project_id, "project_id '{value}' is no uuid")


async def _earlier(tx: Transaction, order: _Order) -> ProjectId | None:
    """The project that the same call has made before."""
    if order.key is None or (known := await tx.idempotency.get(order.caller.account_id, order.key)) is None:
        return None
    if known[0] != order.fingerprint:
        raise InvalidArgument(f"Idempotency-Key '{order.key}' was used for another request; use a new one for each")
    return ProjectId(known[1])


def _customized(request: shapes.CreateProject) -> dict[str, Any]:
    """The request's ``customize``; what this hub does not know of it is let pass.

    Raises:
        InvalidArgument: A value in it is of the wrong kind.
    """
    customize = {name: value for name, value in (request.customize or {}).items() if value is not None}
    for name, kind, remedy in (("license", str, "give a text"), ("disableInternet", bool, "give true or false")):
        if not isinstance(customize.get(name, kind()), kind):
            raise InvalidArgument(f"customize.{name} is {customize[name]!r:.100}; {remedy}")
    return customize


async def _licenses(tx: Transaction, request: shapes.CreateProject, inherited: str | None) -> dict[str, Any] | None:
    """The value of `site_license` for ids separated by commas, and one that comes with a share.

    Raises:
        InvalidArgument: One of the given ids is none, or of no license.
    """
    given = f"{request.license or ''},{_customized(request).get('license', '')}"
    ids = [part.strip() for part in given.split(",") if part.strip()]
    for license_id in ids:
        if not is_uuid(license_id):
            raise InvalidArgument(f"license '{license_id[:100]}' is no license id; give uuids separated by commas")
    ids = [license_id.lower() for license_id in ids]
    existing = await tx.licenses.existing(ids) if ids else set()
    for license_id in ids:
        if license_id not in existing:
            raise InvalidArgument(f"there is no license with id '{license_id}'; no project was made")
    if inherited is not None and inherited not in ids:
        ids.append(inherited)
    return {license_id: {} for license_id in ids} or None
