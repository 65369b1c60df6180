"""Starts at the same time: as many projects run with a license as may, and no change of a license's map is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from store_samples import NOW, add_account, add_project, new_id
from tests.postgresql import FakeClock

from projecthub.hub.licenses import Licenses
from projecthub.hub.principals import Principal
from projecthub.hub.quotas import QuotaDefaults, Quotas
from projecthub.store import Store, open_store
from projecthub.store.records import State
from projecthub.wire.ids import AccountId, ProjectId
from projecthub.wire.shapes import ProjectLicense

AT_ONCE = 16


@pytest.fixture
async def stores(store: Store, store_url: str, clock: FakeClock) -> AsyncIterator[tuple[Store, Store]]:
    """One database, opened twice, as by two hubs."""
    second = await open_store(store_url, clock=clock)
    yield store, second
    await second.close()


async def add_license(store: Store, **fields: Any) -> str:
    values: dict[str, Any] = {"title": "t", "quota": {"cpu": 2}, "created_at": NOW, **fields}
    license_id = new_id()
    async with store.write() as tx:
        await tx.licenses.create(id=license_id, **values)
    return license_id


async def start(store: Store, clock: FakeClock, project_id: ProjectId) -> dict[str, str | None]:
    """What a start writes in its transaction; tells the status of each license."""
    async with store.write() as tx:
        project = await tx.projects.get(project_id, lock=True)
        assert project is not None
        columns = await Quotas(QuotaDefaults(), clock).at_start(tx, project)
        assert await tx.projects.update(
            project_id, {**columns, "state": State.STARTING, "epoch": project.epoch + 1}, epoch=project.epoch
        )
    licenses: dict[str, dict[str, Any]] = columns["site_license"] or {}
    return {license_id: content.get("status") for license_id, content in licenses.items()}


async def test_no_more_projects_run_with_a_license_than_may(stores: tuple[Store, Store], clock: FakeClock) -> None:
    store = stores[0]
    owner = await add_account(store)
    limits = {await add_license(store, run_limit=limit): limit for limit in (1, 5, 40)}
    # In another order for every other project: who locks several must not wait for the other in a ring.
    orders = [list(limits), list(limits)[::-1]]
    projects = [
        await add_project(store, owner, site_license={license_id: {} for license_id in orders[n % 2]})
        for n in range(AT_ONCE)
    ]
    found = await asyncio.gather(*(start(stores[n % 2], clock, project_id) for n, project_id in enumerate(projects)))
    for license_id, limit in limits.items():
        places = min(limit, AT_ONCE)
        assert Counter(one[license_id] for one in found) == Counter(active=places, exhausted=AT_ONCE - places)
    async with store.read() as tx:
        assert await tx.licenses.used(list(limits)) == {
            license_id: min(limit, AT_ONCE) for license_id, limit in limits.items()
        }


async def test_restarts_at_once_keep_their_places(stores: tuple[Store, Store], clock: FakeClock) -> None:
    store = stores[0]
    owner = await add_account(store)
    license_id = await add_license(store, run_limit=4)
    projects = [await add_project(store, owner, site_license={license_id: {}}) for _ in range(8)]
    for project_id in projects:
        await start(store, clock, project_id)
    again = await asyncio.gather(*(start(stores[n % 2], clock, project_id) for n, project_id in enumerate(projects)))
    assert [one[license_id] for one in again] == ["active"] * 4 + ["exhausted"] * 4


async def test_what_is_attached_during_starts_is_not_lost(stores: tuple[Store, Store], clock: FakeClock) -> None:
    store = stores[0]
    owner = await add_account(store)
    caller = Principal(AccountId(owner), False, 1)
    license_ids = [await add_license(store, run_limit=1000) for _ in range(10)]
    project_id = await add_project(store, owner, site_license={license_ids[0]: {}})

    async def attach(through: Store, license_id: str) -> None:
        request = ProjectLicense(project_id=project_id, license_id=license_id)
        await Licenses(through, clock).attach(caller, request)

    await asyncio.gather(
        *(attach(stores[n % 2], license_id) for n, license_id in enumerate(license_ids[1:])),
        *(start(stores[n % 2], clock, project_id) for n in range(5)),
    )
    async with store.read() as tx:
        project = await tx.projects.get(project_id)
        log = await tx.log.of_project(project_id, limit=100)
    assert project is not None
    assert project.epoch == 5
    assert (project.site_license or {}).keys() == set(license_ids)
    assert {row["event"]["license_id"] for row in log} == set(license_ids[1:])


async def test_a_license_that_ends_meanwhile_counts_or_does_not(stores: tuple[Store, Store], clock: FakeClock) -> None:
    store = stores[0]
    owner = await add_account(store)
    license_id = await add_license(store)
    projects = [await add_project(store, owner, site_license={license_id: {}}) for _ in range(6)]

    async def end() -> None:
        async with stores[1].write() as tx:
            await tx.licenses.end(license_id, NOW - timedelta(hours=1))

    found = await asyncio.gather(*(start(store, clock, project_id) for project_id in projects), end())
    assert {one[license_id] for one in found if one} <= {"active", "expired"}
    assert await start(store, clock, projects[0]) == {license_id: "expired"}
