"""When a call is sent again."""

from __future__ import annotations

import random
from typing import Final

from projecthub.errors import InvalidArgument

DEFAULT_RETRIES: Final = 2
"""How often a call is sent again, at most."""

_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 5.0


def pauses_s(retries: int) -> list[float]:
    """The pauses before each repetition, in seconds: doubling from 0.1 up to 5, each shortened by up to a half.

    They are shortened at random so that many clients that lost the same hub do not all come back at the same moment.

    Raises:
        InvalidArgument: ``retries`` is negative.
    """
    if retries < 0:
        raise InvalidArgument(f"retries {retries} is negative; 0 sends every call once")
    longest = (min(_FIRST_PAUSE_S * 2**turn, _LONGEST_PAUSE_S) for turn in range(retries))
    return [pause_s * random.uniform(0.5, 1) for pause_s in longest]  # noqa: S311 - a jitter, not a secret
