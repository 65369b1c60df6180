"""Tokens and invitations, and how they let people onto projects.

A token counts only people whom it has really let in, and lets nobody in when whoever made it may no longer add people.

Source: Wire contract 2.4.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from projecthub.errors import Conflict, NotFound, PermissionDenied
from projecthub.hub.open_invitations import note_invitation
from projecthub.hub.permissions import may_let_in
from projecthub.store.accounts import ascii_lower
from projecthub.store.records import Role

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from projecthub.store import Transaction
    from projecthub.store.records import Account, InviteToken
    from projecthub.wire.ids import AccountId

MAX_TOKENS: Final = 1000
"""Tokens of one project, those that have ended included: they are forgotten `FORGOTTEN_AFTER` their end."""
FORGOTTEN_AFTER: Final = timedelta(days=30)
_NOT_VALID: Final = "Project invite token is not valid"


async def redeem(tx: Transaction, token: InviteToken, account_id: AccountId, *, by: AccountId, at: datetime) -> bool:
    """Let an account onto the project of a token. Who is on it stays what they are, and uses nothing up.

    Args:
        tx: A transaction in which the token is locked.
        token: The token.
        account_id: Whom to let in.
        by: Who does it, for the project's log.
        at: Now.

    Returns:
        Whether the account was not on the project before.

    Raises:
        PermissionDenied: The token has expired, is used up, or was made by somebody who may no longer add people. The
            transaction is not to be kept then.
    """
    if await tx.collaborators.role(token.project_id, account_id) is not None:
        return False
    if token.expires_at is not None and token.expires_at <= at:
        raise PermissionDenied(f"{_NOT_VALID} - the token already expired")
    if not await may_let_in(tx, token.project_id, token.account_id):
        raise PermissionDenied(f"{_NOT_VALID} - whoever made it may no longer add people; ask for another")
    if not await tx.collaborators.add([(token.project_id, account_id)], at=at, role=token.role):
        return False  # by another token, at the same time
    if not await tx.invite_tokens.use(token.token):
        raise PermissionDenied(f"{_NOT_VALID} - the token can only be used {token.usage_limit} times")
    event = {**invited_event(account_id, token.role), "by_token": True}
    await tx.log.append(token.project_id, by, event, at=at)
    if token.email_address is not None:
        await note_invitation(tx, token.project_id, token.email_address, None)
    return True


async def redeem_all(
    tx: Transaction, pairs: list[tuple[str, AccountId]], *, by: AccountId, at: datetime
) -> list[InviteToken]:
    """Let accounts in, each by its token: all of them, or none. Tells the tokens, in order.

    Raises:
        NotFound: There is no such token.
        PermissionDenied: See `redeem`.
        Conflict: See `none_disabled`.
    """
    known = await tx.invite_tokens.locked([token for token, _ in pairs])
    tokens, let_in = [], set()
    for given, account_id in pairs:
        if given not in known:
            raise NotFound(f"{_NOT_VALID} - no such token")
        if await redeem(tx, known[given], account_id, by=by, at=at):
            let_in.add(account_id)
        tokens.append(known[given])
    await none_disabled(tx, let_in)
    return tokens


async def welcome(tx: Transaction, account: Account, *, at: datetime) -> None:
    """Let a new account onto the projects to which its e-mail address was invited; in the transaction that makes it.

    Only for accounts whose address somebody vouches for who may make accounts: nobody confirms addresses here.
    """
    if account.email_address is None:
        return
    for token in await tx.invite_tokens.addressed_to(ascii_lower(account.email_address), now=at):
        # One that is void now does not keep the account from being made.
        if await may_let_in(tx, token.project_id, token.account_id):
            await redeem(tx, token, account.account_id, by=token.account_id, at=at)


async def none_disabled(tx: Transaction, account_ids: Collection[AccountId]) -> None:
    """Nobody is let onto a project who is disabled; in the transaction that would do it, which is not kept then.

    Who is on it already stays what they are, and is not looked at.

    Raises:
        Conflict: One of them is disabled; the first by id is named.
    """
    if disabled := await tx.accounts.disabled(sorted(account_ids)):
        raise Conflict(
            f"account '{min(disabled)}' is disabled, so that nothing was done; name others, or have it enabled"
        )


def invited_event(account_id: AccountId, role: Role) -> dict[str, object]:
    """What a project's log says of somebody who was let in."""
    event: dict[str, object] = {"event": "invite_user", "invitee_account_id": account_id}
    if role is not Role.COLLABORATOR:
        event["group"] = role.value
    return event
