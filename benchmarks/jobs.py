"""The figures of jobs: how fast their output comes to a reader."""

from __future__ import annotations

import statistics
import subprocess
import time

from tests.hubs import HubProcess

from benchmarks.hub import Wire
from benchmarks.table import Table
from projecthub import Project

OUTPUT_BYTES = 400_000_000


def output(table: Table, process: HubProcess, wire: Wire, projects: int) -> None:
    project_id = wire.call("projects.createProject", {"title": "bench"})
    wire.call("projects.start", {"project_id": project_id})
    ours, bare = [], []
    with Project(process.admin_key, process.url, project_id) as project:
        for _ in range(3):
            begin = time.perf_counter()
            job = project.jobs.start("head", ["-c", str(OUTPUT_BYTES), "/dev/zero"])
            assert sum(len(piece.data) for piece in job.output()) == OUTPUT_BYTES
            ours.append(OUTPUT_BYTES / 1e6 / (time.perf_counter() - begin))
            job.remove()
            begin = time.perf_counter()
            with subprocess.Popen(["head", "-c", str(OUTPUT_BYTES), "/dev/zero"], stdout=subprocess.PIPE) as running:
                assert running.stdout is not None
                while running.stdout.read(1 << 20):
                    pass
            bare.append(OUTPUT_BYTES / 1e6 / (time.perf_counter() - begin))
    table.add(
        "output of a job, followed by our client",
        f"{statistics.median(ours):.0f} MB/s",
        "(least) 100 MB/s",
        f"{statistics.median(bare):.0f} MB/s: a pipe",
    )
    wire.call("projects.stop", {"project_id": project_id})
