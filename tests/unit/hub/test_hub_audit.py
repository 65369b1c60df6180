"""The audit log: what is put down when, what of it survives, and how denials are bounded."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from house import House
from structlog.testing import capture_logs

from projecthub.api.auditing import WRITES_FIRST, ends_with_hub
from projecthub.errors import (
    ExecFailed,
    InvalidArgument,
    NotFound,
    NotSignedIn,
    PermissionDenied,
    QueryRefused,
    RateLimited,
)
from projecthub.hub.audit import Audit
from projecthub.hub.audit_denials import OF_ACCOUNT, OF_STRANGERS
from projecthub.hub.audited_calls import MAX_MESSAGE, MAX_PROJECTS, MAX_REFUSED, AuditedCall, is_denial, storable
from projecthub.hub.principals import Principal
from projecthub.wire.audit import ListAudit
from projecthub.wire.methods import METHODS, Endpoint

pytestmark = pytest.mark.anyio
ONE, TWO = "a11a0000-0000-4000-8000-000000000001", "b22b0000-0000-4000-8000-000000000002"


@pytest.fixture
async def audit(house: House) -> AsyncIterator[Audit]:
    service = Audit(house.store, house.clock)
    await service.open()
    yield service
    await service.close()


@pytest.fixture
async def ada(house: House) -> Principal:
    person = await house.person("Ada")
    return Principal(person.account_id, is_admin=False, key_id=7)


def a_call(house: House, caller: Principal | None = None, method: str = "projects.stop", **target: Any) -> AuditedCall:
    return AuditedCall(method=method, began_at=house.clock.now(), caller=caller, address="192.0.2.1", target=target)


async def entries(audit: Audit, admin: Principal, **filters: Any) -> list[Any]:
    return [*(await audit.page(admin, ListAudit(**{"order": "oldest", "limit": 1000, **filters})))["entries"]]


def under_way(house: House) -> int:
    connection = sqlite3.connect(house.directory / "store.sqlite3")
    ((count,),) = connection.execute("SELECT count(*) FROM audit_open")
    connection.close()
    return int(count)


async def test_a_call_is_on_disk_before_its_work_and_told_with_its_outcome(
    house: House, audit: Audit, admin: Principal, ada: Principal
) -> None:
    async def work() -> str:
        assert under_way(house) == 1
        house.clock.advance(seconds=2)
        return ONE

    made = await audit.through(a_call(house, ada, "projects.createProject"), work, lambda made: {"project_id": made})
    assert made == ONE
    (entry,) = await entries(audit, admin)
    assert under_way(house) == 0
    assert (entry["method"], entry["outcome"], entry["message"]) == ("projects.createProject", "ok", None)
    assert (entry["account_id"], entry["key_id"], entry["key_kind"]) == (ada.account_id, 7, "account")
    assert (entry["project_id"], entry["target"], entry["address"]) == (ONE, None, "192.0.2.1")
    assert (entry["began"], entry["time"]) == ("2026-03-01T12:00:00.123Z", "2026-03-01T12:00:02.123Z")


async def test_one_that_begins_with_a_write_is_on_disk_with_that(
    house: House, audit: Audit, admin: Principal, ada: Principal
) -> None:
    async def work() -> None:
        assert under_way(house) == 0
        with pytest.raises(ZeroDivisionError):
            async with house.store.write():
                raise ZeroDivisionError  # what goes back takes the call with it, and the next write has it again
        assert under_way(house) == 0
        async with house.store.write():
            pass
        assert under_way(house) == 1

    call = a_call(house, ada, project_id=ONE)
    call.writes_first = True
    await audit.through(call, work, None)
    (entry,) = await entries(audit, admin)
    assert (entry["outcome"], under_way(house)) == ("ok", 0)


async def test_one_that_has_written_nothing_leaves_no_trace_but_its_entry(
    house: House, audit: Audit, admin: Principal, ada: Principal
) -> None:
    async def work() -> None:
        raise NotFound("there is none")

    call = a_call(house, ada, project_id=ONE)
    call.writes_first = True
    with pytest.raises(NotFound):
        await audit.through(call, work, None)
    async with house.store.write():
        pass
    assert under_way(house) == 0
    (entry,) = await entries(audit, admin)
    assert entry["outcome"] == "not_found"


async def test_one_that_ends_while_another_writes_it_is_not_left_there(
    house: House, audit: Audit, admin: Principal, ada: Principal
) -> None:
    call = a_call(house, ada, project_id=ONE)
    call.writes_first = True
    await audit.begin(call)
    async with house.store.write():  # another's, which has it with it
        audit.end(call, "ok")
    assert under_way(house) == 1
    await audit.flush()
    assert under_way(house) == 0
    assert [entry["outcome"] for entry in await entries(audit, admin)] == ["ok"]


async def test_what_goes_on_when_its_caller_has_left_has_its_call_on_disk_too(
    house: House, audit: Audit, admin: Principal, ada: Principal
) -> None:
    has_left = asyncio.Event()

    async def turn() -> None:
        await has_left.wait()
        with pytest.raises(ZeroDivisionError):
            async with house.store.write():
                raise ZeroDivisionError
        async with house.store.write():
            pass

    going_on = asyncio.create_task(turn())
    call = a_call(house, ada, project_id=ONE)
    call.writes_first = True
    caller = asyncio.create_task(audit.through(call, lambda: asyncio.shield(going_on), None))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    has_left.set()
    await going_on
    assert under_way(house) == 1  # a hub that is killed now has changed something, and the next one tells of it
    await audit.flush()
    assert under_way(house) == 0
    assert [entry["outcome"] for entry in await entries(audit, admin)] == ["left"]


async def test_one_that_was_left_before_anything_was_written_does_not_stay_there(
    house: House, audit: Audit, admin: Principal, ada: Principal
) -> None:
    call = a_call(house, ada, project_id=ONE)
    call.writes_first = True
    await audit.begin(call)
    audit.end(call, "left")
    await audit.flush()
    async with house.store.write():
        pass
    assert under_way(house) == 0
    assert [entry["outcome"] for entry in await entries(audit, admin)] == ["left"]


async def test_one_that_cannot_be_written_is_in_the_way_of_one_write_at_most(
    house: House, audit: Audit, admin: Principal, ada: Principal
) -> None:
    call = a_call(house, ada, project_id=object())
    call.writes_first = True
    await audit.begin(call)
    with capture_logs() as logged:
        with pytest.raises(Exception, match="JSON"):
            async with house.store.write():
                pytest.fail("it does not come to that")
        async with house.store.write():
            pass
    assert "audit.told_here" in {each["event"] for each in logged}
    assert under_way(house) == 0
    call.target = {}
    audit.end(call, "ok")


@pytest.mark.parametrize("error", [None, ExecFailed("it failed")])
async def test_one_that_ends_with_the_hub_begins_at_once_and_is_on_disk_before_its_answer(
    house: House, audit: Audit, admin: Principal, ada: Principal, error: Exception | None
) -> None:
    held, begun, told = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def hold_the_store() -> None:
        async with house.store.write():
            await held.wait()

    async def work() -> None:
        begun.set()
        if error is not None:
            raise error

    async def run() -> None:
        with contextlib.suppress(ExecFailed):
            await audit.through(call, work, None)
        told.set()

    call = a_call(house, ada, "system.exec", project_id=ONE)
    call.ends_with_hub = True
    holding = asyncio.create_task(hold_the_store())
    await asyncio.sleep(0.05)
    running = asyncio.create_task(run())
    await begun.wait()
    await asyncio.sleep(0.05)
    assert (under_way(house), told.is_set()) == (0, False)
    held.set()
    await told.wait()
    assert call.is_open
    await asyncio.gather(holding, running)
    (entry,) = await entries(audit, admin)
    assert (entry["outcome"], under_way(house)) == ("ok" if error is None else "exec_failed", 0)


@pytest.mark.parametrize(
    ("arguments", "ends"), [({"command": "x"}, True), ({"command": "x", "async_call": True}, False), (None, False)]
)
def test_only_what_ends_with_the_hub_begins_while_it_is_put_down(arguments: Any, ends: bool) -> None:
    assert ends_with_hub(METHODS[Endpoint.PROJECT]["system.exec"], arguments) is ends
    assert not ends_with_hub(METHODS[Endpoint.PROJECT]["system.deleteFiles"], arguments)


def test_what_begins_with_a_write_changes_something() -> None:
    mutating = {method.name for methods in METHODS.values() for method in methods.values() if method.is_mutating}
    assert mutating >= WRITES_FIRST


@pytest.mark.parametrize(
    ("error", "outcome", "message"),
    [
        (PermissionDenied("not you"), "permission_denied", "not you"),
        (ExecFailed("command 'cat /secret' exited with nonzero code 1 -- stderr=secret"), "exec_failed", None),
        (InvalidArgument("argument 'password' is [\"secret\"]"), "invalid_argument", None),
        (QueryRefused("FATAL: user must be an admin"), "query_refused", "FATAL: user must be an admin"),
        (QueryRefused("FATAL: title is compared with \"secret\""), "query_refused", None),
        (ZeroDivisionError("secret"), "internal", None),
        (asyncio.CancelledError(), "left", None),
    ],
)  # fmt: skip
async def test_what_fails_is_told_without_what_was_said(
    house: House, audit: Audit, admin: Principal, ada: Principal, error: BaseException, outcome: str, message: str
) -> None:
    async def work() -> None:
        raise error

    with pytest.raises(type(error)):
        await audit.through(a_call(house, ada, project_id=ONE), work, None)
    (entry,) = await entries(audit, admin)
    assert (entry["outcome"], entry["message"]) == (outcome, message)
    assert "secret" not in str(entry)
    assert under_way(house) == 0


async def test_what_a_killed_hub_leaves_the_next_one_tells(
    house: House, audit: Audit, admin: Principal, ada: Principal
) -> None:
    for _ in range(300):
        call = a_call(house, ada, project_id=ONE)
        await audit.begin(call)
        if call.open_id == 1:
            audit.end(call, "ok")
    await audit.flush()
    house.clock.advance(hours=1)
    for _ in range(2):  # it is told once
        next_one = Audit(house.store, house.clock)
        await next_one.open()
        await next_one.close()
    told = await entries(audit, admin)
    assert [entry["outcome"] for entry in told] == ["ok"] + ["unknown"] * 299
    assert {entry["project_id"] for entry in told} == {ONE}
    assert (told[-1]["began"][:16], told[-1]["time"][:16]) == ("2026-03-01T12:00", "2026-03-01T13:00")
    assert under_way(house) == 0


async def test_what_was_left_waits_for_a_store_that_has_room(house: House, audit: Audit, admin: Principal) -> None:
    for number in range(60):
        await audit.begin(a_call(house, id=number, name="x" * 3000))
    async with house.store.write() as tx:
        pages = (await tx.audit._connection.exec_driver_sql("PRAGMA page_count")).scalar_one()
        await tx.audit._connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    next_one = Audit(house.store, house.clock)
    await next_one.open()
    assert under_way(house) == 60
    async with house.store.write() as tx:
        await tx.audit._connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    await next_one.begin(call := a_call(house, id=60))
    assert call.open_id == 61
    await next_one.sweep()
    assert under_way(house) == 1
    next_one.end(call, "ok")
    told = {one["target"]["id"]: one["outcome"] for one in await entries(next_one, admin)}
    assert told == dict.fromkeys(range(60), "unknown") | {60: "ok"}
    await next_one.close()


async def test_a_caller_that_does_not_wait_for_the_beginning(house: House, audit: Audit, admin: Principal) -> None:
    ran = []

    async def work() -> None:
        ran.append(1)

    async with house.store.write() as tx:  # nobody else writes meanwhile
        await tx.audit.last_begun()
        waiting = asyncio.ensure_future(audit.through(a_call(house), work, None))
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert ran == []
    await asyncio.sleep(0.05)
    assert [entry["outcome"] for entry in await entries(audit, admin)] == ["left"]
    assert under_way(house) == 0


async def test_many_at_once_are_all_told(house: House, audit: Audit, admin: Principal, ada: Principal) -> None:
    async def work() -> None:
        await asyncio.sleep(0)

    await asyncio.gather(*(audit.through(a_call(house, ada, id=number), work, None) for number in range(500)))
    assert sorted(entry["target"]["id"] for entry in await entries(audit, admin)) == list(range(500))
    assert under_way(house) == 0


async def test_a_call_stands_with_each_project_that_it_names(
    house: House, audit: Audit, admin: Principal, ada: Principal
) -> None:
    audit.end(a_call(house, ada, src_project_id=ONE, target_project_id=TWO, src_path="a"), "ok")
    pairs = {"project_id": [ONE, TWO, ONE.upper()], "account_id": ["x", "y", "z"]}
    audit.end(a_call(house, ada, **pairs, group="viewer"), "ok")
    assert [entry["target"] for entry in await entries(audit, admin, project_id=ONE)] == [
        {"src_project_id": ONE, "target_project_id": TWO, "src_path": "a"},
        {"account_id": ["x", "z"], "group": "viewer"},
    ]
    assert [entry["target"] for entry in await entries(audit, admin, project_id=TWO)][1:] == [
        {"account_id": "y", "group": "viewer"}
    ]
    many = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(MAX_PROJECTS + 20)]
    audit.end(a_call(house, ada, "m", project_id=many), "ok")
    assert len(await entries(audit, admin, project_id=many[MAX_PROJECTS - 1])) == 1
    assert len(await entries(audit, admin, project_id=many[MAX_PROJECTS])) == 0


async def test_a_store_that_cannot_be_written_stops_nobody(
    house: House, audit: Audit, admin: Principal, ada: Principal
) -> None:
    done = []

    async def work() -> None:
        done.append(1)

    house.sql("ALTER TABLE audit_open RENAME TO away")
    with capture_logs() as logs:
        for _ in range(3):
            await audit.through(a_call(house, ada, project_id=ONE), work, None)
        await asyncio.sleep(0.05)
    assert len(done) == 3
    told = [line for line in logs if line["event"] == "audit.told_here"]
    assert [line["outcome"] for line in told] == ["begun", "ok"] * 3
    assert {(line["method"], line["account_id"]) for line in told} == {("projects.stop", ada.account_id)}
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["audit.not_written"]
    house.sql("ALTER TABLE away RENAME TO audit_open")
    assert [entry["outcome"] for entry in await entries(audit, admin)] == ["ok"] * 3
    await audit.begin(call := a_call(house, ada))
    assert under_way(house) == 1
    audit.end(call, "ok")


async def test_texts_that_no_store_takes(house: House, audit: Audit, admin: Principal, ada: Principal) -> None:
    odd = "a\0\ud800" + "é" * 1000
    assert len(storable(odd, 300)) <= 320
    audit.end(a_call(house, ada, path=storable(odd, 300)), "permission_denied", odd)
    audit.end(a_call(house, ada, path="\ud800"), "ok")  # as if somebody had forgotten
    audit.end(a_call(house, ada, path="b"), "ok")
    with capture_logs() as logs:
        told = await entries(audit, admin)
    assert [entry["outcome"] for entry in told] == ["permission_denied", "ok"]
    assert told[0]["message"].startswith("a\\0\\ud800é")
    assert len(told[0]["message"]) <= MAX_MESSAGE + 20
    assert "audit.row_refused" in [line["event"] for line in logs]


async def test_only_site_admins_read_it(audit: Audit, ada: Principal) -> None:
    with pytest.raises(PermissionDenied, match="only admins may read the audit log"):
        await audit.page(ada, ListAudit())


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("limit", 0, InvalidArgument), ("limit", 1001, InvalidArgument), ("after", -1, InvalidArgument),
        ("after", 2**63, InvalidArgument), ("order", "random", InvalidArgument), ("account_id", "ada", InvalidArgument),
        ("account_id", "who@example.org", NotFound), ("project_id", "x", InvalidArgument),
        ("method", "", InvalidArgument),
        ("method", "x" * 201, InvalidArgument), ("outcome", "a\0", InvalidArgument), ("since", "soon", InvalidArgument),
        ("until", {}, InvalidArgument),
    ],
)  # fmt: skip
async def test_bad_filters_are_named(audit: Audit, admin: Principal, field: str, value: Any, error: Any) -> None:
    with pytest.raises(error) as caught:
        await audit.page(admin, ListAudit(**{field: value}))
    assert field in caught.value.message or str(value) in caught.value.message


async def test_an_account_is_found_by_its_address(house: House, audit: Audit, admin: Principal, ada: Principal) -> None:
    audit.end(a_call(house, ada), "ok")
    audit.end(a_call(house), "ok")
    assert len(await entries(audit, admin, account_id="ADA@example.org")) == 1
    assert len(await entries(audit, admin, account_id=ada.account_id.upper())) == 1


async def test_old_entries_go_where_that_is_set(house: House, admin: Principal, ada: Principal) -> None:
    audit = Audit(house.store, house.clock, kept_days=30)
    for number in range(5):
        audit.end(a_call(house, ada, id=number), "ok")
        house.clock.advance(days=10)
    await audit.flush()
    await audit.sweep()
    assert [entry["target"]["id"] for entry in await entries(audit, admin)] == [2, 3, 4]
    for_ever = Audit(house.store, house.clock)
    house.clock.advance(days=10_000)
    await for_ever.sweep()
    assert len(await entries(for_ever, admin)) == 3
    await audit.close()
    await for_ever.close()


# -- denials -----------------------------------------------------------------------------------------


async def test_denials_of_a_kind_are_counted_by_the_minute(
    house: House, audit: Audit, admin: Principal, ada: Principal
) -> None:
    for number in range(50):
        audit.refused(a_call(house, ada, project_id=ONE), PermissionDenied(f"no {number}"))
        audit.refused(a_call(house), NotSignedIn("who"))
        house.clock.advance(seconds=1)
    assert [(entry["times"], entry["outcome"]) for entry in await entries(audit, admin)] == [
        (1, "permission_denied"),
        (1, "not_signed_in"),
    ]
    house.clock.advance(seconds=15)
    await audit.sweep()
    counted = (await entries(audit, admin))[2:]
    assert [(entry["times"], entry["outcome"]) for entry in counted] == [
        (49, "permission_denied"),
        (49, "not_signed_in"),
    ]
    assert (counted[0]["began"][14:19], counted[0]["time"][14:19]) == ("00:01", "00:49")
    await audit.sweep()
    assert len(await entries(audit, admin)) == 4
    audit.refused(a_call(house, ada, project_id=ONE), PermissionDenied("again"))
    assert (await entries(audit, admin))[-1]["message"] == "again"


async def test_what_is_different_is_told_apart(house: House, audit: Audit, admin: Principal, ada: Principal) -> None:
    for _ in range(3):
        audit.refused(a_call(house, ada, project_id=ONE), PermissionDenied())
        audit.refused(a_call(house, ada, project_id=TWO), PermissionDenied())
        audit.refused(a_call(house, ada, "projects.start", project_id=TWO), PermissionDenied())
        audit.refused(a_call(house, ada, project_id=ONE), RateLimited())
        audit.refused(a_call(house, project_id=ONE), NotSignedIn())
        audit.refused(a_call(house, project_id=TWO), NotSignedIn())  # what a stranger says is not
    assert len(await entries(audit, admin)) == 5


async def test_failures_of_what_may_have_changed_something_are_not_counted(
    house: House, audit: Audit, admin: Principal, ada: Principal
) -> None:
    for _ in range(20):
        audit.end(a_call(house, ada, project_id=ONE), "exec_failed")
    assert len(await entries(audit, admin)) == 20


async def test_denials_of_what_had_begun_are_counted_too(
    house: House, audit: Audit, admin: Principal, ada: Principal
) -> None:
    for error in (PermissionDenied, NotFound, InvalidArgument):

        async def work(error: type[Exception] = error) -> None:
            raise error

        for _ in range(20):
            with pytest.raises(error):
                await audit.through(a_call(house, ada, project_id=ONE), work, None)
    assert len(await entries(audit, admin)) == 3
    assert under_way(house) == 0


async def test_strangers_fill_no_disk(house: House, audit: Audit, admin: Principal) -> None:
    sent = 0
    for minute in range(10):
        for number in range(1000):
            call = a_call(house)
            call.address = f"2001:db8:{minute:x}:{number:x}::1"
            audit.refused(call, NotSignedIn())
            sent += 1
        house.clock.advance(seconds=60)
        await audit.sweep()
    await audit.close()
    told: list[Any] = []
    after = None
    while True:
        page = await audit.page(admin, ListAudit(order="oldest", limit=1000, after=after))
        told += page["entries"]
        if (after := page["next"]) is None:
            break
    assert len(told) <= OF_STRANGERS.burst + 10 * (60 / OF_STRANGERS.every_s + 2)
    assert sum(entry["times"] for entry in told) == sent
    assert {entry["method"] for entry in told} == {"projects.stop", "*"}


async def test_nor_does_an_account(house: House, audit: Audit, admin: Principal, ada: Principal) -> None:
    for number in range(2000):
        audit.refused(a_call(house, ada, id=number), PermissionDenied())
    await audit.close()
    told = await entries(audit, admin)
    assert len(told) == OF_ACCOUNT.burst + 2
    assert sum(entry["times"] for entry in told) == 2000
    assert {entry["account_id"] for entry in told} == {ada.account_id}


async def test_nor_do_denials_that_name_many_projects(
    house: House, audit: Audit, admin: Principal, ada: Principal
) -> None:
    many = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(1000)]
    audit.refused(a_call(house, ada, project_id=many), PermissionDenied())
    assert len(await entries(audit, admin, limit=1000)) == MAX_REFUSED


async def test_what_was_counted_is_written_at_the_end(house: House, admin: Principal, ada: Principal) -> None:
    audit = Audit(house.store, house.clock)
    for _ in range(3):
        audit.refused(a_call(house, ada), PermissionDenied())
    await audit.close()
    assert [entry["times"] for entry in await entries(audit, admin)] == [1, 2]


async def test_a_clock_that_is_set_back(house: House, audit: Audit, admin: Principal, ada: Principal) -> None:
    audit.refused(a_call(house, ada), PermissionDenied())
    audit.refused(a_call(house, ada), PermissionDenied())
    house.clock.at -= timedelta(days=1)
    await audit.sweep()
    call = a_call(house, ada)
    house.clock.at -= timedelta(days=1)
    audit.end(call, "ok")
    assert sorted(entry["times"] for entry in await entries(audit, admin)) == [1, 1, 1]


def test_which_errors_are_denials() -> None:
    assert all(is_denial(error) for error in (PermissionDenied(), NotSignedIn(), RateLimited()))
    assert is_denial(QueryRefused("FATAL: changing projects.state not allowed"))
    assert is_denial(QueryRefused("FATAL: you do not have read access to this project -- account_id=x"))
    assert not is_denial(QueryRefused("FATAL: must specify projects.project_id"))


async def test_queries_that_somebody_may_not_make_are_denials(house: House, ada: Principal, bob: Principal) -> None:
    project_id, stranger = await house.project(ada, bob), await house.person("Sam")
    for caller, query, options in (
        (bob, {"accounts": {"email_address": None}}, [{"account_id": ada.account_id}]),
        (bob, {"site_licenses": [{"id": None}]}, []),
        (stranger, {"project_log": [{"project_id": project_id, "event": None}]}, []),
        (bob, {"projects": {"project_id": project_id, "manage_users_owner_only": True}}, []),
        (bob, {"projects": {"project_id": project_id, "users": {ada.account_id: {"upgrades": {"cores": 1}}}}}, []),
        (bob, {"projects": {"project_id": project_id, "state": {}}}, []),
    ):
        with pytest.raises(QueryRefused) as refused:
            await house.ask(caller, query, *options)
        assert is_denial(refused.value), refused.value.message


def test_other_errors_are_none() -> None:
    assert not is_denial(InvalidArgument("x"))
