"""What a license may grant: its ``quota``, checked key by key, and read again.

Source: Wire contract 7.1, 7.3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from projecthub.errors import InvalidArgument
from projecthub.wire.units import plain

IDLE_TIMEOUTS_S: Final[Mapping[str, int]] = {"short": 30 * 60, "medium": 2 * 3600, "day": 24 * 3600}
"""Words for idle timeouts, in seconds."""

MAX_IDLE_TIMEOUT_S: Final = 90 * 86_400
MIN_IDLE_TIMEOUT_S: Final = 60

_AMOUNTS: Final[Mapping[str, tuple[str, float]]] = {
    "cpu": ("cores", 1024),
    "ram": ("GB", 65_536),
    "disk": ("GB", 1_000_000),
    "dedicated_cpu": ("cores", 1024),
    "dedicated_ram": ("GB", 65_536),
}
"""Numbers, each with its unit and the most that it may be."""

_FLAGS: Final = ("member", "always_running", "network")
_KEYS: Final = (*_AMOUNTS, "idle_timeout", *_FLAGS)
_ELSEWHERE: Final = {
    "dedicated_vm": "this hub has no dedicated machines",
    "dedicated_disk": "this hub has no dedicated disks",
}


def checked_quota(given: Mapping[str, Any], *, stored: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A license's quota, if it is one.

    Args:
        given: Values by key: ``cpu`` and ``dedicated_cpu`` in cores, ``ram``, ``dedicated_ram`` and ``disk`` in GB,
            ``idle_timeout`` as ``short``, ``medium``, ``day`` or in seconds, ``member``, ``always_running`` and
            ``network`` as true or false.
        stored: What is changed by it: other keys stay, and a null takes a key away.

    Raises:
        InvalidArgument: An unknown key, a value of the wrong kind or out of range, or nothing is granted at all.
    """
    quota = dict(stored or {})
    for key, value in given.items():
        if key not in _KEYS:
            raise InvalidArgument(f"quota has no key '{key[:100]}': {_ELSEWHERE.get(key, 'give ' + ', '.join(_KEYS))}")
        if value is None:
            quota.pop(key, None)
        else:
            quota[key] = _checked(key, value)
    if not quota:
        raise InvalidArgument(f"quota grants nothing; give at least one of {', '.join(_KEYS)}")
    return quota


def _checked(key: str, value: Any) -> Any:
    if key in _FLAGS:
        if not isinstance(value, bool):
            raise _refused(key, value, "give true or false")
        return value
    if key == "idle_timeout":
        return _checked_idle_timeout(value)
    unit, most = _AMOUNTS[key]
    if not _is_number(value) or not 0 <= value <= most:
        raise _refused(key, value, f"give a number of {unit} from 0 to {plain(most)}")
    return int(value) if value == int(value) else value


def _checked_idle_timeout(value: Any) -> Any:
    if isinstance(value, str) and value in IDLE_TIMEOUTS_S:
        return value
    if type(value) is not int or not MIN_IDLE_TIMEOUT_S <= value <= MAX_IDLE_TIMEOUT_S:
        words = ", ".join(IDLE_TIMEOUTS_S)
        remedy = f"give {words}, or whole seconds from {MIN_IDLE_TIMEOUT_S} to {MAX_IDLE_TIMEOUT_S}"
        raise _refused("idle_timeout", value, remedy)
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _refused(key: str, value: Any, remedy: str) -> InvalidArgument:
    return InvalidArgument(f"quota.{key} is {value!r:.100}; {remedy}", key=key)


def amount(values: Mapping[str, Any], key: str) -> float:
    """A number of some quota or settings; 0 if it is missing, negative, or none.

    Old rows hold numbers as text, and what people wrote about themselves may be anything.
    """
    try:
        value = float(values.get(key) or 0)
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return value if math.isfinite(value) and value > 0 else 0.0


def flag(values: Mapping[str, Any], key: str) -> bool:
    """A flag of some quota or settings: true, or a number of 1 or more."""
    return amount(values, key) >= 1


def idle_timeout_s(quota: Mapping[str, Any]) -> int:
    """The idle timeout that a license grants, in seconds; it is short unless the license says otherwise."""
    given = quota.get("idle_timeout", "short")
    return IDLE_TIMEOUTS_S[given] if given in IDLE_TIMEOUTS_S else int(amount(quota, "idle_timeout"))


def grants_network(quota: Mapping[str, Any]) -> bool:
    """Whether a license grants a way to the internet: every one that grants anything does, unless it says no."""
    return bool(quota) and quota.get("network", True) is not False
