from __future__ import annotations

import errno
import os
import random
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.snapshot_homes import SnapshotHome, tree_of

from projecthub.errors import Conflict, InternalError, LimitError
from projecthub.files.snapshots import objects, restoring, sweeping, taking, walking
from projecthub.files.snapshots.manifests import Earlier, Entry, ManifestWriter, key_of, read
from projecthub.files.snapshots.shelves import Shelf, sweep_pool
from projecthub.wire.ids import ProjectId

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Every snapshot waits for the disk, which random trees need not."""
OTHER = ProjectId("22222222-2222-4222-8222-222222222222")


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[SnapshotHome]:
    before = len(os.listdir("/proc/self/fd"))
    yield SnapshotHome(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before, "a file descriptor was left open"
    staging = tmp_path / "snapshots" / "staging"
    assert not staging.exists() or os.listdir(staging) == []


# -- random trees ----------------------------------------------------------------------------------

NAMES = st.sampled_from([b"a", b"b", b"a-b", b"a b", b"\xff\xfe", b"new\nline", "ü".encode(), b"x" * 200])
CONTENTS = st.sampled_from([b"", b"x", b"y" * 5000, b"z" * 200_000])
TIMES = st.integers(0, 2**31).map(lambda s: s * 10**9 + s % 10**9)
MODES = st.sampled_from([0o644, 0o600, 0o755, 0o444, 0o700, 0o777, 0o1777])
ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(
            ["file", "directory", "symlink", "link", "remove", "move", "mode", "sparse", "xattr", "append"]
        ),
        st.lists(NAMES, min_size=1, max_size=3),
        st.lists(NAMES, min_size=1, max_size=3),
        CONTENTS,
        TIMES,
        MODES,
    ),
    max_size=12,
)


_NO_PATH = bytes.maketrans(b"/\0", b"--")


def act(top: Path, actions: list[tuple[Any, ...]]) -> None:
    """Do random things to a home; what is not possible is left."""
    for action, one, other, content, at, mode in actions:
        path, target = (os.path.join(os.fsencode(top), *names) for names in (one, other))
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if action == "file":
                Path(os.fsdecode(path)).write_bytes(content)
                os.utime(path, ns=(at, at))
            elif action == "append":
                with open(path, "ab") as file:
                    file.write(content)
            elif action == "sparse":
                with open(path, "wb") as file:
                    file.truncate(3_000_000)
                    file.seek(1_000_000)
                    file.write(content)
            elif action == "directory":
                os.mkdir(path, mode)
            elif action == "symlink":
                # To nowhere, and within: what comes later may write through it.
                os.symlink(b"to-" + content[:50].translate(_NO_PATH), path)
            elif action == "link":
                os.link(target, path, follow_symlinks=False)
            elif action == "move":
                os.rename(target, path)
            elif action == "mode":
                os.chmod(path, mode)
            elif action == "xattr":
                os.setxattr(path, "user.kept", content[:100])
            elif os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)
        except OSError:
            continue


@settings(max_examples=60, deadline=None)
@given(ACTIONS, ACTIONS, ACTIONS, st.booleans())
def test_what_is_restored_is_what_was(first: Any, second: Any, third: Any, at_once: bool) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        kept = SnapshotHome(Path(name))
        act(kept.path, first)
        one_tree, one = kept.tree(), kept.take()
        act(kept.path, second)
        two_tree, two = kept.tree(), kept.take(one, unsure_s=60.0 if at_once else 0.0)
        act(kept.path, third)
        kept.restore(one)
        assert kept.tree() == one_tree
        assert kept.changes(one) == {}
        kept.restore(two)
        assert kept.tree() == two_tree
        differing = model_of_changes(one_tree, two_tree)
        assert kept.changes(one, two) == differing
        assert kept.changes(one) == differing
        assert kept.sweep(two) >= 0
        kept.restore(two)
        assert kept.tree() == two_tree
        kept.sweep()
        assert os.listdir(kept.shelf.objects) == []
        assert sorted(os.listdir(kept.path.parent)) == ["home", "staging"]


def model_of_changes(one: dict[str, Any], two: dict[str, Any]) -> dict[str, str]:
    """What is other, by the trees."""
    found = {}
    for path in (one.keys() | two.keys()) - {"\0names"}:
        before, after = one.get(path), two.get(path)
        if before is None or after is None:
            found[path] = "added" if before is None else "removed"
        else:
            kind = before[0]
            # Modes of symlinks and times make no difference.
            alike = [(part[0], part[1], part[3], part[4]) for part in (before, after)]
            if alike[0] != alike[1] and not (kind == after[0] == 0o120000 and before[3] == after[3]):
                found[path] = "changed"
    return found


@settings(max_examples=40, deadline=None)
@given(ACTIONS, ACTIONS, st.lists(NAMES, min_size=1, max_size=2))
def test_one_path_is_restored_and_nothing_else(first: Any, second: Any, names: Any) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        kept = SnapshotHome(Path(name))
        act(kept.path, first)
        before, snapshot_id = kept.tree(), kept.take()
        act(kept.path, second)
        path = os.fsdecode(b"/".join(names))
        now = kept.tree()
        if path not in before:
            assert not restoring.weigh(kept.shelf.manifest(snapshot_id), path).is_there
            return
        try:
            kept.restore(snapshot_id, path)
        except Conflict:  # a file or symlink is where its directory was
            assert kept.tree() == now
            return
        after = kept.tree()

        def of(tree: dict[str, Any], *, inside: bool) -> dict[str, Any]:
            return {
                each: value
                for each, value in tree.items()
                if each != "\0names" and (each == path or each.startswith(f"{path}/")) == inside
            }

        assert of(after, inside=True) == of(before, inside=True)
        made = {each for each in after if path.startswith(f"{each}/")}
        others = of(after, inside=False)
        assert {each for each in others if each not in made} == {
            each for each in of(now, inside=False) if each not in made
        }
        for each, value in of(now, inside=False).items():
            assert others[each][0] == value[0]
            assert others[each][3:] == value[3:]


# -- single things ---------------------------------------------------------------------------------


def test_what_is_unchanged_is_not_read_again(kept: SnapshotHome, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        (kept.path / name).write_text(name)
    first = kept.take()
    assert kept.count.new_bytes == 2 * 4096
    (kept.path / "b").write_text("c")
    looked: list[str] = []
    real = objects.Objects.keep

    def keep(self: Any, file: int, status: os.stat_result, *, likely: bool) -> Any:
        looked.append(os.path.basename(os.readlink(f"/proc/self/fd/{file}")))
        return real(self, file, status, likely=likely)

    monkeypatch.setattr(objects.Objects, "keep", keep)
    second = kept.take(first)
    assert looked == ["b"]
    assert kept.count.new_bytes == 4096
    assert kept.count.differs
    looked.clear()
    third = kept.take(second, unsure_s=60.0)  # what is recent is read the next time
    assert looked == []
    assert not kept.count.differs
    kept.take(third)
    assert looked == []
    (kept.path / "a").write_text("d")
    fourth = kept.take(third, unsure_s=60.0)
    kept.take(fourth)
    assert looked == ["a", "a"]
    assert not kept.count.differs


def test_a_file_that_changes_without_a_new_size_or_mtime_is_seen(kept: SnapshotHome) -> None:
    file = kept.path / "f"
    file.write_text("one")
    status = file.stat()
    first = kept.take()
    file.write_text("two")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    second = kept.take(first)
    assert kept.entries(first)["f"].content != kept.entries(second)["f"].content
    kept.restore(first)
    assert file.read_text() == "one"


def test_a_file_that_grows_while_it_is_read(kept: SnapshotHome, monkeypatch: pytest.MonkeyPatch) -> None:
    file = kept.path / "log"
    file.write_bytes(b"x" * 300_000)
    real = objects.Objects.keep

    def keep(self: Any, fd: int, status: os.stat_result, *, likely: bool) -> Any:
        found = real(self, fd, status, likely=likely)
        with file.open("ab") as more:
            more.write(b"y")
        return found

    monkeypatch.setattr(objects.Objects, "keep", keep)
    first = kept.take()
    assert kept.count.changing == 1
    entry = kept.entries(first)["log"]
    assert entry.ctime_ns == 0  # looked at again the next time
    assert entry.size == 300_002  # as it was at the third and last try
    monkeypatch.undo()
    kept.take(first)
    assert kept.count.changing == 0


def test_holes_stay_holes_and_cost_nothing(kept: SnapshotHome) -> None:
    with (kept.path / "huge").open("wb") as file:
        file.truncate(2**40)
        file.seek(2**39)
        file.write(b"x" * 5000)
    before = (kept.path / "huge").stat()
    snapshot_id = kept.take()
    assert kept.count.new_bytes < 20_000
    (kept.path / "huge").unlink()
    kept.restore(snapshot_id)
    after = (kept.path / "huge").stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert after.st_blocks * 512 < 100_000
    with (kept.path / "huge").open("rb") as file:
        file.seek(2**39 - 1)
        assert file.read(5001) == b"\0" + b"x" * 5000


def test_a_file_cannot_pass_for_another_ones_holes(kept: SnapshotHome, tmp_path: Path) -> None:
    victim = SnapshotHome(tmp_path, OTHER)
    with (victim.path / "f").open("wb") as file:
        file.truncate(1_000_000)
        file.seek(500_000)
        file.write(b"mine")
    data = (victim.path / "f").read_bytes()
    fd = os.open(victim.path / "f", os.O_RDONLY)
    try:
        extents = list(objects.stretches(fd, len(data)))
    finally:
        os.close(fd)
    forged = b""
    for start, stop in extents:
        forged += start.to_bytes(8, "little") + stop.to_bytes(8, "little") + data[start:stop]
    (kept.path / "forged").write_bytes(forged + len(data).to_bytes(8, "little"))
    own = kept.take()
    snapshot_id = victim.take()
    names = [kept.entries(own)["forged"].content, victim.entries(snapshot_id)["f"].content]
    assert names[1] == names[0] + "s"
    (victim.path / "f").unlink()
    victim.restore(snapshot_id)
    assert (victim.path / "f").read_bytes() == data


def test_pipes_and_the_hubs_own_files_are_left_out(kept: SnapshotHome) -> None:
    os.mkfifo(kept.path / "pipe")
    (kept.path / ".projecthub" / "trash").mkdir(parents=True)
    (kept.path / ".projecthub" / "trash" / "x").write_text("x")
    (kept.path / "d" / ".projecthub").mkdir(parents=True)
    snapshot_id = kept.take()
    assert kept.count.skipped == 1
    assert set(kept.entries(snapshot_id)) == {"d", "d/.projecthub"}
    assert kept.changes(snapshot_id, path=".projecthub/trash") == {}
    kept.restore(snapshot_id)
    assert (kept.path / ".projecthub" / "trash" / "x").read_text() == "x"


def test_many_names_are_sorted_in_stretches(kept: SnapshotHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walking, "_SORTED_AT_ONCE", 7)
    names = [f"{number}" for number in random.Random(1).sample(range(1000), 100)]
    for name in names:
        (kept.path / name).touch()
    snapshot_id = kept.take()
    assert list(kept.entries(snapshot_id)) == sorted(names)
    monkeypatch.setattr(walking, "MAX_ENTRIES", 50)
    with pytest.raises(LimitError, match="more than 50 entries"):
        kept.take()


def test_very_many_objects_are_swept_in_portions(kept: SnapshotHome, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(60):
        (kept.path / f"{number}").write_text(f"{number}")
    first = kept.take()
    for number in range(30):
        (kept.path / f"{number}").unlink()
    second = kept.take(first)
    monkeypatch.setattr(sweeping, "_MARKED_AT_ONCE", -1)
    manifests = [kept.shelf.manifest(first)], [kept.shelf.manifest(second)]
    assert sweeping.freed_by(kept.shelf, *manifests, 0) == [30 * 4096]
    assert sweeping.freed_by(kept.shelf, manifests[1] + manifests[0], [], 0) == [0, 60 * 4096]
    assert kept.sweep(second) == 30 * 4096
    assert len(os.listdir(kept.shelf.objects)) == 30
    assert kept.shelf.used_bytes() == 30 * 4096


def test_a_damaged_manifest_is_told_and_nothing_is_swept(kept: SnapshotHome) -> None:
    (kept.path / "f").write_text("x")
    snapshot_id = kept.take()
    manifest = kept.shelf.manifest(snapshot_id)
    whole = manifest.read_bytes()
    for damaged in (b"", whole[:-9], whole[:30] + b"?" + whole[31:], b"{}"):
        manifest.write_bytes(damaged)
        with pytest.raises(InternalError, match="damaged or lost"):
            kept.entries(snapshot_id)
        with pytest.raises(InternalError):
            kept.sweep(snapshot_id)
        with pytest.raises(InternalError):
            kept.restore(snapshot_id)
        kept.take(snapshot_id)  # goes on without it
    assert (kept.path / "f").read_text() == "x"
    assert len(os.listdir(kept.shelf.objects)) == 1
    manifest.write_bytes(whole)
    kept.restore(snapshot_id)


def test_a_lost_content_is_told_and_nothing_changes(kept: SnapshotHome) -> None:
    (kept.path / "f").write_text("x")
    snapshot_id = kept.take()
    for name in os.listdir(kept.shelf.objects):
        (kept.shelf.objects / name).unlink()
    (kept.path / "f").write_text("y")
    with pytest.raises(InternalError, match="nothing was changed"):
        kept.restore(snapshot_id)
    assert (kept.path / "f").read_text() == "y"
    (kept.path / "f").write_text("x")
    kept.take(snapshot_id)  # which keeps it anew
    kept.restore(snapshot_id)
    assert (kept.path / "f").read_text() == "x"


def test_no_room_leaves_nothing(kept: SnapshotHome, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        (kept.path / f"{number}").write_text(f"{number}")
    left = 3 * 4096

    def take(size: int) -> None:
        nonlocal left
        left -= size
        if left < 0:
            raise LimitError("no room")

    with pytest.raises(LimitError):
        kept.take(take=take)
    assert os.listdir(kept.shelf.objects) == []

    def full(fd: int, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(objects, "write_all", full)
        kept.take()
    assert os.listdir(kept.shelf.objects) == []
    assert kept.shelf.ids() == set()


def test_without_an_exchange_things_are_moved_aside(kept: SnapshotHome, monkeypatch: pytest.MonkeyPatch) -> None:
    (kept.path / "d").mkdir()
    (kept.path / "d" / "f").write_text("one")
    (kept.path / "g").write_text("one")
    before, snapshot_id = kept.tree(), kept.take()
    (kept.path / "d" / "f").write_text("two")
    (kept.path / "g").unlink()
    (kept.path / "g").symlink_to("d")

    def refused(*arguments: Any) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(restoring, "exchange", refused)
    kept.restore(snapshot_id)
    assert kept.tree() == before


def test_a_pool_that_others_sweep_meanwhile_loses_nothing(tmp_path: Path) -> None:
    root = tmp_path / "snapshots"
    homes = [SnapshotHome(tmp_path, ProjectId(f"{number}1111111-1111-4111-8111-111111111111")) for number in range(3)]
    for kept in homes:
        for number in range(50):
            (kept.path / f"{number}").write_text(f"{number}")
    stop = threading.Event()

    def sweep_all() -> None:
        while not stop.is_set():
            for part in range(256):
                sweep_pool(root, f"{part:02x}")

    def work(kept: SnapshotHome) -> None:
        for _ in range(8):
            snapshot_id = kept.take()
            assert len(os.listdir(kept.shelf.objects)) == 50
            kept.restore(snapshot_id)
            kept.shelf.manifest(snapshot_id).unlink()
            kept.sweep()

    sweeper = threading.Thread(target=sweep_all)
    workers = [threading.Thread(target=work, args=[kept]) for kept in homes]
    failures: list[Any] = []
    threading.excepthook, hook = failures.append, threading.excepthook
    try:
        for thread in (sweeper, *workers):
            thread.start()
        for thread in workers:
            thread.join()
    finally:
        stop.set()
        sweeper.join()
        threading.excepthook = hook
    assert failures == []
    assert all(len(kept.tree()) == 51 for kept in homes)
    for part in range(256):
        sweep_pool(root, f"{part:02x}")
    assert list((root / "pool").glob("*/*")) == []


def test_entries_are_read_in_their_order_and_found_by_it(tmp_path: Path) -> None:
    paths = ["a", "a/b", "a/b/c", "a-b", "a-b/c", "a b/c", "b"]
    assert sorted(paths, key=key_of) == ["a", "a-b", "b", "a/b", "a/b/c", "a b/c", "a-b/c"]
    writer = ManifestWriter(os.open(tmp_path / "m", os.O_CREAT | os.O_WRONLY))
    values: dict[str, Any] = dict.fromkeys(("mode", "size", "disk", "mtime_ns", "inode", "ctime_ns"), 7)
    made = []
    for path in sorted(paths, key=key_of):
        parent, _, name = path.rpartition("/")
        made.append(Entry(parent=parent, name=name, kind="f", content="x", **values))
        writer.enter(parent)
        writer.add(made[-1])
    writer.close()
    assert list(read(tmp_path / "m")) == made
    assert [entry.path for entry in read(tmp_path / "m", "a")] == ["a", "a/b", "a/b/c"]
    assert [entry.path for entry in read(tmp_path / "m", "a/b/c")] == ["a/b/c"]
    earlier = Earlier(read(tmp_path / "m"))
    assert [earlier.at(key_of(path)) is not None for path in ("a", "a0", "b", "a/b/c", "zz")] == [
        True,
        False,
        True,
        True,
        False,
    ]


def test_hard_links_beyond_what_is_remembered_become_files(kept: SnapshotHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taking, "_MAX_LINKS", 1)
    for name in ("a", "b"):
        (kept.path / name).write_text(name)
        os.link(kept.path / name, kept.path / f"{name}2")
        os.link(kept.path / name, kept.path / f"{name}3")
    snapshot_id = kept.take()
    kept.restore(snapshot_id)
    assert {name: (kept.path / name).read_text() for name in os.listdir(kept.path)} == {
        "a": "a", "a2": "a", "a3": "a", "b": "b", "b2": "b", "b3": "b",
    }  # fmt: skip
    assert tree_of(kept.path)["\0names"][0] == ["a", "a2", "a3"]


def test_a_shelf_that_is_not_there_is_empty(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "none", OTHER)
    assert (shelf.ids(), shelf.used_bytes(), shelf.is_unfinished) == (set(), 0, False)
    assert sweeping.sweep(shelf, [], 0) == 0
    shelf.end()
