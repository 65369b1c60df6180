"""Invitations: people are let onto projects and told so by mail, also those who have no account yet.

Source: Wire contract 5.2; docs/wire-extensions.md.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from projecthub.errors import InvalidArgument, LimitError, NotFound
from projecthub.hub.collaborators import group_of
from projecthub.hub.joining import FORGOTTEN_AFTER, MAX_TOKENS, invited_event, none_disabled
from projecthub.hub.mail import ADDRESS, one_line
from projecthub.hub.mail_text import plain
from projecthub.hub.open_invitations import note_invitation
from projecthub.hub.permissions import NOT_A_COLLABORATOR, account_id_of, member_access, owners_only, project_id_of
from projecthub.store.accounts import ascii_lower
from projecthub.store.records import InviteToken, Role
from projecthub.wire import shapes
from projecthub.wire.methods import Ability
from projecthub.wire.units import to_iso

if TYPE_CHECKING:
    from collections.abc import Callable

    from projecthub.hub.clock import Clock
    from projecthub.hub.keys import Keys
    from projecthub.hub.mail import Mail
    from projecthub.hub.principals import Principal
    from projecthub.store import Transaction
    from projecthub.store.records import Account, Project

OPEN_FOR: Final = timedelta(days=14)
"""How long somebody without an account may take to accept."""
MAX_TO: Final = 1024
"""Characters of all addresses in one call."""
MAX_MESSAGE: Final = 20_000

_PARTS: Final = re.compile(r"[,;\s]+")
_SHOWN_NAME: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inviting:
    """One call: who invites whom to what."""

    caller: Principal
    sender: Account | None
    project: Project
    role: Role
    message: str | None
    subject: str | None


class Invitations:
    """Invites people to projects."""

    def __init__(self, clock: Clock, keys: Keys, mail: Mail, site_url: Callable[[], str]) -> None:
        """Make the service.

        Args:
            clock: Tells when something was done.
            keys: Gives its transactions, because project keys depend on memberships.
            mail: Sends mail, if it can.
            site_url: Tells the hub's own address, for links.
        """
        self._clock = clock
        self._keys = keys
        self._mail = mail
        self._site_url = site_url

    async def invite(self, caller: Principal, request: shapes.InviteCollaborator) -> shapes.Invited:
        """Let somebody with an account onto a project, and tell them by mail if there is a text for it.

        Raises:
            InvalidArgument: An id that is none, or a text that is too long.
            PermissionDenied, OwnershipDenied: The caller may not add people.
            NotFound: There is no such account.
            Conflict: It is disabled.
            LimitError: Too much mail; nothing was done.
        """
        async with self._keys.changing() as tx:
            inviting = await self._begin(tx, caller, request)
            account_id = account_id_of(request.account_id, "Invalid account_id: {value}")
            account = await tx.accounts.get(account_id)
            if account is None or account.deleted_at is not None:
                raise NotFound(f"no account with id '{account_id}'; nobody was invited. Find people with user_search")
            person = await self._let_in(tx, inviting, account)
        self._mail.poke()
        return {"project_id": inviting.project.project_id, "invited": [person]}

    async def invite_without_account(self, caller: Principal, request: shapes.InviteWithoutAccount) -> shapes.Invited:
        """Invite people by their addresses: who has an account is let in now, the others as soon as they get one.

        Raises:
            InvalidArgument: No address, something that is none, or too many of them.
            PermissionDenied, OwnershipDenied: The caller may not add people.
            Conflict: Somebody's account is disabled.
            LimitError: Too much mail, or too many invitations; nothing was done.
        """
        addresses = _addresses(request.to)
        async with self._keys.changing() as tx:
            inviting = await self._begin(tx, caller, request)
            people: list[shapes.InvitedPerson] = []
            for address in addresses:
                account = await tx.accounts.by_email(address)
                if account is not None:
                    person = await self._let_in(tx, inviting, account)
                    person["email_address"] = address
                    people.append(person)
                else:
                    people.append(await self._offer(tx, inviting, address))
        self._mail.poke()
        return {"project_id": inviting.project.project_id, "invited": people}

    async def sweep(self) -> None:
        """Forget tokens that ended long ago."""
        async with self._keys.changing() as tx:
            await tx.invite_tokens.prune(self._clock.now() - FORGOTTEN_AFTER)

    # -- one after the other -----------------------------------------------------------------------

    async def _begin(
        self, tx: Transaction, caller: Principal, request: shapes.InviteCollaborator | shapes.InviteWithoutAccount
    ) -> _Inviting:
        project_id = project_id_of(request.project_id, "Invalid project_id: {value}")
        access = await member_access(tx, caller, project_id, NOT_A_COLLABORATOR, Ability.MANAGE)
        owners_only(access)
        if request.email is not None and len(request.email) > MAX_MESSAGE:
            raise InvalidArgument(f"email has {len(request.email)} characters; give at most {MAX_MESSAGE}")
        return _Inviting(
            caller=caller,
            sender=await tx.accounts.get(caller.account_id),
            project=access.project,
            role=group_of(request.group),
            message=None if request.email is None else plain(request.email),
            subject=request.subject,
        )

    async def _let_in(self, tx: Transaction, inviting: _Inviting, account: Account) -> shapes.InvitedPerson:
        project_id, now = inviting.project.project_id, self._clock.now()
        added = await tx.collaborators.add([(project_id, account.account_id)], at=now, role=inviting.role)
        if added:
            await none_disabled(tx, {account.account_id})
            event = invited_event(account.account_id, inviting.role)
            await tx.log.append(project_id, inviting.caller.account_id, event, at=now)
        link = f"{self._site_url()}/projects/{project_id}"
        told: shapes.InvitedPerson = {
            "account_id": account.account_id,
            "state": "added" if added else "member",
            "mail": "none",
            "link": link,
        }
        address = ascii_lower(account.email_address or "")
        if inviting.message is not None and self._mail.is_on and ADDRESS.fullmatch(address):
            hint = f"You are on it now: {link}"
            told["mail"] = await self._tell(tx, inviting, address, hint)
        return told

    async def _offer(self, tx: Transaction, inviting: _Inviting, address: str) -> shapes.InvitedPerson:
        """Invite an address of which no account is known."""
        project_id, now = inviting.project.project_id, self._clock.now()
        token = await self._token(tx, inviting, address)
        link = f"{self._site_url()}/invite/{token}"
        told: shapes.InvitedPerson = {"email_address": address, "state": "invited", "mail": "none", "link": link}
        if self._mail.is_on:
            hint = (
                f"You will be on it as soon as you have an account with the address {address}.\n"
                f"If you have an account with another address, accept with this link within {OPEN_FOR.days} days:\n"
                f"{link}"
            )
            told["mail"] = await self._tell(tx, inviting, address, hint)
        event = {"event": "invite_nonuser", "invitee_email": address, "mail": told["mail"]}
        await tx.log.append(project_id, inviting.caller.account_id, event, at=now)
        await note_invitation(tx, project_id, address, {"time": to_iso(now)})
        return told

    async def _token(self, tx: Transaction, inviting: _Inviting, address: str) -> str:
        """The token of an invitation: that of an open one of the same person, which is open for longer then."""
        project_id, now = inviting.project.project_id, self._clock.now()
        expires_at = now + OPEN_FOR
        for known in await tx.invite_tokens.addressed_to(address, now=now, project_id=project_id):
            if known.account_id == inviting.caller.account_id:
                await tx.invite_tokens.update(known.token, {"expires_at": expires_at, "role": inviting.role})
                return known.token
        if await tx.invite_tokens.count(project_id) >= MAX_TOKENS:
            raise LimitError(
                f"project '{project_id}' has {MAX_TOKENS} invitations, which is all that it may have; nothing was "
                f"done. Invitations are forgotten {FORGOTTEN_AFTER.days} days after their end"
            )
        token = InviteToken(
            token=secrets.token_hex(32),
            project_id=project_id,
            account_id=inviting.caller.account_id,
            role=inviting.role,
            email_address=address,
            created_at=now,
            expires_at=expires_at,
            usage_limit=1,
        )
        await tx.invite_tokens.create(token)
        return token.token

    async def _tell(self, tx: Transaction, inviting: _Inviting, address: str, hint: str) -> shapes.MailState:
        who, title = _name(inviting.sender), one_line(inviting.project.title)[:_SHOWN_NAME] or "without a title"
        opening = f"{who} invites you to the project '{title}'."
        queued = await self._mail.put(
            tx,
            inviting.caller.account_id,
            inviting.project.project_id,
            address,
            subject=inviting.subject or opening.rstrip("."),
            body="\n\n".join(filter(None, (opening, inviting.message, hint))) + "\n",
            reply_to=inviting.sender.email_address if inviting.sender else None,
        )
        return "queued" if queued else "recent"


def _name(account: Account | None) -> str:
    name = "" if account is None else one_line(f"{account.first_name} {account.last_name}")
    return name[:_SHOWN_NAME] or "Somebody"


def _addresses(to: str | None) -> list[str]:
    if to is not None and len(to) > MAX_TO:
        raise InvalidArgument(f"argument 'to' has {len(to)} characters; name fewer people, in at most {MAX_TO}")
    addresses = list(dict.fromkeys(ascii_lower(part) for part in _PARTS.split(to or "") if part))
    if not addresses:
        raise InvalidArgument("argument 'to' names nobody; give e-mail addresses, parted by commas")
    for address in addresses:
        if not ADDRESS.fullmatch(address):
            raise InvalidArgument(f"{address[:100]!r} is no e-mail address; nobody was invited")
    return addresses
