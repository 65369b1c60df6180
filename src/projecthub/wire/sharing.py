"""Shapes of shares, templates, clones and exports, as `shapes` for all else.

Source: Wire contract 7.4, docs/wire-extensions.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NotRequired, TypedDict

# -- arguments -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CloneProject:
    """`projects.clone`. `title`: by default that of the project with ``(copy)``; `exclude`: as in copies."""

    project_id: str | None = None
    title: str | None = None
    exclude: list[str] | None = None
    with_collaborators: bool = False
    start: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTemplate:
    """`projects.setTemplate`. `everybody`: offered to all who are signed in; for site admins."""

    project_id: str | None = None
    template: bool = True
    everybody: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListShares:
    """`shares.list`. Of a project: all of its shares; else what is shown to everybody, `limit` at a time."""

    project_id: str | None = None
    limit: int = 100
    after: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareOnly:
    """A method about one share."""

    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyShare:
    """`shares.copy`. `path` is below what is shared; `target_path` by default where it is shared from."""

    id: str
    target_project_id: str
    path: str | None = None
    target_path: str | None = None
    overwrite_newer: bool = False
    delete_missing: bool = False
    backup: bool = False
    exclude: list[str] | None = None
    timeout: float | None = None


# -- replies ---------------------------------------------------------------------------------------


class Share(TypedDict):
    """A share. Times are ISO times; `counter`: how often it was taken. Its project's people are told of licenses.

    `problem`: for them, by `shares.get`, why others get nothing of it: it is not there, or a symlink leads it out.
    """

    id: str
    project_id: str
    project_title: str
    path: str
    name: str | None
    description: str | None
    license: str | None
    disabled: bool
    unlisted: bool
    authenticated: bool
    compute_image: str | None
    url: str | None
    image: str | None
    counter: int
    created: str
    last_edited: str
    last_saved: str | None
    site_license_id: NotRequired[str | None]
    problem: NotRequired[str]


class Template(TypedDict):
    """A project that new ones can begin as. `member`: whether the caller is on it."""

    project_id: str
    title: str
    description: str
    everybody: bool
    member: bool


class TemplateSet(TypedDict):
    """Whether a project is a template now."""

    project_id: str
    template: bool
    everybody: bool


class ImportedProject(TypedDict):
    """A project that was made of an export. `left_out`: what the export does not hold, such as sockets."""

    project_id: str
    files: int
    bytes: int
    left_out: int
