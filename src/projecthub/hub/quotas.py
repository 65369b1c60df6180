"""What a project may use while it runs, computed at its start.

It follows from the operator's settings, the project's own, the upgrades of its people, and its licenses.

Source: Wire contract 7.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from projecthub.engines.port import Limits, Network
from projecthub.hub.license_judgement import Judgement, Status, judged
from projecthub.hub.license_quotas import MAX_IDLE_TIMEOUT_S, amount, flag, grants_network, idle_timeout_s
from projecthub.hub.permissions import gives_upgrades
from projecthub.wire.units import MEGABYTE

if TYPE_CHECKING:
    from projecthub.hub.clock import Clock
    from projecthub.store import Transaction
    from projecthub.store.records import Project

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaDefaults:
    """What every project has, as the operator set it.

    Attributes:
        memory_mb: Memory.
        cpus: Processor cores.
        processes: Processes and threads; nothing else changes this.
        disk_mb: Disk space.
        idle_timeout_s: Seconds without use after which a project is stopped; 0: never.
        network: What projects reach; ``auto``: nothing where the machine can do that, else the machine's own network.
    """

    memory_mb: int = 1000
    cpus: float = 1.0
    processes: int = 1024
    disk_mb: int = 3000
    idle_timeout_s: int = 1800
    network: Literal["auto", "none", "internet", "host"] = "auto"


# -- the rules, as a table -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Amount:
    """How one number of a run quota comes about.

    Attributes:
        base: Where it begins, in the unit of the run quota.
        setting: Its key in settings and upgrades.
        most: What upgrades can raise it to, in the unit of the setting.
        licensed: What compatible licenses give together, in the unit of the run quota.
        whole: Whether it is told without a fraction.
        per_setting: A setting of 1 in the unit of the run quota.
        least_of_member: What it is at least where ``member_host`` is on.
    """

    base: Callable[[QuotaDefaults], float]
    setting: str
    most: float
    licensed: Callable[[Sequence[Values]], float]
    whole: bool = True
    per_setting: float = 1
    least_of_member: float = 0


def _sum(**weights: float) -> Callable[[Sequence[Values]], float]:
    return lambda quotas: sum(weight * amount(quota, key) for quota in quotas for key, weight in weights.items())


def _longest_idle(quotas: Sequence[Values]) -> float:
    return max(map(idle_timeout_s, quotas), default=0)


AMOUNTS: Final[Mapping[str, Amount]] = {
    # MB
    "memory_limit": Amount(lambda d: d.memory_mb, "memory", 16_000, _sum(ram=1000, dedicated_ram=1000)),
    "memory_request": Amount(lambda d: 200, "memory_request", 8000, _sum(dedicated_ram=1000), least_of_member=300),
    "disk_quota": Amount(lambda d: d.disk_mb, "disk_quota", 20_000, _sum(disk=1000)),
    # cores
    "cpu_limit": Amount(lambda d: d.cpus, "cores", 3, _sum(cpu=1, dedicated_cpu=1), whole=False),
    "cpu_request": Amount(
        lambda d: 0.02,
        "cpu_shares",
        2048,
        _sum(dedicated_cpu=1),
        whole=False,
        per_setting=1 / 1024,
        least_of_member=0.05,
    ),
    # seconds
    "idle_timeout": Amount(lambda d: d.idle_timeout_s, "mintime", MAX_IDLE_TIMEOUT_S, _longest_idle),
}
"""The numbers of a run quota. Where the operator gives every project more than ``most``, that stays."""

FLAGS: Final[Mapping[str, Callable[[Values], bool]]] = {
    "network": grants_network,
    "member_host": lambda quota: flag(quota, "member"),
    "always_running": lambda quota: flag(quota, "always_running"),
}
"""The flags of a run quota, under the names that settings and upgrades have for them too, and what licenses grant."""

_NEVER_HERE: Final[Values] = {"privileged": False, "dedicated_vm": False, "gpu": False, "dedicated_disks": []}
"""What a run quota tells besides, and no project of this hub has."""


def run_quota_of(
    defaults: QuotaDefaults, settings: Values | None, upgrades: Sequence[Values], licenses: Sequence[Values]
) -> dict[str, Any]:
    """What a project may use, with exactly the keys of wire contract 7.1.

    Each number begins with the operator's default, which settings can only raise. Upgrades are added, and do not
    raise it beyond what one project may have of them. Licenses are added to each other but not to that: the larger
    counts.

    Args:
        defaults: What every project has.
        settings: The project's settings, which site admins write.
        upgrades: What its people add; only of those who may.
        licenses: The quotas of its active licenses, which are all of one class.
    """
    given: Values = settings or {}
    flags = {
        key: flag(given, key) or sum(amount(one, key) for one in upgrades) >= 1 or any(map(grants, licenses))
        for key, grants in FLAGS.items()
    }
    if given.get("disableInternet"):
        flags["network"] = False
    numbers = {
        key: _number(row, defaults, given, upgrades, licenses, member=flags["member_host"])
        for key, row in AMOUNTS.items()
    }
    if defaults.idle_timeout_s == 0:
        numbers["idle_timeout"] = 0  # never, which no number of seconds is longer than
    return {**flags, **_NEVER_HERE, **numbers}


def _number(
    row: Amount,
    defaults: QuotaDefaults,
    settings: Values,
    upgrades: Sequence[Values],
    licenses: Sequence[Values],
    *,
    member: bool,
) -> float:
    base = max(row.base(defaults), amount(settings, row.setting) * row.per_setting)
    added = sum(amount(one, row.setting) for one in upgrades) * row.per_setting
    upgraded = max(base, min(base + added, row.most * row.per_setting))
    value = max(upgraded, row.licensed(licenses), row.least_of_member if member else 0)
    value = round(value, 6)  # sums of fractions have crumbs
    return round(value) if row.whole or value == int(value) else value


# -- the service -----------------------------------------------------------------------------------


class Quotas:
    """Computes what a project may use, and says what that means to the engine."""

    def __init__(self, defaults: QuotaDefaults, clock: Clock) -> None:
        """Make the service."""
        self._defaults = defaults
        self._clock = clock
        self._base = run_quota_of(defaults, None, (), ())

    async def at_start(self, tx: Transaction, project: Project) -> dict[str, Any]:
        """The columns ``run_quota`` and ``site_license`` of a project that is being started.

        Each attached license is judged, and the active ones are noted as in use. A license that is bad in whatever way
        adds nothing, and never keeps a project from starting. Write the columns, and the state that goes with a start,
        in the same transaction: then as many projects run with a license as may, however many are started at a time.

        Args:
            tx: A transaction that writes.
            project: The project, read in this transaction with ``lock``.
        """
        attached = list(project.site_license or {})
        judgements: list[Judgement] = []
        if attached:
            tx.is_long()  # there may be many that have started with them
            licenses = await tx.licenses.locked(attached)
            # Counted under the lock: who started before with one of these licenses has noted it.
            used = await tx.licenses.used(list(licenses), besides=project.project_id)
            judgements = judged(licenses.values(), used, self._clock.now())
        active = [one.license for one in judgements if one.status is Status.ACTIVE]
        await tx.licenses.note_uses(project.project_id, [license.id for license in active])
        upgrades = await self._upgrades(tx, project)
        shapes: dict[str, Any] = {
            license_id: {} for license_id in attached
        }  # an id of no license stays, and says nothing
        shapes |= {one.license.id: one.shape for one in judgements}
        quota = run_quota_of(self._defaults, project.settings, upgrades, [license.quota for license in active])
        return {"run_quota": quota, "site_license": shapes or None}

    async def foreseen(self, tx: Transaction, project: Project, settings: Values | None) -> dict[str, Any]:
        """The run quota that a project would have with these settings, and with the licenses of its last start."""
        judged_last = (project.site_license or {}).values()
        licenses = [one["quota"] for one in judged_last if one.get("status") == Status.ACTIVE]
        return run_quota_of(self._defaults, settings, await self._upgrades(tx, project), licenses)

    async def _upgrades(self, tx: Transaction, project: Project) -> list[Values]:
        given = await tx.collaborators.upgrades(project.project_id)
        if not given:
            return []
        people = {account.account_id: account for account in await tx.accounts.get_many(list(given))}
        return [upgrades for account_id, upgrades in given.items() if gives_upgrades(people[account_id])]

    def limits(self, run_quota: Values | None) -> Limits:
        """What the engine holds a project to."""
        quota = self._in_force(run_quota)
        return Limits(
            memory_bytes=int(quota["memory_limit"] * MEGABYTE),
            cpu_cores=float(quota["cpu_limit"]),
            processes=self._defaults.processes,
        )

    def network(self, run_quota: Values | None, settings: Values | None, offered: frozenset[Network]) -> Network:
        """What a project reaches of the network.

        A quota gives a project the internet, and never the machine's own network: that is the operator's to give, to
        all projects. Where the engine cannot do what was granted, the operator's default stays.

        Args:
            run_quota: The project's.
            settings: The project's; ``disableInternet`` wins over everything.
            offered: What the engine can do.
        """
        if (settings or {}).get("disableInternet"):
            wanted = Network.NONE
        elif self._in_force(run_quota)["network"]:
            wanted = Network.INTERNET
        else:
            return self._default_network(offered)
        return wanted if wanted in offered else self._default_network(offered)

    def _default_network(self, offered: frozenset[Network]) -> Network:
        if self._defaults.network == "auto":
            return Network.NONE if Network.NONE in offered else Network.HOST
        return Network(self._defaults.network)

    def idle_timeout_s(self, run_quota: Values | None) -> int | None:
        """Seconds without use after which a project is stopped; None: never."""
        return int(self._in_force(run_quota)["idle_timeout"]) or None

    def disk_quota_bytes(self, run_quota: Values | None) -> int:
        """Disk space of a project's home."""
        return int(self._in_force(run_quota)["disk_quota"] * MEGABYTE)

    def always_running(self, run_quota: Values | None, settings: Values | None) -> bool:
        """Whether a project is to run all the time, by its quota or by its settings alone.

        Source: Wire contract 7.2.
        """
        return bool(self._in_force(run_quota)["always_running"]) or flag(settings or {}, "always_running")

    def _in_force(self, run_quota: Values | None) -> Values:
        """A stored run quota; where a project has none, or an older version left something out, the defaults."""
        return {**self._base, **(run_quota or {})}
