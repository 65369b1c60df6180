"""What becomes of one file: every combination of what can be known of it."""

from __future__ import annotations

from itertools import product

import pytest

from projecthub.files.copying import Action, Status
from projecthub.files.copying.policies import Since, decide
from projecthub.files.plans import CopyOptions, Policy

NEVER_THEIRS = (Action.WRITE, Action.DELETE)
"""What replaces or deletes what the target has."""

CASES = [
    (source, target, same, newer, since, moved)
    for source, target, same, newer, since, moved in product(
        (True, False), (True, False), (True, False), (True, False), Since, (True, False)
    )
    if (source or target) and ((source and target) or not same) and (target or not newer)
]


@pytest.mark.parametrize("policy", Policy)
@pytest.mark.parametrize("overwrite_newer", [False, True])
def test_every_combination(policy: Policy, overwrite_newer: bool) -> None:
    options = CopyOptions(policy=policy, overwrite_newer=overwrite_newer)
    for source, target, same, newer, since, moved in CASES:
        status, action = decide(options, source=source, target=target, same=same, newer=newer, since=since, moved=moved)
        handed_out = since in (Since.TOUCHED, Since.UNTOUCHED)
        assert (status is Status.WOULD_BE_DELETED) == (action is Action.DELETE)
        assert (status is Status.WOULD_BE_DELETED) <= (not source)
        assert (status is Status.SAME) == same
        assert (status is Status.DELETED_BY_THEM) == (source and not target and handed_out)
        assert (status is Status.NEW) == (source and not target and not handed_out)
        assert action in (Action.WRITE, Action.KEEP, Action.BESIDE, Action.DELETE)
        assert (action is Action.DELETE) <= (not source)
        if same:
            assert action is Action.KEEP
        if not target and source:
            stays_away = policy is Policy.MERGE and handed_out and not moved
            assert action is (Action.KEEP if stays_away else Action.WRITE)
        if policy in (Policy.KEEP, Policy.MERGE) and target and since is not Since.UNTOUCHED:
            assert action not in NEVER_THEIRS, "theirs is never replaced or deleted unless it is surely not theirs"
        if policy is Policy.OVERWRITE and target and not same:
            assert action in NEVER_THEIRS
        if policy is Policy.UPDATE and source and target and not same:
            assert action is (Action.KEEP if newer and not overwrite_newer else Action.WRITE)
        if action is Action.BESIDE:
            assert policy is Policy.MERGE
            assert status is Status.CONFLICT


@pytest.mark.parametrize(
    ("since", "moved", "newer", "status"),
    [
        (Since.UNKNOWN, False, True, Status.CHANGED_BY_THEM),
        (Since.UNKNOWN, False, False, Status.CHANGED_BY_US),
        (Since.NEVER, False, False, Status.CONFLICT),
        (Since.UNTOUCHED, True, True, Status.CHANGED_BY_US),
        (Since.TOUCHED, False, False, Status.CHANGED_BY_THEM),
        (Since.TOUCHED, True, False, Status.CONFLICT),
    ],
)
def test_who_has_changed_it(since: Since, moved: bool, newer: bool, status: Status) -> None:
    options = CopyOptions(policy=Policy.OVERWRITE)
    told, _ = decide(options, source=True, target=True, same=False, newer=newer, since=since, moved=moved)
    assert told is status
