"""What a campaign holds a hub to, and that it lets nothing else pass."""

from __future__ import annotations

import pytest
from campaign.plan import FaultKind, Op, make_plan
from campaign.promises import ProjectPromises, Write, is_expected, possible, refused_state

from projecthub.errors import Conflict, StartFailed, TransportError

STATE = {"state": "running", "time": "2026-03-01T12:00:00.000Z"}


def allowed(project: ProjectPromises) -> set[str]:
    return {write.value for write in possible(project.runs)}


def test_the_same_seed_gives_the_same_plan() -> None:
    plan = make_plan(seed=5, lifecycles=60, clients=4)
    assert plan == make_plan(seed=5, lifecycles=60, clients=4)
    assert plan != make_plan(seed=6, lifecycles=60, clients=4)
    assert [len(lifecycles) for lifecycles in plan.clients] == [15] * 4
    assert len(plan.faults) == 20
    assert [fault.after for fault in plan.faults] == sorted(fault.after for fault in plan.faults)


def test_a_long_plan_holds_every_operation_and_every_fault() -> None:
    plan = make_plan(seed=1, lifecycles=600, clients=6)
    steps = {step.op for lifecycles in plan.clients for lifecycle in lifecycles for step in lifecycle.steps}
    assert steps == set(Op)
    assert {fault.kind for fault in plan.faults} == set(FaultKind)


def test_the_last_answered_call_decides() -> None:
    project = ProjectPromises("p")
    project.called(Op.CREATE, 0, 1, "p")
    assert allowed(project) == {"stopped"}
    project.called(Op.START, 2, 3, STATE)
    assert allowed(project) == {"running"}
    project.called(Op.STATE, 4, 5, STATE)
    assert allowed(project) == {"running"}
    project.called(Op.STOP, 6, 7, STATE)
    assert allowed(project) == {"stopped"}


def test_calls_at_the_same_time_may_have_either_order() -> None:
    project = ProjectPromises("p")
    project.called(Op.START, 2, 5, STATE)
    project.called(Op.STOP, 3, 4, STATE)
    assert allowed(project) == {"running", "stopped"}


def test_a_call_without_an_answer_may_have_had_its_effect_until_a_later_one_is_answered() -> None:
    project = ProjectPromises("p")
    project.called(Op.START, 1, 2, STATE)
    project.called(Op.STOP, 3, 4, TransportError())
    assert allowed(project) == {"running", "stopped"}
    project.called(Op.START, 5, 6, STATE)
    assert allowed(project) == {"running"}


def test_a_refusal_stands_for_the_state_that_it_names() -> None:
    project = ProjectPromises("p")
    project.called(Op.STOP, 1, 2, STATE)
    project.called(Op.START, 3, 4, StartFailed("the project could not be started: it ended while it was set up"))
    assert allowed(project) == {"stopped", "running", "error"}
    project.called(Op.DELETE, 5, 6, {"project_id": "p", "deleted": True})
    assert allowed(project) == {"stopped"}
    assert {write.value for write in possible(project.deletions)} == {"deleted"}
    project.called(Op.START, 7, 8, Conflict("project 'p' is deleted; undelete it first: ..."))
    project.called(Op.UNDELETE, 9, 10, None)
    assert {write.value for write in possible(project.deletions)} == {"there"}


@pytest.mark.parametrize("killed_at", [0.5, 2.5])
def test_a_kill_counts_until_a_later_start_is_answered(killed_at: float) -> None:
    kill = Write("error", killed_at, killed_at + 1)
    start = Write("running", 2, 3, certain=True)
    assert {write.value for write in possible([kill, start])} == (
        {"running"} if killed_at < 1 else {"running", "error"}
    )


@pytest.mark.parametrize(
    "text", ["the hub made a mistake, which its log holds as incident 1", "the hub's store is held", "unknown project"]
)
def test_no_other_refusal_is_forgiven(text: str) -> None:
    assert not is_expected(text)
    assert refused_state(text) is None
