"""Licenses. See `projecthub.wire.shapes`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

# -- arguments -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectLicense:
    """`projects.addLicense` and `projects.removeLicense`."""

    project_id: str | None = None
    license_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateLicense:
    """`licenses.create`. `activates` and `expires`: ISO string, milliseconds since the epoch, or ``now``, ``never``."""

    quota: dict[str, Any]
    title: str = ""
    description: str = ""
    run_limit: int | None = None
    activates: str | int | None = None
    expires: str | int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListLicenses:
    """`licenses.list`. `after`: the last id of the page before."""

    limit: int = 100
    after: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LicenseOnly:
    """A method about one license."""

    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateLicense:
    """`licenses.update`: what is given changes. `quota` is merged, a null in it takes its key away; `run_limit` 0: any.

    `activates` and `expires` as in `CreateLicense`.
    """

    id: str | None = None
    quota: dict[str, Any] | None = None
    title: str | None = None
    description: str | None = None
    run_limit: int | None = None
    activates: str | int | None = None
    expires: str | int | None = None


# -- replies ---------------------------------------------------------------------------------------


class License(TypedDict):
    """A license. `running`: how many projects run with it now; `projects`, only from `licenses.get`: which."""

    id: str
    title: str
    description: str
    quota: dict[str, Any]
    run_limit: int | None
    activates: str | None
    expires: str | None
    created: str
    status: str
    running: int
    projects: NotRequired[list[str]]


class LicenseChange(TypedDict):
    """Reply of `projects.addLicense` and `projects.removeLicense`.

    `changed`: whether it was otherwise before. `needs_restart`: whether the project runs, so that the change counts
    from its next start on.
    """

    project_id: str
    license_id: str
    attached: bool
    changed: bool
    needs_restart: bool
