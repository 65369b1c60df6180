"""Projects that died: what is told of it, and whether they are started again."""

from __future__ import annotations

import contextlib
import signal
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from projecthub.store.records import Project, State
from projecthub.wire.units import to_iso

if TYPE_CHECKING:
    from projecthub.engines.port import Exit

LIVED: Final = timedelta(minutes=5)
"""A run that lasted this long was no failure: deaths before it do not count any more."""

MOST_CRASHES: Final = 5
"""After so many deaths in a row a project is left alone until somebody starts it."""

_FIRST_DELAY_S: Final = 1.0
_MAX_LOG_LINES: Final = 5
_MAX_LOG: Final = 600


def delay(crashes: int) -> timedelta:
    """How long to wait before the next start: 1 s after the first death, twice as long after each further one."""
    return timedelta(seconds=_FIRST_DELAY_S * 2 ** (crashes - 1))


LONGEST_DELAY: Final = delay(MOST_CRASHES)


def after_death(
    project: Project,
    why: str,
    *,
    remedy: str = "",
    last_words: str = "",
    lived: timedelta,
    comes_back: bool,
    now: datetime,
) -> dict[str, Any]:
    """The columns of a project whose server died, or could not be started.

    Args:
        project: As it was before.
        why: What happened, for people.
        remedy: What they can do about it, as the end of that sentence.
        last_words: What its server wrote last, if that is known.
        lived: How long it had run.
        comes_back: Whether it is one that is to run always.
        now: The time.
    """
    crashes = 1 if lived >= LIVED else project.crashes + 1
    columns: dict[str, Any] = {
        "state": State.ERROR,
        "state_at": now,
        "instance": None,
        "crashes": crashes,
        "retry_at": None,
        "desired": "stopped",
    }
    if comes_back and crashes < MOST_CRASHES:
        retry_at = now + delay(crashes)
        return columns | {
            "desired": "running",
            "retry_at": retry_at,
            "state_error": f"{why}; it is started again at {to_iso(retry_at)}{last_words}",
        }
    if comes_back:
        why += f"; that was the {MOST_CRASHES}th time in a row, so it is not started again by itself"
    return columns | {"state_error": f"{why}{remedy}{last_words}"}


def describe(ended: Exit, *, unwatched: bool = False) -> str:
    """How a project server ended, in words for the project's people.

    Args:
        ended: What is known of it.
        unwatched: Whether no hub was running then.
    """
    if unwatched:
        known = ended.code is not None or ended.signal is not None or ended.out_of_memory
        how = describe(ended) if known else "the project server ended"
        return f"{how} while no hub was running" + ("" if known else ", and how is not known")
    if ended.rebooted:
        return "the machine was restarted"
    if ended.out_of_memory:
        return "the project used more memory than it may, and its server was ended"
    if ended.signal is not None:
        return f"the project server was ended by signal {_name(ended.signal)}"
    if ended.code is not None:
        return f"the project server ended by itself with exit code {ended.code}"
    return "the project server ended, and nobody saw how"


def last_words(ended: Exit) -> str:
    """The last lines that a project server wrote, as the end of a sentence; nothing if there are none."""
    lines = [line.strip() for line in ended.log.splitlines() if line.strip()][-_MAX_LOG_LINES:]
    return f". Its last lines: {' | '.join(lines)[-_MAX_LOG:]}" if lines else ""


def _name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return str(number)
