"""Licenses: what they may say, who may do what with them, and which of them count at a start."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from house import NOW, House
from hypothesis import given
from hypothesis import strategies as st

from projecthub.errors import Conflict, HubError, InvalidArgument, NotFound, PermissionDenied, QueryRefused
from projecthub.hub.license_judgement import Status, class_of, judged
from projecthub.hub.license_quotas import checked_quota
from projecthub.hub.principals import Principal
from projecthub.store.records import License, State
from projecthub.wire.ids import ProjectId
from projecthub.wire.shapes import (
    CreateLicense,
    CreateProject,
    LicenseOnly,
    ListLicenses,
    ProjectLicense,
    SetQuotas,
    UpdateLicense,
)

UNKNOWN = "00000000-0000-4000-8000-000000000000"
HOUR = timedelta(hours=1)


# -- what a license may grant ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "quota",
    [
        {"cpu": 1, "ram": 0.5, "disk": 10, "member": True, "always_running": False, "network": True},
        {"dedicated_cpu": 1.5, "dedicated_ram": 0},
        {"idle_timeout": "short"},
        {"idle_timeout": "day"},
        {"idle_timeout": 60},
        {"cpu": 1024},
    ],
)
def test_quotas(quota: dict[str, Any]) -> None:
    assert checked_quota(quota) == quota


@pytest.mark.parametrize(
    ("quota", "words"),
    [
        ({}, ["grants nothing", "cpu", "idle_timeout"]),
        ({"cpu": None}, ["grants nothing"]),
        ({"gpus": 1}, ["no key 'gpus'", "give cpu, ram"]),
        ({"x" * 500: 1}, ["no key"]),
        ({"dedicated_vm": True}, ["'dedicated_vm'", "no dedicated machines"]),
        ({"dedicated_disk": {}}, ["'dedicated_disk'", "no dedicated disks"]),
        ({"cpu": "2"}, ["quota.cpu", "'2'", "cores from 0 to 1024"]),
        ({"cpu": True}, ["quota.cpu", "True"]),
        ({"cpu": -1}, ["quota.cpu", "-1"]),
        ({"cpu": float("nan")}, ["quota.cpu", "nan"]),
        ({"ram": 1e9}, ["quota.ram", "GB from 0 to 65536"]),
        ({"disk": []}, ["quota.disk", "[]"]),
        ({"member": 1}, ["quota.member", "true or false"]),
        ({"network": "no"}, ["quota.network", "true or false"]),
        ({"idle_timeout": "long"}, ["quota.idle_timeout", "'long'", "short, medium, day", "60"]),
        ({"idle_timeout": 59}, ["quota.idle_timeout", "59"]),
        ({"idle_timeout": 1e5}, ["quota.idle_timeout"]),
        ({"idle_timeout": True}, ["quota.idle_timeout"]),
        ({"idle_timeout": ["day"]}, ["quota.idle_timeout"]),
    ],
)
def test_what_is_no_quota(quota: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(InvalidArgument) as refused:
        checked_quota(quota)
    assert all(word in refused.value.message for word in words)
    assert len(refused.value.message) < 300


def test_a_quota_is_changed_key_by_key() -> None:
    assert checked_quota({"ram": 2, "cpu": None, "disk": None}, stored={"cpu": 1, "member": True}) == {
        "member": True,
        "ram": 2,
    }
    with pytest.raises(InvalidArgument, match="grants nothing"):
        checked_quota({"cpu": None}, stored={"cpu": 1})


# -- judging ---------------------------------------------------------------------------------------


def made(name: str, **fields: Any) -> License:
    values: dict[str, Any] = {
        "title": name,
        "description": "",
        "quota": {"cpu": 1},
        "run_limit": None,
        "activates_at": None,
        "expires_at": None,
        "created_at": NOW,
    }
    return License(id=name, **(values | fields))


def statuses(*licenses: License, now: datetime = NOW, **used: int) -> dict[str, str]:
    return {one.license.id: one.status.value for one in judged(licenses, used, now)}


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, "active"),
        ({"activates_at": NOW, "expires_at": NOW + HOUR}, "active"),
        ({"activates_at": NOW + HOUR}, "future"),
        ({"expires_at": NOW}, "expired"),
        ({"expires_at": NOW - HOUR}, "expired"),
        ({"activates_at": NOW + HOUR, "expires_at": NOW}, "expired"),
        ({"run_limit": 2}, "exhausted"),
        ({"run_limit": 3}, "active"),
        ({"run_limit": 2, "expires_at": NOW}, "expired"),
    ],
)
def test_statuses(fields: dict[str, Any], status: str) -> None:
    assert statuses(made("a", **fields), a=2) == {"a": status}


def test_the_best_class_wins() -> None:
    day = {"idle_timeout": "day", "cpu": 64}
    ranked = [
        {"always_running": True},
        {"member": True, "idle_timeout": "day"},
        {"member": True},
        day,
        {"idle_timeout": 7201},
        {"idle_timeout": "medium"},
        {"idle_timeout": "short"},
        {"idle_timeout": 60},
    ]
    for better, worse in itertools.pairwise(ranked):
        found = statuses(made("worse", quota=worse), made("better", quota=better), made("more", quota=better))
        assert found == {"worse": "ineffective", "better": "active", "more": "active"}
    assert class_of({"cpu": 1}) == class_of({"ram": 1, "idle_timeout": "short"}) == class_of({"idle_timeout": 1800})


def test_a_license_that_does_not_count_spoils_no_other() -> None:
    best = {"always_running": True}
    assert statuses(made("a", quota=best, run_limit=1), made("b", quota=best, expires_at=NOW), made("c"), a=1) == {
        "a": "exhausted",
        "b": "expired",
        "c": "active",
    }


def test_what_is_told_of_a_judgement() -> None:
    licenses = [made("a", quota={"cpu": 1, "member": True}), made("b"), made("c", expires_at=NOW)]
    assert {one.license.id: one.shape for one in judged(licenses, {}, NOW)} == {
        "a": {"status": "active", "quota": {"cpu": 1, "member": True}},
        "b": {"status": "ineffective", "reason": "hosting_incompatible"},
        "c": {"status": "expired"},
    }


_LICENSES = st.lists(
    st.builds(
        lambda name, quota, run_limit, starts, ends: made(
            str(name),
            quota=quota,
            run_limit=run_limit,
            activates_at=None if starts is None else NOW + starts * HOUR,
            expires_at=None if ends is None else NOW + ends * HOUR,
        ),
        st.integers(0, 5),
        st.fixed_dictionaries(
            {"cpu": st.integers(1, 9)},
            optional={
                "always_running": st.booleans(),
                "member": st.booleans(),
                "idle_timeout": st.sampled_from(["short", "medium", "day", 77]),
            },
        ),
        st.none() | st.integers(1, 3),
        st.none() | st.integers(-2, 2),
        st.none() | st.integers(-2, 2),
    ),
    unique_by=lambda one: one.id,
    max_size=6,
)


@given(_LICENSES, st.dictionaries(st.sampled_from("012345"), st.integers(0, 3)))
def test_judgements(licenses: list[License], used: dict[str, int]) -> None:
    found = judged(licenses, used, NOW)
    assert [one.license for one in found] == licenses
    by_status: dict[Status, list[License]] = {status: [] for status in Status}
    for one in found:
        by_status[one.status].append(one.license)
    active = by_status[Status.ACTIVE]
    assert len({class_of(license.quota) for license in active}) <= 1
    # None is held back without another that counts, and is better.
    for license in by_status[Status.INEFFECTIVE]:
        assert class_of(license.quota) < class_of(active[0].quota)
    for license in active:
        assert license.expires_at is None or license.expires_at > NOW
        assert license.activates_at is None or license.activates_at <= NOW
        assert license.run_limit is None or used.get(license.id, 0) < license.run_limit


# -- at a start ------------------------------------------------------------------------------------


async def start(house: House, project_id: ProjectId, state: State = State.RUNNING) -> dict[str, Any]:
    """What a start writes of quotas, with the state."""
    async with house.store.write() as tx:
        project = await tx.projects.get(project_id, lock=True)
        assert project is not None
        columns = await house.quotas.at_start(tx, project)
        assert columns.keys() == {"run_quota", "site_license"}
        await tx.projects.update(project_id, {**columns, "state": state})
    return columns


async def test_a_start_tells_what_became_of_each_license(house: House, ann: Principal) -> None:
    active = await house.license(quota={"cpu": 2, "ram": 4, "idle_timeout": "day"})
    another = await house.license(quota={"cpu": 1, "idle_timeout": "day"})
    worse = await house.license(quota={"cpu": 8})
    expired = await house.license(quota={"always_running": True}, expires_at=house.clock.now())
    future = await house.license(quota={"always_running": True}, activates_at=house.clock.now() + HOUR)
    attached = {id: {} for id in (active, another, worse, expired, future, UNKNOWN)}
    project_id = await house.project(ann, site_license=attached)
    await start(house, project_id)
    quota, licenses = [await house.field(ann, project_id, name) for name in ("run_quota", "site_license")]
    assert licenses == {
        active: {"status": "active", "quota": {"cpu": 2, "ram": 4, "idle_timeout": "day"}},
        another: {"status": "active", "quota": {"cpu": 1, "idle_timeout": "day"}},
        worse: {"status": "ineffective", "reason": "hosting_incompatible"},
        expired: {"status": "expired"},
        future: {"status": "future"},
        UNKNOWN: {},
    }
    assert (quota["cpu_limit"], quota["memory_limit"], quota["idle_timeout"]) == (3, 4000, 86_400)
    assert (quota["network"], quota["always_running"]) == (True, False)
    async with house.store.read() as tx:
        # What adds nothing takes no place either.
        assert await tx.licenses.used([active, another, worse, expired, future]) == {active: 1, another: 1}
    house.clock.advance(hours=1)
    await start(house, project_id)
    licenses = await house.field(ann, project_id, "site_license")
    assert {id: content.get("status") for id, content in licenses.items()} == {
        active: "ineffective", another: "ineffective", worse: "ineffective", expired: "expired", future: "active",
        UNKNOWN: None,
    }  # fmt: skip


async def test_a_project_without_licenses(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    columns = await start(house, project_id)
    assert columns["site_license"] is None
    assert columns["run_quota"]["memory_limit"] == 1000


async def test_a_place_is_taken_while_a_project_runs(house: House, ann: Principal) -> None:
    license_id = await house.license(quota={"cpu": 2}, run_limit=1)
    one, two = [await house.project(ann, site_license={license_id: {}}) for _ in range(2)]

    async def status(project_id: ProjectId) -> str:
        return str((await start(house, project_id))["site_license"][license_id]["status"])

    assert [await status(one), await status(two), await status(one)] == ["active", "exhausted", "active"]
    async with house.store.write() as tx:
        await tx.projects.update(one, {"state": State.STOPPED})
    assert [await status(two), await status(one)] == ["active", "exhausted"]


# -- made, changed and ended -----------------------------------------------------------------------


async def test_the_life_of_a_license(house: House, ann: Principal, admin: Principal) -> None:
    request = CreateLicense(
        title="Course", description="d", quota={"cpu": 2}, run_limit=3, expires="2026-12-31", activates="now"
    )
    license = await house.licenses.create(admin, request)
    license_id = license["id"]
    assert license == {
        "id": license_id,
        "title": "Course",
        "description": "d",
        "quota": {"cpu": 2},
        "run_limit": 3,
        "activates": None,
        "expires": "2026-12-31T00:00:00.000Z",
        "created": "2026-03-01T12:00:00.123Z",
        "status": "active",
        "running": 0,
    }
    assert await house.licenses.get(admin, LicenseOnly(id=license_id.upper())) == {**license, "projects": []}
    changed = await house.licenses.update(
        admin, UpdateLicense(id=license_id, quota={"cpu": None, "ram": 1}, run_limit=0, expires="never", title="")
    )
    assert changed == {**license, "title": "", "quota": {"ram": 1}, "run_limit": None, "expires": None}
    assert await house.licenses.update(admin, UpdateLicense(id=license_id)) == changed
    project_id = await house.project(ann, site_license={license_id: {}})
    await start(house, project_id)
    house.clock.advance(hours=1)
    ended = await house.licenses.end(admin, LicenseOnly(id=license_id))
    assert ended == {**changed, "status": "expired", "expires": "2026-03-01T13:00:00.123Z", "running": 1}
    house.clock.advance(hours=1)
    assert await house.licenses.end(admin, LicenseOnly(id=license_id)) == ended
    assert (await house.licenses.get(admin, LicenseOnly(id=license_id)))["projects"] == [project_id]
    assert (await start(house, project_id))["site_license"] == {license_id: {"status": "expired"}}
    later = await house.licenses.update(admin, UpdateLicense(id=license_id, expires="never", activates="2027-01-01"))
    assert (later["status"], later["activates"]) == ("future", "2027-01-01T00:00:00.000Z")


async def test_licenses_in_pages(house: House, ann: Principal, admin: Principal) -> None:
    ids = []
    for _ in range(3):
        ids.append((await house.licenses.create(admin, CreateLicense(quota={"cpu": 1})))["id"])
        house.clock.advance(seconds=1)
    await start(house, await house.project(ann, site_license={ids[1]: {}}))
    found = await house.licenses.page(admin, ListLicenses(limit=2))
    assert [(license["id"], license["running"]) for license in found] == [(ids[2], 0), (ids[1], 1)]
    rest = await house.licenses.page(admin, ListLicenses(after=ids[1]))
    assert [license["id"] for license in rest] == ids[:1]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"title": "x" * 255}, ["title", "255", "254"]),
        ({"description": "x" * 10_001}, ["description", "10001"]),
        ({"run_limit": -1}, ["run_limit", "-1"]),
        ({"run_limit": 2**62}, ["run_limit"]),
        ({"expires": "soon"}, ["expires", "'soon'"]),
        ({"activates": "never"}, ["activates", "'never'"]),
        ({"activates": "2027-01-01", "expires": "2026-12-31"}, ["expires", "not later than activates"]),
        ({"activates": "2027-01-01", "expires": "2027-01-01"}, ["not later"]),
        ({"quota": {"cpu": "x"}}, ["quota.cpu"]),
    ],
)
async def test_what_a_license_cannot_say(
    house: House, admin: Principal, fields: dict[str, Any], words: list[str]
) -> None:
    license_id = await house.license(quota={"cpu": 1})
    with pytest.raises(InvalidArgument) as refused:
        await house.licenses.create(admin, CreateLicense(**{"quota": {"cpu": 1}, **fields}))
    assert all(word in refused.value.message for word in words)
    with pytest.raises(InvalidArgument):
        await house.licenses.update(admin, UpdateLicense(id=license_id, **fields))
    [only] = await house.licenses.page(admin, ListLicenses())
    assert (only["title"], only["quota"], only["expires"]) == ("License", {"cpu": 1}, None)


async def test_times_are_compared_with_what_is_stored(house: House, admin: Principal) -> None:
    license_id = await house.license(activates_at=datetime(2027, 1, 1, tzinfo=UTC), quota={"cpu": 1})
    with pytest.raises(InvalidArgument, match="not later"):
        await house.licenses.update(admin, UpdateLicense(id=license_id, expires="2026-06-01"))
    # One that was ended before its time is odd, and can be renamed all the same.
    await house.licenses.end(admin, LicenseOnly(id=license_id))
    assert (await house.licenses.update(admin, UpdateLicense(id=license_id, title="x")))["title"] == "x"


async def test_licenses_are_the_operator_s(house: House, ann: Principal, admin: Principal) -> None:
    license_id = await house.license()
    calls: list[Any] = [
        lambda who, which: house.licenses.get(who, LicenseOnly(id=which)),
        lambda who, which: house.licenses.update(who, UpdateLicense(id=which, title="x")),
        lambda who, which: house.licenses.end(who, LicenseOnly(id=which)),
    ]
    for call in calls:
        with pytest.raises(PermissionDenied, match="only admins may"):
            await call(ann, license_id)
        with pytest.raises(NotFound, match=UNKNOWN):
            await call(admin, UNKNOWN)
        for none in ("x", None, f"{UNKNOWN}\n"):
            with pytest.raises(InvalidArgument, match="no license id"):
                await call(admin, none)
    with pytest.raises(PermissionDenied, match="only admins may create"):
        await house.licenses.create(ann, CreateLicense(quota={"cpu": 1}))
    with pytest.raises(PermissionDenied, match="only admins may list"):
        await house.licenses.page(ann, ListLicenses())
    for request in (ListLicenses(limit=0), ListLicenses(limit=1001), ListLicenses(after="x")):
        with pytest.raises(InvalidArgument):
            await house.licenses.page(admin, request)
    with pytest.raises(NotFound):
        await house.licenses.page(admin, ListLicenses(after=UNKNOWN))
    async with house.store.read() as tx:
        license = await tx.licenses.get(license_id)
    assert license is not None
    assert (license.title, license.expires_at) == ("License", None)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"memory": -1}, ["memory", "-1", "MB from 0"]),
        ({"cores": 2000}, ["cores", "2000", "1024"]),
        ({"mintime": 1e18}, ["mintime", "seconds"]),
        ({"network": 2}, ["network", "0 or 1"]),
        ({"always_running": 0.5}, ["always_running", "0 or 1"]),
    ],
)
async def test_what_cannot_be_set(
    house: House, ann: Principal, admin: Principal, fields: Any, words: list[str]
) -> None:
    project_id = await house.project(ann)
    with pytest.raises(InvalidArgument) as refused:
        await house.project_quotas.set(admin, SetQuotas(project_id=project_id, **fields))
    assert all(word in refused.value.message for word in words)
    assert (await house.row(project_id)).settings is None


async def test_quotas_are_set_by_site_admins_alone(house: House, ann: Principal, admin: Principal) -> None:
    project_id = await house.project(ann)
    with pytest.raises(PermissionDenied, match=r"^Must be an admin to do admin search\.$"):
        await house.project_quotas.set(ann, SetQuotas(project_id=project_id, memory=2000))
    assert (await house.row(project_id)).settings is None
    with pytest.raises(NotFound, match=UNKNOWN):
        await house.project_quotas.set(admin, SetQuotas(project_id=UNKNOWN, memory=2000))
    with pytest.raises(InvalidArgument, match="uuid"):
        await house.project_quotas.set(admin, SetQuotas(project_id="x", memory=2000))


# -- attached to projects --------------------------------------------------------------------------


async def test_who_is_on_a_project_attaches_and_detaches(
    house: House, ann: Principal, bob: Principal, admin: Principal
) -> None:
    project_id, license_id = await house.project(ann, bob), await house.license()
    request = ProjectLicense(project_id=project_id.upper(), license_id=license_id.upper())
    reply = {"project_id": project_id, "license_id": license_id, "attached": True, "needs_restart": False}
    reply["changed"] = True
    for caller in (ann, bob, admin):
        assert await house.licenses.attach(caller, request) == reply
        assert await house.licenses.attach(caller, request) == {**reply, "changed": False}
        assert await house.field(ann, project_id, "site_license") == {license_id: {}}
        assert await house.licenses.detach(caller, request) == {**reply, "attached": False}
        assert await house.licenses.detach(caller, request) == {**reply, "attached": False, "changed": False}
        assert await house.field(ann, project_id, "site_license") == {}
    assert await house.log(project_id) == [
        (caller.account_id, {"event": event, "license_id": license_id})
        for caller in (ann, bob, admin)
        for event in ("license_added", "license_removed")
    ]


async def test_a_running_project_needs_a_restart(house: House, ann: Principal) -> None:
    project_id, license_id = await house.project(ann), await house.license()
    request = ProjectLicense(project_id=project_id, license_id=license_id)
    await house.projects.start(ann, project_id)
    assert (await house.licenses.attach(ann, request))["needs_restart"] is True
    assert (await house.licenses.attach(ann, request))["needs_restart"] is False
    assert (await house.licenses.detach(ann, request))["needs_restart"] is True


async def test_what_a_license_gave_stays_told_until_the_next_start(house: House, ann: Principal) -> None:
    first, second = await house.license(quota={"cpu": 1}), await house.license(quota={"cpu": 2})
    project_id = await house.project(ann, site_license={first: {}})
    told = (await start(house, project_id))["site_license"]
    await house.licenses.attach(ann, ProjectLicense(project_id=project_id, license_id=second))
    assert await house.field(ann, project_id, "site_license") == {**told, second: {}}


async def test_whose_projects_licenses_are_not_attached_to(
    house: House, ann: Principal, cid: Principal, admin: Principal
) -> None:
    project_id, license_id = await house.project(ann), await house.license()
    for act in (house.licenses.attach, house.licenses.detach):
        for id in (project_id, UNKNOWN):
            with pytest.raises(PermissionDenied, match="must be collaborator on project"):
                await act(cid, ProjectLicense(project_id=id, license_id=license_id))
        with pytest.raises(NotFound, match="unknown project_id"):
            await act(admin, ProjectLicense(project_id=UNKNOWN, license_id=license_id))
        with pytest.raises(InvalidArgument):
            await act(ann, ProjectLicense(project_id="x", license_id=license_id))
        for none in ("x", None, ""):
            with pytest.raises(InvalidArgument, match="no license id"):
                await act(ann, ProjectLicense(project_id=project_id, license_id=none))
        with pytest.raises(NotFound, match=f"no license with id '{UNKNOWN}'"):
            await act(ann, ProjectLicense(project_id=project_id, license_id=UNKNOWN))
    assert await house.field(ann, project_id, "site_license") is None
    await house.projects.delete(ann, project_id)
    for act in (house.licenses.attach, house.licenses.detach):
        with pytest.raises(Conflict, match="deleted"):
            await act(ann, ProjectLicense(project_id=project_id, license_id=license_id))
    assert await house.log(project_id) == [(ann.account_id, {"event": "project_deleted"})]


async def test_an_id_of_no_license_can_be_taken_off(house: House, ann: Principal) -> None:
    project_id = await house.project(ann, site_license={UNKNOWN: {}})
    request = ProjectLicense(project_id=project_id, license_id=UNKNOWN)
    assert (await house.licenses.attach(ann, request))["attached"] is True
    await house.licenses.detach(ann, request)
    assert await house.field(ann, project_id, "site_license") == {}


async def test_the_field_attaches_and_detaches_too(house: House, ann: Principal) -> None:
    project_id, license_id = await house.project(ann), await house.license()
    await house.change(ann, project_id, site_license={license_id.upper(): {}})
    assert await house.field(ann, project_id, "site_license") == {license_id: {}}
    with pytest.raises(QueryRefused, match=f"FATAL: error setting 'site_license' -- Error: .*{UNKNOWN}"):
        await house.change(ann, project_id, site_license={UNKNOWN: {}, license_id: None})
    # What is attached already may be named with it, whatever it is.
    async with house.store.write() as tx:
        await tx.projects.update(project_id, {"site_license": {license_id: {"status": "active"}, UNKNOWN: {}}})
    another = await house.license()
    await house.change(ann, project_id, site_license={license_id: {}, UNKNOWN: {}, another: {}})
    assert await house.field(ann, project_id, "site_license") == {
        license_id: {"status": "active"}, UNKNOWN: {}, another: {},
    }  # fmt: skip
    await house.change(ann, project_id, site_license={license_id: None, UNKNOWN: None, "nothing": None})
    assert await house.field(ann, project_id, "site_license") == {another: {}}
    events = [(event["event"], event["license_id"]) for _, event in await house.log(project_id)]
    assert events == [
        ("license_added", license_id),
        ("license_added", another),
        ("license_removed", license_id),
        ("license_removed", UNKNOWN),
    ]


async def test_a_new_project_has_the_licenses_of_both_places(house: House, ann: Principal) -> None:
    first, second, third = [await house.license() for _ in range(3)]
    customize: dict[str, Any] = {"license": f"{second}, {third.upper()}", "disableInternet": True, "disableAI": 1}
    project_id = await house.creation.create(ann, CreateProject(license=first, customize=customize))
    row = await house.row(project_id)
    assert row.site_license == {first: {}, second: {}, third: {}}
    assert row.settings == {"disableInternet": True}
    for customize in ({}, {"license": None, "disableInternet": None}, {"license": "", "disableInternet": False}):
        row = await house.row(await house.creation.create(ann, CreateProject(customize=customize)))
        assert (row.site_license, row.settings) == (None, None)


@pytest.mark.parametrize(
    ("customize", "words"),
    [
        ({"license": UNKNOWN}, [UNKNOWN, "no project was made"]),
        ({"license": "nope"}, ["'nope'"]),
        ({"license": [UNKNOWN]}, ["customize.license", "text"]),
        ({"disableInternet": "yes"}, ["customize.disableInternet", "true or false"]),
    ],
)
async def test_what_is_no_customization(
    house: House, ann: Principal, customize: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(HubError) as refused:
        await house.creation.create(ann, CreateProject(customize=customize))
    assert all(word in refused.value.message for word in words)
    assert await house.ask(ann, {"projects": [{"project_id": None}]}) == {"projects": []}
