"""The figures of a whole hub: a real process, real projects, over HTTP on one keep-alive connection unless said."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
from tests.hubs import HubProcess

from benchmarks.load import BareServer, requests_per_s
from benchmarks.table import Table, medians_ms, paired_ms

PYTHON = os.path.realpath(sys.executable)


class Wire:
    """One keep-alive connection, with as little client around it as there can be."""

    def __init__(self, process: HubProcess, key: str | None = None) -> None:
        parts = urlsplit(process.url)
        self.connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
        self.headers = {
            "Content-Type": "application/json",
            "Authorization": f"Bearer {key or process.admin_key}",
        }

    def call(self, name: str, *args: Any, project_id: str | None = None) -> Any:
        body: dict[str, Any] = {"name": name, "args": list(args)}
        if project_id is not None:
            body["project_id"] = project_id
        path = "/api/conat/hub" if project_id is None else "/api/conat/project"
        try:
            self.connection.request("POST", path, json.dumps(body), self.headers)
            reply = self.connection.getresponse()
        except ConnectionError:  # the hub has closed what was idle for a minute
            self.connection.close()
            self.connection.request("POST", path, json.dumps(body), self.headers)
            reply = self.connection.getresponse()
        value = json.loads(reply.read())
        if isinstance(value, dict) and "error" in value and "state" not in value:
            raise AssertionError(value["error"])
        return value


def _bare_python_ms() -> float:
    return medians_ms(lambda: subprocess.run([PYTHON, "-c", "pass"], check=True), runs=10)


def start_stop(table: Table, process: HubProcess, wire: Wire, projects: int) -> None:
    ids = [wire.call("projects.createProject", {"title": "bench"}) for _ in range(30)]
    starts, stops, restarts = [], [], []
    for project_id in ids:
        for times, action in ((starts, "start"), (stops, "stop"), (restarts, "start"), ([], "stop")):
            begin = time.perf_counter()
            wire.call(f"projects.{action}", {"project_id": project_id})
            times.append((time.perf_counter() - begin) * 1000)
    bare = _bare_python_ms()
    table.add(
        "start until the server has answered, first",
        f"{statistics.median(starts):.1f} ms",
        "25 ms",
        f"{bare:.1f} ms: fork, exec and import of a bare python3",
    )
    table.add("start until the server has answered, again", f"{statistics.median(restarts):.1f} ms", "25 ms", "")
    table.add("stop", f"{statistics.median(stops):.1f} ms", "50 ms", "")


def many(table: Table, process: HubProcess, wire: Wire, projects: int) -> None:
    ids = [wire.call("projects.createProject", {"title": "bench"}) for _ in range(projects)]
    wires = [Wire(process) for _ in range(projects)]

    def start(number: int) -> None:
        wires[number].call("projects.start", {"project_id": ids[number]})
        wires[number].call("system.ping", project_id=ids[number])

    with ThreadPoolExecutor(projects) as pool:
        list(pool.map(lambda w: w.call("system.ping"), wires))
        begin = time.perf_counter()
        list(pool.map(start, range(projects)))
        taken = time.perf_counter() - begin
    table.add(f"{projects} projects started at once, all answering", f"{taken:.2f} s", "3 s", "")
    time.sleep(2)
    pss = [_pss_mb(wire.call("projects.status", {"project_id": project_id})["project"]["pid"]) for project_id in ids]
    table.add(
        f"memory (PSS) of each of {projects} idle projects, with its init",
        f"{statistics.median(pss):.1f} MB",
        "8 MB",
        "",
    )
    rss = psutil.Process(process.process.pid).memory_info().rss / 1e6
    table.add("the hub's RSS meanwhile", f"{rss:.0f} MB", "150 MB", "")
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: wires[n].call("projects.stop", {"project_id": ids[n]}), range(projects)))


def _pss_mb(server_pid: int) -> float:
    """Of the project server, its init, and whatever else runs below."""
    init = psutil.Process(server_pid).parent()
    assert init is not None
    total = 0
    for one in [init, *init.children(recursive=True)]:
        rollup = Path(f"/proc/{one.pid}/smaps_rollup").read_text()
        total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return total * 1024 / 1e6


def small_calls(table: Table, process: HubProcess, wire: Wire, projects: int) -> None:
    create = medians_ms(lambda: wire.call("projects.createProject", {"title": "bench"}), runs=200, warm_up=20)
    table.add("create_project", f"{create:.2f} ms", "6 ms", "")
    project_id = wire.call("projects.createProject", {"title": "bench"})
    wire.call("projects.start", {"project_id": project_id})
    ping = medians_ms(lambda: wire.call("system.ping"), runs=300, warm_up=30)
    for name, goal in (("state", "3 ms"), ("status", "10 ms"), ("touch", "5 ms")):
        taken = medians_ms(lambda n=name: wire.call(f"projects.{n}", {"project_id": project_id}), runs=200, warm_up=20)
        table.add(f"{name} of a running project", f"{taken:.2f} ms", goal, f"{ping:.2f} ms: system.ping")
    wire.call("projects.stop", {"project_id": project_id})


def listing(table: Table, process: HubProcess, wire: Wire, projects: int) -> None:
    _, key = process.person("lister")
    own = Wire(process, key)
    for number in range(1000):
        own.call("projects.createProject", {"title": f"Project {number}"})
    fields = ("project_id", "title", "last_edited", "created", "state", "deleted", "users")
    query = {"query": {"projects_all": [dict.fromkeys(fields)]}}
    assert len(own.call("db.userQuery", query)["projects_all"]) == 1000
    raw = medians_ms(lambda: own.call("db.userQuery", query), runs=30)
    with process.hub(key) as hub:
        client = medians_ms(lambda: hub.projects.get(all=True), runs=30)
    table.add("get with 1,000 memberships, the answer parsed", f"{raw:.1f} ms", "25 ms", "")
    table.add("the same by our client, filtered and sorted", f"{client:.1f} ms", "", "")


def rate(table: Table, process: HubProcess, wire: Wire, projects: int) -> None:
    body = b'{"name": "system.ping", "args": [{}]}'
    port = urlsplit(process.url).port
    assert port is not None
    server = psutil.Process(process.process.pid)
    ours, bare, cpu_ms = [], [], []
    with BareServer() as other:
        time.sleep(1)
        for _ in range(3):
            before = sum(server.cpu_times()[:2])
            ours.append(requests_per_s(port, process.admin_key, body))
            cpu_ms.append((sum(server.cpu_times()[:2]) - before) * 1000 / (ours[-1] * 4))
            bare.append(requests_per_s(other.port, process.admin_key, body))
    share = statistics.median(one / two for one, two in zip(ours, bare, strict=True))
    table.add(
        "system.ping, 16 connections",
        f"{statistics.median(ours):.0f}/s = {share:.0%}",
        "(least) 50 %",
        f"{statistics.median(bare):.0f}/s: bare Starlette",
    )
    table.add("CPU of the hub for one", f"{statistics.median(cpu_ms):.3f} ms", "0.6 ms", "")


def execution(table: Table, process: HubProcess, wire: Wire, projects: int) -> None:
    project_id = wire.call("projects.createProject", {"title": "bench"})
    wire.call("projects.start", {"project_id": project_id})
    ours, bare = paired_ms(
        lambda: wire.call("system.exec", {"command": "true"}, project_id=project_id),
        lambda: subprocess.run(["true"], check=True),
        runs=100,
    )
    table.add('system.exec("true")', f"{ours:.2f} ms", f"{1.5 * bare + 4:.2f} ms", f"{bare:.2f} ms: subprocess.run")
    wires = [Wire(process) for _ in range(16)]

    def repeat(one: Wire) -> None:
        for _ in range(60):
            one.call("system.exec", {"command": "true"}, project_id=project_id)

    begin = time.perf_counter()
    with ThreadPoolExecutor(len(wires)) as pool:
        list(pool.map(repeat, wires))
    rate = 60 * len(wires) / (time.perf_counter() - begin)
    table.add("system.exec, 16 connections", f"{rate:.0f}/s", "(least) 200/s", "")
    wire.call("projects.stop", {"project_id": project_id})


def copied_and_synced(source: Path, target: Path) -> None:
    """What a copy of the hub promises as well: when it is answered, all of it is on the disk."""
    subprocess.run(["cp", "-a", source, target], check=True)
    subprocess.run(["sync", "-f", target.parent], check=True)


def copies(table: Table, process: HubProcess, wire: Wire, projects: int) -> None:
    source = wire.call("projects.createProject", {"title": "source"})
    wire.call("projects.start", {"project_id": source})
    script = (
        "head -c 100000000 /dev/urandom > big; mkdir -p small; cd small; "
        "for d in $(seq 50); do mkdir $d; for f in $(seq 100); do echo $d $f > $d/$f; done; done"
    )
    wire.call("system.exec", {"command": script, "bash": True, "timeout": 120}, project_id=source)
    home = process.data_dir / "projects" / source / "home"
    scratch = process.data_dir / "projects" / "scratch"
    for path, label in (("big", "copy of a 100 MB file"), ("small", "copy of 5,000 small files")):
        ours, theirs = [], []
        for turn in range(9):
            target = wire.call("projects.createProject", {"title": "target"})
            copy = {"src_project_id": source, "src_path": path, "target_project_id": target}
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
            for times, work in (
                (ours, lambda c=copy: wire.call("projects.copyPathBetweenProjects", c)),
                (theirs, lambda p=path: copied_and_synced(home / p, scratch / p)),
            )[:: 1 if turn % 2 else -1]:
                begin = time.perf_counter()
                work()
                times.append((time.perf_counter() - begin) * 1000)
            # Both results go: what is left lying would be written to the disk during the next turns.
            shutil.rmtree(process.data_dir / "projects" / target, ignore_errors=True)
            shutil.rmtree(scratch, ignore_errors=True)
        ratio = statistics.median(one / two for one, two in zip(ours, theirs, strict=True))
        table.add(
            label,
            f"{statistics.median(ours):.0f} ms = {ratio:.2f} x",
            "1.3 x",
            f"{statistics.median(theirs):.0f} ms: cp -a, sync -f",
        )
    shutil.rmtree(scratch, ignore_errors=True)
    wire.call("projects.stop", {"project_id": source})
