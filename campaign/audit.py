"""The audit: whether store, processes, disk and promises agree when all is quiet."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import psutil

from campaign import machine
from campaign.clients import FILES, Pool, marker_of
from campaign.hub import TormentedHub
from campaign.machine import LAUNCHER, SPARE, ZYGOTE, Run
from campaign.plan import FaultKind
from campaign.promises import ERROR, RUNNING, STARTING_OPS, STOPPED, STOPPING_OPS, ProjectPromises, Write, possible
from campaign.rows import events, project_rows
from campaign.saboteur import Saboteur, Wound
from projecthub.wire.ids import is_uuid

QUIET_S: Final = 60.0
"""How long after the last fault all projects must have come to rest, at most."""

_POLL_S: Final = 0.1
_OWN_FILES: Final = frozenset({"skeleton", "launcher.log"})
_MOST_AT_REST: Final = {LAUNCHER: 1, ZYGOTE: 1, SPARE: 2}  # an init and a server to be
_SET_UP: Final = r"it ended while it was set up"
_BEGINS: Final = frozenset({"project_started", "project_restarted"})
_ENDS: Final = frozenset({"project_stopped", "project_died", "project_start_failed"})
_LOGGED_FAILURES: Final = re.compile(r"Traceback|\b(lifecycle|call|housekeeping)\.\w*failed")
_SETTLED_MS: Final = 1


@dataclass
class Audit:
    """Checks, and what they have found.

    Attributes:
        violations: What does not hold.
        checks: How many checks were made, by kind.
        notes: What is worth telling and no violation.
    """

    pool: Pool
    tormented: TormentedHub
    saboteur: Saboteur
    outside: set[int]
    within_s: float
    violations: list[str] = field(default_factory=list)
    checks: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def check(self, kind: str, holds: bool, complaint: str, project_id: str | None = None) -> None:
        """Note a check, and the complaint if it does not hold."""
        self.checks[kind] += 1
        if not holds:
            self.violations.append(f"{kind}: {complaint}" + (self._told(project_id) if project_id else ""))

    def _told(self, project_id: str) -> str:
        project = self.pool.projects.get(project_id)
        history = sorted(project.history) if project else []
        return f"\n  {project_id}" + "".join(
            f"\n    {datetime.fromtimestamp(at).isoformat(timespec='milliseconds')[11:]} {text}" for at, text in history
        )

    # -- all of it ---------------------------------------------------------------------------------

    def run(self) -> None:
        """Look at everything, restart the hub, and look whether everything is as before."""
        self._await("no project is starting or stopping", self._at_rest)
        before = self._snapshot()
        self._promises()
        self._log()
        self._machine()
        self._files()
        self._staging()
        before = self._snapshot()
        self.tormented.down(gently=False)
        self.tormented.up()
        self._await("no project is starting or stopping", self._at_rest)
        after = self._snapshot()
        for project_id in before.keys() | after.keys():
            if before[project_id][-1] in self._spoiled and after[project_id][0] == ERROR:
                continue  # the new hub cannot know it, and has ended it
            same = before.get(project_id) == after.get(project_id)
            told = f"{before.get(project_id)} became {after.get(project_id)}"
            self.check("the same after a restart", same, told, project_id)
        self._machine()
        logged = [line for line in self.tormented.errors().splitlines() if _LOGGED_FAILURES.search(line)]
        self.check("the hub's log", not logged, "\n  ".join(["failures in it:", *logged[:10]]))
        self.tormented.stop_all()
        self._nothing_left()

    def _await(self, what: str, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + QUIET_S
        while not holds() and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        self.check("rest", holds(), f"after {QUIET_S:g} s it does not hold that {what}{self._restless()}")

    def _restless(self) -> str:
        """The rows that are not at rest, and what the processes of their runs do."""
        return "".join(
            f"\n  {row['project_id']}: {row['state']}, epoch {row['epoch']}, wished {row['desired']}{_doings(row)}"
            for row in self._rows()
            if not self._is_at_rest(row)
        )

    def _rows(self) -> list[dict[str, Any]]:
        return project_rows(self.tormented.store_url)

    def _at_rest(self) -> bool:
        return all(self._is_at_rest(row) for row in self._rows())

    def _is_at_rest(self, row: dict[str, Any]) -> bool:
        return (
            row["state"] in (RUNNING, STOPPED, ERROR)
            and row["retry_at"] is None
            and not (row["state"] == RUNNING and not self._unharmed(row))
            and time.time() * 1000 - row["state_at"] > _SETTLED_MS
        )

    def _unharmed(self, row: dict[str, Any]) -> bool:
        return machine.process_name(row["instance"]["pid"]) == machine.SERVER

    def _snapshot(self) -> dict[str, tuple[Any, ...]]:
        return {
            row["project_id"]: (
                row["state"],
                row["desired"],
                bool(row["deleted"]),
                row["epoch"],
                (row["instance"] or {}).get("pid"),
                (row["instance"] or {}).get("session_id"),
            )
            for row in self._rows()
        }

    # -- what was promised -------------------------------------------------------------------------

    def _promises(self) -> None:
        rows = {row["project_id"]: row for row in self._rows()}
        titles = Counter(row["title"] for row in rows.values())
        for title, project_id in self.pool.titles.items():
            known = project_id is None or project_id in rows
            self.check("created", known, f"'{title}' was answered {project_id}, which is not in the store")
            self.check("created once", titles[title] <= 1, f"'{title}' was created {titles[title]} times")
        for project_id, row in rows.items():
            if project_id not in self.pool.projects:  # nobody was told of it: its creation got no answer
                asked = self.pool.titles.get(row["title"], "") is None
                self.check("created", asked, f"{project_id} '{row['title']}' was never asked for")
                continue
            self._state(self.pool.projects[project_id], row)
            before = self.saboteur.epochs.get(project_id, 0)
            self.check("epochs grow", row["epoch"] >= before, f"{before} became {row['epoch']}", project_id)

    def _state(self, project: ProjectPromises, row: dict[str, Any]) -> None:
        wounds = [wound for wound in self.saboteur.wounds if wound.run.project_id == project.project_id]
        writes = possible([*project.runs, *(self._write_of(wound) for wound in wounds)])
        allowed = {write.value for write in writes}
        state, told = row["state"], row["state_error"]
        whys = [write.why for write in writes if write.value == ERROR and write.why]
        if state == ERROR and self.saboteur.done[FaultKind.KILL_SPARE]:
            whys.append(_SET_UP)  # the spare may have been on its way to be this project's init
            allowed.add(ERROR)
        self.check(
            "state", state in allowed, f"it is {state} ({told}), which is none of {sorted(allowed)}", project.project_id
        )
        if state == ERROR and state in allowed:
            explained = any(re.search(why, told or "") for why in whys)
            self.check("the error's text", explained, f"{told!r} is like none of {whys}", project.project_id)
        deletions = {write.value for write in possible(project.deletions)}
        there = "deleted" if row["deleted"] else "there"
        self.check("deleted", there in deletions, f"it is {there}, not {sorted(deletions)}", project.project_id)

    def _write_of(self, wound: Wound) -> Write:
        lasting = wound.kind is FaultKind.SPOIL_RECORD
        ended = float("inf") if lasting else self.tormented.noticed_by(wound.at, self.within_s)
        return Write(ERROR, wound.at, ended, why=wound.why)

    # -- what was logged ---------------------------------------------------------------------------

    def _log(self) -> None:
        logs = events(self.tormented.store_url)
        changed_at = {row["project_id"]: row["state_at"] for row in self._rows()}
        for project in self.pool.projects.values():
            log = logs.get(project.project_id, [])
            for op, told in project.answers:
                at_ms = round(datetime.fromisoformat(told).timestamp() * 1000)
                last = next((name for at, name in reversed(log) if at <= at_ms and name in _BEGINS | _ENDS), None)
                if op in STARTING_OPS:
                    complaint = f"{op} was answered with {told}, and the log says {last} last before that"
                    self.check("starts are logged", last in _BEGINS, complaint, project.project_id)
                elif op in STOPPING_OPS:
                    complaint = f"{op} was answered with {told}, and the log says {last} last before that"
                    self.check("stops are logged", last not in _BEGINS, complaint, project.project_id)
        for wound in self.saboteur.wounds:
            if wound.kind is not FaultKind.SPOIL_RECORD:
                self._noticed(wound, logs.get(wound.run.project_id, []), changed_at.get(wound.run.project_id, 0))

    def _noticed(self, wound: Wound, log: list[tuple[int, str]], changed_at_ms: int) -> None:
        due = self.tormented.noticed_by(wound.at, self.within_s)
        after = [at / 1000 for at, name in log if at / 1000 >= wound.at - 0.001 and name in _BEGINS | _ENDS]
        seen = min([*after, *([changed_at_ms / 1000] if changed_at_ms / 1000 > wound.at else [])], default=None)
        holds = seen is not None and seen <= due
        told = "never" if seen is None else f"after {seen - wound.at:.2f} s, {seen - due:.2f} s late"
        self.check("deaths are noticed", holds, f"{wound.kind} was noticed {told}", wound.run.project_id)

    # -- what the machine shows --------------------------------------------------------------------

    def _machine(self) -> None:
        found: list[str] = []

        def agrees() -> bool:
            found[:] = self._disagreements()
            return not found

        deadline = time.monotonic() + QUIET_S / 4  # whatever is just ending is given the time to
        while not agrees() and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        self.violations += [complaint for complaint in found if complaint not in self.violations]
        self.checks["machine"] += 1

    def _disagreements(self) -> list[str]:
        """Where processes, runtime directory, mounts and groups are not what the store says."""
        rows = {row["project_id"]: row for row in self._rows() if row["state"] == RUNNING}
        runs = {run.project_id: run for run in machine.runs(self.tormented.data_dir)}
        found = [self._misfit(row, runs.get(project_id)) for project_id, row in rows.items()]
        expected = {self.tormented.pid, *(pid for run in runs.values() for pid in (run.init, run.server))}
        for row in rows.values():
            if row["instance"]["session_id"] in self._spoiled:
                expected |= machine.with_parent(row["instance"]["pid"])
        own: Counter[str] = Counter()
        for pid, name in machine.processes_below(os.getpid(), but=self.outside).items():
            if name in _MOST_AT_REST:
                own[name] += 1
            elif pid not in expected:
                found.append(f"machine: process {pid} ({name}) belongs to no running project")
        found += [
            f"machine: there are {own[name]} of {name}" for name, most in _MOST_AT_REST.items() if own[name] > most
        ]
        for name in os.listdir(self.tormented.data_dir / "run"):
            if name not in _OWN_FILES and name not in rows:
                told = self._told(name) if is_uuid(name) else ""
                found.append(f"run/: '{name}' is left over{told}")
        found += [f"mounts: {line}" for line in machine.mounts_of(self.tormented.data_dir)]
        found += [f"cgroups: {group}" for group in machine.stray_groups(self.tormented.data_dir, expected)]
        return [complaint for complaint in found if complaint]

    def _misfit(self, row: dict[str, Any], run: Run | None) -> str:
        """How the run of a project differs from its row; empty if it does not."""
        project_id, seen = row["project_id"], row["instance"]
        if run is None and seen["session_id"] in self._spoiled:
            return ""  # it runs on
        if run is None:
            return f"machine: {project_id} has no record of its run" + self._told(project_id)
        if (run.session_id, run.epoch, run.server) != (seen["session_id"], row["epoch"], seen["pid"]):
            return f"machine: {project_id} runs as {run}, the store says {row}" + self._told(project_id)
        return "" if run.is_alive else f"machine: the processes of {project_id} do not live" + self._told(project_id)

    @property
    def _spoiled(self) -> set[str]:
        """The runs whose records were spoiled."""
        return {wound.run.session_id for wound in self.saboteur.wounds if wound.kind is FaultKind.SPOIL_RECORD}

    def _nothing_left(self) -> None:
        """After Ctrl-C nothing of the hub or of any project lives."""
        left = machine.processes_below(os.getpid(), but=self.outside)
        self.check("nothing is left", not left, f"processes after the end of the hub: {left}")
        records = [name for name in os.listdir(self.tormented.data_dir / "run") if name not in _OWN_FILES]
        self.check("nothing is left", not records, f"in run/ after the end of the hub: {records}")

    # -- what is on the disk -----------------------------------------------------------------------

    def _files(self) -> None:
        projects = self.tormented.data_dir / "projects"
        known = {row["project_id"] for row in self._rows()}
        unfinished = projects / ".unfinished"
        begun = os.listdir(unfinished) if unfinished.exists() else []
        self.check("no home is unfinished", not begun, f"{begun}")
        for name in os.listdir(projects):
            is_known = name in known or name in (".unfinished", ".copies")
            self.check("homes", is_known, f"'{name}' is the home of no project")
        for project in self.pool.projects.values():
            self._home(project, projects / project.project_id / "home")

    def _home(self, project: ProjectPromises, home: Path) -> None:
        for client, (answered, asked) in project.counts.items():
            count = _count_in(home / marker_of(client))
            told = f"client {client} was answered {answered} of {asked}, and the file holds {count}"
            self.check("counts", answered <= count <= asked, told, project.project_id)
        for path, least in project.copies.items():
            count = _count_in(home / path)
            source = self.pool.projects[path.split("/")[1]]
            most = source.counts[int(path.rpartition("-")[2])][1]
            self.check(
                "copies", least <= count <= most, f"{path} holds {count}, not {least} to {most}", project.project_id
            )
        for path in project.trees:
            tree = home / path
            whole = tree.is_dir() and sorted(int(file.read_text()) for file in tree.iterdir()) == list(
                range(1, FILES + 1)
            )
            self.check("copies", whole, f"{path} is not whole", project.project_id)

    def _staging(self) -> None:
        """What a killed copy has left goes with the next use of its project."""
        projects = self.tormented.data_dir / "projects"
        littered = list(projects.glob("*/staging/*"))
        self.notes.append(f"staging directories left by killed hubs until their project's next use: {len(littered)}")
        with self.tormented.client() as hub:
            for left in littered:
                project_id = left.parent.parent.name
                row = next(row for row in self._rows() if row["project_id"] == project_id)
                if row["deleted"]:
                    continue
                (hub.projects.restart if row["state"] == RUNNING else hub.projects.start)(project_id)
                if row["state"] != RUNNING:
                    hub.projects.stop(project_id)
                self.check("no staging", not left.exists(), f"{left.name} stayed after a start", project_id)


def _count_in(file: Path) -> int:
    return int(file.read_text()) if file.exists() else 0


def _doings(row: dict[str, Any]) -> str:
    """What became of the server that the row knows, and of the inits that there are."""
    if not row["instance"]:
        return ""
    inits = [(process.pid, process.status()) for process in psutil.process_iter() if process.name() == machine.INIT]
    return f", server {row['instance']['pid']}: {machine.process_name(row['instance']['pid'])}; inits: {inits}"
