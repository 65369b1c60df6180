"""Durations and times as people type them: parsers of options."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import typer

DURATION_HELP: Final = "such as 90m, 2h or 30d"

_DURATION: Final = re.compile(r"([0-9]{1,9})([smhdw]?)")
_DURATION_WITH_UNIT: Final = re.compile(r"[0-9]{1,9}[smhdw]")  # without one it may be a date
_SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


def seconds(text: str) -> int:
    """The seconds of a duration such as ``90m``, ``2h`` or ``3600``.

    Raises:
        BadParameter: It is none.
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        raise typer.BadParameter(f"{text!r} is no duration; give one {DURATION_HELP}, or seconds")
    return int(found[1]) * _SECONDS[found[2]]


def moment(text: str) -> str:
    """The ISO time of a date, a time, or a duration from now; a time without a zone is of this machine's.

    Raises:
        BadParameter: It is none of these.
    """
    try:
        if _DURATION_WITH_UNIT.fullmatch(text):
            return (datetime.now(UTC) + timedelta(seconds=seconds(text))).isoformat()
        return datetime.fromisoformat(text).astimezone(UTC).isoformat()
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(
            f"{text!r} is no time; give 2027-01-31 or 2027-01-31T12:00, or a duration {DURATION_HELP}"
        ) from error


def moment_ago(text: str) -> str:
    """The ISO time of a date, a time, or a duration that ends now; as `moment`.

    Raises:
        BadParameter: It is none of these.
    """
    if not _DURATION_WITH_UNIT.fullmatch(text):
        return moment(text)
    try:
        return (datetime.now(UTC) - timedelta(seconds=seconds(text))).isoformat()
    except OverflowError as error:
        raise typer.BadParameter(f"{text!r} ago there was no calendar; give less") from error


def shown(duration_s: float) -> str:
    """A duration for people: ``30 min``, ``2 h``, ``1 d``; in the largest unit that gives a whole number."""
    for unit, name in ((86_400, "d"), (3600, "h"), (60, "min")):
        if duration_s >= unit and duration_s % unit == 0:
            return f"{duration_s / unit:g} {name}"
    return f"{duration_s:g} s"
