"""What the store remembers, as plain records. Times are aware UTC datetimes in whole milliseconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from projecthub.wire.ids import AccountId, ProjectId
from projecthub.wire.methods import Ability


class Role(StrEnum):
    """What an account is to a project (wire: ``group``)."""

    OWNER = "owner"
    COLLABORATOR = "collaborator"
    VIEWER = "viewer"


class State(StrEnum):
    """Observed state of a project."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    RESTARTING = "restarting"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A person or a program that may sign in."""

    account_id: AccountId
    email_address: str | None
    first_name: str
    last_name: str
    name: str | None
    is_admin: bool
    unlisted: bool
    banned: bool
    profile: Mapping[str, Any] | None
    preferences: Mapping[str, Any]
    created_at: datetime
    last_active_at: datetime | None
    deleted_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """An API key; the secret itself is never stored.

    Attributes:
        scopes: What may be done with it, as far as its account may.
        calls_per_minute: How often it may be used; None: any number of times.
        is_session: Whether it is what somebody got who signed in with a password, and no key to be managed.
    """

    id: int
    account_id: AccountId
    project_id: ProjectId | None
    name: str
    trunc: str
    created_at: datetime
    expires_at: datetime | None
    last_active_at: datetime | None
    scopes: frozenset[Ability]
    calls_per_minute: int | None
    is_session: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyOwner:
    """What a key check needs, read by one query.

    Attributes:
        key: The key.
        is_admin: Whether its account is a site admin.
        enabled: Whether its account is neither deleted nor banned.
        role: For a project key: what its account is to that project now; None if nothing.
    """

    key: Key
    is_admin: bool
    enabled: bool
    role: Role | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A project's row without its people.

    Attributes:
        unix_slot: A small number of its own, never used again.
        crashes: How many times in a row it died soon after a start.
        retry_at: When the hub starts it again by itself; None: it does not.
        active_at: When its processes last showed that somebody uses it, as far as was written down.
    """

    project_id: ProjectId
    unix_slot: int
    title: str
    deleted: bool | None
    desired: Literal["running", "stopped"]
    state: State
    state_at: datetime
    state_error: str | None
    epoch: int
    instance: Mapping[str, Any] | None
    created_at: datetime
    last_edited_at: datetime
    compute_image: str | None
    site_license: Mapping[str, Any] | None
    env: Mapping[str, str] | None
    manage_users_owner_only: bool
    settings: Mapping[str, Any] | None
    run_quota: Mapping[str, Any] | None
    crashes: int
    retry_at: datetime | None
    active_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CourseProject:
    """A student's project in a course.

    Attributes:
        student: The student's id in the course's roster.
        course: The project's field `course`.
        invite: The project's field `invite`: who was invited by e-mail.
        roles: Its people.
    """

    project_id: ProjectId
    student: str
    title: str
    deleted: bool
    course: Mapping[str, Any]
    invite: Mapping[str, Any]
    roles: Mapping[AccountId, Role]


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """A project and what one account is to it, read by one query."""

    project: Project
    role: Role | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A public path. Column names as in wire contract 7.4, times with ``_at``."""

    id: str
    project_id: ProjectId
    path: str
    description: str | None
    disabled: bool
    unlisted: bool
    authenticated: bool
    vhost: str | None
    compute_image: str | None
    site_license_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A project that new ones can begin as.

    Attributes:
        project_id: Which project.
        title: What it is called.
        description: What it is for.
        everybody: Whether all who are signed in may use it.
        member: Whether the account that asks is on the project.
    """

    project_id: ProjectId
    title: str
    description: str
    everybody: bool
    member: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class License:
    """A named set of quotas.

    Attributes:
        id: A lower-case uuid.
        title: For people.
        description: For people.
        quota: What it grants, as wire contract 7.3 names it.
        run_limit: Projects at most that may run with it at a time; None: any number.
        activates_at: Since when it is in force; None: from the beginning.
        expires_at: Until when, exclusive; None: for good.
        created_at: When it was made.
    """

    id: str
    title: str
    description: str
    quota: Mapping[str, Any]
    run_limit: int | None
    activates_at: datetime | None
    expires_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InviteToken:
    """What lets its holder onto a project.

    Attributes:
        token: The secret itself: whoever may add people may read it.
        project_id: Which project.
        account_id: Who made it. It is good only as long as they may add people.
        role: What it makes of people.
        email_address: Whom it invites, in lower case; None: whoever has it.
        created_at: When it was made.
        expires_at: Until when, exclusive; None: for good.
        usage_limit: How many people it lets in; None: any number.
        counter: How many it has let in.
    """

    token: str = field(repr=False)
    project_id: ProjectId
    account_id: AccountId
    role: Role
    email_address: str | None
    created_at: datetime
    expires_at: datetime | None
    usage_limit: int | None
    counter: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """Mail that is to be sent.

    Attributes:
        id: Its number.
        account_id: Who caused it.
        project_id: What project it is about; None: none.
        message_id: Its name everywhere: a mailbox that gets it twice can tell.
        to_address: To whom, in lower case.
        reply_to: Where answers go; None: to the hub's own address.
        subject: One line.
        body: Plain text.
        created_at: When it was put here.
        attempts: How often it was tried to send it.
    """

    id: int
    account_id: AccountId
    project_id: ProjectId | None
    message_id: str
    to_address: str
    reply_to: str | None
    subject: str
    body: str = field(repr=False)
    created_at: datetime
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInToken:
    """A token that signs an account in; the token itself is never stored.

    Attributes:
        hash: SHA-256 of the token in hex.
        account_id: Whom it signs in.
        created_by: Who made it.
        purpose: What it is good for.
        created_at: When it was made.
        expires_at: Until when it is good, exclusive.
        good: Whether the account and its maker are neither deleted nor banned, and the maker is a site admin if the
            account is one now.
    """

    hash: str
    account_id: AccountId
    created_by: AccountId
    purpose: str
    created_at: datetime
    expires_at: datetime
    good: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Organization:
    """An institution, or a part of one, whose admins look after its members' accounts.

    Attributes:
        organization_id: A lower-case uuid.
        name: Unique among organizations and accounts regardless of case; never changes.
        title: For people.
        description: For people.
        link: Its web site.
        email_address: Where it is reached; of no account.
        created_at: When it was made.
    """

    organization_id: str
    name: str
    title: str | None
    description: str | None
    link: str | None
    email_address: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Affiliation:
    """To which organization an account belongs, and as what."""

    organization_id: str
    name: str
    is_admin: bool


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison of a column with a value; ``op`` is one of the wire contract 3.3's operators."""

    column: str
    op: str
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What to read of a table.

    Attributes:
        columns: Names of columns; `users` of projects is computed from the memberships.
        conditions: All must hold.
        order_by: Column names with whether descending.
        limit: Rows at most; None: all.
    """

    columns: tuple[str, ...]
    conditions: tuple[Condition, ...] = ()
    order_by: tuple[tuple[str, bool], ...] = ()
    limit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeSnapshot:
    """A snapshot of a home, whose contents lie on disk.

    Attributes:
        account_id: Who has taken it; None: the hub by itself.
        automatic: Whether it may go when there are newer ones, or room is needed.
        files: Files and symlinks in it.
        bytes: Sum of the sizes of the files.
        own_bytes: What it added to the contents of the project's snapshots.
        skipped: What was left out: pipes, sockets, devices, what could not be read.
        changing: Files that were being written to and are kept as they were read.
    """

    id: str
    project_id: ProjectId
    account_id: AccountId | None
    title: str
    automatic: bool
    files: int
    bytes: int
    own_bytes: int
    skipped: int
    changing: int
    created_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class HomeSnapshots:
    """The snapshots of a project, newest first, and what they take together, in bytes."""

    rows: tuple[HomeSnapshot, ...]
    used_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Which entries of the audit log are wanted; what is None says nothing.

    Attributes:
        account_id: Of calls by this account.
        project_id: Of calls that named this project.
        method: Of methods whose names begin so.
        outcomes: Of calls that ended in one of these ways.
        since: Told then or later.
        until: Told before then.
    """

    account_id: str | None = None
    project_id: str | None = None
    method: str | None = None
    outcomes: tuple[str, ...] | None = None
    since: datetime | None = None
    until: datetime | None = None
