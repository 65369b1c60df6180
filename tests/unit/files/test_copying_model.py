"""Copies of random trees by every policy, killed at random points and taken back, beside models of what should come."""

from __future__ import annotations

import copy
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_files_model import OPTIONS, Model, Tree, harvest, plant, trees

from engine import Steps, fingerprint, killed_after
from projecthub.errors import Conflict
from projecthub.files.copying import Application, End, copy_path, discard, planned_files, settle, undo
from projecthub.files.plans import CopyOptions, Course, Policy
from projecthub.files.staging import is_empty, sweep

EXAMPLES = int(os.environ.get("PROJECTHUB_COPY_EXAMPLES", "60"))


@pytest.fixture(scope="module")
def top() -> Iterator[Path]:
    """In memory if there is such a file system: a copy syncs what it makes."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as directory:
        yield Path(directory)


def homes(top: Path, source: Tree, target: Tree) -> tuple[End, End]:
    for name, tree in (("one", source), ("other", target)):
        shutil.rmtree(top / name, ignore_errors=True)
        (top / name).mkdir()
        plant(top / name / "home", {"dir": tree})
    return End(top / "one/home", "dir"), End(top / "other/home", "dir")


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    source=trees("a b c"),
    target=trees("a b c a~"),
    options=OPTIONS,
    commit_kill=st.integers(0, 60),
    undo_kill=st.integers(0, 60),
)
def test_a_commit_that_is_killed_ends_like_any_other_and_is_taken_back(
    top: Path, source: Tree, target: Tree, options: CopyOptions, commit_kill: int, undo_kill: int
) -> None:
    ends = homes(top, source, target)
    before = fingerprint(ends[1].home)
    model, expected = Model(options), copy.deepcopy(target)
    model.merge(source, expected)
    steps = Steps(*ends, options, top / "work")
    planned = steps.plan()
    assert bool(planned.blocked) == model.failed
    if model.failed:
        with pytest.raises(Conflict):
            steps.application().stage()
        assert not steps.record.exists()
        assert fingerprint(ends[1].home) == before
        return
    steps.application().stage()
    assert fingerprint(ends[1].home) == before

    def commit() -> None:
        Application.resume(steps.record, ends[1].home).commit()

    killed_after(commit_kill, commit)
    summary = Application.resume(steps.record, ends[1].home).commit()
    assert harvest(ends[1].home) == {"dir": expected}
    assert (summary.files, summary.bytes) == (planned.files, planned.bytes)
    assert (summary.deleted, summary.backed_up) == (planned.to_delete, planned.to_back_up)
    assert summary.kept_newer == planned.kept_newer
    assert Application.resume(steps.record, ends[1].home).commit() == summary
    again = Steps(*ends, options, top / "work again").plan()
    assert again.files == 0 or options.backup or options.delete_missing

    def take_back() -> None:
        undo(steps.record, ends[1].home, course=Course(None))

    killed_after(undo_kill, take_back)
    undone = undo(steps.record, ends[1].home, course=Course(None))
    assert undone.kept == 0
    assert fingerprint(ends[1].home) == before
    discard(steps.record)
    assert is_empty(steps.record.parent)


@settings(max_examples=EXAMPLES, deadline=None)
@given(source=trees("a b c"), target=trees("a b c a~"), options=OPTIONS, kill=st.integers(0, 500))
def test_a_copy_that_is_killed_is_whole_or_not(
    top: Path, source: Tree, target: Tree, options: CopyOptions, kill: int
) -> None:
    ends = homes(top, source, target)
    model, expected = Model(options), copy.deepcopy(target)
    model.merge(source, expected)
    if model.failed:
        return
    before = fingerprint(ends[1].home)
    was_killed = killed_after(kill, lambda: copy_path(*ends, options=options, uid=None, course=Course(None)))
    sweep(top / "other/staging")
    settle(ends[1].home)
    assert is_empty(top / "other/copies")
    if was_killed and fingerprint(ends[1].home) == before:
        copy_path(*ends, options=options, uid=None, course=Course(None))
    assert harvest(ends[1].home) == {"dir": expected}
    assert os.listdir(top / "other/staging") == []


# -- by policy, with what was handed out before ------------------------------------------------------

Version = tuple[str, int]
"""Content, and when it was changed last."""
VERSIONS = st.none() | st.tuples(st.sampled_from(["", "x", "y", "zz"]), st.integers(1, 3))
PATHS = ("a.txt", "b", "d/a.txt", "d/e/c")
FILES = st.fixed_dictionaries(dict.fromkeys(PATHS, VERSIONS))


def same(one: Version, other: Version) -> bool:
    return len(one[0]) == len(other[0]) and (one[1] == other[1] or one[0] == other[0])


class PolicyModel:
    """What becomes of each path, said as plainly as possible."""

    def __init__(self, options: CopyOptions, *, knows_base: bool) -> None:
        self.options = options
        self.knows_base = knows_base

    def outcome(self, ours: Version | None, theirs: Version | None, base: Version | None) -> tuple[Any, Any]:
        """What is there then, and what is beside it."""
        policy = self.options.policy
        is_untouched = self.knows_base and base is not None and theirs is not None and same(base, theirs)
        if ours is None:
            goes = self.options.delete_missing and (is_untouched or policy in (Policy.UPDATE, Policy.OVERWRITE))
            return (None if goes else theirs), None
        if theirs is None:
            was_dropped = policy is Policy.MERGE and self.knows_base and base is not None and same(ours, base)
            return (None if was_dropped else ours), None
        if same(ours, theirs):
            return theirs, None
        if policy is Policy.OVERWRITE or (is_untouched and policy is not Policy.UPDATE):
            return ours, None
        if policy is Policy.UPDATE:
            return (theirs if theirs[1] > ours[1] and not self.options.overwrite_newer else ours), None
        is_ours_old = self.knows_base and base is not None and same(ours, base)
        return theirs, ours if policy is Policy.MERGE and not is_ours_old else None


def put_files(home: Path, files: dict[str, Version | None]) -> None:
    shutil.rmtree(home.parent, ignore_errors=True)
    (home / "dir/d/e").mkdir(parents=True)
    for path, version in files.items():
        if version is not None:
            (home / "dir" / path).write_text(version[0])
            os.utime(home / "dir" / path, (version[1], version[1]))


def get_files(home: Path) -> dict[str, Version]:
    return {
        str(path.relative_to(home / "dir")): (path.read_text(), int(path.stat().st_mtime))
        for path in (home / "dir").rglob("*")
        if path.is_file()
    }


@settings(max_examples=2 * EXAMPLES, deadline=None)
@given(
    ours=FILES,
    theirs=FILES,
    base=FILES,
    knows_base=st.booleans(),
    options=st.builds(
        CopyOptions, policy=st.sampled_from(Policy), overwrite_newer=st.booleans(), delete_missing=st.booleans()
    ),
)
def test_policies_follow_their_model(
    top: Path, ours: Any, theirs: Any, base: Any, knows_base: bool, options: CopyOptions
) -> None:
    one, other, work = top / "one/home", top / "other/home", top / "work"
    source, target = End(one, "dir"), End(other, "dir")
    put_files(other, theirs)
    put_files(one, base)
    handed_out = Steps(source, target, options, top / "work of before", hashes=True)
    handed_out.plan()
    put_files(one, ours)
    model = PolicyModel(options, knows_base=knows_base)
    expected: dict[str, Version] = {}
    for path in PATHS:
        there, beside = model.outcome(ours[path], theirs[path], base[path])
        if there is not None:
            expected[path] = there
        if beside is not None:
            stem, dot, suffix = path.partition(".")
            expected[f"{stem}.new{dot}{suffix}"] = beside
    before = fingerprint(other)
    steps = Steps(source, target, options, work, base=handed_out.manifest if knows_base else None, hashes=True)
    planned = steps.plan()
    listed = planned_files(steps.plan_file)
    assert [each.number for each in listed] == list(range(1, len(listed) + 1))
    assert planned_files(steps.plan_file, after=2, limit=2) == listed[2:4]
    if not planned.is_idle:
        steps.application().stage()
        steps.application().commit()
    assert get_files(other) == expected
    if not (options.delete_missing and set(expected) - set(PATHS)):  # which would delete what was put beside
        assert steps.compare().files == 0
    if not planned.is_idle:
        assert undo(steps.record, other, course=Course(None)).kept == 0
        assert fingerprint(other) == before
