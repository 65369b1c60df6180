"""The saboteur: breaks things as planned, and tells the model what it must forgive."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Final

from campaign import machine
from campaign.clients import Pool
from campaign.hub import TormentedHub
from campaign.machine import INIT, LAUNCHER, SERVER, SPARE, ZYGOTE, Run
from campaign.plan import Fault, FaultKind
from campaign.rows import project_rows
from projecthub.engines.local.records import RECORD_FILES

_NOBODY: Final = "ended while no hub was running, and how is not known"
_EARLY: Final = "could not be started: the project server ended before it answered"
"""It was hit before its start was answered."""

BY_SIGNAL: Final = rf"ended by signal SIGKILL|{_NOBODY}|{_EARLY}"
"""How it ended is known to the hub that saw it. If that was killed before it told, the next one says so."""
UNSEEN: Final = rf"ended by signal SIGKILL|ended, and nobody saw how|{_NOBODY}|{_EARLY}"
"""Its init writes down how a server ended; who kills the init kills the witness."""
LOST: Final = rf"did not answer|ended, and nobody saw how|{_NOBODY}"

_FROZEN_RESTART_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Wound:
    """Something that was done to a run.

    Attributes:
        run: To which.
        at: When, in seconds since the epoch.
        kind: What.
        why: What the text of the project's error looks like because of it.
    """

    run: Run
    at: float
    kind: FaultKind
    why: str


class Saboteur(threading.Thread):
    """Carries out the faults of a plan, one after the other."""

    def __init__(self, faults: tuple[Fault, ...], pool: Pool, tormented: TormentedHub, outside: set[int]) -> None:
        """Make one; ``outside`` are processes below the campaign that are no part of the hub."""
        super().__init__(name="saboteur", daemon=True)
        self._faults = faults
        self._pool = pool
        self._tormented = tormented
        self._outside = outside
        self.over = threading.Event()
        self.done: Counter[FaultKind] = Counter()
        self.missed: Counter[FaultKind] = Counter()
        self.wounds: list[Wound] = []
        self.epochs: dict[str, int] = {}
        self.error: BaseException | None = None

    def run(self) -> None:
        """Wait for the moment of each fault, and do it."""
        try:
            for fault in self._faults:
                if not self._await_step(fault.after):
                    return
                time.sleep(fault.delay_s)
                happened = self._act(fault)
                (self.done if happened else self.missed)[fault.kind] += 1
                machine.reap_orphans({self._tormented.pid, *self._outside})
        except BaseException as error:
            self.error = error
            raise

    def _await_step(self, number: int) -> bool:
        """Wait until so many steps are begun; False if the clients have ended before that."""
        with self._pool.moved:
            self._pool.moved.wait_for(lambda: self._pool.begun >= number or self.over.is_set())
        return not self.over.is_set()

    def _act(self, fault: Fault) -> bool:
        match fault.kind:
            case FaultKind.KILL_HUB | FaultKind.TERMINATE_HUB:
                self._restart(gently=fault.kind is FaultKind.TERMINATE_HUB)
            case FaultKind.FREEZE_LAUNCHER_KILL_HUB:
                return self._restart_beside_a_frozen_launcher()
            case FaultKind.KILL_LAUNCHER:
                return self._to_hub_process(LAUNCHER, signal.SIGKILL) is not None
            case FaultKind.KILL_ZYGOTE:
                return self._to_hub_process(ZYGOTE, signal.SIGKILL) is not None
            case FaultKind.KILL_SPARE:
                return self._to_hub_process(SPARE, signal.SIGKILL) is not None
            case FaultKind.FREEZE_LAUNCHER:
                return self._freeze(self._to_hub_process(LAUNCHER, signal.SIGSTOP), LAUNCHER, fault.pause_s)
            case FaultKind.KILL_SERVER | FaultKind.KILL_INIT | FaultKind.FREEZE_SERVER | FaultKind.SPOIL_RECORD:
                return self._to_a_project(fault)
        return True

    # -- the hub and its launcher ------------------------------------------------------------------

    def _restart(self, *, gently: bool) -> None:
        self._tormented.down(gently=gently)
        self._look_at_epochs()
        self._tormented.up()

    def _restart_beside_a_frozen_launcher(self) -> bool:
        """A launcher that a killed hub has left behind, and that cannot even notice, must not disturb the next hub."""
        launcher = self._to_hub_process(LAUNCHER, signal.SIGSTOP)
        time.sleep(_FROZEN_RESTART_S)  # for starts to be asked of it
        self._restart(gently=False)
        if launcher is not None:
            machine.send(launcher, LAUNCHER, signal.SIGCONT)
        return launcher is not None

    def _look_at_epochs(self) -> None:
        """An epoch that was seen once is never undone."""
        for row in project_rows(self._tormented.store_url):
            before = self.epochs.get(row["project_id"], 0)
            if row["epoch"] < before:
                self._pool.failures.append(f"{row['project_id']}: epoch {before} became {row['epoch']}")
            self.epochs[row["project_id"]] = row["epoch"]

    def _to_hub_process(self, name: str, number: signal.Signals) -> int | None:
        """Send a signal to one of the hub's own processes; which it was."""
        for pid, each in machine.processes_below(os.getpid(), but=self._outside).items():
            if each == name and machine.send(pid, name, number):
                return pid
        return None

    def _freeze(self, pid: int | None, name: str, pause_s: float) -> bool:
        """Let something that was stopped go on after a while."""
        time.sleep(pause_s)
        return pid is not None and machine.send(pid, name, signal.SIGCONT)

    # -- projects ----------------------------------------------------------------------------------

    def _to_a_project(self, fault: Fault) -> bool:
        runs = [run for run in machine.runs(self._tormented.data_dir) if run.is_alive]
        if not runs:
            return False
        run = runs[int(fault.pick * len(runs))]
        began = time.time()
        match fault.kind:
            case FaultKind.FREEZE_SERVER:
                stopped = machine.send(run.server, SERVER, signal.SIGSTOP)
                self._freeze(run.server, SERVER, fault.pause_s)
                return stopped
            case FaultKind.SPOIL_RECORD:
                return self._spoil(run, began, fault.pick)
            case FaultKind.KILL_INIT:
                hit, why = machine.send(run.init, INIT, signal.SIGKILL), UNSEEN
            case _:
                hit, why = machine.send(run.server, SERVER, signal.SIGKILL), BY_SIGNAL
        if hit:
            self._note(run, began, fault.kind, why)
        return hit

    def _spoil(self, run: Run, began: float, pick: float) -> bool:
        """Cut the record of a run short, empty it, or overwrite it."""
        directory = self._tormented.data_dir / "run" / run.project_id
        try:
            for name in RECORD_FILES:
                content = (directory / name).read_bytes()
                with (directory / name).open("r+b") as out:  # never made anew: the run may be over by now
                    out.truncate()
                    out.write((content[: len(content) // 2], b"", b'{"init": {"pid": 1}}')[int(pick * 300) % 3])
        except FileNotFoundError:
            return False
        self._note(run, began, FaultKind.SPOIL_RECORD, LOST)
        return True

    def _note(self, run: Run, began: float, kind: FaultKind, why: str) -> None:
        self.wounds.append(Wound(run, began, kind, why))
        told = f"saboteur: {kind} (epoch {run.epoch}, init {run.init}, server {run.server})"
        self._pool.of(run.project_id).note(began, told)
