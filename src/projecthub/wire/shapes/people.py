"""Who is on a project, and who is asked to be. See `projecthub.wire.shapes`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NotRequired, TypedDict

# -- arguments -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class AddCollaborator:
    """`projects.addCollaborator`, under `opts`: scalars, or lists of equal length. `group`: what they become."""

    project_id: str | list[str] | None = None
    account_id: str | list[str] | None = None
    token_id: str | list[str | None] | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveCollaborator:
    """`projects.removeCollaborator`, under `opts`: scalars, or lists of equal length."""

    project_id: str | list[str] | None = None
    account_id: str | list[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeUserType:
    """`projects.changeUserType`, under `opts`."""

    project_id: str | None = None
    target_account_id: str | None = None
    new_group: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOver:
    """`projects.handOver`: `account_id` becomes an owner, the caller a `new_group`."""

    project_id: str | None = None
    account_id: str | None = None
    new_group: str = "collaborator"


@dataclass(frozen=True, slots=True, kw_only=True)
class InviteCollaborator:
    """`projects.inviteCollaborator`, under `opts`: of somebody who has an account. `email` is the text of a mail."""

    project_id: str | None = None
    account_id: str | None = None
    group: str | None = None
    title: str | None = None
    link2proj: str | None = None
    replyto: str | None = None
    replyto_name: str | None = None
    email: str | None = None
    subject: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InviteWithoutAccount:
    """`projects.inviteCollaboratorWithoutAccount`, under `opts`. `to`: e-mail addresses, parted by commas or blanks."""

    project_id: str | None = None
    to: str | None = None
    group: str | None = None
    title: str | None = None
    link2proj: str | None = None
    replyto: str | None = None
    replyto_name: str | None = None
    email: str | None = None
    subject: str | None = None


# -- replies ---------------------------------------------------------------------------------------


class Member(TypedDict):
    """One value of a project's `users`."""

    group: Literal["owner", "collaborator", "viewer"]
    hide: NotRequired[bool]
    upgrades: NotRequired[dict[str, Any]]
    ssh_keys: NotRequired[dict[str, Any]]


class HandedOver(TypedDict):
    """Reply of `projects.handOver`: the new owner, and what the caller is now."""

    project_id: str
    owner: str
    group: str


MailState = Literal["queued", "recent", "none"]


class InvitedPerson(TypedDict):
    """One of those invited.

    `state`: ``added`` now, or a ``member`` before; or, of whom no account is known, ``invited``. `mail`: ``queued``,
    ``recent`` (they had one lately), or ``none``: pass the `link` on yourself.
    """

    email_address: NotRequired[str]
    account_id: NotRequired[str]
    state: Literal["added", "member", "invited"]
    mail: MailState
    link: str


class Invited(TypedDict):
    """Reply of `projects.inviteCollaborator` and `projects.inviteCollaboratorWithoutAccount`."""

    project_id: str
    invited: list[InvitedPerson]


class InviteToken(TypedDict):
    """A row of the table `project_invite_tokens`. `email_address`: whom it was made for; times are ISO times."""

    token: str
    project_id: str
    account_id: str
    group: str
    created: str
    counter: int
    usage_limit: NotRequired[int]
    expires: NotRequired[str]
    email_address: NotRequired[str]


class AddedCollaborators(TypedDict):
    """Reply of `projects.addCollaborator`: a list, unless one token was given that was in no list."""

    project_id: str | list[str]


class RemovedCollaborator(TypedDict):
    """Reply of `projects.removeCollaborator`; lists if lists were given."""

    project_id: str | list[str]
    account_id: str | list[str]
