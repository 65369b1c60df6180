"""New projects: there whole, or not at all.

Source: Wire contract 0 (`license`, `public_path_id`), 2.2.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from projecthub.errors import Conflict, InvalidArgument, LimitError, NotFound, PermissionDenied
from projecthub.files import CopyOptions
from projecthub.hub.copies import COPIED
from projecthub.hub.courses import course_of, join_course
from projecthub.hub.permissions import project_id_of, within_scopes
from projecthub.wire.ids import ProjectId, is_uuid
from projecthub.wire.methods import Ability

if TYPE_CHECKING:
    from projecthub.hub.clock import Clock
    from projecthub.hub.histories import Histories
    from projecthub.hub.homes import ProjectHomes
    from projecthub.hub.lifecycle import Lifecycle
    from projecthub.hub.principals import Principal
    from projecthub.hub.shares import SharedContent, Shares
    from projecthub.store import Store, Transaction
    from projecthub.wire import shapes

DEFAULT_TITLE: Final = "No Title"
_MAX_IDEMPOTENCY_KEY: Final = 200
_MAX_EPHEMERAL_MS: Final = 10 * 365 * 86_400_000


class Creation:
    """Makes projects."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        lifecycle: Lifecycle,
        homes: ProjectHomes,
        shares: Shares,
        histories: Histories,
    ) -> None:
        """Make the service; `open` before use."""
        self._histories = histories
        self._store = store
        self._clock = clock
        self._lifecycle = lifecycle
        self._homes = homes
        self._shares = shares

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
        self, caller: Principal, request: shapes.CreateProject, *, idempotency_key: str | None = None
    ) -> ProjectId:
        """Make a project that belongs to the caller.

        Args:
            caller: Becomes its owner.
            request: What it is to be like.
            idempotency_key: A name for this very call, up to 200 characters; the same call again within 24 hours
                answers the same project.

        Raises:
            InvalidArgument: A license or share that is none; a bad id; a key that was used for another request.
            PermissionDenied: ``project_id`` is given by somebody who is no site admin; or it is to be started, and the
                caller's key has not the scope for that; or ``course`` by somebody who does not teach it.
            Conflict: There is a project of that id, or one of that student in the course.
            LimitError: There is no user id left for another project, no room for what is shared, or the disk is full.
        """
        if request.start:
            within_scopes(caller, Ability.RUN, "to start a project")
        project_id = _checked(caller, request, idempotency_key)
        fingerprint = hashlib.sha256(json.dumps(asdict(request), sort_keys=True).encode()).hexdigest()
        if request.public_path_id is None:
            made = await self._make(caller, request, project_id, idempotency_key, fingerprint)
        else:
            made = await self._make_populated(caller, request, project_id, idempotency_key, fingerprint)
        if request.start and made == project_id:
            self._lifecycle.start_soon(project_id, by=caller.account_id)
        return made

    async def _make(
        self,
        caller: Principal,
        request: shapes.CreateProject,
        project_id: ProjectId,
        key: str | None,
        fingerprint: str,
        slot: int | None = None,
        content: SharedContent | None = None,
    ) -> ProjectId:
        """Write the project and the answer to its idempotency key in one transaction; tells the project of the key."""
        try:
            async with self._store.write() as tx:
                if key is not None and (earlier := await _earlier(tx, caller, key, fingerprint)) is not None:
                    return earlier
                await self._insert(tx, caller, request, project_id, slot, content)
                if key is not None:
                    await tx.idempotency.put(
                        caller.account_id, key, fingerprint=fingerprint, result=project_id, at=self._clock.now()
                    )
        except Conflict:
            # Another hub on the same store may have answered the same call between our look and our write.
            async with self._store.read() as tx:
                earlier = None if key is None else await _earlier(tx, caller, key, fingerprint)
            if earlier is None:
                raise
            return earlier
        return project_id

    async def _make_populated(
        self,
        caller: Principal,
        request: shapes.CreateProject,
        project_id: ProjectId,
        key: str | None,
        fingerprint: str,
    ) -> ProjectId:
        """Copy what is shared into a home that no project has yet, and then make the project.

        The files come before the row, for a copy may take long and a transaction must not. What would be refused is
        checked first. A hub that is killed meanwhile leaves a home that is marked as unfinished, for `open`.
        """
        content = await self._shares.content(request.public_path_id or "")
        async with self._store.write() as tx:
            if key is not None and (earlier := await _earlier(tx, caller, key, fingerprint)) is not None:
                return earlier
            await _licenses(tx, request, None)
            slot = await tx.projects.reserve_slot()
        self._homes.require_spare()
        await self._homes.begin(project_id)
        try:
            source = (content.project_id, content.unix_slot, content.path)
            try:
                async with self._histories.recording(project_id, caller.account_id, COPIED) as keeper:
                    await self._homes.copy(source, (project_id, slot, content.path), CopyOptions(), None, keeper)
            except LimitError as error:
                raise LimitError(f"{error.message}; no project was made", **error.details) from error
            except NotFound as error:
                raise NotFound(
                    f"what is shared under public_path_id '{request.public_path_id}' is not there any more; "
                    "no project was made"
                ) from error
            return await self._make(caller, request, project_id, key, fingerprint, slot, content)
        finally:
            await self._settle_home(project_id)
            self._histories.poke(project_id)

    async def _insert(
        self,
        tx: Transaction,
        caller: Principal,
        request: shapes.CreateProject,
        project_id: ProjectId,
        slot: int | None,
        content: SharedContent | None,
    ) -> None:
        self._homes.require_spare()
        title = request.title if request.title is not None else content.title if content else DEFAULT_TITLE
        slot = await tx.projects.create(
            project_id=project_id,
            owner=caller.account_id,
            title=title,
            description=request.description or "",
            created_at=self._clock.now(),
            compute_image=request.image or (content.compute_image if content else None),
            ephemeral_ms=request.ephemeral,
            site_license=await _licenses(tx, request, content.license_id if content else None),
            settings={"disableInternet": True} if _customized(request).get("disableInternet") else None,
            unix_slot=slot,
            desired="running" if request.start else "stopped",
        )
        self._homes.uid(slot)  # no project beyond the range of user ids
        if request.course is not None:
            await join_course(tx, caller, project_id, course_of(request.course))
        event: dict[str, Any] = {"event": "project_created", "title": title}
        if request.public_path_id is not None:
            event["public_path_id"] = request.public_path_id
        await tx.log.append(project_id, caller.account_id, event, at=self._clock.now())


def _checked(caller: Principal, request: shapes.CreateProject, key: str | None) -> ProjectId:
    """Refuse what cannot be, before anything is done; tells the id of the new project."""
    if key is not None and not 0 < len(key) <= _MAX_IDEMPOTENCY_KEY:
        raise InvalidArgument(f"the Idempotency-Key has {len(key)} characters; give 1 to {_MAX_IDEMPOTENCY_KEY}")
    if request.ephemeral is not None and not 0 < request.ephemeral <= _MAX_EPHEMERAL_MS:
        raise InvalidArgument(f"ephemeral is {request.ephemeral}; give a lifetime in milliseconds, up to ten years")
    if request.project_id is None:
        return ProjectId(str(uuid.uuid4()))
    if not caller.is_admin:
        raise PermissionDenied("only admins can specify the project_id")
    if request.public_path_id is not None:
        # The home is made first and removed if the rest fails: it must be one that nobody else can have.
        raise InvalidArgument("project_id and public_path_id cannot go together; leave project_id out")
    return project_id_of(request.project_id, "project_id '{value}' is no uuid")


async def _earlier(tx: Transaction, caller: Principal, key: str, fingerprint: str) -> ProjectId | None:
    known = await tx.idempotency.get(caller.account_id, key)
    if known is None:
        return None
    if known[0] != fingerprint:
        raise InvalidArgument(f"Idempotency-Key '{key}' was used for another request; use a new one for each")
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
