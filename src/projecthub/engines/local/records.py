"""What the local engine remembers of a running project, in files that survive the hub and the launcher.

Every project has a directory below the engine's runtime directory, which belongs to the hub alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from projecthub.engines.local import processes
from projecthub.engines.local.processes import Process
from projecthub.engines.port import Exit, Instance, Isolation
from projecthub.wire.ids import ProjectId

RECORD_FILES = ("instance.json", "instance.copy.json")
SOCKET_FILE = "server.sock"
LOG_FILE = "server.log"
EXIT_FILE = "exit"
ALIVE_FILE = "alive"
LIFELINE_FILE = "lifeline"
UPLINK_FILE = "uplink.json"
NETWORK_FILE = "network"
INIT_NAME = "project-init"
"""What the first process of a project is called."""
SKELETON = "skeleton"
"""Below the runtime directory: where the launcher, out of everybody's sight, mounts the sandbox's common part."""


_MAX_LOG = 2000


def project_dir(runtime_dir: Path, project_id: ProjectId) -> Path:
    """The directory with the files of a project's run."""
    return runtime_dir / project_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One run of a project, with what it takes to recognise its processes again.

    Attributes:
        boot_id: The boot of the machine that the process ids belong to.
        project_id: Whose run.
        epoch: The epoch it was started with.
        session_id: A uuid of its own.
        isolation: The isolation in force.
        init: The project's first process, as the machine sees it.
        server: The project server.
        started_at: When it was started.
        groups: Its control group; see `cgroups.Group`.
    """

    boot_id: str
    project_id: ProjectId
    epoch: int
    session_id: str
    isolation: Isolation
    init: Process
    server: Process
    started_at: datetime
    groups: Mapping[str, str] = field(default_factory=dict)

    def save(self, directory: Path) -> None:
        """Write the record, as a whole or not at all; twice, for a run that cannot be recognised cannot be ended."""
        for name in RECORD_FILES:
            draft = directory / f"{name}.new"
            draft.write_text(json.dumps(self.as_json()))
            draft.rename(directory / name)

    def as_json(self) -> dict[str, Any]:
        """The record as plain JSON."""
        return {**asdict(self), "started_at": self.started_at.isoformat()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Record:
        """The record of plain JSON.

        Raises:
            KeyError, TypeError, ValueError: It is none.
        """
        return cls(
            boot_id=values["boot_id"],
            project_id=ProjectId(values["project_id"]),
            epoch=values["epoch"],
            session_id=values["session_id"],
            isolation=Isolation(values["isolation"]),
            init=Process(**values["init"]),
            server=Process(**values["server"]),
            started_at=datetime.fromisoformat(values["started_at"]),
            # Runs that were started before there were groups go on without.
            groups={str(purpose): str(path) for purpose, path in values.get("groups", {}).items()},
        )

    @classmethod
    def load(cls, directory: Path) -> Record | None:
        """The record in a directory; None if there is none, or no readable one."""
        for name in RECORD_FILES:
            with contextlib.suppress(OSError, AttributeError, KeyError, TypeError, ValueError, RecursionError):
                return cls.from_json(json.loads((directory / name).read_bytes()))
        return None

    def is_alive(self) -> bool:
        """Whether the run goes on."""
        return self.boot_id == processes.boot_id() and processes.is_alive(self.init)

    def instance(self) -> Instance:
        """The run as the engine's port names it."""
        return Instance(
            project_id=self.project_id,
            epoch=self.epoch,
            pid=self.server.pid,
            session_id=self.session_id,
            started_at=self.started_at,
        )


def read_exit(directory: Path) -> Exit:
    """How a run ended, as its init has written it down; nothing is known if the init was killed itself."""
    log = read_log(directory)
    try:
        kind, number = (directory / EXIT_FILE).read_text().split()
        return Exit(code=int(number), log=log) if kind == "code" else Exit(signal=int(number), log=log)
    except (OSError, ValueError):
        return Exit(log=log)


def read_log(directory: Path) -> str:
    """The end of what a server wrote, without what a terminal would act upon."""
    try:
        with (directory / LOG_FILE).open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - _MAX_LOG, 0))
            text = file.read(_MAX_LOG).decode(errors="replace")
    except OSError:
        return ""
    return "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text)


def lock_alive(directory: Path) -> int:
    """Make the file that is locked as long as a run lives, and lock it.

    Returns:
        A file descriptor; the lock ends when all copies of it are closed.
    """
    fd = os.open(directory / ALIVE_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return fd


def is_locked_alive(directory: Path) -> bool:
    """Whether a run lives whose directory this is, whatever its record says."""
    try:
        fd = os.open(directory / ALIVE_FILE, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
