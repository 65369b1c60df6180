"""Quotas of single projects, as site admins set them.

Source: Wire contract 5.2 (setQuotas), 7.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from projecthub.errors import InvalidArgument, NotFound
from projecthub.hub.lifecycle import QUOTA_CHANGED
from projecthub.hub.permissions import may_set_quotas, project_id_of
from projecthub.store.records import State
from projecthub.wire.units import plain

if TYPE_CHECKING:
    from projecthub.hub.clock import Clock
    from projecthub.hub.lifecycle import Lifecycle
    from projecthub.hub.principals import Principal
    from projecthub.hub.quotas import Quotas
    from projecthub.store import Store
    from projecthub.wire import shapes

_SETTINGS: Final[Mapping[str, tuple[str, float]]] = {
    "memory": ("MB", 65_536_000),
    "memory_request": ("MB", 65_536_000),
    "cpu_shares": ("1/1024 of a core", 1024 * 1024),
    "cores": ("cores", 1024),
    "disk_quota": ("MB", 1_000_000_000),
    "mintime": ("seconds", 10 * 365 * 86_400),
    "network": ("0 or 1", 1),
    "member_host": ("0 or 1", 1),
    "always_running": ("0 or 1", 1),
}
"""What can be set, each with its unit and the most that it may be."""


class ProjectQuotas:
    """Sets quotas of projects."""

    def __init__(self, store: Store, clock: Clock, quotas: Quotas, lifecycle: Lifecycle) -> None:
        """Make the service."""
        self._store = store
        self._clock = clock
        self._quotas = quotas
        self._lifecycle = lifecycle

    async def set(self, caller: Principal, request: shapes.SetQuotas) -> None:
        """Change settings of a project; what is not given stays.

        They can raise a project above what every project has, not below it; but for the internet, which can be taken
        from it. If a running project gets another quota or network by it, it is restarted in the background.

        Raises:
            PermissionDenied: The caller is no site admin.
            InvalidArgument: A value is out of range.
            NotFound: There is no such project.
        """
        may_set_quotas(caller)
        project_id = project_id_of(request.project_id)
        given = _checked(request)
        async with self._store.write() as tx:
            project = await tx.projects.get(project_id, lock=True)
            if project is None:
                raise NotFound(f"unknown project_id '{project_id}'", project_id=project_id)
            settings = {**(project.settings or {}), **given}
            if settings == (project.settings or {}):
                return
            before = await self._quotas.foreseen(tx, project, project.settings)
            after = await self._quotas.foreseen(tx, project, settings)
            # To run always begins now, unlike with a license: it is the operator who says so.
            begins = after["always_running"] and not before["always_running"] and not project.deleted
            changes: dict[str, Any] = {"settings": settings}
            if begins:
                changes["desired"] = "running"
            is_other = before != after or _is_cut_off(project.settings) != _is_cut_off(settings)
            if is_other and project.state is State.RUNNING:
                # With this the restart is promised, also if it is another hub that keeps it.
                changes |= {"state": State.RESTARTING, "state_at": self._clock.now()}
            await tx.projects.update(project_id, changes)
            event = {"event": "quotas_set", "quotas": given}
            await tx.log.append(project_id, caller.account_id, event, at=self._clock.now())
        if is_other and project.desired == "running":
            self._lifecycle.restart_soon(project_id, by=caller.account_id, reason=QUOTA_CHANGED)
        elif begins:
            self._lifecycle.start_soon(project_id, by=caller.account_id)


def _checked(request: shapes.SetQuotas) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for name, (unit, most) in _SETTINGS.items():
        value = getattr(request, name)
        if value is None:
            continue
        if not 0 <= value <= most or (most == 1 and value not in (0, 1)):
            wanted = unit if most == 1 else f"a number of {unit} from 0 to {plain(most)}"
            raise InvalidArgument(f"{name} is {value!r:.100}; give {wanted}", name=name)
        given[name] = int(value) if value == int(value) else value
    if request.disableInternet is not None:
        given["disableInternet"] = request.disableInternet
    return given


def _is_cut_off(settings: Mapping[str, Any] | None) -> bool:
    """Whether the internet is taken from a project: that is no part of a quota where all projects reach it."""
    return bool((settings or {}).get("disableInternet"))
