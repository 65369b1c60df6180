"""An engine whose project servers are entries of a dictionary: the port without processes."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

from projecthub.engines.port import Activity, Exit, Instance, Isolation, Means, Network, StartSpec, Usage
from projecthub.wire.ids import ProjectId

STARTED_AT = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


class MemoryEngine:
    """Implements `projecthub.engines.port.Engine`.

    Attributes:
        specs: Every start that was asked for.
        live: What runs now.
        silent: Projects whose server runs and does not answer.
        gate: Starts wait here; open unless a test closes it.
        stop_gate: Ends wait here.
        failure: What the next start raises.
        end_failure: What ends raise.
        is_open: Whether it is open.
        signs: What shows that a project is in use; nothing at all unless a test says otherwise.
    """

    name = "memory"
    isolation = Isolation.NONE
    networks = frozenset(Network)
    means = Means()

    def __init__(self) -> None:
        self.specs: list[StartSpec] = []
        self.live: dict[ProjectId, Instance] = {}
        self.silent: set[ProjectId] = set()
        self.gate = asyncio.Event()
        self.gate.set()
        self.stop_gate = asyncio.Event()
        self.stop_gate.set()
        self.starting = asyncio.Event()
        self.failure: Exception | None = None
        self.end_failure: Exception | None = None
        self.is_open = False
        self.signs: dict[ProjectId, Activity] = {}
        self._ends: dict[str, asyncio.Future[Exit]] = {}

    async def open(self) -> None:
        self.is_open = True

    async def ready(self) -> None:
        if self.failure is not None:
            raise self.failure

    async def close(self) -> None:
        self.is_open = False

    async def start(self, spec: StartSpec) -> Instance:
        self.specs.append(spec)
        self.starting.set()
        await self.gate.wait()
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        older = self.live.get(spec.project_id)
        if older is not None:
            await self.stop(older)
        instance = Instance(
            project_id=spec.project_id,
            epoch=spec.epoch,
            pid=len(self.specs),
            session_id=str(uuid.uuid4()),
            started_at=STARTED_AT,
        )
        self.live[spec.project_id] = instance
        self._ends[instance.session_id] = asyncio.get_running_loop().create_future()
        return instance

    async def find(self, project_id: ProjectId) -> Instance | None:
        return None if project_id in self.silent else self.live.get(project_id)

    async def running(self) -> Sequence[Instance]:
        return [instance for project_id, instance in self.live.items() if project_id not in self.silent]

    async def stop(self, instance: Instance, *, grace_s: float = 2.0) -> None:
        await self.stop_gate.wait()
        if self.end_failure is not None and instance in self.live.values():
            raise self.end_failure
        self.end(instance, Exit(code=0))

    async def end_all(self, project_id: ProjectId) -> None:
        if project_id in self.live:
            await self.stop(self.live[project_id])

    def end(self, instance: Instance, exit: Exit) -> None:
        """The end of an instance, from whatever cause."""
        running = self.live.get(instance.project_id)
        if running is not None and running.session_id == instance.session_id:
            del self.live[instance.project_id]
            self._ends[instance.session_id].set_result(exit)

    async def wait(self, instance: Instance) -> Exit:
        return await asyncio.shield(self._ends[instance.session_id])

    async def usage(self, instance: Instance) -> Usage:
        return Usage(processes=1, rss=3_000_000, pss=2_000_000, uss=1_000_000, swap=0, cpu_s=0.5)

    async def activity(self, instance: Instance) -> Activity | None:
        if self.live.get(instance.project_id) != instance:
            return None
        return self.signs.get(instance.project_id, Activity(cpu_s=0.5, terminals=0, processes=0))

    async def call(
        self,
        instance: Instance,
        name: str,
        arguments: Sequence[object],
        *,
        timeout_s: float | None = None,
        max_reply_bytes: int | None = None,
    ) -> object:
        return {"name": name, "arguments": list(arguments), "epoch": instance.epoch}
