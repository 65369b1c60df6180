"""How often something may happen: token buckets in memory.

A hub is the only one of its store, so that its memory is the only place to count in. What is forgotten at a restart is
how often somebody has called in the last minutes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from projecthub.hub.clock import Clock

_MAX_BUCKETS: Final = 20_000
_ONE: Final = 1 - 1e-9
"""A token: who has waited as long as he was told must not fail for what was lost in rounding."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How often something may happen.

    Attributes:
        burst: How many times at once, from 1.
        every_s: Seconds until one more time is allowed, above 0.
    """

    burst: int
    every_s: float

    @classmethod
    def per_minute(cls, times: int) -> Rate:
        """So many times a minute, in one go or spread over it."""
        return cls(times, 60 / times)


class TokenBuckets:
    """A bucket of tokens for each key; one that was not used for long is full, and is forgotten."""

    def __init__(self, clock: Clock) -> None:
        """Make them; the clock may be set back, which costs nobody a token."""
        self._clock = clock
        self._buckets: OrderedDict[Hashable, tuple[float, datetime]] = OrderedDict()

    def wait_s(self, key: Hashable, rate: Rate) -> float:
        """Seconds until there is a token; 0: there is one now."""
        tokens = self._tokens(key, rate)
        return 0.0 if tokens >= _ONE else (1 - tokens) * rate.every_s

    def take(self, key: Hashable, rate: Rate) -> float:
        """Take a token.

        Returns:
            0, or, if there is none, the seconds until there is one; none was taken then.
        """
        tokens = self._tokens(key, rate)
        if tokens < _ONE:
            return (1 - tokens) * rate.every_s
        self._put(key, tokens - 1)
        return 0.0

    def give_back(self, key: Hashable, rate: Rate) -> None:
        """Put a token back that need not have been taken."""
        self._put(key, min(rate.burst, self._tokens(key, rate) + 1))

    def _tokens(self, key: Hashable, rate: Rate) -> float:
        known = self._buckets.get(key)
        if known is None:
            return rate.burst
        tokens, at = known
        passed_s = max(0.0, (self._clock.now() - at).total_seconds())
        return min(rate.burst, tokens + passed_s / rate.every_s)

    def _put(self, key: Hashable, tokens: float) -> None:
        self._buckets[key] = (tokens, self._clock.now())
        self._buckets.move_to_end(key)
        if len(self._buckets) > _MAX_BUCKETS:
            self._buckets.popitem(last=False)
