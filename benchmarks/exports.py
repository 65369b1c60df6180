"""Whole projects out and in, beside ``tar | zstd`` of the same run."""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from tests.hubs import HubProcess

from benchmarks.files import MANY
from benchmarks.hub import Wire
from benchmarks.table import Table, paired_ms

RUNS = 3


def out_and_in(table: Table, process: HubProcess, wire: Wire, projects: int) -> None:
    with process.hub() as hub, tempfile.TemporaryDirectory(dir=process.data_dir) as scratch:
        project_id = hub.projects.create_project("bench")
        with hub.project(project_id) as inside:
            inside.files.write_text("first", "x")
        home = process.data_dir / "projects" / project_id / "home"
        for number in range(MANY):
            directory = home / f"d{number // 100}"
            directory.mkdir(exist_ok=True)
            (directory / f"f{number}").write_bytes(os.urandom(1000))
        ours, theirs = Path(scratch, "ours.tar.zst"), Path(scratch, "theirs.tar.zst")
        out_ms, tar_ms = paired_ms(
            lambda: hub.projects.export(project_id, ours),
            lambda: subprocess.run(f"tar -C {home} -cf - . | zstd -q -3 -f -o {theirs}", shell=True, check=True),
            runs=RUNS,
        )
        table.add(
            f"export of {MANY} files of 1 kB",
            f"{out_ms:.0f} ms = {out_ms / tar_ms:.2f} x",
            "",
            f"{tar_ms:.0f} ms: tar, zstd",
        )
        taken: dict[str, list[float]] = {"ours": [], "theirs": []}
        for run in range(RUNS):
            begin = time.perf_counter()
            hub.projects.import_(ours)
            taken["ours"].append(time.perf_counter() - begin)
            target = Path(scratch, str(run))
            target.mkdir()
            begin = time.perf_counter()
            subprocess.run(f"zstd -dc {theirs} | tar -C {target} -xf -", shell=True, check=True)
            os.sync()  # as the hub does before it answers
            taken["theirs"].append(time.perf_counter() - begin)
        in_ms, untar_ms = (statistics.median(times) * 1000 for times in taken.values())
        table.add("import of them", f"{in_ms:.0f} ms = {in_ms / untar_ms:.2f} x", "", f"{untar_ms:.0f} ms: zstd, tar")
    wire.connection.close()  # the hub has closed it meanwhile; the next call opens it again
