"""The tables, in the words of the house: times are ``*_at``, ids are lower-case uuid texts.

Migrations create them; that both agree is a test. A column that is added here needs a migration beside the others.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import (
    DDL,
    JSON,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    event,
    false,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from projecthub.wire.units import from_ms, to_ms


class Moment(TypeDecorator[datetime]):
    """An aware UTC datetime, kept as whole milliseconds since the epoch."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """To milliseconds."""
        return None if value is None else to_ms(value)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[int | None], datetime | None]:
        """From milliseconds. A plain function: `process_result_value` would be called through another one."""
        return _moment


def _moment(value: int | None) -> datetime | None:
    return None if value is None else from_ms(value)


KEY = Text().with_variant(Text(collation="C"), "postgresql")
"""Ids and other texts that compare byte by byte; ``lower`` touches their ASCII letters only, as in SQLite."""

VALUE = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
"""A JSON value; None is the database's null."""

SERIAL = BigInteger().with_variant(Integer, "sqlite")
"""A number that the database allots. SQLite wants the word INTEGER for that."""


def dump_json(value: object) -> str:
    """JSON as both databases take it: without NaN, and with lone surrogates left for the driver to refuse.

    Raises:
        ValueError: The value holds a number that JSON cannot write.
    """
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False, default=False)


def _reference(name: str, target: str, **options: Any) -> Column[str]:
    return Column(name, KEY, ForeignKey(target), **options)


accounts = Table(
    "accounts",
    metadata,
    Column("account_id", KEY, primary_key=True),
    Column("email_address", KEY),
    Column("password_hash", Text),
    Column("first_name", Text, nullable=False, default=""),
    Column("last_name", Text, nullable=False, default=""),
    Column("name", KEY),
    _flag("is_admin"),
    _flag("unlisted"),
    _flag("banned"),
    Column("profile", VALUE),
    Column("preferences", VALUE, nullable=False, default=dict),
    Column("created_at", Moment, nullable=False),
    Column("last_active_at", Moment),
    Column("deleted_at", Moment),
)
Index(
    "ix_accounts_email_address",
    func.lower(accounts.c.email_address),
    unique=True,
    sqlite_where=accounts.c.deleted_at.is_(None),
    postgresql_where=accounts.c.deleted_at.is_(None),
)
Index("ix_accounts_name", func.lower(accounts.c.name), unique=True)
Index("ix_accounts_created_at", accounts.c.created_at)
Index(
    "ix_accounts_is_admin",
    accounts.c.is_admin,
    accounts.c.created_at,
    sqlite_where=text("is_admin = 1"),
    postgresql_where=text("is_admin"),
)

projects = Table(
    "projects",
    metadata,
    Column("project_id", KEY, primary_key=True),
    Column("unix_slot", BigInteger, nullable=False, unique=True),
    Column("name", KEY),
    Column("title", Text, nullable=False, default=""),
    Column("description", Text, nullable=False, default=""),
    Column("deleted", Boolean),
    Column("desired", KEY, nullable=False, default="stopped"),
    Column("state", KEY, nullable=False, default="stopped", index=True),
    Column("state_at", Moment, nullable=False),
    Column("state_error", Text),
    Column("epoch", BigInteger, nullable=False, default=0),
    Column("instance", VALUE),
    Column("created_at", Moment, nullable=False),
    Column("last_edited_at", Moment, nullable=False, index=True),
    Column("compute_image", Text),
    Column("ephemeral_ms", BigInteger),
    _flag("manage_users_owner_only"),
    Column("sandbox", Boolean),
    Column("color", Text),
    Column("settings", VALUE),
    Column("run_quota", VALUE),
    Column("site_license", VALUE),
    Column("env", VALUE),
    Column("course", VALUE),
    Column("action_request", VALUE),
    Column("invite", VALUE),
    Column("invite_requests", VALUE),
    Column("host", VALUE),
    Column("pay_as_you_go_quotas", VALUE),
    Column("crashes", Integer, nullable=False, default=0, server_default="0"),
    Column("retry_at", Moment),
    Column("active_at", Moment),
    # Large and rarely read: behind all others, where reading a row does not have to pass them.
    Column("avatar_image_tiny", Text),
    Column("avatar_image_full", Text),
)

Index(
    "ix_projects_ephemeral_ms",
    projects.c.ephemeral_ms,
    sqlite_where=projects.c.ephemeral_ms.is_not(None),
    postgresql_where=projects.c.ephemeral_ms.is_not(None),
)
Index(
    "ix_projects_desired",
    projects.c.desired,
    sqlite_where=projects.c.desired == text("'running'"),
    postgresql_where=projects.c.desired == text("'running'"),
)

memberships = Table(
    "memberships",
    metadata,
    _reference("project_id", "projects.project_id", primary_key=True),
    _reference("account_id", "accounts.account_id", primary_key=True),
    Column("role", KEY, nullable=False),
    Column("hide", Boolean),
    Column("upgrades", VALUE),
    Column("ssh_keys", VALUE),
    Column("added_at", Moment, nullable=False),
    Column("last_active_at", Moment),
    Index("ix_memberships_account_id", "account_id", "project_id"),
    sqlite_with_rowid=False,
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", SERIAL, primary_key=True),
    _reference("account_id", "accounts.account_id", nullable=False, index=True),
    _reference("project_id", "projects.project_id", index=True),
    Column("hash", KEY, unique=True),
    Column("trunc", Text, nullable=False, default=""),
    Column("name", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment),
    Column("last_active_at", Moment),
    Column("scopes", VALUE),  # a list of abilities; null: all there are
    Column("calls_per_minute", Integer),
    Column("is_session", Boolean, nullable=False, default=False, server_default=false()),
    sqlite_autoincrement=True,  # the number is part of the key: never used again
)

project_log = Table(
    "project_log",
    metadata,
    Column("id", SERIAL, primary_key=True),
    _reference("project_id", "projects.project_id", nullable=False),
    _reference("account_id", "accounts.account_id"),
    Column("event", VALUE, nullable=False),
    Column("logged_at", Moment, nullable=False),
    Index("ix_project_log_project_id", "project_id", "logged_at", "id"),
    sqlite_autoincrement=True,
)

public_paths = Table(
    "public_paths",
    metadata,
    Column("id", KEY, primary_key=True),
    _reference("project_id", "projects.project_id", nullable=False, index=True),
    Column("path", Text, nullable=False),
    Column("name", Text),
    Column("description", Text),
    _flag("disabled"),
    _flag("unlisted"),
    _flag("authenticated"),
    Column("vhost", Text),
    Column("license", Text),
    Column("created_at", Moment, nullable=False),
    Column("last_edited_at", Moment, nullable=False),
    Column("last_saved_at", Moment),
    Column("counter", BigInteger, nullable=False, default=0),
    Column("compute_image", Text),
    Column("site_license_id", Text),
    Column("url", Text),
    Column("redirect", Text),
    Column("jupyter_api", Boolean),
    Column("image", Text),
    Column("token", Text),
)
Index(
    "ix_public_paths_listed",
    public_paths.c.last_edited_at,
    public_paths.c.id,
    sqlite_where=text("disabled = 0 AND unlisted = 0 AND vhost IS NULL"),
    postgresql_where=text("NOT disabled AND NOT unlisted AND vhost IS NULL"),
)

templates = Table(
    "templates",
    metadata,
    _reference("project_id", "projects.project_id", primary_key=True),
    _flag("everybody"),
    Column("set_at", Moment, nullable=False),
    sqlite_with_rowid=False,
)
"""Projects that new ones can begin as."""
Index(
    "ix_templates_everybody",
    templates.c.everybody,
    sqlite_where=text("everybody = 1"),
    postgresql_where=text("everybody"),
)

licenses = Table(
    "licenses",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("title", Text, nullable=False),
    Column("quota", VALUE, nullable=False),
    Column("run_limit", BigInteger),
    Column("activates_at", Moment),
    Column("expires_at", Moment),
    Column("created_at", Moment, nullable=False),
    Column("description", Text, nullable=False, default="", server_default=""),
)

license_uses = Table(
    "license_uses",
    metadata,
    _reference("license_id", "licenses.id", primary_key=True),
    _reference("project_id", "projects.project_id", primary_key=True, index=True),
    sqlite_with_rowid=False,
)
"""Which licenses a project was last started with; they are in use as long as it runs."""

course_projects = Table(
    "course_projects",
    metadata,
    _reference("project_id", "projects.project_id", primary_key=True),
    _reference("course_project_id", "projects.project_id", nullable=False),
    Column("student", KEY, nullable=False),
    Index("ix_course_projects_course_project_id", "course_project_id", "student", unique=True),
    sqlite_with_rowid=False,
)
"""Which projects are students' in which course; a student, by their id in its roster, has one."""

open_jobs = Table(
    "open_jobs",
    metadata,
    _reference("project_id", "projects.project_id", primary_key=True),
    Column("job_id", KEY, primary_key=True),
    _reference("account_id", "accounts.account_id", nullable=False, index=True),
    Column("started_at", Moment, nullable=False),
    sqlite_with_rowid=False,
)
"""Jobs, and executions in sessions, whose end is still to be noted in their project's log."""

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    _reference("account_id", "accounts.account_id", primary_key=True),
    Column("key", KEY, primary_key=True),
    Column("fingerprint", Text, nullable=False),
    Column("result", VALUE),
    Column("created_at", Moment, nullable=False, index=True),
    sqlite_with_rowid=False,
)

counters = Table(
    "counters",
    metadata,
    Column("name", KEY, primary_key=True),
    Column("value", BigInteger, nullable=False),
)
"""Numbers that only grow: ``unix_slot``, the last one allotted; ``names``, whose row is the lock on all names."""

project_invite_tokens = Table(
    "project_invite_tokens",
    metadata,
    Column("token", KEY, primary_key=True),
    _reference("project_id", "projects.project_id", nullable=False),
    _reference("account_id", "accounts.account_id", nullable=False, index=True),
    Column("role", KEY, nullable=False),
    Column("email_address", KEY),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment),
    Column("usage_limit", BigInteger),
    Column("counter", BigInteger, nullable=False, default=0),
    Index("ix_project_invite_tokens_project_id", "project_id", "created_at"),
    sqlite_with_rowid=False,
)
"""What lets its holder onto a project. One with an address (in lower case) also invites whoever
gets an account with it."""
Index(
    "ix_project_invite_tokens_email_address",
    project_invite_tokens.c.email_address,
    sqlite_where=project_invite_tokens.c.email_address.is_not(None),
    postgresql_where=project_invite_tokens.c.email_address.is_not(None),
)
Index("ix_project_invite_tokens_expires_at", project_invite_tokens.c.expires_at)

mails = Table(
    "mails",
    metadata,
    Column("id", SERIAL, primary_key=True),
    _reference("account_id", "accounts.account_id", nullable=False),
    _reference("project_id", "projects.project_id"),
    Column("message_id", Text, nullable=False),
    Column("to_address", KEY, nullable=False),
    Column("reply_to", Text),
    Column("subject", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("state", KEY, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("next_at", Moment),
    Column("error", Text),
    Index("ix_mails_account_id", "account_id", "created_at"),
    Index("ix_mails_project_id", "project_id", "to_address", "created_at"),
    Index("ix_mails_to_address", "to_address", "created_at"),
    Index("ix_mails_created_at", "created_at"),
    sqlite_autoincrement=True,
)
"""Mail that is to be sent, and for a while what became of it; addresses in lower case."""
Index(
    "ix_mails_next_at",
    mails.c.next_at,
    sqlite_where=mails.c.state == text("'waiting'"),
    postgresql_where=mails.c.state == text("'waiting'"),
)

# -- tables of user queries ------------------------------------------------------------------------

file_use = Table(
    "file_use",
    metadata,
    Column("id", KEY, primary_key=True),
    _reference("project_id", "projects.project_id", nullable=False),
    Column("path", Text, nullable=False),
    Column("users", VALUE, nullable=False, default=dict),
    Column("last_edited_at", Moment, nullable=False),
    Index("ix_file_use_project_id", "project_id", "last_edited_at"),
)
"""Who used a file last, and how: ``{account_id: {"edit": ms}}``."""

name_parts = Table(
    "name_parts",
    metadata,
    Column("part", KEY, primary_key=True),
    _reference("account_id", "accounts.account_id", primary_key=True),
    Index("ix_name_parts_account_id", "account_id"),
    sqlite_with_rowid=False,
)
"""Where to look for an account whose names have a word in them; kept by `name_parts`."""

SEEN_AT: ColumnElement[int] = func.coalesce(accounts.c.last_active_at, accounts.c.created_at)
"""When somebody was seen last; nobody is before his account is made."""
Index("ix_accounts_seen_at", SEEN_AT, accounts.c.account_id)

# -- organizations, messages, sign-in tokens ---------------------------------------------------------

organizations = Table(
    "organizations",
    metadata,
    Column("organization_id", KEY, primary_key=True),
    Column("name", KEY, nullable=False),
    Column("title", Text),
    Column("description", Text),
    Column("link", Text),
    Column("email_address", Text),
    Column("created_at", Moment, nullable=False),
)
Index("ix_organizations_name", func.lower(organizations.c.name), unique=True)

organization_members = Table(
    "organization_members",
    metadata,
    _reference("account_id", "accounts.account_id", primary_key=True),
    _reference("organization_id", "organizations.organization_id", nullable=False),
    _flag("is_admin"),
    Column("added_at", Moment, nullable=False),
    Index("ix_organization_members_organization_id", "organization_id", "account_id"),
    sqlite_with_rowid=False,
)
"""The account alone is the key: nobody is in two organizations."""
Index(
    "ix_organization_members_admins",
    organization_members.c.organization_id,
    sqlite_where=text("is_admin = 1"),
    postgresql_where=organization_members.c.is_admin,
)

messages = Table(
    "messages",
    metadata,
    Column("id", SERIAL, primary_key=True),
    _reference("from_id", "accounts.account_id", nullable=False),
    Column("to_ids", VALUE),
    Column("organization", KEY),
    Column("thread_id", BigInteger),
    Column("subject", Text, nullable=False),
    Column("sent_at", Moment, nullable=False),
    Column("body", Text, nullable=False),
    sqlite_autoincrement=True,
)
"""What was written, once. ``to_ids`` is null if it went to all members of ``organization``, a name."""

message_copies = Table(
    "message_copies",
    metadata,
    _reference("account_id", "accounts.account_id", primary_key=True),
    Column("message_id", BigInteger, ForeignKey("messages.id"), primary_key=True),
    _flag("is_recipient"),
    _flag("is_sender"),
    _flag("read"),
    _flag("saved"),
    _flag("starred"),
    _flag("liked"),
    _flag("deleted"),
    sqlite_with_rowid=False,
)
"""A message as one account has it, its sender included: their own flags, side by side with their other messages."""
_unread = message_copies.c.is_recipient & ~message_copies.c.read & ~message_copies.c.saved & ~message_copies.c.deleted
Index(
    "ix_message_copies_unread",
    message_copies.c.account_id,
    message_copies.c.message_id,
    sqlite_where=_unread,
    postgresql_where=_unread,
)

sign_in_tokens = Table(
    "sign_in_tokens",
    metadata,
    Column("hash", KEY, primary_key=True),
    _reference("account_id", "accounts.account_id", nullable=False, index=True),
    _reference("created_by", "accounts.account_id", nullable=False, index=True),
    Column("purpose", KEY, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False, index=True),
    sqlite_with_rowid=False,
)

sign_in_keys = Table(
    "sign_in_keys",
    metadata,
    Column("key_id", BigInteger, primary_key=True, autoincrement=False),
    _reference("token_hash", "sign_in_tokens.hash", nullable=False, index=True),
    sqlite_with_rowid=False,
)
"""API keys that were got for a token, and end with it. A key may be gone before: its number is never used again."""

# -- audit -------------------------------------------------------------------------------------------

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", SERIAL, primary_key=True),
    Column("at", Moment, nullable=False),
    Column("began_at", Moment, nullable=False),
    Column("account_id", KEY),
    Column("key_id", BigInteger),
    Column("key_kind", KEY),
    Column("request_id", KEY),
    Column("address", KEY),
    Column("method", KEY, nullable=False),
    Column("project_id", KEY),
    Column("target", VALUE),
    Column("outcome", KEY, nullable=False),
    Column("message", Text),
    Column("times", BigInteger, nullable=False),
    Index("ix_audit_log_at", "at", "id"),
    Index("ix_audit_log_account_id", "account_id", "at", "id"),
    Index("ix_audit_log_project_id", "project_id", "at", "id"),
    Index("ix_audit_log_method", "method", "at", "id"),
    Index("ix_audit_log_outcome", "outcome", "at", "id"),
    sqlite_autoincrement=True,
)
"""Calls that changed something, and calls that were denied. A trigger refuses changes. It refers to nothing: what it
tells of may be gone."""
_REFUSES_UPDATES = {
    "sqlite": (
        "CREATE TRIGGER audit_log_is_append_only BEFORE UPDATE ON audit_log "
        "BEGIN SELECT RAISE(ABORT, 'audit_log is append-only'); END",
    ),
    "postgresql": (
        "CREATE FUNCTION audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'audit_log is append-only'; END $$",
        "CREATE TRIGGER audit_log_is_append_only BEFORE UPDATE ON audit_log "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_log_is_append_only()",
    ),
}
for _dialect, _statements in _REFUSES_UPDATES.items():
    for _statement in _statements:
        event.listen(audit_log, "after_create", DDL(_statement).execute_if(dialect=_dialect))  # type: ignore[no-untyped-call]

audit_open = Table(
    "audit_open",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("began_at", Moment, nullable=False),
    Column("call", VALUE, nullable=False),
    sqlite_with_rowid=False,
)
"""Calls that are under way, put down before they change anything. What a killed hub leaves here the next one moves
into the log."""
# -- histories of files ------------------------------------------------------------------------------

histories = Table(
    "histories",
    metadata,
    Column("id", KEY, primary_key=True),  # follows from project and path
    _reference("project_id", "projects.project_id", nullable=False),
    Column("path", Text, nullable=False),
    Column("first_seq", Integer, nullable=False),
    Column("snapshot_seq", Integer, nullable=False),
    Column("last_seq", Integer, nullable=False),
    Column("first_at", Moment, nullable=False),
    Column("last_at", Moment, nullable=False),
    Column("digest", KEY, nullable=False),
    Column("mark", KEY, nullable=False),
    Column("stored_bytes", BigInteger, nullable=False),
    Column("text_bytes", BigInteger, nullable=False),
    Index("ix_histories_project_id", "project_id", "first_at"),
)
"""Text files that were seen to change. ``digest`` is of the newest text, ``mark`` says what was written down last."""

history_versions = Table(
    "history_versions",
    metadata,
    _reference("history_id", "histories.id", primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", Moment, nullable=False),
    Column("account_id", KEY),
    Column("event", KEY, nullable=False),
    Column("is_snapshot", Boolean, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("text_bytes", BigInteger, nullable=False),
)
"""Their states, as compressed patches or, of a snapshot, texts; see `projecthub.hub.versions`."""

history_sizes = Table(
    "history_sizes",
    metadata,
    _reference("project_id", "projects.project_id", primary_key=True),
    Column("stored_bytes", BigInteger, nullable=False),
    Column("taken", VALUE, nullable=False, default=list),
    sqlite_with_rowid=False,
)
"""What the histories of a project take, and the names of the journals that were written down last."""

# -- snapshots of homes ------------------------------------------------------------------------------

snapshots = Table(
    "snapshots",
    metadata,
    Column("id", KEY, primary_key=True),
    _reference("project_id", "projects.project_id", nullable=False),
    _reference("account_id", "accounts.account_id"),
    Column("title", Text, nullable=False, default=""),
    _flag("automatic"),
    Column("files", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("own_bytes", BigInteger, nullable=False),
    Column("skipped", BigInteger, nullable=False, default=0),
    Column("changing", BigInteger, nullable=False, default=0),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment),
    Index("ix_snapshots_project_id", "project_id", "created_at"),
    sqlite_with_rowid=False,
)
"""Their contents lie on disk; ``own_bytes`` is what each added to those of its project when it was taken."""
Index(
    "ix_snapshots_expires_at",
    snapshots.c.expires_at,
    sqlite_where=snapshots.c.expires_at.is_not(None),
    postgresql_where=snapshots.c.expires_at.is_not(None),
)

snapshot_homes = Table(
    "snapshot_homes",
    metadata,
    _reference("project_id", "projects.project_id", primary_key=True),
    Column("used_bytes", BigInteger, nullable=False, default=0),
    Column("looked_at", Moment),
    Column("due_at", Moment),
    sqlite_with_rowid=False,
)
"""What the snapshots of a project take; when the hub looked last by itself whether one is needed, and when it will."""
Index(
    "ix_snapshot_homes_due_at",
    snapshot_homes.c.due_at,
    sqlite_where=snapshot_homes.c.due_at.is_not(None),
    postgresql_where=snapshot_homes.c.due_at.is_not(None),
)
