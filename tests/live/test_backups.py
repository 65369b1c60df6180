"""Backups by themselves: what is in them, what is refused, and a hub that does not run as root."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from projecthub.errors import Conflict, InvalidArgument
from projecthub.hub.backups import MANIFEST, back_up, restore
from projecthub.hub.clock import SystemClock
from projecthub.store import open_store
from projecthub.store.records import HomeSnapshot, HomeSnapshots
from projecthub.wire.ids import ProjectId

PROJECT = ProjectId("a11a0000-0000-4000-8000-000000000001")
UNUSED = ProjectId("b22b0000-0000-4000-8000-000000000002")


@contextlib.contextmanager
def unwatched(text: str, total: int) -> Iterator[Callable[[], None]]:
    yield lambda: None


def url(data_dir: Path) -> str:
    return f"sqlite:///{data_dir}/hub.sqlite3"


async def small_hub(data_dir: Path) -> None:
    """A data directory with two projects, one of them with a home."""
    data_dir.mkdir()
    store = await open_store(url(data_dir), clock=SystemClock())
    async with store.write() as tx:
        for project_id in (PROJECT, UNUSED):
            await tx.projects.create(
                project_id=project_id, owner=None, title="One", description="", created_at=SystemClock().now(),
                compute_image=None, ephemeral_ms=None, site_license=None, settings=None,
            )  # fmt: skip
    await store.close()
    home = data_dir / "projects" / PROJECT / "home"
    home.mkdir(parents=True)
    (home / "file").write_text("content")
    (home.parent / "staging").mkdir()
    (data_dir / "projects" / "left over").mkdir()
    (data_dir / "admin-key").write_text("sk-the-key\n")


async def saved(place: Path, **options: Any) -> Path:
    await small_hub(place / "data")
    arguments = {"clock": SystemClock(), "compress": None, "watch": unwatched} | options
    summary = await back_up(place / "data", url(place / "data"), place / "backup", **arguments)
    assert (summary.projects, summary.homes, summary.notes) == (2, 1, [])
    return place / "backup"


async def put(backup: Path, data_dir: Path, uid_of: Callable[[int], int | None] = lambda slot: None) -> Any:
    data_dir.mkdir(exist_ok=True)
    return await restore(backup, data_dir, url(data_dir), uid_of=uid_of, watch=unwatched)


@pytest.mark.parametrize("is_older", [False, True])
async def test_a_restored_store_tells_of_no_snapshots(tmp_path: Path, is_older: bool) -> None:
    data = tmp_path / "data"
    await small_hub(data)
    values: dict[str, Any] = dict.fromkeys(("files", "bytes", "own_bytes", "skipped", "changing"), 7)
    values |= {"account_id": None, "title": "", "automatic": True, "expires_at": None}
    store = await open_store(url(data), clock=SystemClock())
    async with store.write() as tx:
        await tx.snapshots.add(HomeSnapshot(id=UNUSED, project_id=PROJECT, created_at=SystemClock().now(), **values))
        await tx.snapshots.set_used(PROJECT, 7)
    await store.close()
    if is_older:
        with contextlib.closing(sqlite3.connect(data / "hub.sqlite3")) as connection:
            connection.executescript(
                "DROP TABLE snapshots; DROP TABLE snapshot_homes; UPDATE alembic_version SET version_num = '0010'"
            )
    await back_up(data, url(data), tmp_path / "backup", clock=SystemClock(), compress=None, watch=unwatched)
    await put(tmp_path / "backup", tmp_path / "new")
    if is_older:  # to bring it up to date would make later tables anew, which are there
        with contextlib.closing(sqlite3.connect(tmp_path / "new" / "hub.sqlite3")) as connection:
            assert connection.execute("SELECT count(*) FROM projects").fetchone() == (2,)
        return
    store = await open_store(url(tmp_path / "new"), clock=SystemClock())
    async with store.read() as tx:
        assert await tx.snapshots.of_project(PROJECT) == HomeSnapshots((), 0)
    await store.close()


async def test_what_a_backup_holds(tmp_path: Path) -> None:
    backup = await saved(tmp_path, compress=False)
    names = sorted(str(path.relative_to(backup)) for path in backup.rglob("*") if path.is_file())
    assert names == ["admin-key", f"homes/{PROJECT}.tar", "manifest.json", "store.sqlite3"]
    manifest = json.loads((backup / MANIFEST).read_bytes())
    assert manifest["projects"] == {PROJECT: 1, UNUSED: 2}
    assert manifest["parts"].keys() == set(names) - {MANIFEST}
    for name, part in manifest["parts"].items():
        checked = subprocess.run(["sha256sum", backup / name], capture_output=True, text=True, check=True).stdout
        assert checked.split()[0] == part["sha256"]
        assert (backup / name).stat().st_size == part["bytes"]
    # A home can be taken out by hand.
    listed = subprocess.run(["tar", "tf", backup / f"homes/{PROJECT}.tar"], capture_output=True, text=True, check=True)
    assert listed.stdout.split() == ["./", "./file"]


async def test_what_is_restored(tmp_path: Path) -> None:
    backup = await saved(tmp_path)
    summary = await put(backup, tmp_path / "new")
    assert (summary.projects, summary.homes, summary.notes) == (2, 1, [])
    new = tmp_path / "new"
    assert sorted(path.name for path in new.iterdir()) == ["admin-key", "hub.sqlite3", "projects"]
    assert (new / "projects" / PROJECT / "home" / "file").read_text() == "content"
    assert [path.name for path in (new / "projects").iterdir()] == [PROJECT]
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in new.iterdir()}
    assert modes == {"admin-key": 0o600, "hub.sqlite3": 0o600, "projects": 0o711}
    store = await open_store(url(new), clock=SystemClock())
    async with store.read() as tx:
        assert await tx.projects.count() == 2
    await store.close()


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.update(format=2), "newer version"),
        (lambda m: m["store"].update(revision="9999"), "newer version"),
        (lambda m: m["store"].update(kind="oracle"), "no backup"),
        (lambda m: m.pop("parts"), "no backup"),
        (lambda m: m["parts"].pop("store.sqlite3"), "no backup"),
        (lambda m: m["parts"].update({"../../etc/cron.d/x": {"bytes": 1, "sha256": ""}}), "no backup"),
        (lambda m: m["parts"].update({"homes/../x.tar": {"bytes": 1, "sha256": ""}}), "no backup"),
        (lambda m: m["projects"].update({"../x": 3}), "no backup"),
        (lambda m: m["projects"].update({PROJECT: "1"}), "no backup"),
        (lambda m: m["parts"]["admin-key"].update(bytes=3), "'admin-key' is not as it was written"),
        (lambda m: m.update(compressed="yes"), "no backup"),
        (lambda m: m.update(projects=[]), "no backup"),
    ],
)
async def test_manifests_that_are_refused(tmp_path: Path, change: Change, words: str) -> None:
    backup = await saved(tmp_path)
    manifest = json.loads((backup / MANIFEST).read_bytes())
    change(manifest)
    (backup / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(InvalidArgument, match=words):
        await put(backup, tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


async def test_a_part_that_is_a_symlink_is_refused(tmp_path: Path) -> None:
    backup = await saved(tmp_path)
    (backup / "admin-key").rename(tmp_path / "key")
    (backup / "admin-key").symlink_to(tmp_path / "key")
    with pytest.raises(InvalidArgument, match="admin-key"):
        await put(backup, tmp_path / "new")


OPERATION = "c33c0000-0000-4000-8000-000000000003"
LIST = f"{OPERATION}/{'5' * 32}"


async def hand_out(data: Path, *, manifest: str = LIST) -> Path:
    """Note that a list tells what was copied to a place last; tells the directory of lists."""
    store = await open_store(url(data), clock=SystemClock())
    async with store.write() as tx:
        await tx.copies.hand_out([(PROJECT, "hw", manifest)], at=SystemClock().now())
    await store.close()
    return data / "projects" / ".copies"


@pytest.mark.parametrize("compress", [False, True])
async def test_what_was_handed_out_is_in_a_backup(tmp_path: Path, compress: bool) -> None:
    data = tmp_path / "data"
    await small_hub(data)
    lists = await hand_out(data)
    (lists / OPERATION).mkdir(parents=True)
    (lists / f"{LIST}.manifest").write_text("what was handed out")
    (lists / OPERATION / f"{'6' * 32}.manifest").write_text("what nobody needs")
    (lists / OPERATION / "0.plan").write_text("a plan")
    await back_up(data, url(data), tmp_path / "backup", clock=SystemClock(), compress=compress, watch=unwatched)
    summary = await put(tmp_path / "backup", tmp_path / "new")
    assert (summary.notes, "what is kept to undo copies" in summary.left_out) == ([], True)
    restored = tmp_path / "new" / "projects" / ".copies"
    assert [str(path.relative_to(restored)) for path in restored.rglob("*")] == [OPERATION, f"{LIST}.manifest"]
    assert (restored / f"{LIST}.manifest").read_text() == "what was handed out"
    assert stat.S_IMODE(restored.stat().st_mode) == stat.S_IMODE((restored / OPERATION).stat().st_mode) == 0o700


async def test_lists_that_are_gone_or_no_lists_are_left_out(tmp_path: Path) -> None:
    data = tmp_path / "data"
    await small_hub(data)
    lists = await hand_out(data, manifest="../../../admin-key")
    (lists / OPERATION).mkdir(parents=True)
    await hand_out(data)
    await back_up(data, url(data), tmp_path / "backup", clock=SystemClock(), compress=None, watch=unwatched)
    assert not [*(tmp_path / "backup").glob("handouts*")]
    await put(tmp_path / "backup", tmp_path / "new")


async def test_nothing_but_lists_comes_out_of_a_part_for_them(tmp_path: Path) -> None:
    backup = await saved(tmp_path, compress=False)
    evil = tmp_path / "evil"
    (evil / OPERATION / "directory").mkdir(parents=True)
    (evil / "no uuid").mkdir()
    (evil / "file").write_text("x")
    (evil / "a11a0000-0000-4000-8000-000000000009").symlink_to(tmp_path)
    (evil / OPERATION / f"{'7' * 32}.manifest").symlink_to("/etc/passwd")
    (evil / f"{LIST}.manifest").write_text("good")
    part = backup / "handouts.tar"
    subprocess.run(["tar", "-C", evil, "-cf", part, "."], check=True)
    manifest = json.loads((backup / MANIFEST).read_bytes())
    digest = hashlib.sha256(part.read_bytes()).hexdigest()
    manifest["parts"]["handouts.tar"] = {"bytes": part.stat().st_size, "sha256": digest}
    (backup / MANIFEST).write_text(json.dumps(manifest))
    await put(backup, tmp_path / "new")
    restored = tmp_path / "new" / "projects" / ".copies"
    assert sorted(str(path.relative_to(restored)) for path in restored.rglob("*")) == [OPERATION, f"{LIST}.manifest"]
    assert (evil / OPERATION).is_dir()


async def test_missing_programs_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backup = await saved(tmp_path, compress=True)
    empty = tmp_path / "bin"
    empty.mkdir()
    monkeypatch.setenv("PATH", str(empty))
    with pytest.raises(Conflict, match="GNU tar"):
        await put(backup, tmp_path / "new")
    (empty / "tar").symlink_to("/bin/tar")
    with pytest.raises(Conflict, match="zstd"):
        await put(backup, tmp_path / "new")
    with pytest.raises(Conflict, match="pg_dump is not installed"):
        await back_up(
            tmp_path / "data", "postgresql://me@127.0.0.1:1/x", tmp_path / "b",
            clock=SystemClock(), compress=False, watch=unwatched,
        )  # fmt: skip
    assert not (tmp_path / "b").exists()


PROGRAM = """
import asyncio, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.live import test_backups as t

async def main():
    await t.small_hub(Path(sys.argv[3]) / "warm")  # loads what cannot be loaded as the other user
    os.setgid(30_000)
    os.setgroups([])
    os.setuid(30_000)
    place = Path(sys.argv[2])
    backup = await t.saved(place)
    home = place / "data" / "projects" / t.PROJECT / "home"
    (home / "closed").write_text("x")
    (home / "closed").chmod(0)
    second = place / "second"
    summary = await t.back_up(place / "data", t.url(place / "data"), second, clock=t.SystemClock(), compress=None,
                              watch=t.unwatched)
    assert summary.troubles == 1, summary
    assert "closed" in summary.notes[0] and "Permission denied" in summary.notes[0], summary
    await t.put(backup, place / "new")
    await t.put(second, place / "newer")
    assert (place / "newer" / "projects" / t.PROJECT / "home" / "file").read_text() == "content"
    assert (place / "new" / "projects" / t.PROJECT / "home").stat().st_uid == 30_000

asyncio.run(main())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests run as a plain user already")
def test_as_a_plain_user() -> None:
    place, warm = (Path(tempfile.mkdtemp(prefix="projecthub-test-")) for _ in range(2))
    os.chown(place, 30_000, 30_000)
    root = Path(__file__).parents[2]
    try:
        ran = subprocess.run(
            [sys.executable, "-c", PROGRAM, root, place, warm], capture_output=True, text=True, check=False, cwd="/"
        )
        assert ran.returncode == 0, ran.stderr
    finally:
        shutil.rmtree(place)
        shutil.rmtree(warm)
