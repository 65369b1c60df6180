"""The course of one campaign, from the first call to the summary."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.postgresql import PostgresqlServer, postgresql_binaries

from campaign.audit import Audit
from campaign.clients import Client, Pool
from campaign.crowd import run_crowd
from campaign.hub import TormentedHub
from campaign.machine import processes_below
from campaign.plan import Plan
from campaign.promises import Fate
from campaign.saboteur import Saboteur
from projecthub.engines.local import kernel

_JOIN_S: Final = 3600.0


class Course:
    """One campaign: a data directory, a hub, its clients and the saboteur."""

    def __init__(
        self, plan: Plan, scratch: Path, *, isolation: str, store: str, within_s: float, crowd: int = 0
    ) -> None:
        """Start the hub, and the store's server if it needs one.

        Args:
            plan: What is to happen.
            scratch: An empty directory for the hub's data.
            isolation: As for `projecthub serve`.
            store: ``sqlite`` or ``postgresql``.
            within_s: Within how many seconds the death of a project must be noticed.
            crowd: How many further projects are started at once before anything breaks.
        """
        kernel.adopt_orphans()
        self._plan = plan
        self._within_s = within_s
        self._crowd = crowd
        self._told = ""
        self._database = _database() if store == "postgresql" else None
        self._outside = set(processes_below(os.getpid()))
        url = self._database.url(asyncio.run(self._database.create())) if self._database else None
        try:
            self._tormented = TormentedHub(scratch, isolation=isolation, store_url=url)
        except BaseException:
            self._stop_database()
            raise
        self._pool = Pool(places=[None] * plan.places)
        self._saboteur = Saboteur(plan.faults, self._pool, self._tormented, self._outside)
        self._began = time.monotonic()
        self._worked_s = 0.0

    def run(self) -> Audit:
        """Let the clients and the saboteur work, and look at what is left."""
        if self._crowd:
            self._told = run_crowd(self._crowd, self._pool, self._tormented)
        clients = [
            Client(number, lifecycles, self._pool, self._tormented)
            for number, lifecycles in enumerate(self._plan.clients)
        ]
        for thread in (*clients, self._saboteur):
            thread.start()
        for client in clients:
            client.join(_JOIN_S)
        self._saboteur.over.set()
        with self._pool.moved:
            self._pool.moved.notify_all()
        self._saboteur.join(_JOIN_S)
        self._worked_s = time.monotonic() - self._began
        audit = Audit(self._pool, self._tormented, self._saboteur, self._outside, self._within_s)
        workers: list[Client | Saboteur] = [*clients, self._saboteur]
        for thread in workers:
            audit.check("threads", thread.error is None and not thread.is_alive(), f"{thread.name}: {thread.error!r}")
        audit.violations += self._pool.failures
        audit.run()
        return audit

    def summary(self, audit: Audit) -> str:
        """What was done and what was found, for people."""
        fates = self._pool.fates
        lines = [
            *([self._told] if self._told else []),
            f"{self._worked_s:.0f} s of work, {len(self._pool.projects)} projects, "
            f"{len(self._tormented.lives)} lives of the hub",
            "calls: " + _counted({fate: sum(n for (_, f), n in fates.items() if f is fate) for fate in Fate}),
            *(
                f"  {op}: {_counted({fate: fates[op, fate] for fate in Fate})}"
                for op in sorted({op for op, _ in fates})
            ),
            "refusals:",
            *(f"  {count} x {text}" for text, count in self._pool.refusals.most_common()),
            "faults: " + _counted(self._saboteur.done),
            "without a target: " + (_counted(self._saboteur.missed) or "none"),
            "checks: " + _counted(audit.checks),
            *audit.notes,
            *(f"VIOLATION {number}: {violation}" for number, violation in enumerate(audit.violations, 1)),
            f"{sum(audit.checks.values())} checks, {len(audit.violations)} violations",
        ]
        return "\n".join(lines)

    def close(self) -> None:
        """Leave nothing running, whatever has happened."""
        try:
            self._tormented.close()
        finally:
            for pid in processes_below(os.getpid(), but=self._outside):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._stop_database()

    def _stop_database(self) -> None:
        if self._database is not None:
            self._database.stop()


def _database() -> PostgresqlServer:
    binaries = postgresql_binaries()
    if binaries is None:
        raise SystemExit("PostgreSQL is not installed: no initdb")
    server = PostgresqlServer(binaries)
    server.start()
    return server


def _counted(counts: Mapping[Any, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)
