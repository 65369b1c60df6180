from __future__ import annotations

import contextlib
import errno
import itertools
import os
import shutil
import socket
import stat
import subprocess
import threading
from collections.abc import Callable

import pytest
from two_homes import TwoHomes, as_plain_user, make_deep, tree, write, write_at

from projecthub.errors import CallTimeout, Conflict, InvalidArgument, LimitError, NotFound, PermissionDenied
from projecthub.files.copying import End, copy_path
from projecthub.files.failures import unwritable
from projecthub.files.plans import CopyCancelledError, CopyOptions, Course


def test_the_contents_of_a_directory_go_to_a_new_one(homes: TwoHomes) -> None:
    write(homes.one / "src/a", "1")
    write(homes.one / "src/deep/b", "22")
    (homes.one / "src/link").symlink_to("a")
    summary = homes.copy("src", "dst")
    assert tree(homes.other) == {"dst": "/", "dst/a": "1", "dst/deep": "/", "dst/deep/b": "22", "dst/link": "-> a"}
    assert (summary.files, summary.bytes, summary.skipped) == (3, 3, 0)
    assert summary.seconds > 0


@pytest.mark.parametrize(
    ("source", "target"), [("src", "dst"), ("src/", "dst/"), ("/src", "/dst"), ("./src//", "dst/.")]
)
def test_contents_are_merged_into_an_existing_directory(homes: TwoHomes, source: str, target: str) -> None:
    write(homes.one / "src/a", "new")
    write(homes.other / "dst/old", "old")
    homes.copy(source, target)
    assert tree(homes.other) == {"dst": "/", "dst/a": "new", "dst/old": "old"}


def test_copying_again_changes_nothing(homes: TwoHomes) -> None:
    write(homes.one / "src/a")
    write(homes.one / "src/deep/b")
    (homes.one / "src/link").symlink_to("a")
    homes.copy("src", "dst")
    inodes = [path.lstat().st_ino for path in sorted(homes.other.rglob("*"))]
    summary = homes.copy("src", "dst")
    assert (summary.files, summary.unchanged) == (0, 3)
    assert [path.lstat().st_ino for path in sorted(homes.other.rglob("*"))] == inodes


@pytest.mark.parametrize("target", ["new.txt", "new.txt/", "/new.txt", "gone/../new.txt"])
def test_a_file_becomes_the_target(homes: TwoHomes, target: str) -> None:
    write(homes.one / "f.txt", "hello")
    homes.copy("f.txt", target)
    assert tree(homes.other) == {"new.txt": "hello"}


def test_a_file_lands_in_an_existing_directory(homes: TwoHomes) -> None:
    write(homes.one / "a/f.txt", "hello")
    (homes.other / "dst").mkdir()
    homes.copy("a/f.txt", "dst")
    homes.copy("a/f.txt", "")
    assert tree(homes.other) == {"dst": "/", "dst/f.txt": "hello", "f.txt": "hello"}


def test_missing_parents_are_made(homes: TwoHomes) -> None:
    write(homes.one / "f", "1")
    write(homes.one / "d/g", "2")
    homes.copy("f", "a/b/f")
    homes.copy("d", "x/y/z")
    assert tree(homes.other)["a/b/f"] == "1"
    assert tree(homes.other)["x/y/z/g"] == "2"


def test_an_empty_path_is_the_whole_home(homes: TwoHomes) -> None:
    write(homes.one / "f", "1")
    write(homes.one / "d/g", "2")
    homes.one.chmod(0o755)
    homes.copy("", "all")
    homes.copy("", "")
    assert tree(homes.other) == {
        "all": "/",
        "all/f": "1",
        "all/d": "/",
        "all/d/g": "2",
        "f": "1",
        "d": "/",
        "d/g": "2",
    }
    assert stat.S_IMODE(homes.other.stat().st_mode) == 0o700, "a home stays closed to others"


def test_the_path_given_may_lead_through_symlinks_that_stay_inside(homes: TwoHomes) -> None:
    write(homes.one / "real/dir/f", "1")
    (homes.one / "link").symlink_to("real")
    (homes.one / "real/up").symlink_to("../real/dir")
    (homes.other / "place").mkdir()
    (homes.other / "to").symlink_to("place")
    homes.copy("link/up", "to/new")
    assert tree(homes.other / "place") == {"new": "/", "new/f": "1"}


def test_a_link_to_a_file_is_copied_as_a_link_and_replaced_as_one(homes: TwoHomes) -> None:
    write(homes.one / "f", "new", mtime_s=9)
    (homes.one / "link").symlink_to("f")
    write(homes.other / "precious", "old", mtime_s=1)
    (homes.other / "f").symlink_to("precious")
    homes.copy("link", "copied")
    homes.copy("f", "f")
    assert tree(homes.other) == {"precious": "old", "f": "new", "copied": "-> f"}


# What is refused


@pytest.mark.parametrize(
    "path", ["..", "../x", "a/../../x", "/..", "src/../../../x", "out", "out/passwd", "up", "up/x"]
)
def test_paths_that_leave_are_refused(homes: TwoHomes, path: str) -> None:
    for home in (homes.one, homes.other):
        (home / "out").symlink_to("/etc")
        (home / "up").symlink_to("../..")
    write(homes.one / "f")
    with pytest.raises(InvalidArgument, match=r"^source path must be contained in project home dir$"):
        homes.copy(path, "x")
    with pytest.raises(InvalidArgument, match=r"^target path must be contained in target project home dir$"):
        homes.copy("f", path)


@pytest.mark.parametrize("path", ["nope", "/etc/hostname", "d/nope", "dangling"])
def test_a_missing_source_is_named_as_it_was_given(homes: TwoHomes, path: str) -> None:
    (homes.one / "d").mkdir()
    (homes.one / "dangling").symlink_to("gone")
    with pytest.raises(NotFound) as caught:
        homes.copy(path, "x")
    assert caught.value.message == f"ENOENT: no such file or directory, stat '{path}'"
    assert tree(homes.other) == {}


@pytest.mark.parametrize("path", ["a\0b", "\ud800", "x" * 5000, "y" * 300])
def test_what_is_no_path_is_refused(homes: TwoHomes, path: str) -> None:
    write(homes.one / "f")
    with pytest.raises(InvalidArgument):
        homes.copy(path, "x")
    with pytest.raises(InvalidArgument):
        homes.copy("f", path)


def test_symlinks_in_a_circle_are_refused(homes: TwoHomes) -> None:
    (homes.one / "circle").symlink_to("circle")
    with pytest.raises(InvalidArgument, match="symlinks"):
        homes.copy("circle", "x")


@pytest.mark.parametrize("target", ["src/inner", "src/inner/new", "src/new", "src/a/b/c", "link/new"])
def test_a_directory_is_not_copied_into_itself(homes: TwoHomes, target: str) -> None:
    write(homes.other / "src/f")
    (homes.other / "src/inner").mkdir()
    (homes.other / "link").symlink_to("src/inner")
    before = tree(homes.other)
    with pytest.raises(InvalidArgument, match="into itself"):
        homes.copy_within("src", target)
    assert tree(homes.other) == before


def test_a_directory_is_not_copied_over_its_parent_when_that_would_delete_it(homes: TwoHomes) -> None:
    write(homes.other / "top/inner/f")
    with pytest.raises(InvalidArgument, match="delete the source"):
        homes.copy_within("top/inner", "top", delete_missing=True)
    homes.copy_within("top/inner", "top")
    assert (homes.other / "top/f").exists()


@pytest.mark.parametrize(("source", "target"), [("d", "d"), ("d/f", "d/f"), ("d/f", "d"), ("d", "link"), ("", "/")])
def test_copying_to_the_same_place_does_nothing(homes: TwoHomes, source: str, target: str) -> None:
    write(homes.other / "d/f", "1")
    (homes.other / "link").symlink_to("d")
    before = (homes.other / "d/f").stat()
    summary = homes.copy_within(source, target, overwrite_newer=True, delete_missing=True, backup=True)
    assert summary.files == 0
    assert (homes.other / "d/f").stat() == before


# What is kept, replaced, deleted


def test_newer_files_are_kept_counted_and_named(homes: TwoHomes) -> None:
    for number in range(102):
        write(homes.one / f"src/d/{number}", "source", mtime_s=10)
        write(homes.other / f"dst/d/{number}", "target", mtime_s=11)
    write(homes.one / "src/older", "source", mtime_s=10)
    write(homes.other / "dst/older", "target", mtime_s=9)
    summary = homes.copy("src", "dst")
    assert (summary.kept_newer, summary.files) == (102, 1)
    assert len(summary.kept_newer_paths) == 100
    assert set(summary.kept_newer_paths) < {f"dst/d/{number}" for number in range(102)}
    assert tree(homes.other)["dst/d/7"] == "target"
    assert tree(homes.other)["dst/older"] == "source"
    assert homes.copy("src", "dst", overwrite_newer=True).files == 102
    assert tree(homes.other)["dst/d/7"] == "source"


def test_the_name_of_a_single_newer_file(homes: TwoHomes) -> None:
    write(homes.one / "f", "source", mtime_s=10)
    write(homes.other / "a/b/f", "target", mtime_s=11)
    assert homes.copy("f", "a/b").kept_newer_paths == ("a/b/f",)


def test_times_count_to_the_nanosecond(homes: TwoHomes) -> None:
    os.utime(write(homes.one / "f", "source"), ns=(5, 1_000_000_001))
    os.utime(write(homes.other / "f", "target"), ns=(5, 1_000_000_002))
    assert homes.copy("f", "f").kept_newer == 1
    os.utime(homes.other / "f", ns=(5, 1_000_000_001))
    assert homes.copy("f", "f").unchanged == 1
    os.utime(homes.other / "f", ns=(5, 1_000_000_000))
    assert homes.copy("f", "f").files == 1


def test_an_unchanged_file_gets_a_changed_mode(homes: TwoHomes) -> None:
    write(homes.one / "src/f", mode=0o600)
    homes.copy("src", "dst")
    (homes.one / "src/f").chmod(0o755)
    assert homes.copy("src", "dst").unchanged == 1
    assert stat.S_IMODE((homes.other / "dst/f").stat().st_mode) == 0o755


def test_delete_missing_deletes_what_the_source_has_not(homes: TwoHomes) -> None:
    write(homes.one / "src/f", "1")
    (homes.one / "src/empty").mkdir()
    write(homes.other / "dst/newer", mtime_s=4_000_000_000)
    write(homes.other / "dst/gone/deep/er")
    write(homes.other / "dst/empty/too")
    (homes.other / "dst/link").symlink_to("/etc/passwd")
    write(homes.other / "dst/f.log")
    write(homes.other / "beside")
    summary = homes.copy("src", "dst", delete_missing=True, exclude=("*.log",))
    assert tree(homes.other) == {
        "dst": "/",
        "dst/f": "1",
        "dst/empty": "/",
        "dst/f.log": "x",
        "beside": "x",
    }
    assert summary.deleted == 6


def test_delete_missing_keeps_what_is_excluded_deep_inside(homes: TwoHomes) -> None:
    (homes.one / "src").mkdir()
    write(homes.other / "dst/old/a/keep.log")
    write(homes.other / "dst/old/a/drop")
    write(homes.other / "dst/old/b/drop")
    summary = homes.copy("src", "dst", delete_missing=True, exclude=("*.log",))
    assert tree(homes.other / "dst") == {"old": "/", "old/a": "/", "old/a/keep.log": "x"}
    assert summary.deleted == 3


def test_backup_keeps_what_is_replaced_or_deleted(homes: TwoHomes) -> None:
    write(homes.one / "src/f", "new", mtime_s=10)
    (homes.one / "src/link").symlink_to("new")
    write(homes.other / "dst/f", "old", mtime_s=9)
    write(homes.other / "dst/f~", "older")
    write(homes.other / "dst/gone/g", "old")
    (homes.other / "dst/link").symlink_to("old")
    summary = homes.copy("src", "dst", backup=True, delete_missing=True)
    assert tree(homes.other / "dst") == {
        "f": "new",
        "f~": "old",
        "link": "-> new",
        "link~": "-> old",
        "gone": "/",
        "gone/g~": "old",
    }
    assert summary.backed_up == 3
    again = homes.copy("src", "dst", backup=True, delete_missing=True)
    assert (again.files, again.backed_up, again.deleted) == (0, 0, 0)


def test_exclude_leaves_out(homes: TwoHomes) -> None:
    for name in ("a.pyc", "a.py", "build/x", "deep/build/y", "deep/a.pyc", "deep/z"):
        write(homes.one / "src" / name)
    homes.copy("src", "dst", exclude=("*.pyc", "/build/"))
    assert sorted(tree(homes.other / "dst")) == ["a.py", "deep", "deep/build", "deep/build/y", "deep/z"]
    homes.copy("src/a.pyc", "x.pyc", exclude=("*.pyc",))
    assert not (homes.other / "x.pyc").exists()


# When kinds differ


def test_a_file_takes_the_place_of_an_empty_directory_only(homes: TwoHomes) -> None:
    write(homes.one / "src/a", "1")
    write(homes.one / "src/b", "2")
    write(homes.one / "src/c", "3")
    (homes.other / "dst/a").mkdir(parents=True)
    write(homes.other / "dst/b/full")
    with pytest.raises(Conflict, match=r"'dst/b'.*delete_missing"):
        homes.copy("src", "dst")
    assert tree(homes.other / "dst") == {"a": "/", "b": "/", "b/full": "x"}
    homes.copy("src", "dst", delete_missing=True)
    assert tree(homes.other / "dst") == {"a": "1", "b": "2", "c": "3"}


def test_a_file_does_not_take_the_place_of_what_has_to_stay(homes: TwoHomes) -> None:
    write(homes.one / "src/b", "2")
    write(homes.other / "dst/b/keep.log")
    write(homes.other / "dst/b/drop")
    with pytest.raises(Conflict, match="'dst/b'"):
        homes.copy("src", "dst", delete_missing=True, exclude=("*.log",))
    assert tree(homes.other / "dst") == {"b": "/", "b/keep.log": "x", "b/drop": "x"}


def test_a_directory_takes_the_place_of_what_is_no_directory(homes: TwoHomes) -> None:
    for name in ("file", "link", "fifo"):
        write(homes.one / "src" / name / "f", "1")
    write(homes.other / "dst/file", mtime_s=4_000_000_000)
    (homes.other / "dst/link").symlink_to("/etc")
    os.mkfifo(homes.other / "dst/fifo")
    homes.copy("src", "dst", backup=True)
    found = tree(homes.other / "dst")
    assert [found[f"{name}/f"] for name in ("file", "link", "fifo")] == ["1", "1", "1"]
    assert [found[f"{name}~"] for name in ("file", "link", "fifo")] == ["x", "-> /etc", "special"]


def test_a_directory_is_not_copied_to_the_name_of_a_file(homes: TwoHomes) -> None:
    write(homes.one / "src/f")
    write(homes.other / "file", "old")
    (homes.other / "dangling").symlink_to("gone")
    for target in ("file", "file/deeper", "dangling", "dangling/deeper"):
        with pytest.raises(Conflict, match=f"'{target}'"):
            homes.copy("src", target)
    assert tree(homes.other) == {"file": "old", "dangling": "-> gone"}


# What a copy looks like


def test_modes_and_times_are_kept_but_not_the_rights_of_another_owner(homes: TwoHomes) -> None:
    write(homes.one / "src/f", mode=0o640)
    write(homes.one / "src/suid", mode=0o6755)
    (homes.one / "src/link").symlink_to("f")
    (homes.one / "src/sticky").mkdir()
    (homes.one / "src/sticky").chmod(0o3777)
    (homes.one / "src").chmod(0o751)
    ns = 1_234_567_890_123_456_789
    for path in (*homes.one.rglob("src/*"), homes.one / "src"):
        os.utime(path, ns=(ns, ns), follow_symlinks=False)
    (homes.other / "merged").mkdir()
    for target in ("new", "merged"):
        homes.copy("src", target)
        modes = {path.name: stat.S_IMODE(path.lstat().st_mode) for path in (homes.other / target).iterdir()}
        assert modes == {"f": 0o640, "suid": 0o755, "link": 0o777, "sticky": 0o1777}
        assert stat.S_IMODE((homes.other / target).stat().st_mode) == 0o751
        for path in (*(homes.other / target).iterdir(), homes.other / target):
            assert path.lstat().st_mtime_ns == ns, path


def test_names_are_any_bytes(homes: TwoHomes) -> None:
    names = [b"\xff\xfe", "ü".encode(), b"new\nline", b" ", b"-rf", b"*", b"a" * 255]
    os.mkdir(os.fsencode(homes.one) + b"/\xff")
    for name in names:
        with open(os.fsencode(homes.one) + b"/\xff/" + name, "wb") as file:
            file.write(name)
    homes.copy(os.fsdecode(b"\xff"), "dst")
    assert sorted(os.listdir(os.fsencode(homes.other / "dst"))) == sorted(names)
    write(homes.other / "dst" / os.fsdecode(names[0]), "new", mtime_s=4_000_000_000)
    assert homes.copy(os.fsdecode(b"\xff"), "dst").kept_newer_paths == ("dst/\\xff\\xfe",)


def test_special_files_are_skipped_and_counted(homes: TwoHomes) -> None:
    write(homes.one / "src/f")
    os.mkfifo(homes.one / "src/fifo")
    with socket.socket(socket.AF_UNIX) as server:
        where = os.open(homes.one / "src", os.O_PATH)
        server.bind(f"/proc/self/fd/{where}/socket")
        os.close(where)
    for _ in ("new", "merged"):
        summary = homes.copy("src", "dst")
        assert summary.skipped == 2
    assert tree(homes.other) == {"dst": "/", "dst/f": "x"}
    assert homes.copy("src/fifo", "fifo").skipped == 1


def test_holes_stay_holes(homes: TwoHomes) -> None:
    with open(homes.one / "sparse", "wb") as file:
        file.seek(50_000_000)
        file.write(b"middle")
        file.truncate(100_000_000)
    summary = homes.copy("sparse", "sparse")
    copied = homes.other / "sparse"
    assert summary.bytes == copied.stat().st_size == 100_000_000
    assert copied.stat().st_blocks * 512 < 1_000_000
    with open(copied, "rb") as file:
        file.seek(49_999_999)
        assert file.read(8) == b"\0middle\0"


@pytest.mark.parametrize("size", [0, 1, 131_072, 131_073, 17_000_000])
def test_contents_of_any_size(homes: TwoHomes, size: int) -> None:
    content = os.urandom(size)
    write(homes.one / "f", content)
    assert homes.copy("f", "f").bytes == size
    assert (homes.other / "f").read_bytes() == content


def test_deep_trees_need_few_descriptors_and_no_stack(homes: TwoHomes) -> None:
    deep = "/".join(["d"] * 1500)
    make_deep(homes.one, 1500)
    write_at(homes.one, f"{deep}/f", b"1")
    homes.copy("", "new")
    homes.copy("", "new")
    assert homes.copy(f"{deep}/f", "f").files == homes.copy_within(f"new/{deep}/f", "f", overwrite_newer=True).unchanged
    (homes.other / "empty").mkdir()
    assert homes.copy_within("empty", "new", delete_missing=True).deleted == 1501


def test_a_tree_that_is_too_deep_to_name_is_refused_and_can_be_deleted(homes: TwoHomes) -> None:
    make_deep(homes.one, 2500)
    with pytest.raises(InvalidArgument, match="too long"):
        homes.copy("", "new")
    (homes.other / "deeper").mkdir()
    make_deep(homes.other / "deeper", 2500)
    subprocess.run(["rm", "-rf", homes.one / "d"], check=True)
    assert homes.copy("", "deeper", delete_missing=True).deleted == 2500
    homes.copy("", "", delete_missing=True)
    assert tree(homes.other) == {}


def test_the_owner_is_the_one_of_the_target(homes: TwoHomes) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives files to others")
    write(homes.one / "src/d/f")
    (homes.one / "src/link").symlink_to("d")
    homes.copy("src", "a/b/new", uid=12345)
    homes.copy("src/d/f", "a/b/new/merged", uid=12345)
    for path in (homes.other / "a").rglob("*"):
        assert (path.lstat().st_uid, path.lstat().st_gid) == (12345, 12345), path
    assert (homes.other / "a").stat().st_uid == 12345


# When it does not come to its end


def test_time_runs_out(homes: TwoHomes) -> None:
    write(homes.one / "src/f")
    with pytest.raises(CallTimeout, match=r"timeout.*after 0 s, and nothing was changed"):
        homes.copy("src", "dst", timeout_s=0)


class _Steps(Course):
    """Ends a copy at a given step."""

    def __init__(self, steps: int, error: Exception) -> None:
        super().__init__(None)
        self._steps = steps
        self._error = error

    def check(self) -> None:
        self._steps -= 1
        if self._steps < 0:
            raise self._error


@pytest.mark.parametrize("error", [CallTimeout("over"), CopyCancelledError()])
@pytest.mark.parametrize("exists", [False, True])
def test_a_copy_that_is_ended_has_changed_nothing(homes: TwoHomes, exists: bool, error: Exception) -> None:
    for number in range(12):
        write(homes.one / f"src/{number % 3}/{number}", str(number) * 200_000)
    if exists:
        write(homes.other / "dst/1/1", "old", mtime_s=1)
    before = tree(homes.other)
    for steps in itertools.count():
        try:
            homes.copy("src", "dst", course=_Steps(steps, error))
        except type(error):
            assert tree(homes.other) == before
        else:
            break
    assert tree(homes.other / "dst") == tree(homes.one / "src")
    assert steps > 8


class _Meddler(Course):
    """Somebody who does something in a home while a copy runs: at the given step."""

    def __init__(self, deed: Callable[[], object], at: int = 2) -> None:
        super().__init__(None)
        self._deed = deed
        self._steps = 0
        self._at = at

    def check(self) -> None:
        self._steps += 1
        if self._steps == self._at:
            self._deed()


@pytest.mark.parametrize("at", range(1, 8))
def test_a_directory_that_comes_into_being_meanwhile_is_merged(homes: TwoHomes, at: int) -> None:
    for target in ("new", "old/new"):
        write(homes.one / f"src/{target}/a", "1")
        write(homes.one / f"src/{target}/b", "22")
    (homes.other / "dst/old").mkdir(parents=True)
    for source, target in (("src/new", "new"), ("src/old", "dst/old")):
        new = homes.other / target if target == "new" else homes.other / target / "new"
        meddler = _Meddler(lambda: write(new / "theirs", "3"), at)  # noqa: B023 - called at once
        summary = homes.run(homes.one, source, target, course=meddler)
        found = tree(new)
        assert found.pop("theirs", "3") == "3"
        assert found == {"a": "1", "b": "22"}
        assert (summary.files, summary.bytes) == (2, 3)


@pytest.mark.parametrize("backup", [False, True])
@pytest.mark.parametrize("at", range(1, 6))
def test_a_file_that_comes_into_being_where_a_directory_goes(homes: TwoHomes, backup: bool, at: int) -> None:
    write(homes.one / "src/dir/a", "1")
    write(homes.one / "src/dir/b", "2")
    (homes.other / "dst").mkdir()
    meddler = _Meddler(lambda: write(homes.other / "dst/dir", "theirs"), at)
    homes.copy("src", "dst", course=meddler, backup=backup)
    replaced = {"dir": "/", "dir/a": "1", "dir/b": "2", **({"dir~": "theirs"} if backup else {})}
    assert tree(homes.other / "dst") == replaced


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("at", range(1, 8))
def test_what_vanishes_meanwhile_is_no_failure(homes: TwoHomes, exists: bool, at: int) -> None:
    for name in "abc":
        write(homes.one / f"src/{name}/f")
        write(homes.one / f"src/{name}{name}")
    if exists:
        (homes.other / "dst").mkdir()
    meddler = _Meddler(lambda: [shutil.rmtree(homes.one / "src" / name) for name in "abc"], at)
    homes.copy("src", "dst", course=meddler)
    assert set(tree(homes.other).values()) <= {"/", "x"}


def test_a_target_that_is_moved_into_its_source_meanwhile_ends_well(homes: TwoHomes) -> None:
    for name in ("src/a/f", "src/b/f", "src/z/f", "dst/a/f"):
        write(homes.other / name)
    before = tree(homes.other / "dst")
    for at in range(1, 9):
        meddler = _Meddler(lambda: (homes.other / "dst").rename(homes.other / "src/z/dst"), at)
        with contextlib.suppress(Conflict, InvalidArgument):
            homes.copy_within("src", "dst", course=meddler)
        assert tree(homes.other / "src/z/dst") in (before, tree(homes.other / "src"))
        shutil.rmtree(homes.other / "dst", ignore_errors=True)
        (homes.other / "src/z/dst").rename(homes.other / "dst")


def test_an_unreadable_file_is_named_and_nothing_is_copied(homes: TwoHomes) -> None:
    write(homes.one / "src/a", "1")
    write(homes.one / "src/d/secret", "2", mode=0o000)
    write(homes.one / "src/closed/f", "3")
    (homes.one / "src/closed").chmod(0o000)
    (homes.other / "merged").mkdir()
    for path, culprit in (("src/d", "src/d/secret"), ("src", "src/closed")):
        for target in ("new", "merged"):
            with pytest.raises(PermissionDenied, match=f"cannot read '{culprit}': permission denied"):
                as_plain_user(homes.one.parents[1], lambda: homes.copy(path, target))  # noqa: B023 - called at once
            assert tree(homes.other) == {"merged": "/"}


def test_a_plain_user_copies_directories_that_he_may_not_write_to(homes: TwoHomes) -> None:
    write(homes.one / "src/ro/deep/f", "1")
    for name in ("src/ro/deep", "src/ro", "src"):
        (homes.one / name).chmod(0o555)
    top = homes.one.parents[1]
    as_plain_user(top, lambda: homes.copy("src", "new"))
    (homes.one / "src/ro/deep").chmod(0o755)
    write(homes.one / "src/ro/deep/g", "2")
    (homes.one / "src/ro/deep").chmod(0o555)
    as_plain_user(top, lambda: homes.copy("src", "new"))
    assert tree(homes.other / "new") == {"ro": "/", "ro/deep": "/", "ro/deep/f": "1", "ro/deep/g": "2"}
    for name in ("new", "new/ro", "new/ro/deep"):
        assert stat.S_IMODE((homes.other / name).stat().st_mode) == 0o555
    (homes.one / "empty").mkdir()
    as_plain_user(top, lambda: homes.copy("empty", "new", delete_missing=True))
    assert tree(homes.other / "new") == {}


def test_a_full_disk_says_so() -> None:
    for code in (errno.ENOSPC, errno.EDQUOT):
        failure = unwritable(OSError(code, "full"), "dst/f")
        assert isinstance(failure, LimitError)
        assert "'dst/f'" in failure.message


def test_texts_hold_no_path_of_the_server(homes: TwoHomes) -> None:
    write(homes.one / "f")
    write(homes.one / "src/f/g")
    write(homes.other / "dst/f")
    write(homes.other / "f/g")
    for source, target in [("nope", "x"), ("f", "dst/f/x"), ("..", "x"), ("f", "../x"), ("src", "dst/f"), ("f", "f")]:
        try:
            homes.copy(source, target)
        except (NotFound, InvalidArgument, Conflict) as error:
            assert str(homes.one.parents[1]) not in error.message
            assert "/home" not in error.message


def test_copies_to_one_target_at_the_same_time(homes: TwoHomes) -> None:
    for number in range(200):
        write(homes.one / f"one/d{number % 5}/{number}", "1" * 3000)
        write(homes.one / f"two/d{number % 7}/{number}", "2" * 3000)
    failures: list[BaseException] = []
    start = threading.Barrier(4)

    def copy(source: str) -> None:
        try:
            start.wait(10)
            copy_path(
                End(homes.one, source),
                End(homes.other, "dst"),
                options=CopyOptions(overwrite_newer=True),
                uid=None,
                course=Course(30),
            )
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=copy, args=(source,)) for source in ("one", "two", "one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    found = tree(homes.other / "dst")
    assert set(found) == set(tree(homes.one / "one")) | set(tree(homes.one / "two"))
    assert set(found.values()) == {"/", "1" * 3000, "2" * 3000}
    assert os.listdir(homes.staging) == []
