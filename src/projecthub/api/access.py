"""What is told of every answer: figures, and a line in the log."""

from __future__ import annotations

from functools import cache
from typing import Final

import structlog
from prometheus_client import Counter, Histogram

SLOW_S: Final = 1.0
"""Calls that take as long are logged at level info, all others at level debug: a line costs a fifth of a ping."""

_CALLS: Final = Counter("projecthub_calls", "Calls by method and outcome.", ["method", "outcome"])
_SECONDS: Final = Histogram("projecthub_call_seconds", "Time to answer a call.", ["method"])


@cache
def _figures(label: str, outcome: str) -> tuple[Counter, Histogram]:
    """The figures of a method and an outcome, of which there are few; looking them up takes a lock each."""
    return _CALLS.labels(label, outcome), _SECONDS.labels(label)


@cache
def _access() -> structlog.typing.FilteringBoundLogger:
    """Bound once: a logger that has to find out first what it is costs as much as all else that a call is told by."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger().bind()
    return logger


def tell(label: str, outcome: str, took_s: float, account_id: str | None) -> None:
    """Count an answer, and log it.

    Args:
        label: The method, one of few.
        outcome: ``ok``, or the code of the error.
        took_s: Time that it took in seconds.
        account_id: Who asked, if known.
    """
    count, seconds = _figures(label, outcome)
    count.inc()
    seconds.observe(took_s)
    log = _access().info if took_s >= SLOW_S else _access().debug
    log("call.answered", method=label, outcome=outcome, ms=round(took_s * 1000, 1), account_id=account_id)
