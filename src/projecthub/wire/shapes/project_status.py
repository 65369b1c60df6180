"""What a project that runs uses, and may use. See `projecthub.wire.shapes`."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict


class ProcessId(TypedDict):
    """The nested form of ``project.pid``."""

    pid: int


class Memory(TypedDict):
    """Memory of all processes of a project in MB; `limit` only where one is in force."""

    count: int
    pss: float
    rss: float
    swap: float
    uss: float
    limit: NotRequired[float]


class Cpu(TypedDict):
    """Processor seconds of a project since it was started."""

    usage: float


class Idle(TypedDict):
    """Reply of `projects.idle`, and `idle` in a status: of a project that runs, since when it is not used.

    `would_stop_at` is null where something keeps it from being stopped, which `blocked_by` tells; `because` is the last
    sign of use. Times are in seconds.
    """

    idle_for_s: int
    idle_timeout_s: int | None
    would_stop_at: str | None
    because: str
    blocked_by: list[str]


class EnforcedBy(TypedDict):
    """By what a project is held to each of its limits; null: by nothing on this machine.

    What the hub itself writes into a project, copies and uploads, keeps the disk quota in any case.
    """

    memory: str | None
    cpu: str | None
    processes: str | None
    disk: str | None


class ProjectLimits(TypedDict):
    """What a project may use at most: memory in MB, processors in cores."""

    memory_MB: int | None
    cpu: float | None
    processes: int | None
    enforced_by: EnforcedBy


# The flat key ``project.pid`` cannot be a class attribute, hence the functional form.
_StatusFlat = TypedDict("_StatusFlat", {"project.pid": int}, total=False)


class ProjectStatus(_StatusFlat, total=False):
    """Reply of `projects.status`; of a project that does not run only what begins with `disk_`."""

    project: ProcessId
    start_ts: int
    session_id: str
    version: int
    disk_MB: int
    disk_quota_MB: int
    disk_age_s: int
    disk_full: Literal[True]
    snapshots_MB: int
    undo_MB: int
    memory: Memory
    cpu: Cpu
    oom_kills: int
    idle: Idle
    idle_timeout_s: int
    would_stop_at: str
    isolation: str
    network: str
    limits: ProjectLimits
