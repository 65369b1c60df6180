"""Patches: what they make of texts, by our own hand and by the library whose form they have."""

from __future__ import annotations

import itertools
import json
import time
from typing import Any

import pytest
from diff_match_patch import diff_match_patch
from diff_match_patch.diff_match_patch import patch_obj
from hypothesis import given
from hypothesis import strategies as st

from projecthub.wire.patches import apply_patch, make_patch, replacing, to_json

PIECES = ("a", "b", "\n", "\r\n", "\r", "ä", "€", "😀", "\0", "\u2028", " ", "line\n", "x" * 40)
TEXTS = st.one_of(st.lists(st.sampled_from(PIECES), max_size=60).map("".join), st.text(max_size=80))


def by_the_library(text: str, patch: list[Any]) -> str:
    hunks = []
    for diffs, start1, start2, length1, length2 in patch:
        hunk = patch_obj()
        hunk.diffs = [tuple(diff) for diff in diffs]
        hunk.start1, hunk.start2, hunk.length1, hunk.length2 = start1, start2, length1, length2
        hunks.append(hunk)
    made, applied = diff_match_patch().patch_apply(hunks, text)
    assert all(applied)
    return str(made)


@given(TEXTS, TEXTS)
def test_a_patch_makes_one_text_of_the_other(before: str, after: str) -> None:
    patch = json.loads(to_json(make_patch(before, after)))
    assert apply_patch(before, patch) == after
    assert bool(patch) == (before != after)
    for diffs, start1, start2, length1, length2 in patch:
        assert start1 == start2
        assert length1 == sum(len(text) for operation, text in diffs if operation != 1)
        assert length2 == sum(len(text) for operation, text in diffs if operation != -1)


@given(TEXTS, TEXTS)
def test_one_change_does_too(before: str, after: str) -> None:
    patch = replacing(before, after)
    assert len(patch) == (before != after)
    assert apply_patch(before, patch) == after
    assert by_the_library(before, patch) == after


@given(TEXTS, st.lists(st.tuples(st.integers(0, 200), st.integers(0, 5), st.sampled_from(PIECES)), max_size=5))
def test_the_library_reads_it(before: str, edits: list[tuple[int, int, str]]) -> None:
    after = before
    for at, length, new in edits:
        after = after[:at] + new + after[at + length :]
    assert by_the_library(before, make_patch(before, after)) == after


@given(st.lists(TEXTS, min_size=1, max_size=8))
def test_patches_in_their_order_make_every_state(texts: list[str]) -> None:
    text = ""
    for before, after in itertools.pairwise(["", *texts]):
        text = apply_patch(text, make_patch(before, after))
        assert text == after


def test_a_small_change_of_a_large_text_is_a_small_patch() -> None:
    lines = [f"line {number}\n" for number in range(20_000)]
    before = "".join(lines)
    lines[100], lines[15_000] = "another\n", ""
    patch = make_patch(before, "".join(lines))
    assert len(patch) == 2
    assert len(to_json(patch)) < 200


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("\n" * 500_000, "\n" * 400_000 + "x" + "\n" * 10),
        ("".join(f"{n}\n" for n in range(100_000)), "".join(f"{n}\n" for n in reversed(range(100_000)))),
        ("ab" * 500_000, "ba" * 500_000),
        ("a\nb\n" * 200_000, "b\nb\na\n" * 150_000),
    ],
    ids=["many empty lines", "reversed", "one line", "two kinds of lines"],
)
def test_no_text_takes_long(before: str, after: str) -> None:
    began = time.process_time()
    patch = make_patch(before, after)
    assert time.process_time() - began < 5  # it takes a tenth of a second
    assert apply_patch(before, patch) == after


@pytest.mark.parametrize(
    "patch", [[[]], [1], [[[[0, "a"]]]], [[[["x"]], 0, 0, 1, 1]], ["patch"], [[[[0, 1]], 0, 0, 1, 1]]]
)
def test_what_is_no_patch(patch: list[Any]) -> None:
    with pytest.raises(ValueError, match="no patch"):
        apply_patch("abc", patch)


def test_a_patch_for_another_text() -> None:
    patch = make_patch("one two three", "one 2 three")
    with pytest.raises(ValueError, match="another text"):
        apply_patch("one due three", patch)
