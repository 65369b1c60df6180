"""What is asked of a project, and who works on it: the queue that gives each project one turn at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from projecthub.errors import StoppedMeanwhile

if TYPE_CHECKING:
    from projecthub.engines.port import Instance
    from projecthub.store.records import Project
    from projecthub.wire.ids import AccountId


class Want(StrEnum):
    """What can be wished for."""

    START = "start"
    STOP = "stop"
    RESTART = "restart"
    SETTLE = "settle"
    """Whatever the store says is wished: the hub's own, for when something went wrong on the way."""


_LEADS_TO_RUNNING = (Want.START, Want.RESTART)


@dataclass(slots=True)
class Wish:
    """Something asked of a project, with everybody who waits for it.

    Attributes:
        want: What.
        by: Who asked first; None: the hub itself.
        reason: Why, for the project's log, if it was not simply asked for.
        if_wished: Whether it is void if the store says, when its turn comes, that the project is not to run.
        changes: Columns to write together with it.
        waiters: Who waits for the outcome.
    """

    want: Want
    by: AccountId | None = None
    reason: str | None = None
    if_wished: bool = False
    changes: dict[str, Any] = field(default_factory=dict)
    waiters: list[asyncio.Future[Project]] = field(default_factory=list)

    def settle(self, outcome: Project | BaseException) -> None:
        """Tell everybody who waits."""
        for waiter in self.waiters:
            if waiter.done():
                continue
            if isinstance(outcome, BaseException):
                waiter.set_exception(outcome)
                waiter.exception()  # a waiter may have gone away: that is no error of ours
            else:
                waiter.set_result(outcome)

    def event(self, name: str, **details: object) -> dict[str, Any]:
        """An entry for the project's log."""
        return {"event": name, **({"reason": self.reason} if self.reason else {}), **details}


@dataclass(slots=True)
class Actor:
    """What this hub knows of one project: the instance it watches, and the wishes in their order.

    Attributes:
        instance: What runs, as far as it is known.
        watch: Waits for its end.
        wishes: The first one is under way.
        turn: Carries them out.
        starting: The start that is under way.
    """

    instance: Instance | None = None
    watch: asyncio.Task[None] | None = None
    wishes: deque[Wish] = field(default_factory=deque)
    turn: asyncio.Task[None] | None = None
    starting: asyncio.Task[Instance] | None = None

    @property
    def next_stop(self) -> Wish | None:
        """The stop that somebody has asked for after what is under way."""
        return next((wish for wish in list(self.wishes)[1:] if wish.want is Want.STOP), None)

    def add(
        self,
        want: Want,
        by: AccountId | None,
        reason: str | None,
        changes: Mapping[str, Any] | None,
        *,
        if_wished: bool = False,
    ) -> Wish:
        """Put a wish into the queue, or find the one that has the same outcome."""
        if want is Want.STOP:
            self._cancel_starts()
        last = self.wishes[-1] if self.wishes else None
        if last is None or not self._joins(last, want, if_wished):
            last = Wish(want, by, reason, if_wished)
            self.wishes.append(last)
        last.if_wished &= if_wished
        last.changes.update(changes or {})
        return last

    def _joins(self, last: Wish, want: Want, if_wished: bool) -> bool:
        if want is Want.START and last.want in _LEADS_TO_RUNNING:
            # Also one that is under way: it has one outcome. But not one that may just have found itself void.
            return len(self.wishes) > 1 or if_wished or not last.if_wished
        return last.want is want and len(self.wishes) > 1

    def _cancel_starts(self) -> None:
        """A stop has come: the start under way is cancelled, and those that wait for their turn are refused."""
        if self.starting is not None:
            self.starting.cancel()
        for wish in list(self.wishes)[1:]:
            if wish.want in _LEADS_TO_RUNNING:
                self.wishes.remove(wish)
                wish.settle(StoppedMeanwhile("the start was cancelled by a stop; start it again"))
