"""Messages: to whom they go, which lists they are in, and whose flags are whose."""

from __future__ import annotations

from typing import Any

import pytest
from house import House, nobody

from projecthub.errors import InvalidArgument, NotFound, QueryRefused
from projecthub.hub.principals import Principal
from projecthub.wire.messages import GetMessages, Message, SendMessage
from projecthub.wire.organizations import OrganizationMessage

TYPES = ("received", "sent", "new", "starred", "liked")


async def send(house: House, sender: Principal, *to: Principal | str, **fields: Any) -> int | None:
    to_ids = [one if isinstance(one, str) else one.account_id for one in to]
    return await house.messages.send(sender, SendMessage(**{"subject": "s", "body": "b", "to_ids": to_ids, **fields}))


async def page(house: House, reader: Principal, type: str = "received", **options: Any) -> list[Message]:
    return await house.messages.page(reader, GetMessages(type=type, **options))


async def mark(house: House, owner: Principal, message_id: int, flags: dict[str, bool]) -> None:
    assert await house.ask(owner, {"messages": {"id": message_id, **flags}}) == {}


async def lists_of(house: House, reader: Principal, message_id: int | None) -> set[str]:
    """The lists of a reader that a message is in."""
    return {type for type in TYPES if message_id in [row["id"] for row in await page(house, reader, type)]}


async def test_a_message_as_its_reader_gets_it(house: House, ann: Principal, bob: Principal) -> None:
    message_id = await send(house, ann, bob, subject="Hello", body="*World*")
    assert isinstance(message_id, int)
    [row] = await page(house, bob)
    assert row == {
        "id": message_id,
        "subject": "Hello",
        "body": "*World*",
        "from_id": ann.account_id,
        "to_ids": [bob.account_id],
        "sent": "2026-03-01T12:00:00.123Z",
        "thread_id": None,
        "read": False,
        "saved": False,
        "starred": False,
        "liked": False,
        "deleted": False,
    }
    assert await page(house, ann, "sent") == [row]
    assert await lists_of(house, ann, message_id) == {"sent"}
    assert await lists_of(house, bob, message_id) == {"received", "new"}


async def test_a_message_to_oneself(house: House, ann: Principal) -> None:
    assert await lists_of(house, ann, await send(house, ann, ann)) == {"received", "sent", "new"}


async def test_recipients_by_id_and_address(house: House, ann: Principal, bob: Principal, cid: Principal) -> None:
    unlisted = await house.person("Dan", unlisted=True)
    await send(house, ann, "BOB@example.org", bob.account_id.upper(), cid, "dan@example.org", "x@example.org", "what")
    [row] = await page(house, bob)
    assert row["to_ids"] == [bob.account_id, cid.account_id, unlisted.account_id]
    assert len(await page(house, cid)) == len(await page(house, unlisted)) == 1


async def test_nobody_is_left(house: House, ann: Principal) -> None:
    assert await send(house, ann, "x@example.org", "y@example.org", "what") is None
    assert await page(house, ann, "sent") == []


@pytest.mark.parametrize("entry", ["what", "", "@", "ann", "{account_id}", "00000000-0000-4000-8000-00000000000"])
async def test_what_is_no_id(house: House, ann: Principal, bob: Principal, entry: str) -> None:
    with pytest.raises(InvalidArgument, match=f"^invalid account_id -- {entry}$"):
        await send(house, ann, bob, entry)
    assert await page(house, bob) == []


async def test_accounts_that_are_not_there(house: House, ann: Principal, bob: Principal) -> None:
    gone = await house.person("Gone", deleted_at=house.clock.now())
    for absent in (nobody(), gone.account_id):
        with pytest.raises(NotFound, match=f"'{absent}'"):
            await send(house, ann, bob, absent)
        with pytest.raises(NotFound):
            await send(house, ann, "bob@example.org", absent)
    assert await send(house, ann, "gone@example.org") is None
    assert await page(house, bob) == []


async def test_bounds(house: House, ann: Principal, bob: Principal) -> None:
    for fields, text in (
        ({"subject": "s" * 1001}, "subject has 1001 characters"),
        ({"body": "b" * 50_001}, "body has 50001 characters"),
    ):
        with pytest.raises(InvalidArgument, match=text):
            await send(house, ann, bob, **fields)
    for count in (0, 1001):
        with pytest.raises(InvalidArgument, match=f"names {count} recipients"):
            await send(house, ann, *[bob] * count)
    await send(house, ann, bob, subject="s" * 1000, body="b" * 50_000)
    assert len(await page(house, bob)) == 1


# -- lists -----------------------------------------------------------------------------------------


async def test_pages(house: House, ann: Principal, bob: Principal) -> None:
    sent = [await send(house, ann, bob) for _ in range(5)]
    assert [row["id"] for row in await page(house, bob)] == sent[::-1]
    assert [row["id"] for row in await page(house, bob, limit=2, offset=1)] == [sent[3], sent[2]]
    assert await page(house, bob, offset=5) == []
    assert await page(house, bob, offset=2**63 - 1) == []
    assert len(await page(house, bob, limit=500)) == 5


async def test_only_later_ones(house: House, ann: Principal, bob: Principal) -> None:
    await send(house, ann, bob)
    house.clock.advance(seconds=10)
    later = await send(house, ann, bob)
    assert [row["id"] for row in await page(house, bob, cutoff="2026-03-01T12:00:05Z")] == [later]
    assert [row["id"] for row in await page(house, bob, cutoff="2026-03-01T12:00:10.123Z")] == [later]
    assert await page(house, bob, cutoff="2026-03-01T12:00:10.124Z") == []


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"limit": 501}, "^limit must be at most 500$"),
        ({"limit": 0}, "limit is 0"),
        ({"limit": -1}, "limit is -1"),
        ({"offset": -1}, "offset -1"),
        ({"offset": 2**63}, "offset"),
        ({"type": "drafts"}, "type 'drafts' is unknown"),
        ({"type": ""}, "give one of received, sent, new, starred, liked"),
        ({"cutoff": "soon"}, "cutoff"),
    ],
)
async def test_pages_that_there_are_not(house: House, ann: Principal, options: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        await house.messages.page(ann, GetMessages(**options))


# -- flags -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flag", "lists"),
    [
        ("read", {"received"}),
        ("saved", {"received"}),
        ("deleted", {"received"}),
        ("starred", {"received", "new", "starred"}),
        ("liked", {"received", "new", "liked"}),
    ],
)
async def test_flags_are_each_ones_own(
    house: House, ann: Principal, bob: Principal, cid: Principal, flag: str, lists: set[str]
) -> None:
    message_id = await send(house, ann, bob, cid)
    assert message_id is not None
    await mark(house, bob, message_id, {flag: True})
    assert await lists_of(house, bob, message_id) == lists
    [of_bob], [of_cid], [of_ann] = await page(house, bob), await page(house, cid), await page(house, ann, "sent")
    assert of_bob[flag] is True  # type: ignore[literal-required]
    assert of_cid[flag] is of_ann[flag] is False  # type: ignore[literal-required]
    assert await lists_of(house, cid, message_id) == {"received", "new"}
    await mark(house, bob, message_id, {flag: False})
    assert await lists_of(house, bob, message_id) == {"received", "new"}


async def test_a_deleted_message_is_in_no_list_of_favourites(house: House, ann: Principal, bob: Principal) -> None:
    message_id = await send(house, ann, bob)
    assert message_id is not None
    await mark(house, bob, message_id, {"starred": True, "liked": True, "deleted": True})
    assert await lists_of(house, bob, message_id) == {"received"}


async def test_the_sender_stars_his_copy(house: House, ann: Principal, bob: Principal) -> None:
    message_id = await send(house, ann, bob)
    assert message_id is not None
    await mark(house, ann, message_id, {"starred": True})
    assert await lists_of(house, ann, message_id) == {"sent", "starred"}


async def test_other_peoples_messages(house: House, ann: Principal, bob: Principal, cid: Principal) -> None:
    message_id = await send(house, ann, bob)
    assert message_id is not None
    for absent in (message_id, message_id + 1, -1, 2**63, -(2**70)):
        with pytest.raises(QueryRefused, match=rf"^FATAL: .*{absent}"):
            await mark(house, cid, absent, {"read": True})
        if abs(absent) < 2**53:
            assert await house.ask(cid, {"messages": {"id": absent, "body": None}}) == {}
        with pytest.raises(NotFound, match=f"no message with id {absent} to reply to"):
            await send(house, cid, ann, reply_id=absent)
    assert (await page(house, bob))[0]["read"] is False


# -- threads ---------------------------------------------------------------------------------------


async def test_a_thread_is_named_by_its_first_message(house: House, ann: Principal, bob: Principal) -> None:
    first = await send(house, ann, bob)
    reply = await send(house, bob, ann, reply_id=first)
    again = await send(house, ann, bob, reply_id=reply)
    assert {row["id"]: row["thread_id"] for row in await page(house, bob)} == {first: None, again: first}
    assert {row["id"]: row["thread_id"] for row in await page(house, bob, "sent")} == {reply: first}


# -- user queries ----------------------------------------------------------------------------------


async def test_a_query_of_ones_messages(house: House, ann: Principal, bob: Principal, cid: Principal) -> None:
    first = await send(house, ann, bob, subject="one")
    second = await send(house, bob, ann, subject="two", reply_id=first)
    await send(house, cid, ann, subject="three")
    everything = {
        "id": None, "from_id": None, "to_ids": None, "subject": None, "body": None, "sent": None, "thread_id": None,
        "organization": None, "read": None, "saved": None, "starred": None, "liked": None, "deleted": None,
    }  # fmt: skip
    rows = (await house.ask(bob, {"messages": [everything]}))["messages"]
    assert [row["id"] for row in rows] == [second, first]
    assert [row | {"thread_id": row.get("thread_id")} for row in rows] == [
        *await page(house, bob, "sent"),
        *await page(house, bob),
    ]

    async def asked(**shape: Any) -> list[str]:
        found = await house.ask(ann, {"messages": [{"subject": None, **shape}]})
        return [row["subject"] for row in found["messages"]]

    assert await asked() == ["three", "two", "one"]
    assert await asked(thread_id=first) == ["two"]
    assert await asked(from_id=cid.account_id) == ["three"]
    assert await asked(id={"<=": second}) == ["two", "one"]
    assert await asked(sent={">": "2026-03-01T13:00:00Z"}) == []
    await mark(house, ann, second or 0, {"read": True, "starred": True})
    assert await asked(read=True) == ["two"]
    assert await asked(starred=False) == ["three", "one"]
    await mark(house, ann, second or 0, {})
    assert await asked(read=True) == ["two"]


@pytest.mark.parametrize("field", ["subject", "body", "from_id", "to_ids", "sent", "thread_id", "organization", "x"])
async def test_what_nobody_changes(house: House, ann: Principal, field: str) -> None:
    message_id = await send(house, ann, ann)
    with pytest.raises(QueryRefused, match=f"changing messages.{field} not allowed"):
        await house.ask(ann, {"messages": {"id": message_id, field: "y"}})
    with pytest.raises(QueryRefused, match="error setting 'read'"):
        await house.ask(ann, {"messages": {"id": message_id, "read": 1}})
    for query, options in (({"read": True}, []), ({"id": message_id}, [{"delete": True}])):
        with pytest.raises(QueryRefused, match=r"must specify messages\.id|delete from messages not allowed"):
            await house.ask(ann, {"messages": query}, *options)


async def test_how_many_are_unread(house: House, ann: Principal, bob: Principal, cid: Principal) -> None:
    async def unread() -> Any:
        return (await house.ask(bob, {"accounts": {"unread_message_count": None}}))["accounts"]["unread_message_count"]

    assert await unread() == 0
    ids = [await send(house, ann, bob, cid) for _ in range(3)]
    await send(house, bob, ann)
    assert await unread() == 3
    for message_id, flag in zip(ids, ("read", "saved", "deleted"), strict=True):
        assert message_id is not None
        await mark(house, bob, message_id, {flag: True})
    assert await unread() == 0


async def test_the_message_to_an_organization_names_its_reader(
    house: House, admin: Principal, ann: Principal, bob: Principal
) -> None:
    await house.organizations.create(admin, "acme")
    await house.organizations.add_user(admin, "acme", ann.account_id)
    await house.organizations.message(admin, OrganizationMessage(name="acme", subject="s", body="b"))
    wanted = {"messages": [{"to_ids": None, "organization": None}]}
    assert await house.ask(ann, wanted) == {"messages": [{"to_ids": [ann.account_id], "organization": "acme"}]}
    assert await house.ask(admin, wanted) == {"messages": [{"to_ids": [], "organization": "acme"}]}
    assert await house.ask(bob, wanted) == {"messages": []}
    for person, name in ((ann, "acme"), (bob, None)):
        assert await house.ask(person, {"accounts": {"org": None}}) == {"accounts": {"org": name}}
