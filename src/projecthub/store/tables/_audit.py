"""Who did what. See `projecthub.store.tables`."""

from __future__ import annotations

from sqlalchemy import DDL, BigInteger, Column, Index, Table, Text, event

from projecthub.store.tables._columns import KEY, SERIAL, VALUE, Moment, metadata

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
