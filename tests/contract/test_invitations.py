"""Invitations and their mail, over a real store of each kind and a real mail server."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from email import message_from_bytes
from email.policy import SMTP, default
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from store_samples import NOW, add_account, add_project
from tests.mail_server import PASSWORD, USER, MailServer, make_certificate
from tests.postgresql import FakeClock

from projecthub.errors import HubError, InvalidArgument, LimitError, OwnershipDenied, PermissionDenied
from projecthub.hub.accounts import Accounts
from projecthub.hub.collaborators import Collaborators
from projecthub.hub.invitations import Invitations
from projecthub.hub.keys import Keys
from projecthub.hub.mail import Mail, letter, one_line
from projecthub.hub.mail_text import plain
from projecthub.hub.principals import Principal
from projecthub.hub.smtp import SmtpServer
from projecthub.store import Store
from projecthub.store.records import InviteToken, Role, Selection
from projecthub.store.records import Mail as Row
from projecthub.wire import shapes
from projecthub.wire.ids import AccountId, ProjectId

SITE = "https://hub.example.org"
_numbers = itertools.count()


def server_at(port: int, **options: Any) -> SmtpServer:
    values = {"host": "127.0.0.1", "security": "none", "sender": "projecthub <hub@example.org>"} | options
    return SmtpServer(port=port, **values)


class People:
    """The services that invitations are about, joined over a store."""

    def __init__(self, store: Store, clock: FakeClock, server: SmtpServer | None = None, *, a_day: int = 100) -> None:
        self.store, self.clock = store, clock
        self.keys = Keys(store, clock)
        self.accounts = Accounts(store, clock, self.keys)
        self.collaborators = Collaborators(clock, self.keys)
        self.mail = Mail(store, clock, server, most_a_day=a_day)
        self.invitations = Invitations(clock, self.keys, self.mail, lambda: SITE)

    async def person(self, **fields: Any) -> Principal:
        fields.setdefault("email_address", f"person{next(_numbers)}@example.org")
        account_id = await add_account(self.store, **fields)
        return Principal(account_id, bool(fields.get("is_admin")), 0)

    async def owned(self, **fields: Any) -> tuple[Principal, ProjectId]:
        owner = await self.person(first_name="Ann", last_name="Owner", email_address="ann@example.org")
        return owner, await add_project(self.store, owner.account_id, **fields)

    async def new_account(self, email: str, **fields: Any) -> AccountId:
        admin = await self.person(is_admin=True)
        made = await self.accounts.create(admin, shapes.CreateAccount(email_address=email, **fields))
        return AccountId(made["account_id"])

    async def invite(self, caller: Principal, project_id: str, to: str, **options: Any) -> list[dict[str, Any]]:
        request = shapes.InviteWithoutAccount(project_id=project_id, to=to, **options)
        reply = await self.invitations.invite_without_account(caller, request)
        assert reply["project_id"] == project_id
        return [dict(one) for one in reply["invited"]]

    async def join(self, caller: Principal, link: str) -> None:
        await self.collaborators.add(caller, shapes.AddCollaborator(token_id=link.rpartition("/")[2]))

    async def roles(self, project_id: ProjectId) -> dict[AccountId, Role]:
        async with self.store.read() as tx:
            return await tx.collaborators.roles(project_id)

    async def events(self, project_id: ProjectId) -> list[dict[str, Any]]:
        async with self.store.read() as tx:
            return [row["event"] for row in await tx.log.of_project(project_id, limit=100)][::-1]

    async def open(self, project_id: ProjectId) -> Any:
        """The field `invite` of a project."""
        async with self.store.read() as tx:
            rows = await tx.projects.select(Selection(columns=("invite",)), member=None, project_id=project_id)
        return rows[0]["invite"]


@pytest.fixture
def people(store: Store, clock: FakeClock) -> People:
    return People(store, clock)


# -- tokens ----------------------------------------------------------------------------------------


async def test_a_token_for_one_lets_one_of_fifty_in(people: People) -> None:
    owner, project_id = await people.owned()
    others = [await people.person() for _ in range(50)]
    async with people.store.write() as tx:
        token = InviteToken(
            token="t" * 16,
            project_id=project_id,
            account_id=owner.account_id,
            role=Role.COLLABORATOR,
            email_address=None,
            created_at=NOW,
            expires_at=None,
            usage_limit=1,
        )
        assert await tx.invite_tokens.create(token)
        assert not await tx.invite_tokens.create(token)
    replies = await asyncio.gather(*(people.join(each, token.token) for each in others), return_exceptions=True)
    assert sorted(type(reply).__name__ for reply in replies) == ["NoneType"] + ["PermissionDenied"] * 49
    assert all("can only be used 1 times" in reply.message for reply in replies if isinstance(reply, HubError))
    assert len(await people.roles(project_id)) == 2
    async with people.store.write() as tx:
        assert (await tx.invite_tokens.locked([token.token]))[token.token].counter == 1
        assert not await tx.invite_tokens.use(token.token)


async def test_one_person_with_two_tokens_uses_one_up(people: People) -> None:
    owner, project_id = await people.owned()
    guest = await people.person()
    links = [(await people.invite(owner, project_id, f"{name}@else.org"))[0]["link"] for name in ("one", "two")]
    for _ in range(2):
        await asyncio.gather(*(people.join(guest, link) for link in links))
    async with people.store.write() as tx:
        known = await tx.invite_tokens.locked([link.rpartition("/")[2] for link in links])
    assert sorted(token.counter for token in known.values()) == [0, 1]


async def test_two_owners_who_demote_each_other_at_once(people: People) -> None:
    owner, project_id = await people.owned()
    other = await people.person()
    for _ in range(10):
        async with people.store.write() as tx:
            await tx.collaborators.remove(project_id, other.account_id)
            await tx.collaborators.add([(project_id, other.account_id)], at=NOW, role=Role.OWNER)
            await tx.collaborators.update(project_id, owner.account_id, {"role": Role.OWNER})
        requests = [
            (caller, shapes.ChangeUserType(project_id=project_id, target_account_id=target, new_group="viewer"))
            for caller, target in ((owner, other.account_id), (other, owner.account_id))
        ]
        replies = await asyncio.gather(
            *(people.collaborators.change_type(caller, request) for caller, request in requests), return_exceptions=True
        )
        assert sorted(type(reply) is OwnershipDenied for reply in replies) == [False, True]
        assert sorted((await people.roles(project_id)).values()) == [Role.OWNER, Role.VIEWER]


async def test_nobody_is_removed_while_a_project_is_handed_to_him(people: People) -> None:
    owner, project_id = await people.owned()
    heir, third = await people.person(), await people.person()
    for _ in range(10):
        async with people.store.write() as tx:
            await tx.collaborators.remove(project_id, heir.account_id)
            await tx.collaborators.add([(project_id, each.account_id) for each in (heir, third)], at=NOW)
            await tx.collaborators.update(project_id, owner.account_id, {"role": Role.OWNER})
        handing = shapes.HandOver(project_id=project_id, account_id=heir.account_id)
        removing = shapes.RemoveCollaborator(project_id=project_id, account_id=heir.account_id)
        await asyncio.gather(
            people.collaborators.hand_over(owner, handing),
            people.collaborators.remove(third, removing),
            return_exceptions=True,
        )
        assert list((await people.roles(project_id)).values()).count(Role.OWNER) == 1


# -- invitations -----------------------------------------------------------------------------------


async def test_who_has_an_account_is_added_and_who_gets_one_later(people: People) -> None:
    owner, project_id = await people.owned()
    known = await people.person(email_address="Known@Example.org")
    invited = await people.invite(
        owner, project_id, "known@example.ORG; Later@else.org, ann@example.org later@else.org"
    )
    assert [(one["email_address"], one["state"], one["mail"]) for one in invited] == [
        ("known@example.org", "added", "none"),
        ("later@else.org", "invited", "none"),
        ("ann@example.org", "member", "none"),
    ]
    assert invited[0]["link"] == f"{SITE}/projects/{project_id}"
    assert invited[1]["link"].startswith(f"{SITE}/invite/")
    assert await people.open(project_id) == {"later@else.org": {"time": "2026-03-01T12:00:00.123Z"}}
    later = await people.new_account("LATER@else.org")
    assert await people.roles(project_id) == {
        owner.account_id: Role.OWNER,
        known.account_id: Role.COLLABORATOR,
        later: Role.COLLABORATOR,
    }
    assert await people.open(project_id) is None
    assert await people.events(project_id) == [
        {"event": "invite_user", "invitee_account_id": known.account_id},
        {"event": "invite_nonuser", "invitee_email": "later@else.org", "mail": "none"},
        {"event": "invite_user", "invitee_account_id": later, "by_token": True},
    ]
    with pytest.raises(PermissionDenied, match="can only be used 1 times"):  # nobody else comes in by it
        await people.join(await people.person(), invited[1]["link"])


async def test_an_invitation_is_accepted_with_another_address(people: People) -> None:
    owner, project_id = await people.owned()
    [invited] = await people.invite(owner, project_id, "ada@work.org", group="viewer")
    guest = await people.person(email_address="ada@home.org")
    await people.join(guest, invited["link"])
    assert (await people.roles(project_id))[guest.account_id] is Role.VIEWER
    assert await people.open(project_id) is None
    assert await people.new_account("ada@work.org") not in await people.roles(project_id)


async def test_invitations_end(people: People, clock: FakeClock) -> None:
    owner, project_id = await people.owned()
    helper = await people.person()
    await people.collaborators.add(owner, shapes.AddCollaborator(project_id=project_id, account_id=helper.account_id))
    [first] = await people.invite(owner, project_id, "late@else.org")
    [void] = await people.invite(helper, project_id, "void@else.org")
    clock.advance(days=7)
    [again] = await people.invite(owner, project_id, "late@else.org", group="viewer")
    assert again["link"] == first["link"]  # still open, and for longer now
    await people.collaborators.remove(
        owner, shapes.RemoveCollaborator(project_id=project_id, account_id=helper.account_id)
    )
    assert await people.new_account("void@else.org") not in await people.roles(project_id)
    with pytest.raises(PermissionDenied, match="whoever made it"):
        await people.join(helper, void["link"])
    clock.advance(days=14)
    assert await people.new_account("late@else.org") not in await people.roles(project_id)
    clock.advance(days=31)
    await people.invitations.sweep()
    async with people.store.write() as tx:
        assert await tx.invite_tokens.count(project_id) == 0


async def test_who_may_invite(people: People) -> None:
    owner, project_id = await people.owned()
    viewer, helper, stranger = [await people.person() for _ in range(3)]
    admin = await people.person(is_admin=True)
    async with people.store.write() as tx:
        await tx.collaborators.add([(project_id, viewer.account_id)], at=NOW, role=Role.VIEWER)
        await tx.collaborators.add([(project_id, helper.account_id)], at=NOW)
    for caller in (viewer, stranger, admin):
        with pytest.raises(PermissionDenied, match="user must be a collaborator"):
            await people.invite(caller, project_id, "ada@else.org")
        with pytest.raises(PermissionDenied, match="user must be a collaborator"):
            request = shapes.InviteCollaborator(project_id=project_id, account_id=stranger.account_id)
            await people.invitations.invite(caller, request)
    async with people.store.write() as tx:
        await tx.projects.update(project_id, {"manage_users_owner_only": True})
    with pytest.raises(OwnershipDenied, match="Only owners"):
        await people.invite(helper, project_id, "ada@else.org")
    assert (await people.invite(owner, project_id, "ada@else.org"))[0]["state"] == "invited"
    async with people.store.read() as tx:
        assert await tx.invite_tokens.count(project_id) == 1


@pytest.mark.parametrize(
    "to",
    ["", " ,; ", "nobody", "a@b.de, x", "a@b.de\r\nBcc: c@d.de", "<a@b.de>", "a@b@c", "é@b.de", "a@b.de" * 200],
)
async def test_what_is_no_address_invites_nobody(people: People, to: str) -> None:
    owner, project_id = await people.owned()
    with pytest.raises(InvalidArgument):
        await people.invite(owner, project_id, to)
    assert await people.events(project_id) == []


# -- mail ------------------------------------------------------------------------------------------


async def test_mail_tells_who_invites_to_what(store: Store, clock: FakeClock) -> None:
    async with MailServer() as server:
        people = People(store, clock, server_at(server.port))
        owner, project_id = await people.owned(title="Data\r\nBcc: everybody@example.org")
        html = "<p>Dear Ada,</p><script>alert(1)</script><p>see <a href='https://x.org/'>this</a></p>"
        subject = "Come\r\nBcc: victim@example.org\r\n\r\nnow"
        [invited] = await people.invite(owner, project_id, "ada@else.org", email=html, subject=subject)
        assert invited["mail"] == "queued"
        assert await people.mail.send_due() == 1
        assert await people.mail.send_due() == 0
        [message] = server.messages
    assert (message["From"], message["To"]) == ("projecthub <hub@example.org>", "ada@else.org")
    assert (message["Reply-To"], message["Auto-Submitted"]) == ("ann@example.org", "auto-generated")
    assert message["Subject"] == "Come Bcc: victim@example.org now"
    assert message["Bcc"] is None
    assert message.get_content_type() == "text/plain"
    text = message.get_content().replace("\r\n", "\n")
    assert text.startswith("Ann Owner invites you to the project 'Data Bcc: everybody@example.org'.\n\nDear Ada,\n\n")
    assert "see this (https://x.org/)" in text
    assert invited["link"] in text
    assert "alert" not in text


async def test_who_has_an_account_has_mail_if_there_is_a_text(store: Store, clock: FakeClock) -> None:
    async with MailServer() as server:
        people = People(store, clock, server_at(server.port))
        owner, project_id = await people.owned()
        ada, bob = await people.person(email_address="ada@else.org"), await people.person(email_address=None)
        odd = await people.person(email_address='"odd name"@else.org')
        for person, text, mail in ((ada, None, "none"), (ada, "Hello", "queued"), (ada, "Hello", "recent")):
            request = shapes.InviteCollaborator(project_id=project_id, account_id=person.account_id, email=text)
            [told] = (await people.invitations.invite(owner, request))["invited"]
            assert (told["account_id"], told["mail"]) == (ada.account_id, mail)
        for person in (bob, odd):  # without an address that mail could be sent to
            request = shapes.InviteCollaborator(project_id=project_id, account_id=person.account_id, email="Hello")
            [told] = (await people.invitations.invite(owner, request))["invited"]
            assert (told["state"], told["mail"]) == ("added", "none")
        assert await people.mail.send_due() == 1
        assert server.messages[0]["Subject"] == "Ann Owner invites you to the project 'A project'"


async def test_mail_is_bounded_for_accounts_and_for_addresses(store: Store, clock: FakeClock) -> None:
    people = People(store, clock, server_at(1), a_day=3)
    owner, project_id = await people.owned()
    assert len(await people.invite(owner, project_id, "a@else.org b@else.org")) == 2
    before = await people.events(project_id)
    with pytest.raises(LimitError, match="3 mails within 24 hours"):  # all, or none
        await people.invite(owner, project_id, "c@else.org d@else.org")
    assert await people.events(project_id) == before
    clock.advance(hours=24)
    assert [one["mail"] for one in await people.invite(owner, project_id, "c@else.org d@else.org")] == ["queued"] * 2
    for _ in range(9):
        other = await people.person()
        await people.invite(other, await add_project(store, other.account_id), "c@else.org")
    other = await people.person()
    with pytest.raises(LimitError, match=r"'c@else\.org' was sent 10 mails"):
        await people.invite(other, await add_project(store, other.account_id), "c@else.org")


async def test_calls_at_once_do_not_pass_the_bound(store: Store, clock: FakeClock) -> None:
    people = People(store, clock, server_at(1), a_day=5)
    owner, project_id = await people.owned()
    calls = (people.invite(owner, project_id, f"p{number}@else.org") for number in range(20))
    replies = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(reply, list) for reply in replies) == 5
    assert sum(isinstance(reply, LimitError) for reply in replies) == 15


async def test_mail_waits_for_a_server_that_is_away(store: Store, clock: FakeClock) -> None:
    async with MailServer() as server:
        port = server.port
    people = People(store, clock, server_at(port))
    owner, project_id = await people.owned()
    await people.invite(owner, project_id, "ada@else.org bob@else.org")
    assert await people.mail.send_due() == 0
    assert await people.open(project_id) == {
        f"{name}@else.org": {"time": "2026-03-01T12:00:00.123Z"} for name in ("ada", "bob")
    }
    async with MailServer() as server:  # another hub, on the same store
        later = People(store, clock, server_at(server.port))
        assert await later.mail.send_due() == 1  # the one that was not tried
        assert await later.mail.send_due() == 0
        clock.advance(minutes=1)
        assert await later.mail.send_due() == 1
        assert {message["To"] for message in server.messages} == {"ada@else.org", "bob@else.org"}
        assert len({message["Message-ID"] for message in server.messages}) == 2


async def test_mail_that_nobody_takes_is_given_up(store: Store, clock: FakeClock) -> None:
    async with MailServer() as server:
        people = People(store, clock, server_at(server.port))
        owner, project_id = await people.owned()
        server.refused = {"gone@else.org": "550 no such user", "full@else.org": "452 mailbox full"}
        await people.invite(owner, project_id, "gone@else.org full@else.org fine@else.org")
        assert await people.mail.send_due() == 1
        told = await people.open(project_id)
        assert told["gone@else.org"]["error"] == "550 no such user"
        assert "error" not in told["full@else.org"]
        for minutes in (1, 5, 15, 60, 240, 720, 1440):
            clock.advance(minutes=minutes, seconds=-1)
            assert await people.mail.send_due() == 0
            async with store.read() as tx:
                assert await tx.mails.due(clock.now(), limit=10) == []
            clock.advance(seconds=1)
            async with store.read() as tx:
                [row] = await tx.mails.due(clock.now(), limit=10)
            assert row.to_address == "full@else.org"
            await people.mail.send_due()
        assert (await people.open(project_id))["full@else.org"]["error"] == "452 mailbox full"
        clock.advance(days=3)
        server.refused = {}
        assert await people.mail.send_due() == 0
        # It never came, so that another one may follow at once.
        assert (await people.invite(owner, project_id, "full@else.org"))[0]["mail"] == "queued"
        assert await people.mail.send_due() == 1
        clock.advance(days=31)
        await people.mail.sweep()
        async with store.read() as tx:
            assert await tx.mails.last_about(project_id, "fine@else.org") is None


async def test_a_text_that_the_server_refuses(store: Store, clock: FakeClock) -> None:
    async with MailServer() as server:
        people = People(store, clock, server_at(server.port))
        owner, project_id = await people.owned()
        await people.invite(owner, project_id, "ada@else.org")
        server.answer = "451 try later"
        assert await people.mail.send_due() == 0
        clock.advance(minutes=1)
        server.answer = "554 spam"
        assert await people.mail.send_due() == 0
        assert (await people.open(project_id))["ada@else.org"]["error"] == "554 spam"


@pytest.mark.parametrize("security", ["none", "starttls"])
async def test_the_hub_signs_in_and_its_password_is_told_nowhere(
    store: Store, clock: FakeClock, security: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if security == "starttls":
        assert shutil.which("openssl"), "openssl makes the certificate of this test"
        monkeypatch.setenv("SSL_CERT_FILE", str(make_certificate(tmp_path) / "cert.pem"))
    async with MailServer(sign_in=True, tls=tmp_path if security == "starttls" else None) as server:
        right = server_at(server.port, security=security, user=USER, password=PASSWORD)
        wrong = server_at(server.port, security=security, user=USER, password="wrong")
        assert PASSWORD not in repr(right)
        people = People(store, clock, wrong)
        owner, project_id = await people.owned()
        [invited] = await people.invite(owner, project_id, "ada@else.org")
        with structlog.testing.capture_logs() as logs:
            assert await people.mail.send_due() == 0
            clock.advance(minutes=1)
            assert await People(store, clock, right).mail.send_due() == 1
        assert [line["event"] for line in logs] == ["mail.not_sent"]
        for secret in (PASSWORD, "wrong", "ada@else.org", invited["link"].rpartition("/")[2]):
            assert secret not in str(logs)


async def test_a_server_whose_certificate_is_not_trusted_gets_no_password(
    store: Store, clock: FakeClock, tmp_path: Path
) -> None:
    async with MailServer(sign_in=True, tls=make_certificate(tmp_path)) as server:
        server_of_hub = server_at(server.port, security="starttls", user=USER, password=PASSWORD)
        people = People(store, clock, server_of_hub)
        owner, project_id = await people.owned()
        await people.invite(owner, project_id, "ada@else.org")
        with structlog.testing.capture_logs() as logs:
            assert await people.mail.send_due() == 0
        assert "certificate" in logs[0]["error"].lower()
        assert server.messages == []


async def test_mail_is_sent_by_itself(store: Store, clock: FakeClock) -> None:
    async with MailServer() as server:
        people = People(store, clock, server_at(server.port))
        people.mail.open()
        try:
            owner, project_id = await people.owned()
            await people.invite(owner, project_id, "ada@else.org")
            async with asyncio.timeout(10):
                while not server.messages:
                    await asyncio.sleep(0.01)
        finally:
            await people.mail.close()


@given(subject=st.text(), body=st.text(), title=st.text())
def test_every_text_can_be_sent_and_is_nothing_but_text(subject: str, body: str, title: str) -> None:
    row = Row(
        id=1,
        account_id=AccountId(""),
        project_id=None,
        message_id="<1@example.org>",
        to_address="ada@else.org",
        reply_to=None,
        subject=one_line(subject),
        body=plain(body) + plain(f"<p>{title}</p>"),
        created_at=NOW,
        attempts=0,
    )
    sent = letter(row, "projecthub <hub@example.org>").as_bytes(policy=SMTP)
    got = message_from_bytes(sent, policy=default)
    assert set(got.keys()) == {
        "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "Content-Type", "Content-Transfer-Encoding",
        "MIME-Version",
    }  # fmt: skip
