"""Every operator means the same in both databases, and the same as in a plain model of it in Python."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_samples import HOSTILE, NOW, add_account, add_project, create_project

from projecthub.errors import InvalidArgument
from projecthub.store import Store
from projecthub.store.records import Condition, Selection, State

# -- the model --------------------


def like(text: str, pattern: str, *, ignore_case: bool) -> bool:
    if ignore_case:
        text, pattern = text.lower(), pattern.lower()
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    wildcards = {"%": ".*", "_": "."}
    expression = "".join(wildcards.get(part) or re.escape(part[-1]) for part in parts)
    return re.fullmatch(expression, text, re.DOTALL) is not None


MODEL: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<>": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "LIKE": lambda a, b: like(a, b, ignore_case=False),
    "NOT LIKE": lambda a, b: not like(a, b, ignore_case=False),
    "ILIKE": lambda a, b: like(a, b, ignore_case=True),
    "NOT ILIKE": lambda a, b: not like(a, b, ignore_case=True),
    "ANY": lambda a, b: a in b,
    "MINLEN": lambda a, b: len(a) >= b,
    "MAXLEN": lambda a, b: len(a) <= b,
}


def holds(row: dict[str, Any], condition: Condition) -> bool:
    value = row[condition.column]
    if condition.op == "IS":
        return value == condition.value
    if condition.op == "IS NOT":
        return value != condition.value
    return value is not None and MODEL[condition.op](value, condition.value)


# -- rows --------------------

ROWS: list[dict[str, Any]] = [
    {"title": title, "deleted": deleted, "epoch": epoch, "state_error": error, "created_at": NOW + timedelta(days=day)}
    for title, deleted, epoch, error, day in [
        ("", None, 0, None, 0),
        ("alpha", False, 1, "Alpha", 1),
        ("Alpha", True, -1, "alpha", -1),
        ("ALPHA%", None, 2**62, "50%_\\", 2),
        ("al_ha", False, -(2**62), "", 3),
        ("Ünïcödé", True, 7, "ÜNÏCÖDÉ", 4),
        ("ünïcödé 🧪", None, 8, "'quoted' \"twice\"", 5),
        ("日本語", False, 9, "a\\b", 6),
        ("tab\tline\n", True, 10, "zz", 7),
        ("z" * 300, False, 11, "Z", 8),
    ]
]
COLUMNS = tuple(ROWS[0])


async def fill(store: Store) -> None:
    owner = await add_account(store)
    async with store.write() as tx:
        for row in ROWS:
            project_id, _ = await create_project(tx, owner, title=row["title"], created_at=row["created_at"])
            await tx.projects.update(project_id, {key: row[key] for key in ("deleted", "epoch", "state_error")})


async def chosen(store: Store, *conditions: Condition) -> list[dict[str, Any]]:
    selection = Selection(columns=COLUMNS, conditions=conditions, order_by=(("created_at", False),))
    async with store.read() as tx:
        return await tx.projects.select(selection, member=None)


def expected(*conditions: Condition) -> list[dict[str, Any]]:
    rows = [row for row in ROWS if all(holds(row, condition) for condition in conditions)]
    return sorted(rows, key=lambda row: row["created_at"])


PATTERNS = [
    "",
    "%",
    "_",
    "alpha",
    "ALPHA",
    "al%",
    "AL%",
    "%\\%",
    "al\\_ha",
    "al_ha",
    "%ïcö%",
    "%ÏCÖ%",
    "%🧪",
    "___",
    "a\\\\b",
    "%\\\\",
    "%\n",
    "%'%",
    "a\\lpha",
    "z%z",
    "[a]%",
    "*",
]


@pytest.mark.parametrize("op", ["LIKE", "NOT LIKE", "ILIKE", "NOT ILIKE"])
async def test_patterns(store: Store, op: str) -> None:
    await fill(store)
    for column in ("title", "state_error"):
        for pattern in PATTERNS:
            condition = Condition(column, op, pattern)
            assert await chosen(store, condition) == expected(condition), condition


@pytest.mark.parametrize("op", ["=", "==", "!=", "<>", "<", "<=", ">", ">="])
async def test_comparisons(store: Store, op: str) -> None:
    await fill(store)
    values = {
        "title": [row["title"] for row in ROWS] + ["b", "~"],
        "state_error": ["", "Alpha", "b"],
        "deleted": [True, False],
        "epoch": [0, 1, -1, 2**62, 2**63 - 1, -(2**63)],
        "created_at": [
            NOW,
            NOW - timedelta(days=900),
            NOW + timedelta(milliseconds=1),
            datetime(9999, 1, 1, tzinfo=UTC),
        ],
    }
    for column, of_column in values.items():
        for value in of_column:
            condition = Condition(column, op, value)
            assert await chosen(store, condition) == expected(condition), condition


async def test_identity(store: Store) -> None:
    await fill(store)
    for op in ("IS", "IS NOT"):
        for column, values in {
            "deleted": [None, True, False],
            "state_error": [None, "Alpha"],
            "epoch": [None, 1],
        }.items():
            for value in values:
                condition = Condition(column, op, value)
                assert await chosen(store, condition) == expected(condition), condition


async def test_null_of_an_object(store: Store) -> None:
    owner = await add_account(store)
    with_settings = await add_project(store, owner, settings={})
    without = await add_project(store, owner, settings=None)
    async with store.read() as tx:

        async def ids(op: str) -> list[str]:
            selection = Selection(columns=("project_id",), conditions=(Condition("settings", op, None),))
            return [row["project_id"] for row in await tx.projects.select(selection, member=owner)]

        assert await ids("IS") == [without]
        assert await ids("IS NOT") == [with_settings]


async def test_any(store: Store) -> None:
    await fill(store)
    lists: dict[str, list[list[Any]]] = {
        "title": [[], ["alpha", "", "nothing"], HOSTILE, [str(n) for n in range(10_000)]],
        "deleted": [[True], [True, False]],
        "epoch": [[1, 2**62]],
        "created_at": [[NOW, NOW + timedelta(days=1)]],
    }
    for column, of_column in lists.items():
        for values in of_column:
            condition = Condition(column, "ANY", values)
            assert await chosen(store, condition) == expected(condition), condition
    assert await chosen(store, Condition("deleted", "ANY", [True, None])) == expected(
        Condition("deleted", "ANY", [True])
    )


async def test_lengths_are_of_characters(store: Store) -> None:
    await fill(store)
    for op in ("MINLEN", "MAXLEN"):
        for length in (0, 1, 3, 7, 8, 9, 300):
            condition = Condition("title", op, length)
            assert await chosen(store, condition) == expected(condition), condition


async def test_states_compare_with_words(store: Store) -> None:
    await fill(store)
    assert len(await chosen(store, Condition("state", "=", State.STOPPED))) == len(ROWS)
    assert len(await chosen(store, Condition("state", "ANY", ["running", "stopped"]))) == len(ROWS)


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_values_are_only_values(store: Store, text: str) -> None:
    project_id = await add_project(store, await add_account(store), title=text)
    async with store.read() as tx:
        for op, value in (("=", text), ("ANY", [text]), ("IS", text)):
            selection = Selection(columns=("project_id",), conditions=(Condition("title", op, value),))
            assert await tx.projects.select(selection, member=None) == [{"project_id": project_id}]


@pytest.mark.parametrize(
    "condition",
    [
        Condition("nonsense", "=", 1),
        Condition("title; DROP TABLE projects", "=", "x"),
        Condition("users", "=", "x"),
        Condition("title", "~", "x"),
        Condition("title", "=", 1),
        Condition("title", "=", None),
        Condition("title", "=", ["x"]),
        Condition("deleted", "=", 1),
        Condition("deleted", "=", "true"),
        Condition("epoch", "=", "1"),
        Condition("epoch", "=", True),
        Condition("epoch", "=", 1.5),
        Condition("epoch", "=", 2**63),
        Condition("epoch", "LIKE", "1"),
        Condition("created_at", "<", "2026-01-01"),
        Condition("created_at", "<", datetime(2026, 1, 1)),
        Condition("settings", "=", {}),
        Condition("settings", "LIKE", "%"),
        Condition("title", "LIKE", None),
        Condition("title", "LIKE", "x\\"),
        Condition("title", "ILIKE", "\\\\\\"),
        Condition("title", "LIKE", "%" * 1001),
        Condition("title", "ANY", "x"),
        Condition("title", "ANY", [1]),
        Condition("title", "ANY", ["x"] * 10_001),
        Condition("title", "MINLEN", -1),
        Condition("title", "MINLEN", "1"),
        Condition("title", "MAXLEN", True),
        Condition("epoch", "MINLEN", 1),
    ],
    ids=str,
)
async def test_what_cannot_be_compared_is_refused(store: Store, condition: Condition) -> None:
    async with store.read() as tx:
        with pytest.raises(InvalidArgument):
            await tx.projects.select(Selection(columns=("title",), conditions=(condition,)), member=None)


@pytest.mark.parametrize(
    "selection",
    [
        Selection(columns=("nonsense",)),
        Selection(columns=("title",), order_by=(("users", False),)),
        Selection(columns=("title",), order_by=(("settings", False),)),
        Selection(columns=("title",), order_by=(("nonsense", False),)),
        Selection(columns=("title",), limit=-1),
        Selection(columns=("title",), conditions=(Condition("title", "=", "x"),) * 101),
    ],
    ids=["column", "computed", "object", "order", "limit", "conditions"],
)
async def test_a_selection_that_makes_no_sense_is_refused(store: Store, selection: Selection) -> None:
    async with store.read() as tx:
        with pytest.raises(InvalidArgument):
            await tx.projects.select(selection, member=None)


async def test_order_is_by_code_points_with_nulls_last_or_first_descending(store: Store) -> None:
    await fill(store)
    async with store.read() as tx:

        async def column(name: str, *, descending: bool) -> list[Any]:
            selection = Selection(columns=(name,), order_by=((name, descending),))
            return [row[name] for row in await tx.projects.select(selection, member=None)]

        for name in ("title", "epoch", "created_at"):
            for descending in (False, True):
                values = sorted((row[name] for row in ROWS), reverse=descending)
                assert await column(name, descending=descending) == values
        for descending in (False, True):
            values = sorted((row["state_error"] for row in ROWS if row["state_error"] is not None), reverse=descending)
            assert await column("state_error", descending=descending) == (
                [None, *values] if descending else [*values, None]
            )


async def test_limits_and_ties(store: Store) -> None:
    owner = await add_account(store)
    ids = sorted([await add_project(store, owner) for _ in range(5)])
    async with store.read() as tx:
        for limit in (0, 1, 3, 5, 100, None):
            selection = Selection(columns=("project_id", "project_id"), order_by=(("title", True),), limit=limit)
            rows = await tx.projects.select(selection, member=owner)
            assert [row["project_id"] for row in rows] == ids[:limit]


# -- any conditions at all --------------------

texts = st.sampled_from([row["title"] for row in ROWS]) | st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), max_size=8
)
patterns = st.lists(
    st.sampled_from(["%", "_", "\\%", "\\_", "\\\\", "a", "L", "p", "h", "é", "Ü", "🧪"]), max_size=6
).map("".join)
comparisons = st.sampled_from(["=", "==", "!=", "<>", "<", "<=", ">", ">="])
moments = st.integers(-10, 10).map(lambda day: NOW + timedelta(days=day))
numbers = st.integers(-3, 12) | st.integers(-(2**63), 2**63 - 1)
text_columns = st.sampled_from(["title", "state_error"])
conditions = st.one_of(
    st.builds(Condition, text_columns, comparisons, texts),
    st.builds(Condition, text_columns, st.sampled_from(["LIKE", "NOT LIKE", "ILIKE", "NOT ILIKE"]), patterns),
    st.builds(Condition, text_columns, st.just("ANY"), st.lists(texts, max_size=4)),
    st.builds(Condition, text_columns, st.sampled_from(["IS", "IS NOT"]), st.none() | texts),
    st.builds(Condition, text_columns, st.sampled_from(["MINLEN", "MAXLEN"]), st.integers(0, 12)),
    st.builds(Condition, st.just("epoch"), comparisons, numbers),
    st.builds(Condition, st.just("deleted"), comparisons, st.booleans()),
    st.builds(Condition, st.just("deleted"), st.sampled_from(["IS", "IS NOT"]), st.none() | st.booleans()),
    st.builds(Condition, st.just("created_at"), comparisons, moments),
)


@pytest.fixture
async def filled_store(store: Store) -> Store:
    await fill(store)
    return store


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=st.lists(conditions, max_size=3))
async def test_any_conditions_choose_what_the_model_chooses(filled_store: Store, wanted: list[Condition]) -> None:
    assert await chosen(filled_store, *wanted) == expected(*wanted)
