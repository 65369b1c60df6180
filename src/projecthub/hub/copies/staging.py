"""Staging some targets together: side by side, and by processes of their own where there is much of it."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from projecthub.errors import HubError
from projecthub.files.copying import stage_many

if TYPE_CHECKING:
    from projecthub.files.copying import Application
    from projecthub.hub.copies.applying import Applied
    from projecthub.hub.homes import ProjectHomes

    StageMany = Callable[[Sequence[Application]], dict[Application, HubError]]

_SIDE_BY_SIDE: Final = 2
"""Sources that are staged at a time in threads, of which one may wait for a disk."""


async def stage(homes: ProjectHomes, batch: Sequence[Applied], *, is_much: bool) -> None:
    """Stage what is admitted; not synced yet. What fails for one target is left with it.

    Args:
        homes: Where it lies.
        batch: The targets.
        is_much: Whether processes are worth it.

    Raises:
        HubError: It cannot be done now. Nothing is staged.
        CopyCancelledError: It was cancelled; the same holds.
    """
    groups: dict[str | None, list[Applied]] = defaultdict(list)
    for one in batch:
        if one.application is not None:
            groups[one.target.manifest].append(one)
    if not groups:
        return
    lanes = homes.workers.count if is_much else _SIDE_BY_SIDE
    stage_some = homes.workers.stage_many if is_much else stage_many
    shares = [share for group in groups.values() for share in _shares(group, lanes if is_much else 1, len(groups))]
    waiting = deque(_staging(share, stage_some) for share in shares)
    jobs = [_each(waiting) for _ in range(min(lanes, len(waiting)))]
    outcomes = await asyncio.gather(
        *(homes.in_turn(job, cancel=_cancel_all(batch)) for job in jobs), return_exceptions=True
    )
    if failures := [outcome for outcome in outcomes if isinstance(outcome, BaseException)]:
        discards = deque(one.application.discard for one in batch if one.application is not None)
        await homes.in_turn(_each(discards))
        raise failures[0]


def _shares(group: Sequence[Applied], lanes: int, groups: int) -> list[Sequence[Applied]]:
    """Targets of one source, in as many shares as there are lanes for them: each share reads the source once."""
    count = min(len(group), -(-lanes // groups))
    return [group[n::count] for n in range(count)]


def _cancel_all(batch: Sequence[Applied]) -> Callable[[], None]:
    def cancel() -> None:
        for one in batch:
            if one.application is not None:
                one.application.course.cancel()

    return cancel


def _each(works: deque[Callable[[], None]]) -> Callable[[], None]:
    """Do works one after the other, as long as some are left: others may take from the same ones."""

    def work() -> None:
        while works:
            try:
                one = works.popleft()
            except IndexError:  # somebody was quicker
                return
            one()

    return work


def _staging(group: Sequence[Applied], stage_some: StageMany) -> Callable[[], None]:
    """Stage targets of one source; what fails for one is left with it. Blocks."""

    def work() -> None:
        by_application = {id(one.application): one for one in group}
        try:
            failed = stage_some([one.application for one in group if one.application is not None])
        except HubError as error:
            for one in group:
                one.error, one.application = error, None
            return
        for application, failure in failed.items():
            one = by_application[id(application)]
            one.error, one.application = failure, None

    return work
