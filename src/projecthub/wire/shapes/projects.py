"""Projects: made, listed, started and stopped. See `projecthub.wire.shapes`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NotRequired, TypedDict

from projecthub.wire.shapes.people import Member

StateWord = Literal["running", "stopped", "starting", "stopping", "restarting", "error"]


# -- arguments -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateProject:
    """`projects.createProject`. `ephemeral` is a lifetime in milliseconds.

    `customize` may hold `disableInternet`, and `license`, which is added to the other. `template_id`: a project.
    `course` makes it a student's project in a course: `project_id` of the course, `student`, the id in its roster, and
    perhaps `path`, `email_address`, `account_id`.
    """

    title: str | None = None
    description: str | None = None
    license: str | None = None
    public_path_id: str | None = None
    image: str | None = None
    start: bool = False
    ephemeral: int | None = None
    project_id: str | None = None
    customize: dict[str, Any] | None = None
    course: dict[str, Any] | None = None
    template_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectOnly:
    """A method about one project."""

    project_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetQuotas:
    """`projects.setQuotas`. Sizes in MB, `cpu_shares` in 1/1024 of a core, `mintime` in seconds.

    `network`, `member_host` and `always_running` are 0 or 1. `disableInternet` takes a way to the internet from it,
    whatever else gives it one.
    """

    project_id: str | None = None
    memory: float | None = None
    memory_request: float | None = None
    cpu_shares: float | None = None
    cores: float | None = None
    disk_quota: float | None = None
    mintime: float | None = None
    network: float | None = None
    member_host: float | None = None
    always_running: float | None = None
    disableInternet: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListAllProjects:
    """`projects.listAll`. `after`: the `next` of the page before."""

    limit: int = 100
    after: str | None = None


# -- replies ---------------------------------------------------------------------------------------


class ProjectState(TypedDict):
    """Reply of `projects.state`, and of start, stop and touch.

    `time` is the last change; `ip` only when running; `error` only in state ``error``.
    """

    state: StateWord
    time: str
    ip: NotRequired[str]
    error: NotRequired[str]


class StoppedAll(TypedDict):
    """Reply of `projects.stopAll`: how many were stopped, and why others were not, by project id."""

    stopped: int
    failed: dict[str, str]


class RowState(TypedDict, total=False):
    """`state` in a project row: as `ProjectState`, but ``opened`` stands for stopped."""

    state: str
    time: str
    ip: str
    error: str


class ProjectRow(TypedDict, total=False):
    """A row of `projects.get` with the default fields; others appear when they are asked for."""

    project_id: str
    title: str
    description: str
    last_edited: str
    created: str
    state: RowState
    deleted: bool
    users: dict[str, Member]


class ProjectPage(TypedDict):
    """Reply of `projects.listAll`; `next` is null if there are no more."""

    projects: list[ProjectRow]
    next: str | None


class LogEntry(TypedDict):
    """One thing that happened in a project; without `account_id`: the hub did it. `time` is an ISO time.

    `event["event"]` is the kind: ``project_created``, ``project_edited``, ``invite_user``, ``path_copied`` and so on;
    what else stands in there depends on it.
    """

    id: int
    project_id: str
    time: str
    event: dict[str, Any]
    account_id: NotRequired[str]


class Deleted(TypedDict):
    """Reply of `projects.deleteProject`."""

    project_id: str
    deleted: Literal[True]
