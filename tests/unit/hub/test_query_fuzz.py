"""Any JSON as a user query: a well-formed answer or a refusal, nobody else's rows, and no change on a refusal.

A model says what each caller may see and change: every text of the store holds a mark of whose it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from house import FixedClock, House
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from tests.postgresql import PostgresqlServer

from projecthub.errors import CallerError, HubError
from projecthub.hub.principals import Principal
from projecthub.hub.shares import share_id
from projecthub.hub.tables import TABLES
from projecthub.store import Store, open_store
from projecthub.store.tables import metadata

PEOPLE = ("ann", "bob", "cid", "admin")
ON = {"one": {"ann", "bob"}, "two": {"ann"}, "three": {"cid"}}
"""Which projects there are, and who is on them."""
MARK = re.compile(r"mark-(\w+)-(\w+)")

Dump = dict[str, list[dict[str, Any]]]


class World:
    """A store with marked rows, and what the model knows of it."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.people: dict[str, Principal] = {}
        self.projects: dict[str, str] = {}
        self.before: Dump = {}

    async def make(self) -> None:
        house = self.house
        for name in PEOPLE:
            self.people[name] = await house.person(f"mark-name-{name}", admin=name == "admin", name=name)
            async with house.store.write() as tx:
                await tx.accounts.update(
                    self.people[name].account_id,
                    {"preferences": {"tags": [f"mark-own-{name}"]}, "email_address": f"mark-own-{name}@example.org"},
                )
        for name, people in ON.items():
            owner, *others = [self.people[person] for person in sorted(people)]
            mark = f"mark-project-{name}"
            self.projects[name] = await house.project(
                owner, *others, title=mark, env={"X": mark}, avatar_image_full=mark, run_quota={"x": mark}
            )
            async with house.store.write() as tx:
                await tx.log.append(self.projects[name], owner.account_id, {"event": mark}, at=house.clock.now())
            for table in ("public_paths", "file_use"):
                await house.ask(owner, {table: {"project_id": self.projects[name], "path": mark}})
            token = {"token": f"secret-mark-token-{name}", "project_id": self.projects[name]}
            await house.ask(owner, {"project_invite_tokens": token})
        async with house.store.write() as tx:
            for name, project_id in self.projects.items():
                share = {
                    "description": f"mark-share-{name}",
                    "disabled": name == "three",
                    "token": f"mark-nobody-{name}",
                }
                path = f"mark-project-{name}"
                await tx.shares.upsert(share_id(project_id, path), project_id, path, share, at=house.clock.now())
        await house.license(title="mark-admin-license")
        self.before = await dump(house.store)

    def may_see(self, caller: str, kind: str, whose: str) -> bool:
        """The model: may this caller see what is marked so?"""
        if caller == "admin":
            return kind != "nobody"
        match kind:
            case "own":
                return whose == caller
            case "name":
                return whose == caller or any({whose, caller} <= people for people in ON.values())
            case "project":
                return caller in ON[whose] or whose != "three"  # the path of a share is shown to who knows its id
            case "token":
                return caller in ON[whose]
            case "share":
                return caller in ON[whose] or whose != "three"
            case _:
                return False

    def may_change(self, caller: str, table: str, row: dict[str, Any]) -> bool:
        """The model: may this caller change such a row?"""
        own = self.people[caller].account_id
        if caller == "admin":
            return True
        if table in ("accounts", "name_parts"):
            return bool(row["account_id"] == own)
        if table == "counters":  # the lock on all names, of whoever changes his own
            return bool(row["name"] == "names")
        if "project_id" not in row:
            return False
        on = {self.projects[name] for name, people in ON.items() if caller in people}
        return row["project_id"] in on or self.only_asks(own, table, row)

    def only_asks(self, own: str, table: str, row: dict[str, Any]) -> bool:
        """Does this change no more than that somebody asks to be let onto a project?"""
        if table == "project_log":
            return row["account_id"] == own and row["event"]["event"] == "invite_requested"
        if table != "projects":
            return False
        [before] = [one for one in self.before["projects"] if one["project_id"] == row["project_id"]]
        return without_request(before, own) == without_request(row, own)

    async def restore(self) -> None:
        """Put everything back as it was made."""
        async with self.house.store.write() as tx:
            connection = tx.accounts._connection
            for table in reversed(metadata.sorted_tables):
                await connection.execute(table.delete())
            for table in metadata.sorted_tables:
                if rows := self.before[table.name]:
                    await connection.execute(table.insert(), rows)


def without_request(row: dict[str, Any], account_id: str) -> dict[str, Any]:
    """A project without what an account has asked."""
    requests = row["invite_requests"] or {}
    return {**row, "invite_requests": {who: request for who, request in requests.items() if who != account_id}}


async def dump(store: Store) -> Dump:
    """Everything that a store holds."""
    async with store.read() as tx:
        connection = tx.accounts._connection
        return {
            table.name: [
                dict(row._mapping) for row in await connection.execute(select(table).order_by(*table.primary_key))
            ]
            for table in metadata.sorted_tables
        }


def changed_rows(before: Dump, after: Dump) -> list[tuple[str, dict[str, Any]]]:
    """Rows that are in one of two dumps only."""
    return [
        (name, row)
        for name in before
        for ours, theirs in ((before[name], after[name]), (after[name], before[name]))
        for row in ours
        if row not in theirs
    ]


@pytest.fixture(params=["sqlite", "postgresql"])
async def world(request: pytest.FixtureRequest, directory: Path, anyio_backend: str) -> AsyncIterator[World]:
    server: PostgresqlServer | None = None
    url = f"sqlite:///{directory}/store.sqlite3"
    if request.param == "postgresql":
        server = request.getfixturevalue("postgresql_server")
        database = await server.create(await server.template())
        url = server.url(database)
    clock = FixedClock()
    store = await open_store(url, clock=clock)
    house = House(store, clock, directory)
    await house.lifecycle.open()
    made = World(house)
    await made.make()
    yield made
    await house.lifecycle.close(stop_projects=True)
    await store.close()
    if server is not None:
        await server.drop(database)


# -- what is drawn ---------------------------------------------------------------------------------

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\0"), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
OPERATORS = [
    *["=", "==", "!=", "<>", "<", "<=", ">", ">=", "IS", "LIKE", "ILIKE", "ANY", "MINLEN", "MAXLEN", "like"],
    "IS NOT",
    "NOT LIKE",
    "NOT ILIKE",
    "; --",
]
PLACES = ["@ann", "@bob", "@cid", "@admin", "#one", "#two", "#three", "%one", "%two", "%three", "!own"]
"""Stand for ids of accounts, projects, shares, and for the caller."""
TEXTS = [
    "{account_id}",
    "{now}",
    "mark-project-one",
    "mark-project-three",
    "%mark%",
    "%",
    "new",
    "2026-03-01T12:00:00Z",
]
OF_PEOPLE = st.dictionaries(
    st.sampled_from(PLACES),
    st.dictionaries(
        st.sampled_from(["hide", "upgrades", "edit", "group", "message"]), JSON | st.sampled_from(TEXTS), max_size=2
    ),
    max_size=2,
)
PLAUSIBLE = st.sampled_from(TEXTS) | st.booleans() | st.just({"event": "x", "A": "y"}) | OF_PEOPLE
VALUES = JSON | st.sampled_from(PLACES) | PLAUSIBLE
CONDITIONS = VALUES | st.dictionaries(
    st.sampled_from(OPERATORS),
    VALUES | st.lists(VALUES, max_size=3) | st.just({"relative_time": -3, "unit": "days"}),
    max_size=2,
)
OPTIONS = st.lists(
    st.one_of(
        st.fixed_dictionaries({"limit": st.integers(-1, 5) | JSON}),
        st.fixed_dictionaries({"order_by": st.sampled_from(["title", "-last_edited", "users", "id", "x;"]) | JSON}),
        st.fixed_dictionaries({"set": JSON}),
        st.just({"delete": True}),
        st.fixed_dictionaries({"account_id": st.sampled_from(PLACES) | JSON}),
        st.dictionaries(st.sampled_from(["only_changes", "heartbeat", "slice", "x"]), JSON, max_size=1),
    ),
    max_size=2,
)


def weighted(times: int, often: st.SearchStrategy[Any], seldom: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """One of two strategies, the first so many times as often as the second."""
    return st.integers(0, times).flatmap(lambda drawn: often if drawn < times else seldom)


@st.composite
def queries(draw: st.DrawFn) -> Any:
    """Mostly such as a table allows: from refusals of form little is learnt."""
    kind = draw(st.sampled_from(["get", "set", "any"]))
    if kind == "any":
        name = draw(st.sampled_from([*TABLES, "nothing"]))
        fields = [*TABLES[name].fields, "password_hash"] if name in TABLES else ["x"]
        return {name: draw(st.dictionaries(st.sampled_from(fields), st.none() | CONDITIONS, max_size=4))}
    table = draw(st.sampled_from([one for one in TABLES.values() if kind == "get" or one.change]))
    shape = {}
    if kind == "get":
        names = [name for name, field in table.fields.items() if field.read]
        for name in draw(st.lists(st.sampled_from(names), min_size=1, max_size=4)):
            value = CONDITIONS if table.fields[name].compare else st.none()
            shape[name] = draw(weighted(3, st.none(), value))
    else:
        names = [name for name, field in table.fields.items() if field.write]
        for name in draw(st.lists(st.sampled_from(names), min_size=1, max_size=2)):
            shape[name] = draw(weighted(4, FITTING[table.fields[name].kind], VALUES))
    for key in sorted({*table.keys, *([table.scope.field] if table.scope else ())}):
        required = kind == "set" or (table.scope and table.scope.required)
        if required or draw(st.booleans()):
            shape[key] = draw(st.sampled_from(KEYS[key]))
    return {table.name: draw(st.sampled_from([shape, [shape]]))}


FITTING = {
    "text": st.sampled_from(TEXTS),
    "time": st.sampled_from(TEXTS),
    "bool": st.booleans(),
    "number": st.integers(0, 5),
    "object": PLAUSIBLE,
}
KEYS = {
    "project_id": ["#one", "#two", "#three"],
    "account_id": ["@ann", "@bob", "@cid"],
    "id": ["%one", "%two", "%three"],
    "path": ["mark-project-one", "mark-project-three", "new"],
    "token": ["secret-mark-token-one", "secret-mark-token-three", "a-token-that-is-new"],
}


def put_in(world: World, caller: str, value: Any) -> Any:
    """A drawn value with ids in the place of what stands for them."""
    if isinstance(value, dict):
        return {put_in(world, caller, key): put_in(world, caller, inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [put_in(world, caller, inner) for inner in value]
    if value in PLACES:
        kind, name = value[0], value[1:]
        if kind == "@":
            return world.people[name].account_id
        if kind == "#":
            return world.projects[name]
        if kind == "%":
            return share_id(world.projects[name], f"mark-project-{name}")
        return world.people[caller].account_id
    return value


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    caller=st.sampled_from(PEOPLE),
    query=weighted(8, queries(), weighted(1, st.lists(queries(), max_size=2), JSON)),
    options=weighted(3, st.none(), weighted(3, OPTIONS, JSON)),
)
async def test_any_query_is_answered_or_refused(world: World, caller: str, query: Any, options: Any) -> None:
    query, options = put_in(world, caller, query), put_in(world, caller, options)
    try:
        reply = json.loads(await world.house.queries.run(world.people[caller], query, options))
    except HubError as error:
        event(type(error).__name__)
        assert isinstance(error, CallerError), error
        assert error.message and len(error.message) < 1000
        refused = True
    else:
        event("answered")
        refused = False
        check_form(query, reply)
        for kind, whose in MARK.findall(json.dumps(reply)):
            if f"mark-{kind}-{whose}" not in json.dumps([query, options]):
                assert world.may_see(caller, kind, whose), (kind, whose)
    after = await dump(world.house.store)
    if after == world.before:
        return
    event("changed")
    try:
        # Of a list, those before the one that is refused are done.
        assert not refused or isinstance(query, list)
        for table, row in changed_rows(world.before, after):
            assert world.may_change(caller, table, row), (table, row)
    finally:
        await world.restore()


def check_form(query: Any, reply: Any) -> None:
    """An answer has the form that the wire promises for such a query."""
    if isinstance(query, list):
        assert len(reply) == len(query)
        for one, answer in zip(query, reply, strict=True):
            check_form(one, answer)
        return
    if reply == {}:
        return
    ((name, shape),) = query.items()
    assert list(reply) == [name]
    rows = reply[name] if isinstance(shape, list) else [reply[name]]
    asked = shape[0] if isinstance(shape, list) else shape
    assert isinstance(rows, list)
    for row in rows:
        assert row.keys() <= asked.keys()
        if isinstance(shape, list):
            assert None not in row.values()
        else:
            assert row.keys() == asked.keys()
