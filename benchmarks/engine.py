"""The local engine beside a bare ``python3`` of the same run: start, stop, calls and memory.

Usage: python -m benchmarks.engine [--isolation full|user|none] [--rounds 30] [--projects 100]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from uuid import uuid4

from projecthub.engines import calls
from projecthub.engines.local import cgroups
from projecthub.engines.local.engine import LocalEngine
from projecthub.engines.local.launching import Launching
from projecthub.engines.local.probe import best_isolation
from projecthub.engines.local.records import SKELETON, SOCKET_FILE
from projecthub.engines.port import Instance, Isolation, Network, StartSpec
from projecthub.wire.ids import ProjectId

UID = 20_003


class Homes:
    """Makes homes for projects, and says how they are to be started."""

    def __init__(self, directory: Path, isolation: Isolation) -> None:
        self._directory = directory
        self._uid = UID if isolation is Isolation.FULL else None

    def spec(self) -> StartSpec:
        project_id = ProjectId(str(uuid4()))
        home = self._directory / project_id
        home.mkdir()
        if self._uid is not None:
            os.chown(home, self._uid, self._uid)
        return StartSpec(project_id=project_id, epoch=1, home=home, uid=self._uid)


async def timed(work: Callable[[], Awaitable[object]], rounds: int) -> float:
    """Median milliseconds."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        await work()
        times.append((time.perf_counter() - began) * 1000)
    return median(times)


def show(name: str, value: float, unit: str = "ms") -> None:
    print(f"{name:<58}{value:9.2f} {unit}", flush=True)


async def baseline(rounds: int) -> None:
    async def run(*command: str) -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    show("baseline: fork and exec of true", await timed(lambda: run("true"), rounds))
    show("baseline: bare python3", await timed(lambda: run(sys.executable, "-I", "-c", ""), rounds))
    imports = "import uvicorn, starlette.applications, starlette.routing"
    show(
        "baseline: python3 that imports a server's libraries",
        await timed(lambda: run(sys.executable, "-c", imports), 5),
    )


async def launcher_alone(directory: Path, isolation: Isolation, homes: Homes, rounds: int) -> None:
    (directory / SKELETON).mkdir(parents=True)
    trees = cgroups.find(directory)
    launcher = await Launching.begin(
        isolation=isolation, network=Network.HOST, trees=trees, runtime_dir=directory, hidden=[]
    )
    records = []

    async def start() -> None:
        spec = homes.spec()
        records.append(await launcher.launch(spec, str(uuid4())))
        await calls.identify(directory / spec.project_id / SOCKET_FILE)

    show("launcher alone: fork to the first answer", await timed(start, rounds))
    await launcher.close()
    # The engine of the same directory knows them, and ends them.
    engine = LocalEngine(runtime_dir=directory, isolation=isolation)
    await engine.open()
    for record in records:
        await engine.stop(record.instance(), grace_s=0.0)
    await engine.close()


async def one_at_a_time(engine: LocalEngine, homes: Homes, rounds: int) -> None:
    instances: list[Instance] = []

    async def start() -> None:
        instances.append(await engine.start(homes.spec()))

    async def stop() -> None:
        await engine.stop(instances.pop())

    show("start", await timed(start, rounds))
    instance = instances[0]
    cpu_s = time.process_time()
    show("ping", await timed(lambda: engine.call(instance, "system.ping", []), 500))
    show("ping, processor time of the hub", (time.process_time() - cpu_s) * 2)
    true = [{"command": "true", "args": []}]
    show("exec of true", await timed(lambda: engine.call(instance, "system.exec", true), rounds * 3))
    script = [{"command": "true", "bash": True}]
    show("exec of a script", await timed(lambda: engine.call(instance, "system.exec", script), rounds))
    show("find", await timed(lambda: engine.find(instance.project_id), rounds))
    show("usage", await timed(lambda: engine.usage(instance), rounds))
    show("stop", await timed(stop, rounds))


async def many_at_once(engine: LocalEngine, homes: Homes, projects: int) -> None:
    specs = [homes.spec() for _ in range(projects)]
    began = time.perf_counter()
    instances = await asyncio.gather(*(engine.start(spec) for spec in specs))
    show(f"{projects} starts at once, all answering", (time.perf_counter() - began) * 1000)
    usages = [await engine.usage(instance) for instance in instances]
    show(f"memory of one of {projects} idle projects (PSS)", median(usage.pss for usage in usages) / 1e6, "MB")
    began = time.perf_counter()
    await asyncio.gather(*(engine.stop(instance) for instance in instances))
    show(f"{projects} stops at once", (time.perf_counter() - began) * 1000)


async def measure(options: argparse.Namespace) -> None:
    isolation = Isolation(options.isolation) if options.isolation else best_isolation()
    print(f"isolation {isolation}, {options.rounds} rounds, medians")
    await baseline(options.rounds)
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch, "homes").mkdir()
        homes = Homes(Path(scratch, "homes"), isolation)
        await launcher_alone(Path(scratch, "alone"), isolation, homes, options.rounds)
        engine = LocalEngine(runtime_dir=Path(scratch, "run"), isolation=isolation)
        began = time.perf_counter()
        await engine.open()
        show("open the engine", (time.perf_counter() - began) * 1000)
        await one_at_a_time(engine, homes, options.rounds)
        await many_at_once(engine, homes, options.projects)
        await engine.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--isolation", choices=list(Isolation))
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--projects", type=int, default=100)
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
