"""Copies of random trees by every policy, killed at random points and taken back, beside models of what should come."""

from __future__ import annotations

import copy
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_files_model import OPTIONS, Model, Tree, harvest, plant, trees

from engine import Steps, fingerprint, killed_after
from projecthub.errors import Conflict
from projecthub.files.copying import (
    Action,
    Application,
    End,
    Status,
    copy_path,
    discard,
    planned_files,
    settle,
    undo,
    write_given,
)
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


@dataclass(frozen=True)
class Leaf:
    """A file, or a symlink that leads to ``content``; changed last at ``mtime_s``."""

    content: str
    mtime_s: int
    mode: int = 0o644
    is_link: bool = False


@dataclass(frozen=True)
class Directory:
    """A directory with at most two things in it."""

    leaves: dict[str, Any]
    mtime_s: int
    mode: int = 0o755


MODES = st.sampled_from([0o644, 0o755])
LEAVES = st.one_of(
    st.builds(Leaf, st.sampled_from(["", "x", "y", "zz"]), st.integers(1, 3), MODES),
    st.builds(Leaf, st.sampled_from(["x", "y"]), st.integers(1, 3), is_link=st.just(True)),
)


def directories(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    names = st.dictionaries(st.sampled_from("qr"), inner, max_size=2)
    return st.builds(Directory, names, st.integers(1, 3), st.sampled_from([0o755, 0o700]))


DIRECTORIES = directories(LEAVES | directories(LEAVES))
NAMES = ("a.txt", "b", "n")
TREES = st.fixed_dictionaries(dict.fromkeys(NAMES, st.none() | LEAVES | DIRECTORIES))
Side = dict[str, Any]


def same(one: Leaf, other: Leaf) -> bool:
    if one.is_link or other.is_link:
        return (one.is_link, one.content) == (other.is_link, other.content)
    return len(one.content) == len(other.content) and (one.mtime_s == other.mtime_s or one.content == other.content)


def put_beside(name: str) -> str:
    stem, dot, suffix = name.partition(".")
    return f"{stem}.new{dot}{suffix}"


class BlockedError(Exception):
    """A file cannot get its place."""


class PolicyModel:
    """What becomes of each thing, said as plainly as possible."""

    def __init__(self, options: CopyOptions, *, knows_base: bool) -> None:
        self.options = options
        self.knows_base = knows_base
        self.spares_theirs = options.policy in (Policy.KEEP, Policy.MERGE)

    def outcome(self, ours: Side, theirs: Side, base: Side) -> Side:
        """What is there then."""
        found: Side = {}
        for name in sorted({*ours, *theirs}):
            before = base.get(name) if self.knows_base else None
            there, beside = self.of_one(ours.get(name), theirs.get(name), before)
            found[name] = there
            if beside is not None:
                found[put_beside(name)] = beside
        return {name: node for name, node in found.items() if node is not None}

    def of_one(self, ours: Any, theirs: Any, base: Any) -> tuple[Any, Any]:
        """What is there then, and what is beside it."""
        if ours is None:
            return self.without_ours(theirs, base), None
        if isinstance(ours, Directory):
            return self.directory(ours, theirs, base), None
        return self.leaf(ours, theirs, base)

    def is_untouched(self, theirs: Any, base: Any) -> bool:
        return isinstance(theirs, Leaf) and isinstance(base, Leaf) and same(base, theirs)

    def without_ours(self, theirs: Any, base: Any) -> Any:
        if not self.options.delete_missing:
            return theirs
        if isinstance(theirs, Directory):
            inner = base.leaves if isinstance(base, Directory) else {}
            left = {name: self.without_ours(one, inner.get(name)) for name, one in theirs.leaves.items()}
            left = {name: one for name, one in left.items() if one is not None}
            is_theirs = self.spares_theirs and not isinstance(base, Directory)
            return replace(theirs, leaves=left) if left or is_theirs else None
        return theirs if self.spares_theirs and not self.is_untouched(theirs, base) else None

    def directory(self, ours: Directory, theirs: Any, base: Any) -> Any:
        before = base.leaves if isinstance(base, Directory) else {}
        if isinstance(theirs, Leaf):
            if self.stays(ours.mtime_s, theirs, base):
                return theirs
            theirs = None
        if theirs is None:
            return replace(ours, leaves=self.outcome(ours.leaves, {}, before))
        is_theirs = self.spares_theirs and not (isinstance(base, Directory) and base.mode == theirs.mode)
        leaves = self.outcome(ours.leaves, theirs.leaves, before)
        return Directory(leaves, ours.mtime_s, theirs.mode if is_theirs else ours.mode)

    def stays(self, mtime_s: int, theirs: Leaf, base: Any) -> bool:
        """Whether theirs stays, which is another one."""
        if self.spares_theirs:
            return not self.is_untouched(theirs, base)
        is_newer = theirs.mtime_s > mtime_s and not self.options.overwrite_newer
        return is_newer and self.options.policy is Policy.UPDATE

    def leaf(self, ours: Leaf, theirs: Any, base: Any) -> tuple[Any, Any]:
        is_ours_old = isinstance(base, Leaf) and same(ours, base)
        is_merged = self.options.policy is Policy.MERGE
        if theirs is None:
            return (None if is_merged and is_ours_old else ours), None
        if isinstance(theirs, Directory):
            if self.spares_theirs:
                return theirs, ours if is_merged and not is_ours_old else None
            if theirs.leaves and not self.options.delete_missing:
                raise BlockedError
            return ours, None
        is_mode_theirs = self.spares_theirs and not (
            isinstance(base, Leaf) and not base.is_link and base.mode == theirs.mode
        )
        if same(ours, theirs):
            is_kept = is_mode_theirs or ours.is_link or ours.mtime_s != theirs.mtime_s
            return theirs if is_kept else replace(theirs, mode=ours.mode), None
        if not self.stays(ours.mtime_s, theirs, base):
            are_files = not ours.is_link and not theirs.is_link
            return replace(ours, mode=theirs.mode) if is_mode_theirs and are_files else ours, None
        return theirs, ours if is_merged and not is_ours_old else None

    def given(self, ours: Side, theirs: Side, base: Side) -> Side:
        """What they are given, as of when this is copied: of what is left out, what they were given before."""
        found = {name: self.given_one(node, theirs.get(name), base.get(name)) for name, node in ours.items()}
        return {name: node for name, node in found.items() if node is not None}

    def given_one(self, ours: Any, theirs: Any, base: Any) -> Any:
        if isinstance(ours, Directory):
            return self.given_directory(ours, theirs, base)
        was = base if isinstance(base, Leaf) else None
        there, beside = self.leaf(ours, theirs, base)
        if there is None:
            return was
        is_written = beside is not None or not isinstance(theirs, Leaf | Directory) or there != theirs
        if isinstance(theirs, Leaf) and same(ours, theirs):
            is_mode_kept = not ours.is_link and ours.mtime_s == theirs.mtime_s and there.mode != ours.mode
            return replace(ours, mode=was.mode) if is_mode_kept and was is not None else ours
        if not is_written:
            return was
        is_mode_kept = beside is None and not ours.is_link and there.mode != ours.mode
        return replace(ours, mode=was.mode) if is_mode_kept and was is not None else ours

    def given_directory(self, ours: Directory, theirs: Any, base: Any) -> Any:
        before = base.leaves if isinstance(base, Directory) else {}
        if isinstance(theirs, Leaf) and self.stays(ours.mtime_s, theirs, base):
            return base if isinstance(base, Leaf) else left_of(ours, before)
        inner = theirs.leaves if isinstance(theirs, Directory) else {}
        return replace(ours, leaves=self.given(ours.leaves, inner, before))


def left_of(ours: Directory, before: Side) -> Directory | None:
    """What is still known of what was given in a directory that is left out now."""
    left: Side = {}
    for name, node in ours.leaves.items():
        was = before.get(name)
        if isinstance(node, Directory):
            left[name] = was if isinstance(was, Leaf) else left_of(node, was.leaves if was is not None else {})
        elif isinstance(was, Leaf):
            left[name] = was
    left = {name: node for name, node in left.items() if node is not None}
    return replace(ours, leaves=left) if left else None


def put_one(path: Path, node: Any) -> None:
    if isinstance(node, Directory):
        path.mkdir(mode=0o700, parents=True)
        for name, inner in node.leaves.items():
            put_one(path / name, inner)
        path.chmod(node.mode)
    elif node.is_link:
        path.symlink_to(node.content)
    else:
        path.write_text(node.content)
        path.chmod(node.mode)
    os.utime(path, (node.mtime_s, node.mtime_s), follow_symlinks=False)


def put_side(home: Path, side: Side) -> None:
    """Put the same into a directory and into one below it."""
    shutil.rmtree(home.parent, ignore_errors=True)
    (home / "dir/d/e").mkdir(parents=True)
    for where in ("dir", "dir/d/e"):
        for name, node in side.items():
            if node is not None:
                put_one(home / where / name, node)


def get_one(path: Path) -> Any:
    status = path.lstat()
    mtime_s, mode = int(status.st_mtime), status.st_mode & 0o777
    if path.is_symlink():
        return Leaf(os.readlink(path), mtime_s, is_link=True)
    if path.is_file():
        return Leaf(path.read_text(), mtime_s, mode)
    return Directory({inner.name: get_one(inner) for inner in path.iterdir()}, mtime_s, mode)


def get_side(home: Path, where: str) -> Side:
    return {path.name: get_one(path) for path in (home / where).iterdir() if path.name != "d"}


def without_times(side: Side) -> Side:
    """The times of directories follow from what is done in them."""
    return {
        name: replace(node, mtime_s=0, leaves=without_times(node.leaves)) if isinstance(node, Directory) else node
        for name, node in side.items()
    }


def leaves_of(side: Side, prefix: str) -> dict[str, Leaf]:
    found: dict[str, Leaf] = {}
    for name, node in side.items():
        path = f"{prefix}/{name}"
        found |= leaves_of(node.leaves, path) if isinstance(node, Directory) else {path: node}
    return found


def require_told(listed: Any, before: dict[str, Leaf], after: dict[str, Leaf]) -> None:
    """What becomes of somebody's file is in the plan, and nothing else."""
    actions = {each.path: each.action for each in listed}
    for path, leaf in before.items():
        if path not in after or not same(leaf, after[path]):
            assert actions.get(path) in (Action.WRITE, Action.DELETE), path
    for each in listed:
        if each.action is Action.KEEP and each.path in before:
            assert after[each.path] == before[each.path]
    assert all(each.action is Action.DELETE for each in listed if each.status is Status.WOULD_BE_DELETED)


@settings(max_examples=4 * EXAMPLES, deadline=None)
@given(
    ours=TREES,
    theirs=TREES,
    base=TREES,
    knows_base=st.booleans(),
    options=st.builds(
        CopyOptions,
        policy=st.sampled_from(Policy),
        overwrite_newer=st.booleans(),
        delete_missing=st.booleans(),
        keeps_newer_kinds=st.just(True),
    ),
)
def test_policies_follow_their_model(
    top: Path, ours: Side, theirs: Side, base: Side, knows_base: bool, options: CopyOptions
) -> None:
    one, other, work = top / "one/home", top / "other/home", top / "work"
    source, target = End(one, "dir"), End(other, "dir")
    put_side(other, theirs)
    put_side(one, base)
    handed_out = Steps(source, target, options, top / "work of before", hashes=True)
    handed_out.plan()
    put_side(one, ours)
    before = fingerprint(other)
    steps = Steps(source, target, options, work, base=handed_out.manifest if knows_base else None, hashes=True)
    planned = steps.plan()
    listed = planned_files(steps.plan_file)
    assert [each.number for each in listed] == list(range(1, len(listed) + 1))
    assert planned_files(steps.plan_file, after=2, limit=2) == listed[2:4]
    try:
        sides = [{name: node for name, node in side.items() if node is not None} for side in (ours, theirs, base)]
        expected = PolicyModel(options, knows_base=knows_base).outcome(*sides)
    except BlockedError:
        assert planned.blocked
        return
    if not planned.is_idle:
        steps.application().stage()
        steps.application().commit()
    for where in ("dir", "dir/d/e"):
        assert without_times(get_side(other, where)) == without_times(expected)
        there = leaves_of(sides[1], where)
        then = leaves_of(get_side(other, where), where)
        own = [each for each in listed if each.path.startswith("dir/d/e/") == (where != "dir")]
        require_told(own, there, then)
    told = Counter(str(each.status) for each in listed if each.status is not Status.SAME)
    assert told == {name: count for name, count in planned.counts.items() if count and name != Status.SAME}
    if not (options.delete_missing and any("new" in name for name in leaves_of(expected, ""))):
        assert steps.compare().files == 0  # else what was put beside would be deleted
    if not planned.is_idle:
        assert undo(steps.record, other, course=Course(None)).kept == 0
        assert fingerprint(other) == before


POLICIES = st.builds(
    CopyOptions,
    policy=st.sampled_from(Policy),
    overwrite_newer=st.booleans(),
    delete_missing=st.booleans(),
    keeps_newer_kinds=st.just(True),
)


@settings(max_examples=2 * EXAMPLES, deadline=None)
@given(rounds=st.lists(st.tuples(TREES, st.sets(st.sampled_from(NAMES)), TREES, POLICIES), min_size=2, max_size=4))
def test_what_they_were_given_is_known_over_many_copies(
    top: Path, rounds: list[tuple[Side, set[str], Side, CopyOptions]]
) -> None:
    """In each round we have another version, and they another one of some of it."""
    one, other = top / "one/home", top / "other/home"
    base: Path | None = None
    given: Side = {}
    put_side(other, {})
    for number, (ours, changed, edited, options) in enumerate(rounds):
        put_side(one, ours)
        for where in ("dir", "dir/d/e"):
            for name in changed:
                remove(other / where / name)
                if edited[name] is not None:
                    put_one(other / where / name, edited[name])
        theirs = get_side(other, "dir")
        steps = Steps(End(one, "dir"), End(other, "dir"), options, top / f"work{number}", base=base, hashes=True)
        planned = steps.plan()
        model, mine = PolicyModel(options, knows_base=True), {name: node for name, node in ours.items() if node}
        try:
            expected = model.outcome(mine, theirs, given)
        except BlockedError:
            assert planned.blocked
            return
        if not planned.is_idle:
            steps.application().stage()
            steps.application().commit()
            discard(steps.record)
        given = model.given(mine, theirs, given)
        for where in ("dir", "dir/d/e"):
            assert without_times(get_side(other, where)) == without_times(expected)
        if any(".new" in path for path in leaves_of(expected, "")):
            return  # the model knows no second one beside
        base_before, base = base, steps.manifest
        if planned.left_out:
            base = top / f"given{number}"
            write_given(steps.manifest, steps.plan_file, base_before, base, options.policy)


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
