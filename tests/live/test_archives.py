"""Homes as archives, and back: every kind of file, and files that change or fight back meanwhile."""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from projecthub.errors import InternalError, NotFound
from projecthub.files.archives import archive, has_zstd, unpack

HOSTILE_NAMES = [
    b"-rf",
    b"--help",
    b"a\nb",
    b"\xff\xfe",
    b"tab\t",
    b"*",
    b" ",
    b"\x1b[31m",
    b"x" * 255,
    "日本".encode(),
]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make files of other users")


def new_home(path: Path, uid: int | None = None) -> Path:
    path.mkdir(mode=0o700)
    if uid is not None:
        os.chown(path, uid, uid)
    return path


def described(root: Path) -> dict[bytes, Any]:
    """Everything of a tree that a copy must keep; owners aside."""
    found: dict[bytes, Any] = {}
    names: dict[int, bytes] = {}
    for directory, directories, files in os.walk(os.fsencode(root)):
        for name in sorted([*directories, *files, b"."]):
            path = os.path.join(directory, name)
            status = os.lstat(path)
            content: Any = None
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                content = (Path(os.fsdecode(path)).read_bytes(), os.listxattr(path, follow_symlinks=False))
            relative = os.path.relpath(path, os.fsencode(root))
            same = names.setdefault(status.st_ino, relative) if status.st_nlink > 1 and files else relative
            found[relative] = (stat.filemode(status.st_mode), status.st_mtime_ns, content, same)
    return found


def fill(home: Path) -> None:
    (home / "sub" / "deep").mkdir(parents=True)
    (home / "sub" / "file").write_text("content")
    (home / "sub" / "private").write_text("mine")
    (home / "sub" / "private").chmod(0o400)
    (home / "program").write_text("#!/bin/sh")
    (home / "program").chmod(0o4755)
    (home / "to-file").symlink_to("sub/file")
    (home / "outside").symlink_to("/etc/passwd")
    (home / "upwards").symlink_to("../../..")
    (home / "dangling").symlink_to("nowhere")
    os.link(home / "sub" / "file", home / "linked")
    os.mkfifo(home / "pipe")
    for name in HOSTILE_NAMES:
        Path(os.fsdecode(os.fsencode(home) + b"/" + name)).write_bytes(name)
    os.utime(home / "sub" / "file", ns=(1, 1_234_567_890_123_456_789))
    (home / "sub" / "closed").mkdir()
    (home / "sub" / "closed" / "in").write_text("x")
    (home / "sub" / "closed").chmod(0o500)
    os.utime(home / "sub", ns=(1, 987_654_321_000_000_001))
    home.chmod(0o750)


@pytest.mark.parametrize(
    "compressed", [False, pytest.param(True, marks=pytest.mark.skipif(not has_zstd(), reason="zstd"))]
)
async def test_everything_comes_back(tmp_path: Path, compressed: bool) -> None:
    home, again = new_home(tmp_path / "home"), new_home(tmp_path / "again")
    fill(home)
    written = await archive(home, tmp_path / "a.tar", compressed=compressed)
    assert (written.troubles, written.notes) == (0, ())
    assert written.bytes == (tmp_path / "a.tar").stat().st_size
    assert stat.S_IMODE((tmp_path / "a.tar").stat().st_mode) == 0o600
    assert await unpack(tmp_path / "a.tar", again, uid=None, compressed=compressed) == ()
    assert described(again) == described(home)
    assert (again / "linked").samefile(again / "sub" / "file")


async def test_holes_and_attributes(tmp_path: Path) -> None:
    home, again = new_home(tmp_path / "home"), new_home(tmp_path / "again")
    with (home / "sparse").open("wb") as file:
        file.truncate(1 << 30)
        file.seek(500_000_000)
        file.write(b"island")
    (home / "marked").write_text("x")
    try:
        os.setxattr(home / "marked", "user.note", b"\x00\xffvalue")
    except OSError:
        pytest.skip("this file system has no extended attributes")
    written = await archive(home, tmp_path / "a.tar", compressed=False)
    assert written.bytes < 1_000_000
    await unpack(tmp_path / "a.tar", again, uid=None, compressed=False)
    status = (again / "sparse").stat()
    assert status.st_size == 1 << 30
    assert status.st_blocks * 512 < 1_000_000
    with (again / "sparse").open("rb") as file:
        file.seek(500_000_000)
        assert file.read(6) == b"island"
    assert os.getxattr(again / "marked", "user.note") == b"\x00\xffvalue"


async def test_a_socket_is_left_out_without_a_word(tmp_path: Path) -> None:
    home = new_home(tmp_path / "home")
    os.mknod(home / "socket", stat.S_IFSOCK | 0o600)
    assert (await archive(home, tmp_path / "a.tar", compressed=False)).troubles == 0


async def test_a_home_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        await archive(tmp_path / "none", tmp_path / "a.tar", compressed=False)
    (tmp_path / "link").symlink_to("/etc")
    with pytest.raises(NotFound):
        await archive(tmp_path / "link", tmp_path / "a.tar", compressed=False)
    assert not (tmp_path / "a.tar").exists()


async def test_a_home_that_changes_while_it_is_read(tmp_path: Path) -> None:
    home, again = new_home(tmp_path / "home"), new_home(tmp_path / "again")
    (home / "steady").mkdir()
    for number in range(200):
        (home / "steady" / str(number)).write_text(str(number))
    ended = threading.Event()

    def churn() -> None:
        turn = 0
        while not ended.is_set():
            turn += 1
            directory = home / f"d{turn % 50}"
            directory.mkdir(exist_ok=True)
            for number in range(20):
                (directory / f"{number}").write_bytes(b"x" * (turn % 7 * 100_000))
            other = home / f"d{(turn + 25) % 50}"
            for path in list(other.iterdir()) if other.is_dir() else []:
                path.unlink()
            if other.is_dir():
                other.rmdir()

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for number in range(5):
            await archive(home, tmp_path / f"{number}.tar", compressed=False)
    finally:
        ended.set()
        thread.join()
    await unpack(tmp_path / "4.tar", again, uid=None, compressed=False)
    assert [(again / "steady" / str(n)).read_text() for n in range(200)] == [str(n) for n in range(200)]


async def test_a_directory_swapped_with_a_symlink_shows_nothing_of_others(tmp_path: Path) -> None:
    home = new_home(tmp_path / "home")
    secret = tmp_path / "secret"
    secret.mkdir()
    for number in range(200):
        (secret / f"s{number}").write_text("THE SECRET")
        (home / "d").mkdir(exist_ok=True)
        (home / "d" / f"s{number}").write_text("own")
    (home / "link").symlink_to(secret)
    ended = threading.Event()

    def swap() -> None:
        while not ended.is_set():
            for one, other in (("d", "kept"), ("link", "d"), ("d", "link"), ("kept", "d")):
                (home / one).rename(home / other)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for number in range(20):
            await archive(home, tmp_path / f"{number}.tar", compressed=False)
            assert b"THE SECRET" not in (tmp_path / f"{number}.tar").read_bytes()
    finally:
        ended.set()
        thread.join()


@as_root
async def test_all_belongs_to_the_new_user(tmp_path: Path) -> None:
    home, again = new_home(tmp_path / "home", 70_001), new_home(tmp_path / "again")
    fill(home)
    for directory, directories, files in os.walk(os.fsencode(home)):
        for name in [*directories, *files]:
            path = os.path.join(directory, name)
            mode = os.lstat(path).st_mode
            os.lchown(path, 70_001, 70_001)
            if not stat.S_ISLNK(mode):
                os.chmod(path, stat.S_IMODE(mode))
    tmp_path.chmod(0o700)  # as the hub's directories: not for the project's user
    await archive(home, tmp_path / "a.tar", compressed=False)
    assert await unpack(tmp_path / "a.tar", again, uid=70_002, compressed=False) == ()
    assert described(again) == described(home)
    owners = {os.lstat(os.path.join(d, name)).st_uid for d, ds, fs in os.walk(again) for name in [*ds, *fs, "."]}
    assert owners == {70_002}


@as_root
async def test_an_archive_cannot_write_outside_of_its_home(tmp_path: Path) -> None:
    victim = new_home(tmp_path / "victim")
    victim.chmod(0o777)  # only that nothing follows the link keeps others out of it
    again = new_home(tmp_path / "again")
    first, second = new_home(tmp_path / "first"), new_home(tmp_path / "second")
    (first / "d").symlink_to(victim)
    (second / "d").mkdir()
    (second / "d" / "planted").write_text("x")
    await archive(first, tmp_path / "1.tar", compressed=False)
    await archive(second, tmp_path / "2.tar", compressed=False)
    # As if a project had swapped them while it was read: one archive with a symlink, and then files beneath its name.
    both = (tmp_path / "1.tar").read_bytes().rstrip(b"\0")
    both += b"\0" * (-len(both) % 512)
    (tmp_path / "both.tar").write_bytes(both + (tmp_path / "2.tar").read_bytes())
    notes = await unpack(tmp_path / "both.tar", again, uid=70_003, compressed=False)
    assert notes or (again / "d" / "planted").exists()  # the second half was seen
    assert list(victim.iterdir()) == []


async def test_damaged_archives_are_told(tmp_path: Path) -> None:
    again = new_home(tmp_path / "again")
    (tmp_path / "a.tar").write_bytes(b"this is no archive " * 1000)
    with pytest.raises(InternalError, match="could not be restored"):
        await unpack(tmp_path / "a.tar", again, uid=None, compressed=False)


async def test_a_cancelled_archive_leaves_no_process(tmp_path: Path) -> None:
    home = new_home(tmp_path / "home")
    with (home / "large").open("wb") as file:
        for _ in range(200):
            file.write(os.urandom(1_000_000))
    task = asyncio.create_task(archive(home, tmp_path / "a.tar", compressed=False))
    while not (tmp_path / "a.tar").exists() or (tmp_path / "a.tar").stat().st_size == 0:
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()
    assert not any("tar" in Path(f"/proc/{pid}/comm").read_text() for pid in children)


async def test_a_path_too_long_for_the_kernel_is_told_and_the_rest_comes_back(tmp_path: Path) -> None:
    home, again = new_home(tmp_path / "home"), new_home(tmp_path / "again")
    (home / "file").write_text("content")
    fd = os.open(home, os.O_RDONLY)
    for _ in range(30):
        os.mkdir("d" * 200, dir_fd=fd)
        deeper = os.open("d" * 200, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = deeper
    os.close(fd)
    await archive(home, tmp_path / "a.tar", compressed=False)
    notes = await unpack(tmp_path / "a.tar", again, uid=None, compressed=False)
    assert (again / "file").read_text() == "content"
    assert any("File name too long" in note for note in notes)
    assert all(len(note) < 600 for note in notes)
