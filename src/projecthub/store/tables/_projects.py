"""Projects, who is on them, and what has happened in them. See `projecthub.store.tables`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, Table, Text, text

from projecthub.store.tables._columns import KEY, SERIAL, VALUE, Moment, flag, metadata, reference

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
    flag("manage_users_owner_only"),
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
    reference("project_id", "projects.project_id", primary_key=True),
    reference("account_id", "accounts.account_id", primary_key=True),
    Column("role", KEY, nullable=False),
    Column("hide", Boolean),
    Column("upgrades", VALUE),
    Column("ssh_keys", VALUE),
    Column("added_at", Moment, nullable=False),
    Column("last_active_at", Moment),
    Index("ix_memberships_account_id", "account_id", "project_id"),
    sqlite_with_rowid=False,
)

project_log = Table(
    "project_log",
    metadata,
    Column("id", SERIAL, primary_key=True),
    reference("project_id", "projects.project_id", nullable=False),
    reference("account_id", "accounts.account_id"),
    Column("event", VALUE, nullable=False),
    Column("logged_at", Moment, nullable=False),
    Index("ix_project_log_project_id", "project_id", "logged_at", "id"),
    sqlite_autoincrement=True,
)

templates = Table(
    "templates",
    metadata,
    reference("project_id", "projects.project_id", primary_key=True),
    flag("everybody"),
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

course_projects = Table(
    "course_projects",
    metadata,
    reference("project_id", "projects.project_id", primary_key=True),
    reference("course_project_id", "projects.project_id", nullable=False),
    Column("student", KEY, nullable=False),
    Index("ix_course_projects_course_project_id", "course_project_id", "student", unique=True),
    sqlite_with_rowid=False,
)
"""Which projects are students' in which course; a student, by their id in its roster, has one."""

open_jobs = Table(
    "open_jobs",
    metadata,
    reference("project_id", "projects.project_id", primary_key=True),
    Column("job_id", KEY, primary_key=True),
    reference("account_id", "accounts.account_id", nullable=False, index=True),
    Column("started_at", Moment, nullable=False),
    sqlite_with_rowid=False,
)
"""Jobs, and executions in sessions, whose end is still to be noted in their project's log."""

counters = Table(
    "counters",
    metadata,
    Column("name", KEY, primary_key=True),
    Column("value", BigInteger, nullable=False),
)
"""Numbers that only grow: ``unix_slot``, the last one allotted; ``names``, whose row is the lock on all names."""

file_use = Table(
    "file_use",
    metadata,
    Column("id", KEY, primary_key=True),
    reference("project_id", "projects.project_id", nullable=False),
    Column("path", Text, nullable=False),
    Column("users", VALUE, nullable=False, default=dict),
    Column("last_edited_at", Moment, nullable=False),
    Index("ix_file_use_project_id", "project_id", "last_edited_at"),
)
"""Who used a file last, and how: ``{account_id: {"edit": ms}}``."""
