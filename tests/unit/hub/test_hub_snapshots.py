"""Who may do what to snapshots, what they may take, what a killed hub leaves, and when the hub takes them by itself."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from house import House

from projecthub.errors import Conflict, HubError, InvalidArgument, LimitError, NotFound, PermissionDenied
from projecthub.files.snapshots import restoring
from projecthub.hub.principals import Principal
from projecthub.hub.snapshot_keeping import Order, SnapshotKeeping
from projecthub.hub.snapshot_schedule import SnapshotSchedule, outgrown
from projecthub.hub.snapshots import Snapshots
from projecthub.hub.workplaces import Workplaces
from projecthub.store.records import HomeSnapshot, Project
from projecthub.wire import snapshots as wire
from projecthub.wire.ids import ProjectId

pytestmark = pytest.mark.anyio

MB = 1_000_000


class Kept:
    """The services, and a project with a home."""

    def __init__(self, house: House, ann: Principal) -> None:
        self.house = house
        self.ann = ann
        self.workplaces = Workplaces(house.store, house.homes, house.calls, house.clock)
        self.percent = 50
        self.join()

    def join(self) -> None:
        """Make the services, as after a kill."""
        root = self.house.directory / "snapshots"
        self.keeping = SnapshotKeeping(self.house.store, self.house.homes, self.house.clock, root, percent=self.percent)
        self.service = Snapshots(self.house.store, self.workplaces, self.keeping)
        self.schedule = SnapshotSchedule(self.house.store, self.keeping, self.house.clock, hours=24)

    async def make(self) -> ProjectId:
        self.project_id = await self.house.project(self.ann)
        self.project = await self.house.row(self.project_id)
        self.home = (await self.workplaces.home(self.ann, self.project)).path
        return self.project_id

    async def create(self, title: str = "", **more: Any) -> wire.Snapshot:
        self.house.clock.advance(seconds=1)
        request = wire.CreateSnapshot(project_id=self.project_id, title=title, **more)
        return await self.service.create(self.ann, request)

    async def list(self) -> wire.SnapshotList:
        return await self.service.list(self.ann, wire.ListSnapshots(project_id=self.project_id))

    async def ids(self) -> list[str]:
        return [row["id"] for row in (await self.list())["snapshots"]]

    async def restore(self, snapshot_id: str, path: str = "", to: str | None = None) -> wire.RestoredSnapshot:
        self.house.clock.advance(seconds=1)
        request = wire.RestoreSnapshot(project_id=self.project_id, id=snapshot_id, path=path, to=to)
        return await self.service.restore(self.ann, request)

    async def changes(self, snapshot_id: str, **more: Any) -> list[tuple[str, str]]:
        request = wire.DiffSnapshot(project_id=self.project_id, id=snapshot_id, **more)
        return [(c["status"], c["path"]) for c in (await self.service.diff(self.ann, request))["changes"]]

    async def delete(self, snapshot_id: str) -> wire.DeletedSnapshot:
        return await self.service.delete(self.ann, wire.DeleteSnapshot(project_id=self.project_id, id=snapshot_id))

    async def events(self) -> list[dict[str, Any]]:
        async with self.house.store.read() as tx:
            entries = await tx.log.of_project(self.project_id, limit=100)
        return [entry["event"] for entry in entries if str(entry["event"]["event"]).startswith("snapshot_")]

    def objects(self) -> set[str]:
        return {path.name for path in self.keeping.shelf(self.project_id).objects.iterdir()}

    def pool(self) -> set[str]:
        return {path.name for path in (self.keeping.root / "pool").glob("*/*")}


@pytest.fixture
async def kept(house: House, ann: Principal) -> Kept:
    kept = Kept(house, ann)
    await kept.make()
    return kept


async def test_a_snapshot_is_taken_compared_restored_and_undone(kept: Kept) -> None:
    (kept.home / "a").write_text("one")
    (kept.home / "d").mkdir()
    (kept.home / "d" / "b").write_text("two")
    first = await kept.create("first")
    assert first["title"] == "first"
    assert first["account_id"] == kept.ann.account_id
    (kept.home / "a").write_text("other")
    (kept.home / "d" / "b").unlink()
    (kept.home / "new").write_text("new")
    assert await kept.changes(first["id"]) == [("changed", "a"), ("added", "new"), ("removed", "d/b")]
    assert await kept.changes(first["id"], path="d") == [("removed", "d/b")]
    done = await kept.restore(first["id"])
    assert (kept.home / "a").read_text() == "one"
    assert (kept.home / "d" / "b").read_text() == "two"
    assert not (kept.home / "new").exists()
    assert await kept.changes(first["id"]) == []
    assert done["before"] is not None
    assert await kept.changes(first["id"], other=done["before"]) == [
        ("changed", "a"),
        ("added", "new"),
        ("removed", "d/b"),
    ]
    await kept.restore(done["before"])
    assert (kept.home / "a").read_text() == "other"
    assert (kept.home / "new").read_text() == "new"
    assert sorted(os.listdir(kept.home / "d")) == []
    assert [event["event"] for event in await kept.events()].count("snapshot_restored") == 2
    assert not kept.keeping.shelf(kept.project_id).is_unfinished
    assert sorted(os.listdir(kept.home.parent)) == ["home", "staging"]


async def test_one_path_is_restored_and_the_rest_stays(kept: Kept) -> None:
    (kept.home / "a").write_text("one")
    (kept.home / "d" / "e").mkdir(parents=True)
    (kept.home / "d" / "e" / "f").write_text("two")
    first = await kept.create()
    (kept.home / "a").write_text("mine")
    (kept.home / "d" / "e" / "f").unlink()
    (kept.home / "d" / "e").rmdir()
    (kept.home / "d").rmdir()
    done = await kept.restore(first["id"], "d/e")
    assert (done["files"], done["path"]) == (1, "d/e")
    assert (kept.home / "d" / "e" / "f").read_text() == "two"
    assert (kept.home / "a").read_text() == "mine"
    await kept.restore(first["id"], "a", to="there/a")
    assert (kept.home / "there" / "a").read_text() == "one"
    await kept.restore(first["id"], to="all")
    assert (kept.home / "all" / "d" / "e" / "f").read_text() == "two"


async def test_what_cannot_be_restored_changes_nothing(kept: Kept) -> None:
    (kept.home / "a").write_text("one")
    first = await kept.create()
    (kept.home / "b").write_text("two")
    with pytest.raises(NotFound, match="holds no 'b'"):
        await kept.restore(first["id"], "b")
    with pytest.raises(Conflict, match="already exists"):
        await kept.restore(first["id"], "a", to="b")
    with pytest.raises(InvalidArgument, match="outside"):
        await kept.restore(first["id"], "../a")
    with pytest.raises(InvalidArgument, match="the home itself"):
        await kept.restore(first["id"], to=".")
    with pytest.raises(InvalidArgument, match="hub keeps its own"):
        await kept.restore(first["id"], to=".projecthub/trash/x")
    with pytest.raises(NotFound, match="holds no"):
        await kept.restore(first["id"], ".projecthub")
    with pytest.raises(NotFound, match="has no snapshot"):
        await kept.restore(kept.project_id)
    with pytest.raises(InvalidArgument, match="is no uuid"):
        await kept.restore("../../x")
    assert (kept.home / "b").read_text() == "two"
    assert await kept.ids() == [first["id"]]


async def test_a_symlink_in_the_way_is_not_followed(kept: Kept, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (kept.home / "d").mkdir()
    (kept.home / "d" / "f").write_text("one")
    first = await kept.create()
    (kept.home / "d" / "f").unlink()
    (kept.home / "d").rmdir()
    (kept.home / "other").mkdir()
    for target in (str(outside), "other"):
        (kept.home / "d").symlink_to(target)
        with pytest.raises(HubError):
            await kept.restore(first["id"], "d/f")
        (kept.home / "d").unlink()
    assert list(outside.iterdir()) == []
    assert list((kept.home / "other").iterdir()) == []
    (kept.home / "d").symlink_to(outside)
    await kept.restore(first["id"], "d")  # the link itself gives way
    assert (kept.home / "d" / "f").read_text() == "one"
    assert not (kept.home / "d").is_symlink()
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("call", ["create", "list", "diff", "restore", "delete"])
async def test_strangers_may_nothing_and_viewers_look(kept: Kept, house: House, bob: Principal, call: str) -> None:
    first = await kept.create()
    the = {"project_id": kept.project_id}
    request = {
        "create": wire.CreateSnapshot(**the),
        "list": wire.ListSnapshots(**the),
        "diff": wire.DiffSnapshot(**the, id=first["id"]),
        "restore": wire.RestoreSnapshot(**the, id=first["id"]),
        "delete": wire.DeleteSnapshot(**the, id=first["id"]),
    }[call]
    work = getattr(kept.service, call)
    with pytest.raises(PermissionDenied):
        await work(bob, request)
    await house.viewer(kept.project_id, bob)
    if call in ("list", "diff"):
        assert await work(bob, request)
    else:
        with pytest.raises(PermissionDenied):
            await work(bob, request)
    assert await kept.ids() == [first["id"]]


async def test_a_deleted_project_keeps_its_snapshots(kept: Kept, house: House) -> None:
    (kept.home / "a").write_text("one")
    first = await kept.create()
    await house.projects.delete(kept.ann, kept.project_id)
    with pytest.raises(Conflict, match="is deleted"):
        await kept.list()
    await kept.schedule.sweep()
    await kept.schedule.settled()
    async with house.store.write() as tx:
        await tx.projects.update(kept.project_id, {"deleted": False})
    assert await kept.ids() == [first["id"]]
    assert await kept.changes(first["id"]) == []


async def test_arguments_are_checked(kept: Kept) -> None:
    with pytest.raises(InvalidArgument, match="is over"):
        await kept.create(expire="2020-01-01")
    with pytest.raises(InvalidArgument, match="no time"):
        await kept.create(expire="soon")
    with pytest.raises(InvalidArgument, match="too long"):
        await kept.create("x" * 255)
    first = await kept.create()
    for limit in (0, 10_001):
        with pytest.raises(InvalidArgument, match="limit is"):
            await kept.changes(first["id"], limit=limit)
    with pytest.raises(InvalidArgument, match="which no page told"):
        await kept.changes(first["id"], after="../x")
    assert await kept.ids() == [first["id"]]


async def test_changes_come_in_pages_with_names_of_any_bytes(kept: Kept) -> None:
    first = await kept.create()
    names = [b"a", b"b\xff", b"c%2f", b"d"]
    for name in names:
        Path(os.fsdecode(os.path.join(os.fsencode(kept.home), name))).write_text("x")
    found, after = [], None
    while True:
        request = wire.DiffSnapshot(project_id=kept.project_id, id=first["id"], limit=1, after=after)
        page = await kept.service.diff(kept.ann, request)
        found += page["changes"]
        after = page["next"]
        if after is None:
            break
    assert [change["path"] for change in found] == ["a", "b\\xff", "c%2f", "d"]
    assert found[1]["encoded_path"] == "b%FF"


def content(number: int, size: int) -> bytes:
    return bytes([number]) * size


async def test_the_share_of_the_quota(kept: Kept) -> None:
    share = kept.keeping.share_bytes(kept.project)
    assert share == kept.house.homes.disk_quota_bytes(None) // 2
    kept.house.homes.disk_quota_bytes = lambda run_quota: 4 * MB
    for number in range(4):
        (kept.home / "f").write_bytes(content(number, 900_000))
        async with kept.keeping.turn(kept.project_id) as shelf:
            kept.house.clock.advance(seconds=1)
            automatic = Order(account_id=None, automatic=number < 3)
            assert await kept.keeping.take(kept.project, shelf, automatic) is not None
    rows = (await kept.list())["snapshots"]
    assert [row["automatic"] for row in rows] == [False, True]  # two fit, and the oldest have gone
    assert (await kept.list())["used_bytes"] <= 2 * MB
    assert len(kept.objects()) == len(kept.pool())
    (kept.home / "f").write_bytes(content(9, 1_900_000))
    before = await kept.ids()
    with pytest.raises(LimitError, match=r"may take|take \d+ MB of the 2 MB"):
        await kept.create()
    (kept.home / "f").write_bytes(content(9, 2_100_000))
    with pytest.raises(LimitError, match="more than the 2 MB"):
        await kept.create()
    assert await kept.ids() == before
    with pytest.raises(LimitError, match="has to be kept before"):
        await kept.restore(before[0])
    assert (kept.home / "f").read_bytes() == content(9, 2_100_000)


async def test_what_is_restored_is_not_dropped_for_the_snapshot_before(kept: Kept) -> None:
    kept.house.homes.disk_quota_bytes = lambda run_quota: 4 * MB
    (kept.home / "f").write_bytes(content(1, 1_500_000))
    async with kept.keeping.turn(kept.project_id) as shelf:
        old = await kept.keeping.take(kept.project, shelf, Order(account_id=None, automatic=True))
    assert old is not None
    (kept.home / "f").write_bytes(content(2, 1_500_000))
    with pytest.raises(LimitError, match="has to be kept before"):
        await kept.restore(old.id)
    assert await kept.ids() == [old.id]
    (kept.home / "f").write_bytes(content(2, 300_000))
    await kept.restore(old.id)
    assert (kept.home / "f").read_bytes() == content(1, 1_500_000)


async def test_a_restore_keeps_to_the_quota_of_the_home(kept: Kept) -> None:
    (kept.home / "f").write_bytes(content(1, 1_000_000))
    first = await kept.create()
    kept.house.homes.disk_quota_bytes = lambda run_quota: 1_500_000
    with pytest.raises(LimitError, match="quota"):
        await kept.restore(first["id"], "f", to="g")
    assert not (kept.home / "g").exists()
    await kept.restore(first["id"], "f")  # takes the place of what is there


async def test_contents_are_shared_by_projects_and_go_with_the_last(kept: Kept, house: House, ann: Principal) -> None:
    other = Kept(house, ann)
    await other.make()
    for one in (kept, other):
        (one.home / "f").write_bytes(content(7, 10_000))
    first = await kept.create()
    second = await other.create()
    assert first["own_bytes"] == second["own_bytes"]  # what others have makes no difference
    assert kept.objects() == other.objects() == kept.pool()
    name = next(
        name for name in kept.objects() if (kept.keeping.shelf(kept.project_id).objects / name).stat().st_size == 10_000
    )
    inodes = {(one.keeping.shelf(one.project_id).objects / name).stat().st_ino for one in (kept, other)}
    assert len(inodes) == 1
    gone = await kept.delete(first["id"])
    assert gone["freed_bytes"] == first["own_bytes"]
    assert kept.objects() == set()
    assert other.pool() == other.objects()
    (other.home / "f").unlink()
    await other.restore(second["id"], "f")
    assert (other.home / "f").read_bytes() == content(7, 10_000)
    for snapshot_id in await other.ids():
        await other.delete(snapshot_id)
    assert other.pool() == set()


async def test_what_a_killed_hub_leaves_of_a_snapshot_goes(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    (kept.home / "f").write_text("one")
    first = await kept.create()
    (kept.home / "f").write_text("two")
    objects = kept.objects()

    async def killed(*arguments: Any) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr("projecthub.store.home_snapshots.SnapshotRows.add", killed)
        await kept.create()
    assert kept.objects() > objects
    assert len(kept.keeping.shelf(kept.project_id).ids()) == 2
    kept.join()
    await kept.keeping.repair()
    assert kept.objects() == objects
    assert kept.keeping.shelf(kept.project_id).ids() == {first["id"]}
    assert kept.pool() == objects
    assert not kept.keeping.shelf(kept.project_id).is_unfinished


async def test_what_a_killed_hub_leaves_of_a_deletion_goes(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    (kept.home / "f").write_text("one")
    first = await kept.create()

    def killed(*arguments: Any) -> int:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr("projecthub.hub.snapshot_keeping.sweep", killed)
        await kept.delete(first["id"])
    assert await kept.ids() == []
    assert kept.objects()
    kept.join()
    await kept.keeping.repair()
    assert kept.objects() == set() == kept.keeping.shelf(kept.project_id).ids()


@pytest.mark.parametrize("at", ["before", "between", "after"])
async def test_a_restore_that_was_decided_is_brought_to_its_end(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    for name in ("a", "b", "c"):
        (kept.home / name).write_text("one")
    first = await kept.create()
    for name in ("a", "b", "d"):
        (kept.home / name).unlink(missing_ok=True)
        (kept.home / name).write_text("two")
    await asyncio.sleep(0.1)
    real, count = restoring._bring, 0

    def bring(*arguments: Any) -> None:
        nonlocal count
        count += 1
        if at == "between" and count == 2:
            raise RuntimeError("killed")
        real(*arguments)

    def killed(*arguments: Any) -> Any:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(restoring, "_bring", bring)
        if at != "between":
            patch.setattr(restoring, "finish" if at == "before" else "forget", killed)
        await kept.restore(first["id"])
    kept.join()
    await kept.keeping.repair()
    assert {path.name: path.read_text() for path in kept.home.iterdir() if path.name in "abcd"} == dict.fromkeys(
        "abc", "one"
    )
    assert restoring.pending(kept.house.homes.found(kept.project_id)) is None
    assert "restoring" not in os.listdir(kept.home.parent)
    newest = (await kept.ids())[0]
    await kept.restore(newest)
    assert {path.name: path.read_text() for path in kept.home.iterdir() if path.name in "abd"} == dict.fromkeys(
        "abd", "two"
    )


async def test_what_changes_while_it_is_restored_goes_to_the_trash(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    (kept.home / "a").write_text("one")
    (kept.home / "d").mkdir()
    (kept.home / "d" / "b").write_text("one")
    (kept.home / "d" / "c").write_text("one")
    first = await kept.create()
    await asyncio.sleep(0.1)
    real = restoring.finish

    def finish(*arguments: Any) -> Any:
        (kept.home / "d" / "b").write_text("written meanwhile")
        return real(*arguments)

    monkeypatch.setattr(restoring, "finish", finish)
    done = await kept.restore(first["id"])
    assert done["in_trash"] == ["d"]
    assert (kept.home / "d" / "b").read_text() == "one"
    [item] = (kept.home / ".projecthub" / "trash").iterdir()
    assert (item / "content" / "b").read_text() == "written meanwhile"


async def test_what_no_snapshot_can_hold_is_not_lost(kept: Kept) -> None:
    (kept.home / "d").mkdir()
    (kept.home / "d" / "a").write_text("one")
    first = await kept.create()
    os.mkfifo(kept.home / "d" / "pipe")
    await asyncio.sleep(0.1)
    done = await kept.restore(first["id"], "d")
    assert done["in_trash"] == ["d"]
    [item] = (kept.home / ".projecthub" / "trash").iterdir()
    assert sorted(os.listdir(item / "content")) == ["a", "pipe"]
    assert os.listdir(kept.home / "d") == ["a"]


async def test_what_a_partial_snapshot_holds_gives_way_as_ever(kept: Kept) -> None:
    for name in ("d", "e"):
        (kept.home / name / "deep").mkdir(parents=True)
        for path in ("a", "deep/b", "deep/\udcff"):
            (kept.home / name / path).write_text("one")
    (kept.home / "link").symlink_to("d")
    (kept.home / "f").write_text("one")
    first = await kept.create()
    (kept.home / "f").write_text("two")
    (kept.home / "g").write_text("new")
    os.mkfifo(kept.home / "pipe")
    os.mkfifo(kept.home / "e" / "deep" / "pipe")
    await asyncio.sleep(0.1)
    done = await kept.restore(first["id"])
    assert sorted(done["in_trash"]) == ["e", "pipe"]
    assert (kept.home / "f").read_text() == "one"
    assert not (kept.home / "g").exists()
    await asyncio.sleep(0.1)
    again = await kept.restore(done["before"])
    assert again["in_trash"] == []
    assert (kept.home / "g").read_text() == "new"


async def test_snapshots_expire(kept: Kept) -> None:
    at = kept.house.clock.now() + timedelta(days=2)
    first = await kept.create(expire=at.isoformat())
    second = await kept.create()
    assert first["expires"] is not None
    kept.house.clock.advance(days=1)
    await kept.schedule._drop_expired()
    assert await kept.ids() == [second["id"], first["id"]]
    kept.house.clock.advance(days=1.1)
    await kept.schedule._drop_expired()
    assert await kept.ids() == [second["id"]]
    assert (await kept.events())[0]["reason"] == "its time was over"


async def sweep(kept: Kept) -> None:
    await kept.schedule.sweep()
    await kept.schedule.settled()


async def test_used_projects_get_snapshots_and_others_do_not(kept: Kept, house: House, ann: Principal) -> None:
    idle = Kept(house, ann)
    await idle.make()
    await sweep(kept)  # both were made, and nothing more
    assert await kept.ids() == []
    (kept.home / "f").write_text("one")
    await use(house, kept, hours=1)
    await sweep(kept)
    first = await kept.ids()
    assert len(first) == 1
    (kept.home / "f").write_text("two")
    await use(house, kept, hours=1)
    await sweep(kept)
    assert await kept.ids() == first  # it is not due before a day is over
    house.clock.advance(hours=23)
    await sweep(kept)
    assert len(await kept.ids()) == 2
    await use(house, kept, hours=30)
    await sweep(kept)
    assert len(await kept.ids()) == 2  # it was used, and nothing is other
    house.clock.advance(days=3)
    await sweep(kept)
    assert len(await kept.ids()) == 2
    assert await idle.ids() == []
    row = (await kept.list())["snapshots"][0]
    assert (row["automatic"], row["account_id"]) == (True, None)


async def test_what_is_used_while_it_is_looked_at_is_looked_at_again(
    kept: Kept, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sweep(kept)
    real = kept.keeping.take

    async def take(*order: Any) -> Any:
        taken = await real(*order)
        await use(house, kept, hours=0.01)
        (kept.home / "f").write_text("too late for this one")
        house.clock.advance(hours=0.01)
        return taken

    (kept.home / "f").write_text("one")
    await use(house, kept, hours=1)
    with monkeypatch.context() as patch:
        patch.setattr(kept.keeping, "take", take)
        await sweep(kept)
    assert len(await kept.ids()) == 1
    house.clock.advance(hours=1)
    await sweep(kept)
    house.clock.advance(hours=24)
    await sweep(kept)
    assert len(await kept.ids()) == 2


async def use(house: House, kept: Kept, *, hours: float) -> None:
    """Have a project used some hours later."""
    house.clock.advance(hours=hours)
    async with house.store.write() as tx:
        await tx.projects.touch(kept.project_id, kept.ann.account_id, house.clock.now())


async def test_without_hours_none_is_taken(kept: Kept) -> None:
    kept.schedule = SnapshotSchedule(kept.house.store, kept.keeping, kept.house.clock, hours=0)
    (kept.home / "f").write_text("one")
    await use(kept.house, kept, hours=48)
    await sweep(kept)
    assert await kept.ids() == []


async def test_one_that_fails_keeps_no_other_waiting(kept: Kept, house: House, ann: Principal) -> None:
    other = Kept(house, ann)
    await other.make()
    await sweep(kept)
    for one in (kept, other):
        (one.home / "f").write_bytes(content(1, 3000))
        await use(house, one, hours=1)
    failing = kept.project_id
    real = kept.keeping.take

    async def take(project: Project, *more: Any) -> Any:
        if project.project_id == failing:
            raise LimitError("no room")
        return await real(project, *more)

    kept.keeping.take = take  # type: ignore[method-assign]
    await sweep(kept)
    assert await kept.ids() == []
    assert len(await other.ids()) == 1
    kept.keeping.take = real  # type: ignore[method-assign]
    house.clock.advance(hours=25)
    await sweep(kept)
    assert len(await kept.ids()) == 1


def automatic(at: datetime) -> HomeSnapshot:
    values: dict[str, Any] = dict.fromkeys(("files", "bytes", "own_bytes", "skipped", "changing"), 0)
    return HomeSnapshot(
        id=at.isoformat(), project_id=ProjectId("p"), account_id=None, title="", automatic=True, created_at=at,
        expires_at=None, **values,
    )  # fmt: skip


def test_seven_days_and_four_weeks_are_kept() -> None:
    now = datetime(2026, 3, 29, 12, tzinfo=UTC)  # a Sunday
    rows = [automatic(now - timedelta(hours=hours)) for hours in range(1, 24 * 60, 6)]
    doomed = outgrown(rows, now)
    kept = [row.created_at for row in rows if row not in doomed]
    last_day = [at for at in kept if now - at < timedelta(days=1)]
    assert len(last_day) == 4
    assert [at.day for at in kept[4:]] == [27, 26, 25, 24, 23, 22, 15, 8]  # the 22nd, 15th and 8th end weeks
    assert all(at.hour >= 18 for at in kept[5:])  # the newest of each
    # To thin out again and again ends where thinning out once does.
    again: list[HomeSnapshot] = []
    for row in reversed(rows):
        again.insert(0, row)
        doomed = outgrown(again, row.created_at)
        again = [one for one in again if one not in doomed]
    assert len(again) <= 4 + 7 + 4
    assert again[0] is rows[0]
    assert now - again[-1].created_at > timedelta(days=20)
