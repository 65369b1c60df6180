"""Which licenses count at a start, and why the others do not.

Source: Wire contract 7.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from projecthub.hub.license_quotas import flag, idle_timeout_s
from projecthub.store.records import License


class Status(StrEnum):
    """What a license is to a project that starts (wire: ``status``)."""

    ACTIVE = "active"
    """It counts."""
    INEFFECTIVE = "ineffective"
    """It is in force and adds nothing, since another one is better; ``reason`` says why."""
    EXPIRED = "expired"
    """Its time is over."""
    FUTURE = "future"
    """Its time has not come."""
    EXHAUSTED = "exhausted"
    """As many projects run with it as may."""


OTHER_CLASS: Final = "hosting_incompatible"
"""The reason of a license that is of another class than the best one."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What becomes of one license at a start.

    Attributes:
        license: The license.
        status: Whether it counts, or why not.
    """

    license: License
    status: Status

    @property
    def shape(self) -> dict[str, Any]:
        """The value under the license's id in a project's ``site_license``."""
        if self.status is Status.ACTIVE:
            return {"status": self.status.value, "quota": dict(self.license.quota)}
        if self.status is Status.INEFFECTIVE:
            return {"status": self.status.value, "reason": OTHER_CLASS}
        return {"status": self.status.value}


def status_at(license: License, now: datetime) -> Status:
    """Whether a license's time is now: `Status.ACTIVE`, `Status.EXPIRED` or `Status.FUTURE`."""
    if license.expires_at is not None and license.expires_at <= now:
        return Status.EXPIRED
    if license.activates_at is not None and license.activates_at > now:
        return Status.FUTURE
    return Status.ACTIVE


def class_of(quota: Mapping[str, Any]) -> tuple[bool, bool, int]:
    """The class of a license; those of different classes do not mix.

    Classes are ordered, and the largest is the best: first what keeps a project always running, then what makes it a
    member's, then the longest idle timeout. So a license that adds cores to another must agree with it in these three.
    """
    return flag(quota, "always_running"), flag(quota, "member"), idle_timeout_s(quota)


def judged(licenses: Iterable[License], used: Mapping[str, int], now: datetime) -> list[Judgement]:
    """Judge the licenses of one project.

    Args:
        licenses: Those that are attached to it.
        used: How many other projects use each of them now; those that nobody uses may be left out.
        now: The time.
    """
    found = {license.id: Judgement(license, _alone(license, used.get(license.id, 0), now)) for license in licenses}
    usable = [one.license for one in found.values() if one.status is Status.ACTIVE]
    best = max((class_of(license.quota) for license in usable), default=None)
    for license in usable:
        if class_of(license.quota) != best:
            found[license.id] = Judgement(license, Status.INEFFECTIVE)
    return list(found.values())


def _alone(license: License, used: int, now: datetime) -> Status:
    """The status of a license, whatever other licenses the project has."""
    status = status_at(license, now)
    if status is Status.ACTIVE and license.run_limit is not None and used >= license.run_limit:
        return Status.EXHAUSTED
    return status
