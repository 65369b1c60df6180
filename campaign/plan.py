"""What the clients do, and when what breaks: all of it drawn from one seed before anything runs."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Op(StrEnum):
    """What a client does."""

    CREATE = "create"
    CREATE_STARTED = "create, started"
    CREATE_FROM_SHARE = "create from a share"
    START = "start"
    STOP = "stop"
    RESTART = "restart"
    TOUCH = "touch"
    STATE = "state"
    STATUS = "status"
    COUNT = "exec: count"
    FILL = "exec: fill"
    COPY = "copy"
    DELETE = "delete"
    UNDELETE = "undelete"
    SET_QUOTA = "set quota"


class FaultKind(StrEnum):
    """What the saboteur does."""

    KILL_HUB = "kill the hub"
    TERMINATE_HUB = "terminate the hub"
    KILL_LAUNCHER = "kill the launcher"
    KILL_SERVER = "kill a project server"
    KILL_INIT = "kill an init"
    KILL_ZYGOTE = "kill the zygote"
    KILL_SPARE = "kill the spare"
    FREEZE_SERVER = "freeze a project server"
    FREEZE_LAUNCHER = "freeze the launcher"
    FREEZE_LAUNCHER_KILL_HUB = "freeze the launcher and kill the hub"
    SPOIL_RECORD = "spoil a run's record"


_OPS: Final = {
    Op.START: 4, Op.STOP: 4, Op.RESTART: 2, Op.TOUCH: 2, Op.STATE: 2, Op.STATUS: 1, Op.COUNT: 6, Op.FILL: 2,
    Op.COPY: 4, Op.DELETE: 1, Op.UNDELETE: 3, Op.CREATE_FROM_SHARE: 1, Op.SET_QUOTA: 1,
}  # fmt: skip
_FAULTS: Final = {
    FaultKind.KILL_HUB: 4, FaultKind.TERMINATE_HUB: 1, FaultKind.KILL_LAUNCHER: 4, FaultKind.KILL_SERVER: 6,
    FaultKind.KILL_INIT: 4, FaultKind.KILL_ZYGOTE: 1, FaultKind.KILL_SPARE: 1, FaultKind.FREEZE_SERVER: 2,
    FaultKind.FREEZE_LAUNCHER: 1, FaultKind.FREEZE_LAUNCHER_KILL_HUB: 1, FaultKind.SPOIL_RECORD: 1,
}  # fmt: skip

_LIFECYCLES_A_PLACE: Final = 8
_LEAST_PLACES: Final = 6
_STEPS: Final = (3, 7)
_NEW_PROJECT: Final = 0.35
"""How often a lifecycle begins with a new project; otherwise it goes on with what its place holds."""
_LIFECYCLES_A_FAULT: Final = 3.0
_LONGEST_DELAY_S: Final = 0.08


@dataclass(frozen=True, slots=True)
class Step:
    """One operation.

    Attributes:
        op: What.
        other: The place of another project, for what needs two.
        pick: Which of several ways, from 0 to 1.
    """

    op: Op
    other: int
    pick: float


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """What one client does in a row with the project of one place."""

    place: int
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that breaks.

    Attributes:
        after: How many steps all clients have begun by then.
        delay_s: Seconds after that.
        kind: What.
        pick: Which process or how, from 0 to 1.
        pause_s: For how long, if it is for a while.
    """

    after: int
    delay_s: float
    kind: FaultKind
    pick: float
    pause_s: float


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole campaign.

    Attributes:
        places: Size of the pool: each place holds one project at a time.
        clients: For each client its lifecycles.
        faults: In their order.
    """

    places: int
    clients: tuple[tuple[Lifecycle, ...], ...]
    faults: tuple[Fault, ...]

    @property
    def steps(self) -> int:
        """How many operations there are."""
        return sum(len(lifecycle.steps) for lifecycles in self.clients for lifecycle in lifecycles)


def make_plan(*, seed: int, lifecycles: int, clients: int, faults: int | None = None) -> Plan:
    """Draw a plan; the same arguments give the same one.

    Args:
        seed: Any number.
        lifecycles: How many, over all clients.
        clients: How many work at the same time.
        faults: How many; None: one for every three lifecycles.
    """
    dice = random.Random(seed)
    places = max(_LEAST_PLACES, lifecycles // _LIFECYCLES_A_PLACE)
    drawn: list[list[Lifecycle]] = [[] for _ in range(clients)]
    for number in range(lifecycles):
        drawn[number % clients].append(_lifecycle(dice, places))
    plan = Plan(places, tuple(tuple(one) for one in drawn), ())
    count = round(lifecycles / _LIFECYCLES_A_FAULT) if faults is None else faults
    return Plan(places, plan.clients, tuple(_faults(dice, plan.steps, count)))


def _lifecycle(dice: random.Random, places: int) -> Lifecycle:
    steps = []
    if dice.random() < _NEW_PROJECT:
        steps.append(_step(dice, places, dice.choice((Op.CREATE, Op.CREATE_STARTED))))
    ops = dice.choices(list(_OPS), weights=list(_OPS.values()), k=dice.randint(*_STEPS))
    steps += [_step(dice, places, op) for op in ops]
    return Lifecycle(dice.randrange(places), tuple(steps))


def _step(dice: random.Random, places: int, op: Op) -> Step:
    return Step(op, dice.randrange(places), dice.random())


def _faults(dice: random.Random, steps: int, count: int) -> list[Fault]:
    moments = sorted(dice.randrange(steps) for _ in range(count))
    kinds = dice.choices(list(_FAULTS), weights=list(_FAULTS.values()), k=count)
    return [
        Fault(after, dice.uniform(0, _LONGEST_DELAY_S), kind, dice.random(), dice.uniform(0.05, 1.0))
        for after, kind in zip(moments, kinds, strict=True)
    ]
