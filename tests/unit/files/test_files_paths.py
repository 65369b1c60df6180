from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from two_homes import TwoHomes, tree, write

from projecthub.errors import HubError, InvalidArgument
from projecthub.files.paths import (
    LeavesHomeError,
    PendingDirectories,
    is_within,
    open_beneath,
    open_by_hand,
    open_by_kernel,
    reduced,
    set_mode,
    shown,
)

Opener = Callable[..., int]

NAMES = ["a", "b", "file", "missing", "down", "up", "out", "root", "circle", "around", "dangling", "tofile"]
PARTS = st.sampled_from([*NAMES, "..", ".", "", "...", "~", " ", "\\", "%2e%2e", "..\0", "\udcff", "\ud800"])
PATHS = st.lists(PARTS, max_size=7).map("/".join) | st.text(max_size=12)


def furnish(home: Path) -> None:
    """Directories and links of every kind."""
    write(home / "a/b/file", "inside")
    write(home / "file", "inside")
    for where in (home, home / "a", home / "a/b"):
        (where / "down").symlink_to("a/b")
        (where / "up").symlink_to("..")
        (where / "out").symlink_to("../../outside")
        (where / "root").symlink_to("/")
        (where / "circle").symlink_to("circle")
        (where / "around").symlink_to("../home/a")
        (where / "dangling").symlink_to("nowhere/at/all")
        (where / "tofile").symlink_to("./file")


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("furnished") / "one" / "home"
    furnish(home)
    write(home.parent.parent / "outside/file", "SECRET")
    return home


@given(path=PATHS)
def test_a_reduced_path_stays_beneath(path: str) -> None:
    try:
        short = reduced(path)
    except (LeavesHomeError, InvalidArgument):
        return
    assert not short.startswith("/")
    assert not {"", ".", ".."} & set(short.split("/")) or not short
    assert reduced(short) == short
    assert os.path.normpath(f"/{path.lstrip('/')}") == f"/{short}"


@settings(deadline=None)
@given(path=PATHS, follow=st.booleans(), flags=st.sampled_from([os.O_PATH, os.O_RDONLY, os.O_RDONLY | os.O_DIRECTORY]))
def test_kernel_and_hand_open_the_same(furnished: Path, path: str, follow: bool, flags: int) -> None:
    try:
        path = reduced(path)
    except (LeavesHomeError, InvalidArgument):
        return
    outcomes = [_outcome(opener, furnished, path, flags, follow) for opener in (open_by_kernel, open_by_hand)]
    assert outcomes[0] == outcomes[1]
    if isinstance(outcomes[0], Path):
        assert outcomes[0] == furnished or furnished in outcomes[0].parents


def _outcome(opener: Opener, home: Path, path: str, flags: int, follow: bool) -> object:
    root_fd = os.open(home, os.O_PATH)
    try:
        fd = opener(root_fd, path, flags, follow=follow)
    except (LeavesHomeError, OSError) as error:
        # A symlink that may not be followed is ELOOP; where only a directory will do, the kernel may say so first.
        return type(error).__name__ if follow else "refused"
    finally:
        os.close(root_fd)
    try:
        assert not os.get_inheritable(fd)
        return Path(os.readlink(f"/proc/self/fd/{fd}"))
    finally:
        os.close(fd)


@pytest.mark.parametrize("opener", [open_beneath, open_by_kernel, open_by_hand])
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("out/file", LeavesHomeError),
        ("root", LeavesHomeError),
        ("a/b/up/up/up", LeavesHomeError),
        ("circle", OSError),
        ("dangling", FileNotFoundError),
        ("file/x", NotADirectoryError),
        ("down/file", "a/b/file"),
        ("down/up/up/tofile", "file"),
        ("", ""),
    ],
)
def test_where_links_lead(furnished: Path, opener: Opener, path: str, expected: str | type[Exception]) -> None:
    root_fd = os.open(furnished, os.O_PATH)
    try:
        if not isinstance(expected, str):
            with pytest.raises(expected):
                opener(root_fd, path, os.O_PATH, follow=True)
            return
        fd = opener(root_fd, path, os.O_PATH, follow=True)
        assert os.path.samestat(os.fstat(fd), (furnished / expected).stat())
        os.close(fd)
    finally:
        os.close(root_fd)


@settings(deadline=None)
@given(source=PATHS, target=PATHS)
def test_no_path_escapes(tmp_path_factory: pytest.TempPathFactory, source: str, target: str) -> None:
    top = tmp_path_factory.mktemp("copy")
    homes = TwoHomes(top / "one" / "home", top / "other" / "home")
    furnish(homes.one)
    furnish(homes.other)
    write(top / "outside/file", "SECRET")
    before = {name: tree(top / name) for name in ("outside", "one")}
    try:
        homes.copy(source, target)
    except HubError as error:
        assert str(top) not in error.message
        error.message.encode()
    assert {name: tree(top / name) for name in ("outside", "one")} == before
    assert set(os.listdir(top)) == {"one", "other", "outside"}
    assert set(os.listdir(top / "other")) <= {"home", "staging", "copies"}
    assert "SECRET" not in tree(homes.other).values()


def test_shown_paths_are_valid_text() -> None:
    assert shown(os.fsdecode(b"a/\xff\xc3\xbc")) == "a/\\xff\u00fc"


def test_pending_directories_are_visited_depth_first() -> None:
    below = {"": ["a", "b"], "b": ["x"], "b/x": ["y"], "a": ["z"]}
    pending = PendingDirectories()
    visited = []
    for parent, name in pending:
        path = f"{parent}/{name}".strip("/")
        visited.append(path)
        pending.add(path, list(below.get(path, [])))
    assert visited == ["", "b", "b/x", "b/x/y", "a", "a/z"]


def test_is_within(tmp_path: Path) -> None:
    (tmp_path / "home/a/b").mkdir(parents=True)
    (tmp_path / "home/c").mkdir()
    home, ancestor = (tmp_path / "home").stat(), (tmp_path / "home/a").stat()
    for name, expected in {"a": True, "a/b": True, "c": False, "": False}.items():
        fd = os.open(tmp_path / "home" / name, os.O_PATH)
        assert is_within(fd, ancestor, home) is expected
        os.close(fd)


def test_set_mode_does_not_follow(tmp_path: Path) -> None:
    write(tmp_path / "file", mode=0o000)
    (tmp_path / "link").symlink_to("file")
    fd = os.open(tmp_path, os.O_PATH)
    set_mode(fd, "file", 0o640)
    with pytest.raises(OSError, match="symbolic links"):
        set_mode(fd, "link", 0o777)
    os.close(fd)
    assert (tmp_path / "file").stat().st_mode & 0o7777 == 0o640
