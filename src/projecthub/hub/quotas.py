"""What a project may use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from projecthub.engines.port import Limits, Network
from projecthub.wire.units import MEGABYTE

if TYPE_CHECKING:
    from projecthub.store import Transaction
    from projecthub.store.records import Project


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaDefaults:
    """What projects get unless they are given more; see `Settings`."""

    memory_mb: int = 1000
    cpus: float = 1.0
    processes: int = 1024
    disk_mb: int = 3000
    idle_timeout_s: int = 1800
    network: str = "auto"


class Quotas:
    """Computes quotas, and what follows from them."""

    def __init__(self, defaults: QuotaDefaults) -> None:
        """Make the service."""
        self._defaults = defaults

    async def at_start(self, tx: Transaction, project: Project) -> dict[str, Any]:
        """Columns to write with a start."""
        settings = project.settings or {}
        quota = {
            "memory_limit": max(self._defaults.memory_mb, settings.get("memory", 0)),
            "cpu_limit": max(self._defaults.cpus, settings.get("cores", 0)),
            "disk_quota": max(self._defaults.disk_mb, settings.get("disk_quota", 0)),
            "idle_timeout": max(self._defaults.idle_timeout_s, settings.get("mintime", 0)),
            "always_running": bool(settings.get("always_running")),
            "network": bool(settings.get("network")),
        }
        return {"run_quota": quota}

    def limits(self, run_quota: Mapping[str, Any] | None) -> Limits:
        """What the engine is to hold a project to."""
        if run_quota is None:
            return Limits()
        return Limits(
            memory_bytes=int(run_quota["memory_limit"] * MEGABYTE),
            cpu_cores=float(run_quota["cpu_limit"]),
            processes=self._defaults.processes,
        )

    def network(
        self, run_quota: Mapping[str, Any] | None, settings: Mapping[str, Any] | None, offered: frozenset[Network]
    ) -> Network:
        """What a project reaches."""
        return Network.NONE if Network.NONE in offered else Network.HOST

    def always_running(self, run_quota: Mapping[str, Any] | None, settings: Mapping[str, Any] | None) -> bool:
        """Whether a project is to run always."""
        return bool((run_quota or {}).get("always_running") or (settings or {}).get("always_running"))

    def idle_timeout_s(self, run_quota: Mapping[str, Any] | None) -> int | None:
        """Seconds without use after which a project is stopped; None: never."""
        return (run_quota or {}).get("idle_timeout") or None
