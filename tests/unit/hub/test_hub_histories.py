"""Histories of text files: what is seen, what of it is told to whom, and what is left after a kill."""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import json
import os
import random
import tarfile
import time
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import pytest
from house import House
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_hub_shares import shared

from projecthub.errors import Conflict, InvalidArgument, LimitError, NotFound, PermissionDenied
from projecthub.files import backlog, keeping
from projecthub.files.uploads import UploadPlan
from projecthub.hub import histories as hub_histories
from projecthub.hub import versions
from projecthub.hub.archives import Archives
from projecthub.hub.files import Files
from projecthub.hub.principals import Principal
from projecthub.hub.shares import share_id
from projecthub.hub.trash import Trash
from projecthub.hub.uploads import Uploads
from projecthub.store.records import Project
from projecthub.wire import patches, shapes
from projecthub.wire.histories import FileUseTimes, GetHistory, MakeCheckpoint, Touch
from projecthub.wire.ids import ProjectId
from projecthub.wire.patches import apply_patch
from projecthub.wire.sharing import CopyShare

pytestmark = pytest.mark.anyio

NOT_ON_IT = r"^user must be collaborator on source project$"
NOT_TO_TOUCH = r"^must be collaborator on project to touch it$"


class Desk:
    """A project of somebody, with short words for what is done to its files."""

    def __init__(self, house: House, owner: Principal, project: Project) -> None:
        self.house = house
        self.owner = owner
        self.project = project
        self.id = project.project_id
        self.home = house.homes.path(self.id)

    async def write(self, path: str, text: str | bytes, by: Principal | None = None) -> None:
        content = text if isinstance(text, bytes) else text.encode()
        await Files(self.house.workplaces).write(by or self.owner, self.project, path, once(content))

    def inside(self, path: str, text: str | bytes) -> None:
        """Write as a process of the project does."""
        (self.home / path).parent.mkdir(parents=True, exist_ok=True)
        (self.home / path).write_bytes(text if isinstance(text, bytes) else text.encode())

    async def told(self, path: str, by: Principal | None = None, **more: Any) -> dict[str, Any]:
        request = GetHistory(project_id=self.id, path=path, **more)
        return dict(json.loads(await self.house.sync.history(by or self.owner, request)))

    async def states(self, path: str) -> list[tuple[str, str, str | None]]:
        """Event, text and author of each version."""
        reply = await self.told(path)
        text, found = "", []
        for entry in reply["patches"]:
            message = entry["mesg"]
            text = apply_patch(text, json.loads(message["patch"]))
            author = reply["info"]["users"][message["user_id"]] if message["user_id"] else None
            found.append((message["event"], text, author))
        if found:
            assert reply["info"]["sha256"] == versions.digest_of(text)
        return found

    async def texts(self, path: str) -> list[str]:
        return [text for _, text, _ in await self.states(path)]

    async def checkpoint(self, path: str, by: Principal | None = None) -> Any:
        return await self.house.sync.checkpoint(by or self.owner, MakeCheckpoint(project_id=self.id, path=path))

    async def copy_from(self, other: Desk, path: str, target: str, **options: Any) -> None:
        request = shapes.CopyPath(
            src_project_id=other.id, src_path=path, target_project_id=self.id, target_path=target, **options
        )
        await self.house.copies.copy(self.owner, request)


async def once(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def desk_of(house: House, owner: Principal, *others: Principal) -> Desk:
    project = await house.row(await house.project(owner, *others))
    await house.workplaces.home(owner, project)
    return Desk(house, owner, project)


@pytest.fixture
async def desk(house: House, ann: Principal) -> Desk:
    return await desk_of(house, ann)


@pytest.fixture
async def teacher(house: House, ann: Principal) -> Desk:
    return await desk_of(house, ann)


async def test_every_write_is_a_version(house: House, desk: Desk, bob: Principal) -> None:
    async with house.store.write() as tx:
        await tx.collaborators.add([(desk.id, bob.account_id)], at=house.clock.now())
    for number, by in enumerate((desk.owner, bob, desk.owner)):
        await desk.write("d/a.txt", f"one\n{number}\n", by)
        house.clock.advance(seconds=1)
    await desk.write("d/a.txt", "one\n2\n")  # nothing is new
    assert await desk.states("d/a.txt") == [
        ("written", "one\n0\n", desk.owner.account_id),
        ("written", "one\n1\n", bob.account_id),
        ("written", "one\n2\n", desk.owner.account_id),
    ]
    reply = await desk.told("/home/user/d/./a.txt")
    assert reply["info"] == {
        "project_id": desk.id,
        "path": "d/a.txt",
        "users": [desk.id, desk.owner.account_id, bob.account_id],
        "first_seq": 1,
        "last_seq": 3,
        "sha256": versions.digest_of("one\n2\n"),
    }
    times = [entry["time"] for entry in reply["patches"]]
    assert [entry["mesg"]["parents"] for entry in reply["patches"]] == [[], *([time] for time in times[:-1])]
    assert [entry["mesg"].get("is_snapshot") for entry in reply["patches"]] == [True, None, None]
    assert sorted(set(times)) == times
    assert keeping.pending(desk.home) == []


async def test_a_part_of_a_history_begins_with_a_whole_text(desk: Desk) -> None:
    for number in range(6):
        await desk.write("a", f"{number}\nx\n")
    reply = await desk.told("a", start_seq=3, end_seq=4)
    assert [entry["seq"] for entry in reply["patches"]] == [3, 4]
    assert apply_patch("", json.loads(reply["patches"][0]["mesg"]["patch"])) == "2\nx\n"
    assert (reply["info"]["first_seq"], reply["info"]["last_seq"]) == (1, 6)
    assert (await desk.told("a", start_seq=9))["patches"] == []


async def test_texts_that_have_nothing_to_do_with_each_other_are_not_compared_to_be_told(desk: Desk) -> None:
    """Whoever makes many of them has the hub work for it once, and not for each who reads the history."""
    lines = [f"{number}\n" for number in range(60)]
    texts = ["".join(random.Random(seed).sample(lines, len(lines))) for seed in range(6)]
    for text in texts:
        await desk.write("a", text)
    told = [json.loads(entry["mesg"]["patch"]) for entry in (await desk.told("a"))["patches"]]
    assert told == [patches.replacing(before, text) for before, text in itertools.pairwise(["", *texts])]


async def test_what_was_never_seen_has_none(desk: Desk) -> None:
    desk.inside("a", "a")
    nothing: dict[str, Any] = {"patches": [], "info": {}}
    for path in ("a", "none", "none/at/all", ".projecthub/trash", "", "a/b"):
        assert await desk.told(path) == nothing
    with pytest.raises(InvalidArgument, match="outside"):
        await desk.told("../x")


async def test_who_may(house: House, desk: Desk, bob: Principal, cid: Principal, admin: Principal) -> None:
    await desk.write("a", "a")
    await house.viewer(desk.id, bob)
    assert len((await desk.told("a", bob))["patches"]) == 1
    for stranger in (cid, admin):
        with pytest.raises(PermissionDenied, match=NOT_ON_IT):
            await desk.told("a", stranger)
    for denied in (bob, cid, admin):
        with pytest.raises(PermissionDenied, match=NOT_ON_IT):
            await desk.checkpoint("a", denied)
    await house.projects.delete(desk.owner, desk.id)
    with pytest.raises(Conflict, match="deleted"):
        await desk.told("a")


async def test_checkpoints(desk: Desk) -> None:
    await desk.write("a", "a")
    assert (await desk.checkpoint("a"))["created"] is False
    desk.inside("a", "b")
    desk.inside("new", "n")
    made = await desk.checkpoint("a")
    assert (made["seq"], made["created"]) == (2, True)
    assert (await desk.checkpoint("a")) == {**made, "created": False}
    assert (await desk.checkpoint("new"))["seq"] == 1
    assert await desk.states("a") == [
        ("written", "a", desk.owner.account_id),
        ("checkpoint", "b", desk.owner.account_id),
    ]
    desk.inside("binary", b"\xff")
    desk.inside("large", b"x" * (keeping.MAX_TEXT_BYTES + 1))
    desk.inside(".projecthub/own", "x")
    for path in ("binary", "large", ".projecthub/own"):
        with pytest.raises(InvalidArgument, match=f"'{path}' has no history"):
            await desk.checkpoint(path)
    with pytest.raises(NotFound, match="none"):
        await desk.checkpoint("none")
    with pytest.raises(Conflict, match="directory"):
        await desk.checkpoint(".projecthub")
    (desk.home / "out").symlink_to("/etc/passwd")
    with pytest.raises(InvalidArgument, match="outside"):
        await desk.checkpoint("out")


async def test_a_copy_over_a_file_shows_what_was_there(desk: Desk, teacher: Desk) -> None:
    await teacher.write("task/a.py", "task")
    await teacher.write("task/deep/b.py", "b")
    await desk.copy_from(teacher, "task", "hw")
    await desk.house.histories.write_down(desk.id)
    desk.inside("hw/a.py", "my work")
    desk.inside("hw/own/c.py", "mine")
    desk.inside("hw/d.py", "mine, too")
    await teacher.write("task/a.py", "task 2")
    await desk.copy_from(teacher, "task", "hw", overwrite_newer=True, delete_missing=True)
    by = desk.owner.account_id
    expected = [("copied", "task", by), ("found", "my work", None), ("copied", "task 2", by)]
    assert await desk.states("hw/a.py") == expected
    assert await desk.states("hw/deep/b.py") == [("copied", "b", by)]
    assert await desk.states("hw/own/c.py") == [("found", "mine", None)]
    assert await desk.states("hw/d.py") == [("found", "mine, too", None)]
    assert not (desk.home / "hw/own").exists()
    assert await teacher.texts("task/a.py") == ["task", "task 2"]


async def test_a_copy_of_a_share_shows_what_was_there(desk: Desk, teacher: Desk) -> None:
    await teacher.write("task/a.py", "task")
    id = await shared(desk.house, teacher.owner, teacher.id, "task", unlisted=False)
    desk.inside("task/a.py", "my work")
    desk.inside("task/b.py", "mine, too")
    request = CopyShare(id=id, target_project_id=desk.id, overwrite_newer=True, delete_missing=True)
    await desk.house.shares.copy(desk.owner, request)
    by = desk.owner.account_id
    assert await desk.states("task/a.py") == [("found", "my work", None), ("copied", "task", by)]
    assert await desk.states("task/b.py") == [("found", "mine, too", None)]


async def test_what_was_changed_at_once_is_nobodys_copy(desk: Desk, teacher: Desk) -> None:
    """The hub had no time to read what it has copied: then it tells of what it knows, and nothing else."""
    await teacher.write("task/a.py", "task")
    await desk.copy_from(teacher, "task", "hw")
    time.sleep(0.02)  # the clock of file systems has ticked by then
    desk.inside("hw/a.py", "my work")
    await teacher.write("task/a.py", "task 2")
    await desk.copy_from(teacher, "task", "hw", overwrite_newer=True)
    assert await desk.states("hw/a.py") == [("found", "my work", None), ("copied", "task 2", desk.owner.account_id)]


async def test_a_copy_of_one_file_and_one_with_backups(desk: Desk, teacher: Desk) -> None:
    await teacher.write("a", "1")
    desk.inside("b", "before")
    before = (desk.home / "b").stat()
    await desk.copy_from(teacher, "a", "b", overwrite_newer=True, backup=True)
    assert await desk.texts("b") == ["before", "1"]
    assert (desk.home / "b~").stat().st_ino == before.st_ino


async def test_a_file_with_another_name_keeps_its_state(desk: Desk, teacher: Desk) -> None:
    """What is replaced here lives on there, and nobody sees it touched."""
    await teacher.write("a", "1")
    desk.inside("b", "before")
    os.link(desk.home / "b", desk.home / "other")
    await desk.copy_from(teacher, "a", "b", overwrite_newer=True)
    unlinked = (desk.home / "other").stat().st_ctime_ns
    assert await desk.texts("b") == ["before", "1"]
    assert (desk.home / "other").stat().st_ctime_ns == unlinked


async def test_many_files_that_a_copy_replaces(desk: Desk, teacher: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first ones are read at once, the others linked, under names that have room for so many characters."""
    names = ["%", "=", "ä b/ü", "d/" + "n" * 250, *(f"f{number}" for number in range(30)), "large"]
    for name in names:
        desk.inside(f"to/{name}", f"before {name}" * (10_000 if name == "large" else 1))
        teacher.inside(f"from/{name}", f"new {name}" * (20_000 if name == "large" else 1))
    await desk.copy_from(teacher, "from", "to", overwrite_newer=True)
    for name in names:
        times = 10_000 if name == "large" else 1
        assert await desk.texts(f"to/{name}") == [f"before {name}" * times, f"new {name}" * times * (1 + (times > 1))]
    assert os.listdir(desk.home.with_name("changes")) == []


async def test_the_etag_of_what_was_written_stays(desk: Desk) -> None:
    files = Files(desk.house.workplaces)
    written = await files.write(desk.owner, desk.project, "a", once(b"1"))
    await desk.texts("a")
    opened = await files.open(desk.owner, desk.project, "a")
    os.close(opened.fd)
    assert opened.etag == written.etag


async def test_moves_begin_anew(desk: Desk) -> None:
    files = Files(desk.house.workplaces)
    await desk.write("a", "1")
    await desk.write("d/x", "x")
    await files.rename(desk.owner, desk.project, "a", "b")
    await files.make_directory(desk.owner, desk.project, "to")
    await files.move(desk.owner, desk.project, ["d", "b"], "to")
    by = desk.owner.account_id
    assert await desk.states("a") == [("written", "1", by)]
    assert await desk.states("b") == []  # it was nowhere when the hub looked, and nothing in it was new
    assert await desk.states("to/b") == [("moved", "1", by)]
    assert await desk.states("to/d/x") == [("moved", "x", by)]
    desk.inside("to/y", "there")
    desk.inside("y", "mine")
    with pytest.raises(Conflict):
        await files.move(desk.owner, desk.project, ["y"], "to")
    assert await desk.states("to/y") == []


async def test_the_trash(desk: Desk) -> None:
    trash, by = Trash(desk.house.workplaces), desk.owner.account_id
    await desk.write("a", "1")
    desk.inside("a", "2")
    [item] = await trash.delete(desk.owner, desk.project, ["a"])
    assert await desk.states("a") == [("written", "1", by), ("found", "2", None)]
    await trash.restore(desk.owner, desk.project, item.id, "b")
    assert await desk.states("b") == [("restored", "2", by)]
    desk.inside("b", "secret")
    await trash.delete(desk.owner, desk.project, ["b"], permanent=True)
    assert await desk.texts("b") == ["2"]


async def test_uploads(desk: Desk) -> None:
    uploads, by = Uploads(desk.house.workplaces), desk.owner.account_id
    desk.inside("a", "before")
    upload = await uploads.begin(desk.owner, desk.project, UploadPlan(path="a", length=6))
    await uploads.add(desk.owner, desk.project, upload.id, 0, once(b"abc"))
    await uploads.add(desk.owner, desk.project, upload.id, 3, once(b"def"))
    assert await desk.states("a") == [("found", "before", None), ("uploaded", "abcdef", by)]


async def test_uploads_that_the_sweep_finishes(desk: Desk) -> None:
    uploads = Uploads(desk.house.workplaces)
    upload = await uploads.begin(desk.owner, desk.project, UploadPlan(path="a", length=3))
    (desk.home.parent / "uploads" / upload.id / "data").write_bytes(b"abc")
    await uploads.sweep()
    assert await desk.states("a") == [("uploaded", "abc", None)]


async def test_archives(desk: Desk) -> None:
    archive, by = io.BytesIO(), desk.owner.account_id
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, text in (("a", b"new"), ("d/b", b"b"), ("e/f/g", b"g")):
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text))
    desk.inside("to/a", "old")
    desk.inside("to/d/b", "b")
    archives = Archives(desk.house.workplaces)
    for path in ("to", "fresh"):
        await archives.unpack(desk.owner, desk.project, path, "tar", once(archive.getvalue()))
    assert await desk.states("to/a") == [("found", "old", None), ("unpacked", "new", by)]
    assert await desk.states("to/d/b") == [("found", "b", None)]
    assert await desk.states("to/e/f/g") == [("unpacked", "g", by)]
    assert await desk.states("fresh/e/f/g") == [("unpacked", "g", by)]


async def test_only_text_is_kept(desk: Desk) -> None:
    await desk.write("a", "text")
    for other in (b"\xff\xfe", b"x" * (keeping.MAX_TEXT_BYTES + 1), b"last\r\n\0"):
        await desk.write("a", other)
    assert await desk.texts("a") == ["text", "last\r\n\0"]
    name = b"\xff".decode("utf-8", "surrogateescape")
    await desk.write(name, "x")
    assert await desk.texts(name) == []
    await desk.write("empty", "")
    assert await desk.texts("empty") == [""]


async def test_a_file_has_one_history_by_whatever_name(desk: Desk) -> None:
    await desk.write("real/a", "1")
    (desk.home / "link").symlink_to("real")
    await desk.write("link/a", "2")
    assert await desk.texts("link/a") == await desk.texts("real/a") == ["1", "2"]
    (desk.home / "out").symlink_to("/etc")
    assert await desk.texts("out/passwd") == []


async def test_links_and_pipes_are_not_read(desk: Desk, teacher: Desk) -> None:
    (teacher.home / "d").mkdir()
    (teacher.home / "d/link").symlink_to("/etc/passwd")
    os.mkfifo(teacher.home / "d/pipe")
    teacher.inside("d/a", "a")
    await desk.copy_from(teacher, "d", "d")
    assert await desk.texts("d/link") == await desk.texts("d/pipe") == []
    assert await desk.texts("d/a") == ["a"]


async def test_a_project_from_a_share_begins_its_histories(house: House, desk: Desk, bob: Principal) -> None:
    await desk.write("course/a", "1")
    await house.ask(desk.owner, {"public_paths": {"project_id": desk.id, "path": "course"}})
    made = await house.creation.create(bob, shapes.CreateProject(public_path_id=share_id(desk.id, "course")))
    theirs = Desk(house, bob, await house.row(made))
    assert await theirs.states("course/a") == [("copied", "1", bob.account_id)]


async def test_what_a_killed_hub_has_kept_is_found(house: House, desk: Desk) -> None:
    await desk.write("a", "1")
    await desk.write("a", "2")
    house.join()  # another hub: whatever was only in memory is gone
    torn = keeping.pending(desk.home)[-1]
    journal = desk.home.with_name("changes") / torn
    with journal.open("ab") as file:
        file.write(b'["is", "a", 1')
    await house.histories.sweep()
    await house.histories.write_down(desk.id)
    assert await desk.texts("a") == ["1", "2"]
    assert keeping.pending(desk.home) == []


async def test_a_journal_that_was_written_down_is_not_written_twice(
    house: House, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.write("a", "1")
    await house.histories.write_down(desk.id)
    desk.inside("a", "2")
    await desk.write("a", "1")
    with monkeypatch.context() as patch:
        patch.setattr(keeping.Journal, "remove", lambda self: None)  # the hub was killed before it
        await house.histories.write_down(desk.id)
    assert len(keeping.pending(desk.home)) == 1
    assert await desk.texts("a") == ["1", "2", "1"]
    assert keeping.pending(desk.home) == []


async def test_several_journals_that_were_written_down_are_not_written_twice(
    house: House, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in ("1", "2", "1", "3"):
        await desk.write("a", text)
    with monkeypatch.context() as patch:
        patch.setattr(keeping.Journal, "remove", lambda self: None)  # the hub was killed before it
        await house.histories.write_down(desk.id)
    assert len(keeping.pending(desk.home)) == 4
    await desk.write("a", "1")
    assert await desk.texts("a") == ["1", "2", "1", "3", "1"]
    assert keeping.pending(desk.home) == []


async def test_a_long_journal_goes_on_where_a_killed_hub_was(
    house: House, desk: Desk, teacher: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(250):
        teacher.inside(f"d/{number}", f"new {number}")
        desk.inside(f"d/{number}", f"old {number}")
    await desk.copy_from(teacher, "d", "d", overwrite_newer=True)
    added, real = 0, hub_histories.Histories._add

    async def add(self: Any, *arguments: Any) -> int:
        nonlocal added
        added += 1
        if added == 4:
            raise LimitError("the hub was killed here")
        return await real(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(hub_histories.Histories, "_add", add)
        with pytest.raises(LimitError):
            await house.histories.write_down(desk.id)
    for number in range(250):
        assert await desk.texts(f"d/{number}") == [f"old {number}", f"new {number}"]


async def test_a_journal_that_is_being_written_waits(house: House, desk: Desk) -> None:
    async with house.histories.recording(desk.id, desk.owner.account_id, "copied") as keeper:
        desk.inside("a", "1")
        with (desk.home / "a").open("rb") as file:
            keeper.written(file.fileno(), "a")
        assert await desk.texts("a") == []
    assert await desk.texts("a") == ["1"]


async def test_on_a_full_disk_files_are_written_all_the_same(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: keeping.Keeper) -> None:
        raise OSError(28, "No space left on device")

    await desk.write("a", "1")
    with monkeypatch.context() as patch:
        patch.setattr(keeping.Keeper, "_open", full)
        await desk.write("a", "2")
    assert (desk.home / "a").read_text() == "2"
    await desk.write("a", "3")
    assert await desk.texts("a") == ["1", "2", "3"]


def kept_bytes(desk: Desk) -> int:
    """What lies beside a home."""
    return sum(path.stat().st_size for path in desk.home.with_name("changes").rglob("*") if path.is_file())


async def test_who_changes_files_quicker_than_they_are_written_down_fills_no_disk(
    desk: Desk, teacher: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "MAX_BYTES", 200_000)
    for number in range(30):
        await desk.write("a", f"{number}" * 20_000)
    for number in range(40):
        teacher.inside(f"hw/{number}", "t" * 10_000)
        desk.inside(f"hw/{number}", "s" * 10_000)
    await desk.copy_from(teacher, "hw", "hw", overwrite_newer=True)
    assert kept_bytes(desk) < 250_000
    assert (desk.home / "a").read_text() == "29" * 20_000
    assert (desk.home / "hw/39").read_text() == "t" * 10_000
    assert 0 < len(await desk.texts("a")) < 30
    await desk.write("a", "there is room again")
    assert (await desk.texts("a"))[-1] == "there is room again"


async def test_what_could_not_be_kept_takes_no_room(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "MAX_BYTES", 50_000)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as on_a_full_disk:
        on_a_full_disk.setattr(keeping.Keeper, "_open", full)
        for number in range(10):
            await desk.write("a", f"{number}" * 10_000)
    await desk.write("a", "kept")
    assert (await desk.texts("a"))[-1] == "kept"


async def test_jobs_that_have_ended_are_not_remembered_for_ever(
    house: House, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_histories, "_MAX_ENDED_JOBS", 10)
    await desk.write("a", "kept, and not written down yet")
    for number in range(30):
        await house.histories.job_ended(desk.id, f"{number}")
    assert list(house.histories._ended_jobs) == [f"{number}" for number in range(20, 30)]


async def test_a_long_journal_is_not_read_at_once(house: House, desk: Desk) -> None:
    async with house.workplaces.histories.recording(desk.id, None, "changed") as keeper:
        for number in range(200):
            desk.inside(f"{number}", f"{number} " * 5_000)
            with open(desk.home / f"{number}") as file:
                keeper.written(file.fileno(), f"{number}")
    home = house.homes.found(desk.id)
    (name,) = keeping.pending(home.path)
    journal = keeping.Journal(home, name)
    with contextlib.closing(journal), contextlib.closing(journal.states()) as states:
        tracemalloc.start()
        assert next(states).path == "0"
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
        tracemalloc.stop()
        assert len([*states]) == 199


async def test_who_reads_a_history_does_not_wait_for_a_large_backlog(
    house: House, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is known is told, and that it is not all; what goes on is not begun again by whoever asks next."""
    await desk.write("a", "1")
    assert await desk.texts("a") == ["1"]
    goes_on, begun = asyncio.Event(), 0
    histories = house.workplaces.histories
    write_down = histories.write_down

    async def slow(project_id: ProjectId, *, gently: bool = False) -> None:
        nonlocal begun
        begun += 1
        await goes_on.wait()
        await write_down(project_id, gently=gently)

    monkeypatch.setattr(histories, "write_down", slow)
    monkeypatch.setattr("projecthub.hub.histories.PATIENCE_S", 0.05)
    await desk.write("a", "2")
    for _ in range(3):
        told = await desk.told("a")
        assert told["info"]["is_behind"] is True
        assert [entry["seq"] for entry in told["patches"]] == [1]
    assert (await desk.told("b"))["info"] == {"is_behind": True}
    assert begun == 1
    goes_on.set()
    await asyncio.sleep(0.2)
    assert await desk.texts("a") == ["1", "2"]
    assert "is_behind" not in (await desk.told("a"))["info"]

    await desk.write("a", "3")
    goes_on.clear()
    await desk.told("a")
    await histories.close()
    assert histories._catching_up == {}


async def test_a_store_that_cannot_be_written_to_loses_nothing(
    house: House, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.write("a", "1")

    def full(*_: object) -> Any:
        raise LimitError("the hub's disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("projecthub.store.histories.Histories.add", full)
        with pytest.raises(LimitError):
            await desk.told("a")
    assert await desk.texts("a") == ["1"]


async def test_the_hub_writes_down_by_itself(house: House, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_histories, "_QUIET_S", 0.0)
    monkeypatch.setattr(hub_histories, "_LOOK_EVERY_S", 0.01)
    house.histories.open()
    await desk.write("a", "1")
    for _ in range(500):
        if not keeping.pending(desk.home):
            break
        await asyncio.sleep(0.01)
    assert keeping.pending(desk.home) == []
    await house.histories.close()


async def test_long_histories_lose_their_beginning(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "MAX_VERSIONS", 10)
    monkeypatch.setattr(versions, "SNAPSHOT_EVERY", 4)
    body = "".join(f"line {number}\n" for number in range(50))
    for number in range(30):
        await desk.write("a", f"{number}\n{body}")
        texts = await desk.texts("a")
        assert texts == [f"{n}\n{body}" for n in range(number - len(texts) + 1, number + 1)]
        assert min(number + 1, 7) <= len(texts) <= 10


async def test_a_project_keeps_so_much_and_the_oldest_goes(
    house: House, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_histories, "MAX_STORED_BYTES", 1500)
    for name in ("a", "b", "c"):
        for number in range(4):
            house.clock.advance(seconds=1)
            await desk.write(name, f"{number}" + os.urandom(150).hex())
            assert (await desk.texts(name))[-1] == (desk.home / name).read_text()
    async with house.store.read() as tx:
        assert await tx.histories.stored_bytes(desk.id) <= 1500
    assert len(await desk.texts("a")) < 4
    assert len(await desk.texts("c")) >= 3
    house.sql("UPDATE history_sizes SET stored_bytes = 1400")  # whatever was counted, it ends
    await desk.write("d", os.urandom(1000).hex())
    await desk.texts("d")


async def test_uses(house: House, desk: Desk, bob: Principal, cid: Principal) -> None:
    await house.viewer(desk.id, bob)
    await desk.write("a", "1")
    at = int(house.clock.now().timestamp() * 1000)
    house.clock.advance(seconds=60)
    for who, action in ((desk.owner, "open"), (desk.owner, "edit"), (bob, "open")):
        await house.sync.touch(who, Touch(project_id=desk.id, path="a", action=action))
    wanted = FileUseTimes(project_id=desk.id, path="a", edit_times=True)
    mine = await house.sync.use_times(desk.owner, wanted)
    assert mine == {
        "target_account_id": desk.owner.account_id,
        "access_times": [at + 60_000],
        "edit_times": [at + 60_000, at],
    }
    others = FileUseTimes(project_id=desk.id, path="a", target_account_id=bob.account_id, access_times=False)
    assert await house.sync.use_times(desk.owner, others) == {"target_account_id": bob.account_id}
    with pytest.raises(PermissionDenied, match=NOT_ON_IT):
        await house.sync.use_times(cid, wanted)
    with pytest.raises(PermissionDenied, match=NOT_TO_TOUCH):
        await house.sync.touch(cid, Touch(project_id=desk.id, path="a"))
    for wrong in (Touch(path="a"), Touch(project_id=desk.id, action="X y"), Touch(project_id=desk.id, path="a" * 5000)):
        with pytest.raises(InvalidArgument):
            await house.sync.touch(desk.owner, wrong)
    with pytest.raises(InvalidArgument, match="limit is 0"):
        await house.sync.use_times(desk.owner, FileUseTimes(project_id=desk.id, path="a", limit=0))
    await house.sync.touch(cid, Touch())


async def test_a_touch_uses_the_project_and_starts_nothing(house: House, desk: Desk, bob: Principal) -> None:
    await house.viewer(desk.id, bob)
    before = await house.row(desk.id)
    house.clock.advance(seconds=100)
    await house.sync.touch(bob, Touch(project_id=desk.id))
    assert (await house.row(desk.id)).last_edited_at == before.last_edited_at
    await house.sync.touch(desk.owner, Touch(project_id=desk.id))
    after = await house.row(desk.id)
    assert after.last_edited_at == house.clock.now()
    assert after.state == before.state


PIECES = ("a", "\n", "\r\n", "ä", "😀", "\0", "line\n", "x" * 3000, "\u2028")
STATES = st.lists(
    st.tuples(st.sampled_from(["write", "inside"]), st.lists(st.sampled_from(PIECES), max_size=12).map("".join)),
    min_size=1,
    max_size=12,
)


@given(states=STATES)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
async def test_patches_in_their_order_give_each_state_and_at_last_the_file(
    house: House, desk: Desk, states: list[tuple[str, str]]
) -> None:
    path = f"file-{next(_numbers)}"
    expected: list[str] = []
    pending: str | None = None
    for kind, text in states:
        if kind == "inside":
            desk.inside(path, text)
            pending = text
            continue
        await desk.write(path, text)
        for seen in (pending, text):
            if seen is not None and (not expected or expected[-1] != seen):
                expected.append(seen)
        pending = None
    if pending is not None:
        await desk.checkpoint(path)
        if not expected or expected[-1] != pending:
            expected.append(pending)
    assert await desk.texts(path) == expected
    assert expected[-1] == (desk.home / path).read_bytes().decode()


_numbers = itertools.count()
