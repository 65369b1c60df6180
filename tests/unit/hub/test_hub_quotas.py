"""What a project may use: the rules as properties, and what they mean to the engine."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from house import FixedClock, House
from hypothesis import given
from hypothesis import strategies as st

from projecthub.engines.port import Limits, Network
from projecthub.errors import InvalidArgument, PermissionDenied, QueryRefused
from projecthub.hub.principals import Principal
from projecthub.hub.quotas import AMOUNTS, FLAGS, QuotaDefaults, Quotas, run_quota_of
from projecthub.wire.shapes import SetQuotas

BASE = {
    "network": False,
    "member_host": False,
    "privileged": False,
    "always_running": False,
    "dedicated_vm": False,
    "gpu": False,
    "dedicated_disks": [],
    "memory_request": 200,
    "memory_limit": 1000,
    "cpu_request": 0.02,
    "cpu_limit": 1,
    "disk_quota": 3000,
    "idle_timeout": 1800,
}
D = QuotaDefaults()
EVERYWHERE = frozenset(Network)

_SETTING_NAMES = [*(row.setting for row in AMOUNTS.values()), *FLAGS, "disableInternet"]
_HOSTILE: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("20000"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
_WRITTEN = st.dictionaries(st.sampled_from(_SETTING_NAMES) | st.text(max_size=3), _HOSTILE, max_size=8)
_SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        **{row.setting: st.integers(0, 100_000) for row in AMOUNTS.values()},
        **{name: st.sampled_from([0, 1]) for name in FLAGS},
        "disableInternet": st.booleans(),
    },
)
_QUOTAS = st.fixed_dictionaries(
    {},
    optional={
        **{name: st.integers(0, 64) for name in ("cpu", "ram", "disk", "dedicated_cpu", "dedicated_ram")},
        **{name: st.booleans() for name in ("member", "always_running", "network")},
        "idle_timeout": st.sampled_from(["short", "medium", "day", 60, 100_000]),
    },
)
_LISTS = st.lists(_QUOTAS, max_size=3)


def quota(
    settings: Any = None, *upgrades: Any, licenses: list[Any] | None = None, defaults: QuotaDefaults = D
) -> dict[str, Any]:
    return run_quota_of(defaults, settings, upgrades, licenses or [])


def changed(settings: Any = None, *upgrades: Any, **options: Any) -> dict[str, Any]:
    """What differs from the base."""
    return {name: value for name, value in quota(settings, *upgrades, **options).items() if BASE[name] != value}


# -- the rules -------------------------------------------------------------------------------------


def test_the_base_is_to_the_letter() -> None:
    assert quota() == BASE
    assert json.dumps(quota(), sort_keys=True) == json.dumps(BASE, sort_keys=True)


def test_the_operator_says_what_every_project_has() -> None:
    mine = QuotaDefaults(memory_mb=500, cpus=0.5, disk_mb=90_000, idle_timeout_s=60)
    assert changed(defaults=mine) == {
        "memory_limit": 500, "cpu_limit": 0.5, "disk_quota": 90_000, "idle_timeout": 60,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "difference"),
    [
        ({"memory": 2000}, {"memory_limit": 2000}),
        ({"memory": 500}, {}),
        ({"memory_request": 400}, {"memory_request": 400}),
        ({"cores": 1.5}, {"cpu_limit": 1.5}),
        ({"cpu_shares": 512}, {"cpu_request": 0.5}),
        ({"disk_quota": "5000"}, {"disk_quota": 5000}),
        ({"disk_quota": "much"}, {}),
        ({"mintime": 7200}, {"idle_timeout": 7200}),
        ({"network": 1}, {"network": True}),
        ({"network": 0}, {}),
        ({"network": 1, "disableInternet": True}, {}),
        ({"always_running": 1}, {"always_running": True}),
        ({"member_host": 1}, {"member_host": True, "memory_request": 300, "cpu_request": 0.05}),
        ({"memory": 100_000}, {"memory_limit": 100_000}),
        ({"ephemeral_disk": 1, "nonsense": 7}, {}),
    ],
)
def test_settings(settings: dict[str, Any], difference: dict[str, Any]) -> None:
    assert changed(settings) == difference


@pytest.mark.parametrize(
    ("upgrades", "difference"),
    [
        ([{"memory": 500}, {"memory": 700}], {"memory_limit": 2200}),
        ([{"memory": 10_000}, {"memory": 10_000}], {"memory_limit": 16_000}),
        ([{"cores": 0.25}], {"cpu_limit": 1.25}),
        ([{"cores": 64}], {"cpu_limit": 3}),
        ([{"cpu_shares": 5000}], {"cpu_request": 2}),
        ([{"memory_request": 90_000}], {"memory_request": 8000}),
        ([{"disk_quota": 90_000}], {"disk_quota": 20_000}),
        ([{"mintime": 10**9}], {"idle_timeout": 90 * 86_400}),
        ([{"network": 1}], {"network": True}),
        ([{"memory": -5000}, {"memory": 100}], {"memory_limit": 1100}),
        ([{"memory": "x", "cores": [], "network": None, "mintime": {}}], {}),
    ],
)
def test_upgrades(upgrades: list[Any], difference: dict[str, Any]) -> None:
    assert changed(None, *upgrades) == difference


def test_upgrades_come_on_top_of_settings_and_take_nothing_away() -> None:
    assert changed({"memory": 3000}, {"memory": 1000}) == {"memory_limit": 4000}
    assert changed({"memory": 20_000}, {"memory": 1000}) == {"memory_limit": 20_000}
    assert quota(None, {"memory": 1}, defaults=QuotaDefaults(memory_mb=30_000))["memory_limit"] == 30_000


@pytest.mark.parametrize(
    ("licenses", "difference"),
    [
        ([{"ram": 4}], {"memory_limit": 4000, "network": True}),
        ([{"ram": 0.5}], {"network": True}),
        ([{"ram": 2.3}], {"memory_limit": 2300, "network": True}),
        ([{"cpu": 1.1}, {"cpu": 2.2}], {"cpu_limit": 3.3, "network": True}),
        ([{"ram": 2, "dedicated_ram": 1}], {"memory_limit": 3000, "memory_request": 1000, "network": True}),
        ([{"cpu": 2}, {"cpu": 1.5}], {"cpu_limit": 3.5, "network": True}),
        ([{"dedicated_cpu": 2}], {"cpu_limit": 2, "cpu_request": 2, "network": True}),
        ([{"disk": 10}], {"disk_quota": 10_000, "network": True}),
        ([{"cpu": 1, "idle_timeout": "medium"}, {"idle_timeout": "medium"}], {"idle_timeout": 7200, "network": True}),
        ([{"idle_timeout": "day"}], {"idle_timeout": 86_400, "network": True}),
        ([{"idle_timeout": 60}], {"network": True}),
        ([{"always_running": True, "network": False}], {"always_running": True}),
        ([{"member": True, "network": False}], {"member_host": True, "memory_request": 300, "cpu_request": 0.05}),
        ([{}], {}),
    ],
)
def test_licenses(licenses: list[Any], difference: dict[str, Any]) -> None:
    assert changed(licenses=licenses) == difference


def test_licenses_are_not_added_to_the_rest() -> None:
    assert changed({"memory": 3000}, licenses=[{"ram": 2}]) == {"memory_limit": 3000, "network": True}
    assert changed({"memory": 3000}, licenses=[{"ram": 2}, {"ram": 2}]) == {"memory_limit": 4000, "network": True}


def test_no_internet_whatever_was_bought() -> None:
    assert changed({"disableInternet": True}, {"network": 5}, licenses=[{"network": True}]) == {}


def test_what_never_stops_is_not_made_to_by_a_license() -> None:
    never = QuotaDefaults(idle_timeout_s=0)
    assert (
        quota({"mintime": 60}, {"mintime": 60}, licenses=[{"idle_timeout": "day"}], defaults=never)["idle_timeout"] == 0
    )


@given(_WRITTEN, st.lists(_WRITTEN, max_size=3), st.lists(_WRITTEN, max_size=3))
def test_whatever_is_written_gives_a_quota_of_the_same_shape(settings: Any, upgrades: Any, licenses: Any) -> None:
    found = run_quota_of(D, settings, upgrades, licenses)
    assert found.keys() == BASE.keys()
    for name, value in BASE.items():
        if isinstance(value, bool):
            assert type(found[name]) is bool
        elif isinstance(value, list):
            assert found[name] == value
        else:
            assert found[name] >= value
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@given(_SETTINGS, st.lists(_SETTINGS, max_size=3), _LISTS, _QUOTAS)
def test_more_never_gives_less(settings: Any, upgrades: Any, licenses: Any, another: Any) -> None:
    found = run_quota_of(D, settings, upgrades, licenses)
    more = run_quota_of(D, settings, [*upgrades, {"memory": 1, "network": 1}], [*licenses, another])
    for name in (*AMOUNTS, *FLAGS):
        assert more[name] >= found[name]


@given(_SETTINGS, st.lists(_SETTINGS, max_size=3), _LISTS)
def test_each_number_is_the_larger_of_two(settings: Any, upgrades: Any, licenses: Any) -> None:
    both = run_quota_of(D, settings, upgrades, licenses)
    free, licensed = run_quota_of(D, settings, upgrades, []), run_quota_of(D, None, [], licenses)
    for name in AMOUNTS.keys() - {"memory_request", "cpu_request"}:  # where a member has a minimum besides
        assert both[name] == max(free[name], licensed[name])


@given(_WRITTEN, st.lists(_WRITTEN, max_size=4))
def test_upgrades_have_an_end(settings: Any, upgrades: Any) -> None:
    free, upgraded = run_quota_of(D, settings, [], []), run_quota_of(D, settings, upgrades, [])
    for name, row in AMOUNTS.items():
        if row.least_of_member == 0:
            assert free[name] <= upgraded[name] <= max(free[name], row.most * row.per_setting)


# -- what it means to the engine -------------------------------------------------------------------


def quotas(**defaults: Any) -> Quotas:
    return Quotas(QuotaDefaults(**defaults), FixedClock())


def test_limits() -> None:
    found = quotas(processes=99).limits({**BASE, "memory_limit": 2500, "cpu_limit": 0.5})
    assert found == Limits(memory_bytes=2_500_000_000, cpu_cores=0.5, processes=99)
    assert quotas().limits(None) == Limits(memory_bytes=1_000_000_000, cpu_cores=1, processes=1024)
    assert quotas(memory_mb=300).limits({"cpu_limit": 2}) == Limits(
        memory_bytes=300_000_000, cpu_cores=2, processes=1024
    )


def test_idle_timeout_and_disk() -> None:
    assert quotas().idle_timeout_s(BASE) == 1800
    assert quotas().idle_timeout_s({**BASE, "idle_timeout": 0}) is None
    assert quotas(idle_timeout_s=0).idle_timeout_s(None) is None
    assert quotas().disk_quota_bytes(BASE) == 3_000_000_000
    assert quotas(disk_mb=5).disk_quota_bytes(None) == 5_000_000


def test_always_running_by_quota_or_by_settings_alone() -> None:
    found = quotas()
    assert not found.always_running(None, None)
    assert not found.always_running(BASE, {"always_running": 0})
    assert found.always_running({**BASE, "always_running": True}, None)
    assert found.always_running(None, {"always_running": 1})


@pytest.mark.parametrize(
    ("default", "granted", "settings", "offered", "expected"),
    [
        ("auto", False, None, EVERYWHERE, Network.NONE),
        ("auto", False, None, {Network.HOST}, Network.HOST),
        ("none", False, None, EVERYWHERE, Network.NONE),
        ("internet", False, None, EVERYWHERE, Network.INTERNET),
        ("host", False, None, EVERYWHERE, Network.HOST),
        ("auto", True, None, EVERYWHERE, Network.INTERNET),
        ("host", True, None, EVERYWHERE, Network.INTERNET),
        ("auto", True, None, {Network.NONE, Network.HOST}, Network.NONE),
        ("none", True, None, {Network.NONE, Network.HOST}, Network.NONE),
        ("auto", True, None, {Network.HOST}, Network.HOST),
        ("host", True, {"disableInternet": True}, EVERYWHERE, Network.NONE),
        ("internet", False, {"disableInternet": True}, EVERYWHERE, Network.NONE),
        ("host", False, {"disableInternet": False}, EVERYWHERE, Network.HOST),
        ("auto", False, {"disableInternet": True}, {Network.HOST}, Network.HOST),
    ],
)
def test_networks(default: Any, granted: bool, settings: Any, offered: Any, expected: Network) -> None:
    assert quotas(network=default).network({**BASE, "network": granted}, settings, frozenset(offered)) is expected


@given(
    st.dictionaries(st.sampled_from([*BASE, "host"]), _HOSTILE, max_size=6),
    _WRITTEN,
    st.sampled_from(["auto", "none", "internet"]),
)
def test_only_the_operator_gives_the_machine_s_own_network(written: Any, settings: Any, default: Any) -> None:
    assert quotas(network=default).network(written, settings, EVERYWHERE) is not Network.HOST


# -- who may raise them ----------------------------------------------------------------------------


async def foreseen(house: House, project_id: Any) -> dict[str, Any]:
    async with house.store.read() as tx:
        project = await tx.projects.get(project_id)
        assert project is not None
        return await house.quotas.foreseen(tx, project, project.settings)


async def test_only_what_site_admins_give_counts_as_an_upgrade(
    house: House, ann: Principal, bob: Principal, admin: Principal
) -> None:
    project_id = await house.project(ann, bob, admin)
    much = {"memory": 10_000, "cores": 2, "network": 1, "always_running": 1}
    for member in (ann, bob):
        await house.change(member, project_id, users={member.account_id: {"upgrades": much}})
    assert await foreseen(house, project_id) == BASE
    await house.change(admin, project_id, users={admin.account_id: {"upgrades": {"memory": 500}}})
    assert await foreseen(house, project_id) == {**BASE, "memory_limit": 1500}
    for former in ({"is_admin": False}, {"is_admin": True, "banned": True}):
        async with house.store.write() as tx:
            await tx.accounts.update(admin.account_id, former)
        assert await foreseen(house, project_id) == BASE


async def settled(house: House, starts: int) -> None:
    async with asyncio.timeout(10):
        while len(house.engine.specs) < starts or not house.engine.live:
            await asyncio.sleep(0)


async def test_set_quotas_merges_and_restarts_what_runs(house: House, ann: Principal, admin: Principal) -> None:
    project_id = await house.project(ann)
    await house.project_quotas.set(admin, SetQuotas(project_id=project_id, memory=2000, network=1))
    await house.project_quotas.set(admin, SetQuotas(project_id=project_id.upper(), cores=1.5))
    assert (await house.row(project_id)).settings == {"memory": 2000, "network": 1, "cores": 1.5}
    assert (await house.field(ann, project_id, "settings"))["disk_quota"] == 3000
    assert not house.engine.specs
    await house.projects.start(ann, project_id)
    # What changes nothing, or nothing that counts, leaves the project alone.
    await house.project_quotas.set(admin, SetQuotas(project_id=project_id, cores=1.5))
    await house.project_quotas.set(admin, SetQuotas(project_id=project_id, disk_quota=100))
    await house.project_quotas.set(admin, SetQuotas(project_id=project_id))
    assert (await house.row(project_id)).epoch == 1
    await house.project_quotas.set(admin, SetQuotas(project_id=project_id, disk_quota=5000))
    await asyncio.gather(*house.lifecycle._promised)
    assert await house.log(project_id) == [
        (admin.account_id, {"event": "quotas_set", "quotas": {"memory": 2000, "network": 1}}),
        (admin.account_id, {"event": "quotas_set", "quotas": {"cores": 1.5}}),
        (ann.account_id, {"event": "project_started"}),
        (admin.account_id, {"event": "quotas_set", "quotas": {"disk_quota": 100}}),
        (admin.account_id, {"event": "quotas_set", "quotas": {"disk_quota": 5000}}),
        (admin.account_id, {"event": "project_restarted", "reason": "its quota was changed"}),
    ]
    quota = (await house.row(project_id)).run_quota
    assert quota is not None
    assert (quota["disk_quota"], quota["memory_limit"]) == (5000, 2000)
    assert house.engine.specs[-1].limits.memory_bytes == 2_000_000_000


async def test_to_run_always_begins_when_the_operator_says_so(house: House, ann: Principal, admin: Principal) -> None:
    project_id = await house.project(ann)
    await house.project_quotas.set(admin, SetQuotas(project_id=project_id, always_running=1))
    assert (await house.row(project_id)).desired == "running"
    await asyncio.gather(*house.lifecycle._promised)
    assert project_id in house.engine.live
    await house.projects.stop(ann, project_id)
    await house.project_quotas.set(admin, SetQuotas(project_id=project_id, cores=2))
    assert not house.engine.live


async def test_what_a_license_gives_anyway_needs_no_restart(house: House, ann: Principal, admin: Principal) -> None:
    active = {"status": "active", "quota": {"ram": 8}}
    idle = {"status": "expired"}
    project_id = await house.project(ann, site_license={"a": active, "b": idle, "c": {}})
    await house.projects.start(ann, project_id)
    await house.project_quotas.set(admin, SetQuotas(project_id=project_id, memory=4000))
    assert (await house.row(project_id)).epoch == 1
    await house.project_quotas.set(admin, SetQuotas(project_id=project_id, memory=9000))
    await settled(house, 2)


async def test_the_bounds_of_a_quota_are_told_with_all_their_digits(
    house: House, ann: Principal, admin: Principal
) -> None:
    project_id = await house.project(ann)
    with pytest.raises(InvalidArgument, match=r"a number of MB from 0 to [0-9]+$"):
        await house.project_quotas.set(admin, SetQuotas(project_id=project_id, memory=1e12))


@pytest.mark.parametrize("everybody", ["none", "internet"])
async def test_the_internet_is_taken_from_a_project_that_is_there(
    house: House, ann: Principal, bob: Principal, admin: Principal, everybody: str
) -> None:
    house.quotas = Quotas(QuotaDefaults(network=everybody), house.clock)
    house.join()
    project_id = await house.project(ann)
    await house.project_quotas.set(admin, SetQuotas(project_id=project_id, network=1))
    await house.projects.start(ann, project_id)
    networks = [house.engine.specs[-1].network]
    for taken in (True, True, False):
        for stranger in (ann, bob):
            with pytest.raises(PermissionDenied):
                await house.project_quotas.set(stranger, SetQuotas(project_id=project_id, disableInternet=taken))
        await house.project_quotas.set(admin, SetQuotas(project_id=project_id, disableInternet=taken))
        await asyncio.gather(*house.lifecycle._promised)
        networks.append(house.engine.specs[-1].network)
    assert networks == [Network.INTERNET, Network.NONE, Network.NONE, Network.INTERNET]
    assert (await house.row(project_id)).epoch == 3
    with pytest.raises(QueryRefused):
        await house.change(ann, project_id, settings={"disableInternet": False})


async def test_it_is_taken_from_one_that_has_it_as_everybody_has(
    house: House, ann: Principal, admin: Principal
) -> None:
    """Then no quota changes by it, and it is restarted nevertheless."""
    house.quotas = Quotas(QuotaDefaults(network="internet"), house.clock)
    house.join()
    project_id = await house.project(ann)
    await house.projects.start(ann, project_id)
    assert house.engine.specs[-1].network is Network.INTERNET
    await house.project_quotas.set(admin, SetQuotas(project_id=project_id, disableInternet=True))
    await asyncio.gather(*house.lifecycle._promised)
    assert house.engine.specs[-1].network is Network.NONE
