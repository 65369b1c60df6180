"""What this machine offers to projects, and what of it they get."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from projecthub.engines.local.probe import best_isolation
from projecthub.engines.port import Isolation, Network
from projecthub.errors import StartFailed

if TYPE_CHECKING:
    from projecthub.engines.local.engine import LocalEngine
    from projecthub.hub.quotas import Quotas
    from projecthub.settings import Settings

LEAST_SPARE_UID: Final = 20_000
"""In a container's small range of user ids, those from here on up to `NOBODY` are taken for projects."""
NOBODY: Final = 65_534


def isolation_of(settings: Settings) -> Isolation:
    """The isolation that is in force.

    Raises:
        StartFailed: There is none, although it is required.
    """
    if settings.isolation == "none":
        return Isolation.NONE
    best = best_isolation()
    if best is Isolation.NONE and settings.isolation == "required":
        raise StartFailed(
            "this machine offers no isolation and PROJECTHUB_ISOLATION is 'required'; run 'projecthub doctor' for "
            "what is missing, or set it to 'auto'"
        )
    return best


def uids_of(settings: Settings) -> range | None:
    """The user ids that a hub of these settings gives to its projects; None: all homes belong to its own user.

    Raises:
        StartFailed: Such a hub could not start.
    """
    return project_uids(settings) if isolation_of(settings) is Isolation.FULL else None


def project_uids(settings: Settings) -> range:
    """The user ids to give to projects: as set, or, unless they are set, others if those do not exist here.

    In a user namespace, as containers have, only the ids that are mapped into it exist.

    Raises:
        StartFailed: The ids that are set do not exist here, or none do.
    """
    wanted = range(settings.uid_base, settings.uid_base + settings.uid_count)
    extents = [
        range(int(first), int(first) + int(count))
        for first, _, count in (line.split() for line in Path("/proc/self/uid_map").read_text().splitlines())
    ]
    if any(wanted.start in extent and wanted.stop - 1 in extent for extent in extents):
        return wanted
    largest = max(extents, key=len, default=range(0))
    usable = range(max(largest.start, LEAST_SPARE_UID), min(largest.stop, NOBODY))
    if {"uid_base", "uid_count"} & settings.model_fields_set or len(usable) < 1:
        raise StartFailed(
            f"user ids {wanted.start} to {wanted.stop - 1} do not exist in this user namespace; give others with "
            "PROJECTHUB_UID_BASE and PROJECTHUB_UID_COUNT (/proc/self/uid_map tells which exist)"
        )
    return usable


def network_of(quotas: Quotas, engine: LocalEngine) -> Network:
    """What projects reach unless they are given more.

    Raises:
        StartFailed: The operator asks for what this machine does not offer.
    """
    network = quotas.network(None, None, engine.networks)
    if network not in engine.networks:
        raise StartFailed(
            f"this machine does not offer network '{network}' to projects; run 'projecthub doctor' for what is "
            "missing, or set PROJECTHUB_NETWORK to 'auto'"
        )
    return network


def usual_network(settings: Settings, isolation: Isolation) -> Network:
    """What most projects will reach, for the engine to prepare their starts."""
    if settings.network != "auto":
        return Network(settings.network)
    return Network.HOST if isolation is Isolation.NONE else Network.NONE
