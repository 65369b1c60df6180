"""Patches: how one text becomes another, in the compressed form of diff-match-patch.

A patch is a list of hunks, ``[diffs, start1, start2, length1, length2]``. ``diffs`` are pairs of an operation and a
text: 0 keeps it, -1 takes it away, 1 puts it in. ``length1`` characters from ``start1`` on become ``length2``. A hunk
counts in the text that those before it have made, so that both starts are equal. Characters are code points.

Source: docs/wire-extensions.md (`sync.history`), wire contract 5.3.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

KEEP: Final = 0
DELETE: Final = -1
INSERT: Final = 1

_CONTEXT: Final = 8
"""Characters of a hunk before and behind its changes, by which it is found where others count otherwise."""
_MAX_DISTANCE: Final = 400
_MAX_STEPS: Final = 400_000
"""Comparing two texts line by line ends here, after about a tenth of a second: then all between the first and the
last difference counts as changed."""

Hunk = list[Any]
Patch = list[Hunk]


@dataclass(frozen=True, slots=True)
class _Edit:
    """Characters ``start`` to ``end`` of a text become ``new``."""

    start: int
    end: int
    new: str


def make_patch(before: str, after: str) -> Patch:
    """A patch that makes ``after`` of ``before``; empty if they are equal."""
    return _patch(before, _edits(before, after))


def _patch(before: str, edits_of_it: Iterator[_Edit]) -> Patch:
    patch, shift = [], 0
    for edits in _groups(edits_of_it):
        start, end = max(0, edits[0].start - _CONTEXT), min(len(before), edits[-1].end + _CONTEXT)
        diffs, at = [], start
        for edit in edits:
            kept, old = before[at : edit.start], before[edit.start : edit.end]
            diffs += [[KEEP, kept], [DELETE, old], [INSERT, edit.new]]
            at = edit.end
        diffs = [diff for diff in [*diffs, [KEEP, before[at:end]]] if diff[1]]
        grown = sum(len(edit.new) - (edit.end - edit.start) for edit in edits)
        patch.append([diffs, start + shift, start + shift, end - start, end - start + grown])
        shift += grown
    return patch


def whole(text: str) -> Patch:
    """The patch that makes a text of nothing."""
    return make_patch("", text)


def replacing(before: str, after: str) -> Patch:
    """As `make_patch`, at next to no cost: all between the first and the last difference is one change."""
    return _patch(before, iter([_trimmed(0, before, after)] if before != after else []))


def apply_patch(text: str, patch: Sequence[Any]) -> str:
    """What a patch makes of the text that it was made for.

    Raises:
        ValueError: It is no patch, or for another text.
    """
    pieces, at, shift = [], 0, 0
    for hunk in patch:
        try:
            diffs, start = hunk[0], hunk[1] - shift
            old = "".join(part for operation, part in diffs if operation != INSERT)
            new = "".join(part for operation, part in diffs if operation != DELETE)
        except (TypeError, IndexError, ValueError) as error:
            raise ValueError("this is no patch") from error
        if start < at or not text.startswith(old, start):
            raise ValueError("the patch is for another text")
        pieces += [text[at:start], new]
        at = start + len(old)
        shift += len(new) - len(old)
    return "".join([*pieces, text[at:]])


def to_json(patch: Patch) -> str:
    """The text of a patch, as it stands on the wire."""
    return json.dumps(patch, ensure_ascii=False, separators=(",", ":"))


def _groups(edits: Iterator[_Edit]) -> Iterator[list[_Edit]]:
    """Edits that are near to each other, together."""
    group: list[_Edit] = []
    for edit in edits:
        if group and edit.start - group[-1].end > 2 * _CONTEXT:
            yield group
            group = []
        group.append(edit)
    if group:
        yield group


def _edits(before: str, after: str) -> Iterator[_Edit]:
    """The differences of two texts, in their order; no two of them touch."""
    if before == after:
        return
    head = before.rfind("\n", 0, _common_start(before, after)) + 1
    tail = _common_end(before[head:], after[head:])
    cut = before.find("\n", len(before) - tail) + 1 if tail else 0
    tail = len(before) - cut if cut else 0
    old = before[head : len(before) - tail].splitlines(keepends=True)
    new = after[head : len(after) - tail].splitlines(keepends=True)
    at, done_old, done_new = head, 0, 0
    for old_start, old_end, new_start, new_end in _blocks(old, new):
        at += sum(map(len, old[done_old:old_start]))
        gone, come = "".join(old[old_start:old_end]), "".join(new[new_start:new_end])
        yield _trimmed(at, gone, come)
        at += len(gone)
        done_old, done_new = old_end, new_end
    assert len(old) - done_old == len(new) - done_new


def _trimmed(at: int, gone: str, come: str) -> _Edit:
    """One edit, without what both of its sides begin or end with."""
    start = _common_start(gone, come)
    end = _common_end(gone[start:], come[start:])
    return _Edit(at + start, at + len(gone) - end, come[start : len(come) - end])


def _common_start(one: str, other: str) -> int:
    """How many characters two texts begin with alike, found by halving."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _common_end(one: str, other: str) -> int:
    """How many characters two texts end with alike."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[len(one) - middle : len(one) - low] == other[len(other) - middle : len(other) - low]:
            low = middle
        else:
            high = middle - 1
    return low


def _blocks(old: Sequence[str], new: Sequence[str]) -> Iterator[tuple[int, int, int, int]]:
    """Where two lists of lines differ: from and to which line of each."""
    common = set(old) & set(new)  # what only one of them has cannot match, and need not be compared
    olds, news = ([number for number, line in enumerate(lines) if line in common] for lines in (old, new))
    matches = _matches([old[number] for number in olds], [new[number] for number in news])
    old_at = new_at = 0
    for one, other in [*((olds[x], news[y]) for x, y in matches), (len(old), len(new))]:
        if one > old_at or other > new_at:
            yield old_at, one, new_at, other
        old_at, new_at = one + 1, other + 1


def _matches(old: Sequence[str], new: Sequence[str]) -> list[tuple[int, int]]:
    """Lines that are the same in both, in their order; none, if the two differ too much."""
    matches: list[tuple[int, int]] = []
    trace = _trace(old, new)
    x, y = (len(old), len(new)) if trace else (0, 0)
    for distance in range(len(trace) - 1, -1, -1):
        furthest, diagonal = trace[distance], x - y
        down = diagonal == -distance or (diagonal != distance and furthest[diagonal - 1] < furthest[diagonal + 1])
        from_diagonal = diagonal + 1 if down else diagonal - 1
        from_x = furthest[from_diagonal]
        from_y = from_x - from_diagonal
        while x > (from_x if down else from_x + 1) and y > 0:
            x, y = x - 1, y - 1
            matches.append((x, y))
        x, y = from_x, from_y
    return matches[::-1]


def _trace(old: Sequence[str], new: Sequence[str]) -> list[dict[int, int]]:
    """How far each diagonal was reached before each distance; nothing, if they differ too much to go on.

    Source: E. W. Myers, An O(ND) Difference Algorithm and Its Variations, 1986.
    """
    furthest, steps = {1: 0}, 0
    trace: list[dict[int, int]] = []
    for distance in range(min(len(old) + len(new), _MAX_DISTANCE) + 1):
        trace.append(furthest.copy())
        for diagonal in range(-distance, distance + 1, 2):
            if diagonal == -distance or (diagonal != distance and furthest[diagonal - 1] < furthest[diagonal + 1]):
                x = furthest[diagonal + 1]
            else:
                x = furthest[diagonal - 1] + 1
            y = began = x - diagonal
            while x < len(old) and y < len(new) and old[x] == new[y]:
                x, y = x + 1, y + 1
            steps += y - began + 1
            furthest[diagonal] = x
            if x >= len(old) and y >= len(new):
                return trace
        if steps > _MAX_STEPS:
            break
    return []
