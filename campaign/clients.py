"""The clients: each carries out its lifecycles over the real client, and notes what it was answered."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from campaign.hub import TormentedHub
from campaign.plan import Lifecycle, Op, Step
from campaign.promises import Fate, ProjectPromises, fate_of, is_expected
from projecthub import Hub
from projecthub.errors import HubError, NotFound, TransportError
from projecthub.wire.methods import METHODS, Endpoint

FILES: Final = 200
"""How many files the directory holds that is filled and copied."""

_CREATE_TRIES: Final = 20
_VARYING: Final = re.compile(r"(?s)[0-9a-f]{8}-[0-9a-f-]{27}|marker-\d+|(?<=command ').*(?=' exited)")
_MOST_TOLD: Final = 200
# Commands outlive a killed hub, so a late one must not put an older count over a newer one.
_COUNT: Final = """
exec 9>.lock; flock 9
now=$(cat {marker} 2>/dev/null || echo 0)
if [ {count} -gt "$now" ]; then echo {count} > {marker}.new && mv {marker}.new {marker}; fi
cat {marker}
"""
_FILL: Final = f"""
exec 9>.lock; flock 9
if [ ! -d crate ]; then
    rm -rf crate.new; mkdir crate.new; seq {FILES} | split -l 1 -a 3 - crate.new/f; mv crate.new crate
fi
ls crate | wc -l
"""


@dataclass
class Pool:
    """The projects that all clients work on.

    Attributes:
        places: What each place holds now.
        projects: Every project that was ever made, by id.
        titles: For each creation the title it was asked with, and the id that was answered, if one was.
        fates: How many calls ended how, by operation.
        refusals: How often each text was seen, ids left out.
        failures: What went wrong outright.
    """

    places: list[ProjectPromises | None]
    projects: dict[str, ProjectPromises] = field(default_factory=dict)
    titles: dict[str, str | None] = field(default_factory=dict)
    fates: Counter[tuple[Op, Fate]] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    begun: int = 0
    moved: threading.Condition = field(default_factory=threading.Condition)

    def begin_step(self) -> None:
        """One more step is begun; whoever waits for it is told."""
        with self.moved:
            self.begun += 1
            self.moved.notify_all()

    def end(self, op: Op, outcome: object, subject: str) -> None:
        """Count how a call ended, and complain of what must not be."""
        fate = fate_of(outcome)
        with self.moved:
            self.fates[op, fate] += 1
            if isinstance(outcome, TransportError) and "has not answered" in outcome.message:
                self.failures.append(f"{op} of {subject}: the hub is up and did not answer")
            if isinstance(outcome, HubError) and fate is Fate.REFUSED:
                self.refusals[_VARYING.sub("...", outcome.message)] += 1
                if not is_expected(outcome.message):
                    self.failures.append(f"{op} of {subject} was refused: {outcome.message}")

    def of(self, project_id: str) -> ProjectPromises:
        """What was promised of a project."""
        with self.moved:
            return self.projects.setdefault(project_id, ProjectPromises(project_id))


class Client(threading.Thread):
    """One client."""

    def __init__(self, number: int, lifecycles: tuple[Lifecycle, ...], pool: Pool, tormented: TormentedHub) -> None:
        super().__init__(name=f"client-{number}", daemon=True)
        self._number = number
        self._lifecycles = lifecycles
        self._pool = pool
        self._tormented = tormented
        self._hub: Hub | None = None
        self._created = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        """Carry out all lifecycles."""
        try:
            for lifecycle in self._lifecycles:
                for step in lifecycle.steps:
                    self._pool.begin_step()
                    self._carry_out(lifecycle.place, step)
        except BaseException as error:
            self.error = error
            raise
        finally:
            if self._hub is not None:
                self._hub.close()

    def _client(self) -> Hub:
        """A client of the hub that is up now."""
        url = self._tormented.url
        if self._hub is None or self._hub.host != url:
            if self._hub is not None:
                self._hub.close()
            self._hub = self._tormented.client()
        return self._hub

    def _carry_out(self, place: int, step: Step) -> None:
        project = self._pool.places[place]
        if project is None or step.op in (Op.CREATE, Op.CREATE_STARTED):
            self._create(place, step.op if step.op is Op.CREATE_STARTED else Op.CREATE)
            return
        other = self._pool.places[step.other] or project
        match step.op:
            case Op.CREATE_FROM_SHARE:
                self._create_from_share(place, project)
            case Op.COUNT:
                self._count(project)
            case Op.FILL:
                reply = self._exec(Op.FILL, project, _FILL)
                if reply is not None:
                    project.filled = True
                    self._demand(project, int(reply) == FILES, f"a filled directory holds {reply.strip()} files")
            case Op.COPY if step.pick < 0.5:
                self._copy_marker(project, other, 2 * step.pick)
            case Op.COPY:
                self._copy_tree(project, other)
            case Op.SET_QUOTA:
                if "projects.setQuotas" in METHODS[Endpoint.HUB]:
                    values = {"project_id": project.project_id, "memory": 500 + round(500 * step.pick)}
                    self._call(step.op, project, lambda hub: hub.call("projects.setQuotas", [values]))
            case _:
                action = step.op.value
                self._call(step.op, project, lambda hub: getattr(hub.projects, action)(project.project_id))

    def _call(self, op: Op, project: ProjectPromises, act: Callable[[Hub], Any]) -> Any:
        """Make a call about a project; the reply, or None if there was none."""
        hub = self._client()
        began = time.time()
        try:
            outcome = act(hub)
        except HubError as error:
            outcome = error
        ended = time.time()
        project.called(op, began, ended, outcome)
        told = str(outcome)[:_MOST_TOLD].replace("\n", " ")
        project.note(began, f"client {self._number}: {op}, {ended - began:.3f} s: {fate_of(outcome)} {told}")
        self._pool.end(op, outcome, project.project_id)
        return None if isinstance(outcome, HubError) else outcome

    def _demand(self, project: ProjectPromises, holds: bool, complaint: str) -> None:
        if not holds:
            self._pool.failures.append(f"{project.project_id}: {complaint}")

    # -- new projects ------------------------------------------------------------------------------

    def _create(self, place: int, op: Op, source: ProjectPromises | None = None, share: str | None = None) -> None:
        """Make a project, asking again under the same idempotency key until there is an answer."""
        self._created += 1
        title = f"{self._number}.{self._created}"
        self._pool.titles[title] = None
        began = time.time()
        for _ in range(_CREATE_TRIES):
            try:
                outcome: object = self._client().projects.create_project(
                    title, idempotency_key=title, start=op is Op.CREATE_STARTED, public_path_id=share
                )
            except HubError as error:
                outcome = error
            self._pool.end(op, outcome, source.project_id if source else title)
            if fate_of(outcome) is Fate.REFUSED:
                return
            if isinstance(outcome, str):
                break
        else:
            self._pool.failures.append(f"{op} of '{title}' got no answer in {_CREATE_TRIES} tries")
            return
        self._pool.titles[title] = outcome
        project = self._pool.of(outcome)
        project.called(op, began, time.time(), outcome)
        if source is not None:
            project.trees.add("crate")
        project.note(began, f"client {self._number}: {op} '{title}'")
        self._pool.places[place] = project

    def _create_from_share(self, place: int, source: ProjectPromises) -> None:
        """Share the directory of many files, if it is there, and make a project of it."""
        if not source.filled:
            return
        try:
            database = self._client().db
            database.query({"public_paths": {"project_id": source.project_id, "path": "crate"}})
            found = database.query({"public_paths": [{"project_id": source.project_id, "path": "crate", "id": None}]})
        except TransportError:
            return
        self._create(place, Op.CREATE_FROM_SHARE, source, found["public_paths"][0]["id"])

    # -- files -------------------------------------------------------------------------------------

    def _exec(self, op: Op, project: ProjectPromises, script: str) -> str | None:
        reply = self._call(op, project, lambda hub: hub.project(project.project_id).system.exec(script, bash=True))
        return None if reply is None else str(reply["stdout"])

    def _count(self, project: ProjectPromises) -> None:
        """Write a larger number than before into a file of the project, and read it back."""
        count = project.next_count(self._number)
        reply = self._exec(Op.COUNT, project, _COUNT.format(count=count, marker=marker_of(self._number)))
        if reply is not None:
            project.counted(self._number, count)
            self._demand(project, int(reply) >= count, f"count {count} was written, and {reply.strip()} was read")

    def _copy_marker(self, source: ProjectPromises, target: ProjectPromises, pick: float) -> None:
        """Copy a file that some client counts in; what arrives is one of the counts, whole."""
        counted = sorted(source.counts) or [self._number]
        client = counted[int(pick * len(counted))]
        marker = marker_of(client)
        least = source.counts.get(client, (0, 0))[0]
        path = f"from/{source.project_id}/{marker}"
        if self._copy(source, marker, target, path, was_there=least > 0) is not None:
            target.copied(path, least)

    def _copy_tree(self, source: ProjectPromises, target: ProjectPromises) -> None:
        path = f"from/{source.project_id}/crate"
        if self._copy(source, "crate", target, path, was_there=source.filled) is not None:
            target.trees.add(path)

    def _copy(
        self, source: ProjectPromises, path: str, target: ProjectPromises, to: str, *, was_there: bool
    ) -> dict[str, Any] | None:
        missing = False

        def copy(hub: Hub) -> dict[str, Any]:
            nonlocal missing
            try:
                return dict(hub.projects.copy_path_between_projects(source.project_id, path, target.project_id, to))
            except NotFound:
                missing = True
                raise

        reply: dict[str, Any] | None = self._call(Op.COPY, target, copy)
        self._demand(source, not (was_there and missing), f"'{path}' was there and is missing")
        return reply


def marker_of(client: int) -> str:
    """The file that a client counts in."""
    return f"marker-{client}"
