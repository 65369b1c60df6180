"""Denials are written, but nobody fills a disk with them.

The first of a kind is an entry at once. Those like it within a minute are counted, and are one more entry. How many
kinds there may be is bounded by rates: of each account, and of all who have no key together. Beyond these only the
outcomes are told apart.

A kind is: who, with which key, from where, which method, what it named, and how it was refused.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from projecthub.hub.admission import network_of
from projecthub.hub.rates import Rate, TokenBuckets

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence
    from datetime import datetime

    from projecthub.hub.clock import Clock

WINDOW: Final = timedelta(minutes=1)
OF_ACCOUNT: Final = Rate(burst=200, every_s=2)
"""Kinds of denials of one account."""
OF_STRANGERS: Final = Rate(burst=1000, every_s=2)
"""Kinds of denials of all who have no key, together. At two entries a kind: 86,400 a day."""
OTHERS: Final = "*"
"""The method of an entry that counts denials of whatever methods."""

_Row = dict[str, Any]


@dataclass(slots=True)
class _Counted:
    """Denials like one that was written."""

    since: datetime
    row: _Row
    times: int = 0


class Denials:
    """Tells which denials are written one by one, and counts the others."""

    def __init__(self, clock: Clock) -> None:
        """Make it; somebody has to call `counted` once a minute."""
        self._clock = clock
        self._kinds: dict[Hashable, _Counted] = {}
        self._rates = TokenBuckets(clock)

    def passed(self, rows: Sequence[_Row]) -> list[_Row]:
        """Those of the rows, each a denial, that are to be written; the others are counted."""
        return [row for one in rows for row in self._passed(one)]

    def _passed(self, row: _Row) -> list[_Row]:
        kind = _kind_of(row)
        known = self._kinds.get(kind)
        if known is None and not self._has_room(row["account_id"]):
            row = {**row, "method": OTHERS, "target": None, "project_id": None, "message": None, "request_id": None}
            row |= {"address": None, "key_id": None, "key_kind": None}
            kind = ("others", row["account_id"], row["outcome"])
            known = self._kinds.get(kind)
        if known is None:
            self._kinds[kind] = _Counted(self._clock.now(), row)
            return [row]
        if known.times == 0:
            known.row = row
        known.times += 1
        known.row = {**known.row, "at": row["at"], "times": known.times}
        return []

    def counted(self) -> list[_Row]:
        """Entries for what was counted in the minutes that are over."""
        now = self._clock.now()
        over = [kind for kind, known in self._kinds.items() if not timedelta(0) <= now - known.since < WINDOW]
        return self._taken(over)

    def all_counted(self) -> list[_Row]:
        """Entries for all that was counted."""
        return self._taken([*self._kinds])

    def _taken(self, kinds: Sequence[Hashable]) -> list[_Row]:
        taken = [self._kinds.pop(kind) for kind in kinds]
        return [known.row for known in taken if known.times]

    def _has_room(self, account_id: str | None) -> bool:
        rate = OF_STRANGERS if account_id is None else OF_ACCOUNT
        return self._rates.take(("denied", account_id), rate) == 0


def _kind_of(row: _Row) -> Hashable:
    network = network_of(row["address"]) or row["address"]
    if row["account_id"] is None:
        return None, network, row["method"], row["outcome"]
    target = json.dumps(row["target"], sort_keys=True)
    return row["account_id"], row["key_id"], network, row["method"], row["outcome"], row["project_id"], target
