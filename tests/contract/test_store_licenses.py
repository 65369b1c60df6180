from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from store_samples import HOSTILE, NOW, add_account, add_project, new_id

from projecthub.errors import Conflict, InvalidArgument, NotFound
from projecthub.store import Store, open_store
from projecthub.store.licenses import IN_USE
from projecthub.store.records import License, State
from projecthub.wire.ids import ProjectId

LATER = NOW + timedelta(hours=1)


async def add_license(store: Store, **fields: Any) -> str:
    values: dict[str, Any] = {"id": new_id(), "title": "t", "quota": {"cpu": 1}, "created_at": NOW, **fields}
    async with store.write() as tx:
        await tx.licenses.create(**values)
    return str(values["id"])


async def add_user(store: Store, state: State, *license_ids: str) -> ProjectId:
    """A project in some state that was started with these licenses."""
    project_id = await add_project(store, None)
    async with store.write() as tx:
        await tx.projects.update(project_id, {"state": state})
        await tx.licenses.note_uses(project_id, license_ids)
    return project_id


async def test_licenses_exist_once(store: Store) -> None:
    ids = [new_id() for _ in range(3)]
    async with store.write() as tx:
        for id in ids[:2]:
            await tx.licenses.create(id=id, title="t", quota={"cores": 1}, run_limit=3, created_at=NOW)
        with pytest.raises(Conflict, match=ids[0]):
            await tx.licenses.create(id=ids[0], title="t", quota={}, created_at=NOW)
    async with store.read() as tx:
        assert await tx.licenses.existing(ids) == set(ids[:2])
        assert await tx.licenses.existing(["'; --", "", *ids[2:]]) == set()
        assert await tx.licenses.existing([]) == set()


async def test_a_license_comes_back_as_it_was_made(store: Store) -> None:
    license = License(
        id=new_id(),
        title="t",
        description="d",
        quota={"cpu": 0.5, "member": True, "idle_timeout": "day"},
        run_limit=3,
        activates_at=NOW,
        expires_at=LATER,
        created_at=NOW,
    )
    plain = await add_license(store, title="plain")
    await add_license(store, **{name: getattr(license, name) for name in License.__dataclass_fields__})
    async with store.read() as tx:
        assert await tx.licenses.get(license.id) == license
        assert await tx.licenses.get(new_id()) is None
        found = await tx.licenses.get(plain)
    assert found is not None
    assert (found.description, found.run_limit, found.activates_at, found.expires_at) == ("", None, None, None)


@pytest.mark.parametrize("text", HOSTILE)
async def test_titles_of_any_text(store: Store, text: str) -> None:
    license_id = await add_license(store, title=text, description=text)
    async with store.read() as tx:
        license = await tx.licenses.get(license_id)
    assert license is not None
    assert (license.title, license.description) == (text, text)


async def test_pages_newest_first(store: Store) -> None:
    old, *twins = [await add_license(store, created_at=at) for at in (NOW, LATER, LATER)]
    expected = [*sorted(twins), old]
    async with store.read() as tx:
        assert [license.id for license in await tx.licenses.list(limit=10)] == expected
        paged: list[str] = []
        for _ in expected:
            paged += [license.id for license in await tx.licenses.list(limit=1, after=paged[-1] if paged else None)]
        assert paged == expected
        assert await tx.licenses.list(limit=1, after=old) == []
        with pytest.raises(NotFound, match="to list after"):
            await tx.licenses.list(limit=1, after=new_id())


async def test_changes(store: Store) -> None:
    license_id, other = await add_license(store, run_limit=1), await add_license(store)
    async with store.write() as tx:
        assert await tx.licenses.update(license_id, {"title": "new", "run_limit": None, "quota": {"ram": 2}})
        assert not await tx.licenses.update(new_id(), {"title": "new"})
        for wrong in ({"id": new_id()}, {"created_at": LATER}, {"nonsense": 1}, {}):
            with pytest.raises(InvalidArgument):
                await tx.licenses.update(license_id, wrong)
    async with store.read() as tx:
        changed, untouched = await tx.licenses.get(license_id), await tx.licenses.get(other)
    assert changed is not None
    assert untouched is not None
    assert (changed.title, changed.run_limit, changed.quota) == ("new", None, {"ram": 2})
    assert (untouched.title, untouched.quota) == ("t", {"cpu": 1})


async def test_an_end_is_never_put_off(store: Store) -> None:
    license_id = await add_license(store)
    async with store.write() as tx:
        assert await tx.licenses.end(license_id, LATER)
        assert not await tx.licenses.end(license_id, LATER + timedelta(hours=1))
        assert await tx.licenses.end(license_id, NOW)
        assert not await tx.licenses.end(new_id(), NOW)
        license = await tx.licenses.get(license_id)
    assert license is not None
    assert license.expires_at == NOW


async def test_locked_ones_are_those_that_there_are(store: Store) -> None:
    ids = [await add_license(store) for _ in range(3)]
    async with store.write() as tx:
        found = await tx.licenses.locked([*ids, ids[0], new_id()])
        assert found.keys() == set(ids)
        assert all(license.id == id for id, license in found.items())
        assert await tx.licenses.locked([]) == {}


async def test_uses_count_while_their_project_runs(store: Store) -> None:
    one, two = await add_license(store), await add_license(store)
    projects = {state: await add_user(store, state, one) for state in State}
    both = await add_user(store, State.RUNNING, one, two, one)
    async with store.read() as tx:
        assert await tx.licenses.used([one, two, new_id()]) == {one: len(IN_USE) + 1, two: 1}
        assert await tx.licenses.used([one, two], besides=both) == {one: len(IN_USE)}
        assert await tx.licenses.used([]) == {}
        assert await tx.licenses.users(one, limit=100) == sorted([both, *(projects[state] for state in IN_USE)])
        assert len(await tx.licenses.users(one, limit=2)) == 2
        assert await tx.licenses.users(new_id(), limit=2) == []


async def test_each_start_notes_its_own_uses(store: Store) -> None:
    one, two = await add_license(store), await add_license(store)
    project_id, other = await add_user(store, State.RUNNING, one), await add_user(store, State.RUNNING, one)
    async with store.write() as tx:
        await tx.licenses.note_uses(project_id, [two])
        assert await tx.licenses.users(one, limit=9) == [other]
        assert await tx.licenses.users(two, limit=9) == [project_id]
        await tx.licenses.note_uses(project_id, [])
        assert await tx.licenses.used([one, two]) == {one: 1}


async def test_what_does_not_exist_is_not_used(store: Store) -> None:
    project_id = await add_project(store, None)
    with pytest.raises(Conflict):
        async with store.write() as tx:
            await tx.licenses.note_uses(project_id, [new_id()])


async def test_what_is_read_under_a_lock_is_not_changed_in_between(store: Store, store_url: str, clock: Any) -> None:
    owner = await add_account(store)
    project_id, license_id = await add_project(store, owner), await add_license(store, run_limit=0)
    second = await open_store(store_url, clock=clock)

    async def add_by_get(through: Store, name: str) -> None:
        async with through.write() as tx:
            project = await tx.projects.get(project_id, lock=True)
            assert project is not None
            await tx.projects.update(project_id, {"env": {**(project.env or {}), name: name}})

    async def add_by_access(through: Store, name: str) -> None:
        async with through.write() as tx:
            access = await tx.projects.access(project_id, owner, lock=True)
            assert access is not None
            await tx.projects.update(project_id, {"env": {**(access.project.env or {}), name: name}})

    async def count(through: Store) -> None:
        async with through.write() as tx:
            license = (await tx.licenses.locked([license_id]))[license_id]
            await tx.licenses.update(license_id, {"run_limit": (license.run_limit or 0) + 1})

    try:
        await asyncio.gather(
            *(add_by_get(through, f"a{n}") for n in range(5) for through in (store, second)),
            *(add_by_access(through, f"b{n}") for n in range(5) for through in (store, second)),
            *(count(through) for _ in range(5) for through in (store, second)),
        )
    finally:
        await second.close()
    async with store.read() as tx:
        project, license = await tx.projects.get(project_id), await tx.licenses.get(license_id)
    assert project is not None
    assert license is not None
    assert project.env is not None
    assert len(project.env) == 10
    assert license.run_limit == 10


async def test_upgrades_of_those_who_have_written_some(store: Store) -> None:
    owner, other = await add_account(store), await add_account(store)
    project_id, elsewhere = await add_project(store, owner), await add_project(store, owner)
    async with store.write() as tx:
        await tx.collaborators.add([(project_id, other)], at=NOW)
        assert await tx.collaborators.upgrades(project_id) == {}
        await tx.collaborators.update(project_id, other, {"upgrades": {"cores": 1}})
        await tx.collaborators.update(elsewhere, owner, {"upgrades": {"cores": 2}})
        assert await tx.collaborators.upgrades(project_id) == {other: {"cores": 1}}
