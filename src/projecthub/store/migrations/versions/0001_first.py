"""The first tables."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
VALUE = sa.JSON().with_variant(JSONB(), "postgresql")
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _create_accounts()
    _create_projects()
    _create_memberships()
    _create_api_keys()
    _create_project_log()
    _create_public_paths()
    _create_licenses()
    _create_idempotency_keys()
    _create_counters()


def _create_accounts() -> None:
    op.create_table(
        "accounts",
        sa.Column("account_id", KEY, nullable=False),
        sa.Column("email_address", KEY),
        sa.Column("password_hash", sa.Text()),
        sa.Column("first_name", sa.Text(), nullable=False),
        sa.Column("last_name", sa.Text(), nullable=False),
        sa.Column("name", KEY),
        sa.Column("is_admin", sa.Boolean(), nullable=False),
        sa.Column("unlisted", sa.Boolean(), nullable=False),
        sa.Column("banned", sa.Boolean(), nullable=False),
        sa.Column("profile", VALUE),
        sa.Column("preferences", VALUE, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("last_active_at", sa.BigInteger()),
        sa.Column("deleted_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("account_id", name="pk_accounts"),
    )
    op.create_index("ix_accounts_created_at", "accounts", ["created_at"])
    here = sa.text("deleted_at IS NULL")
    op.create_index(
        "ix_accounts_email_address",
        "accounts",
        [sa.text("lower(email_address)")],
        unique=True,
        sqlite_where=here,
        postgresql_where=here,
    )
    op.create_index("ix_accounts_name", "accounts", [sa.text("lower(name)")], unique=True)


def _create_projects() -> None:
    op.create_table(
        "projects",
        sa.Column("project_id", KEY, nullable=False),
        sa.Column("unix_slot", sa.BigInteger(), nullable=False),
        sa.Column("name", KEY),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("deleted", sa.Boolean()),
        sa.Column("desired", KEY, nullable=False),
        sa.Column("state", KEY, nullable=False),
        sa.Column("state_at", sa.BigInteger(), nullable=False),
        sa.Column("state_error", sa.Text()),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("instance", VALUE),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("last_edited_at", sa.BigInteger(), nullable=False),
        sa.Column("compute_image", sa.Text()),
        sa.Column("ephemeral_ms", sa.BigInteger()),
        sa.Column("manage_users_owner_only", sa.Boolean(), nullable=False),
        sa.Column("sandbox", sa.Boolean()),
        sa.Column("color", sa.Text()),
        sa.Column("settings", VALUE),
        sa.Column("run_quota", VALUE),
        sa.Column("site_license", VALUE),
        sa.Column("env", VALUE),
        sa.Column("course", VALUE),
        sa.Column("action_request", VALUE),
        sa.Column("invite", VALUE),
        sa.Column("invite_requests", VALUE),
        sa.Column("host", VALUE),
        sa.Column("pay_as_you_go_quotas", VALUE),
        sa.Column("avatar_image_tiny", sa.Text()),
        sa.Column("avatar_image_full", sa.Text()),
        sa.PrimaryKeyConstraint("project_id", name="pk_projects"),
        sa.UniqueConstraint("unix_slot", name="uq_projects_unix_slot"),
    )
    ephemeral = sa.text("ephemeral_ms IS NOT NULL")
    op.create_index(
        "ix_projects_ephemeral_ms",
        "projects",
        ["ephemeral_ms"],
        sqlite_where=ephemeral,
        postgresql_where=ephemeral,
    )
    op.create_index("ix_projects_last_edited_at", "projects", ["last_edited_at"])
    op.create_index("ix_projects_state", "projects", ["state"])


def _create_memberships() -> None:
    op.create_table(
        "memberships",
        sa.Column("project_id", KEY, nullable=False),
        sa.Column("account_id", KEY, nullable=False),
        sa.Column("role", KEY, nullable=False),
        sa.Column("hide", sa.Boolean()),
        sa.Column("upgrades", VALUE),
        sa.Column("ssh_keys", VALUE),
        sa.Column("added_at", sa.BigInteger(), nullable=False),
        sa.Column("last_active_at", sa.BigInteger()),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name="fk_memberships_account_id"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.project_id"], name="fk_memberships_project_id"),
        sa.PrimaryKeyConstraint("project_id", "account_id", name="pk_memberships"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_memberships_account_id", "memberships", ["account_id", "project_id"])


def _create_api_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("account_id", KEY, nullable=False),
        sa.Column("project_id", KEY),
        sa.Column("hash", KEY),
        sa.Column("trunc", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger()),
        sa.Column("last_active_at", sa.BigInteger()),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name="fk_api_keys_account_id"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.project_id"], name="fk_api_keys_project_id"),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("hash", name="uq_api_keys_hash"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_api_keys_account_id", "api_keys", ["account_id"])
    op.create_index("ix_api_keys_project_id", "api_keys", ["project_id"])


def _create_project_log() -> None:
    op.create_table(
        "project_log",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("project_id", KEY, nullable=False),
        sa.Column("account_id", KEY),
        sa.Column("event", VALUE, nullable=False),
        sa.Column("logged_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name="fk_project_log_account_id"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.project_id"], name="fk_project_log_project_id"),
        sa.PrimaryKeyConstraint("id", name="pk_project_log"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_project_log_project_id", "project_log", ["project_id", "logged_at", "id"])


def _create_public_paths() -> None:
    op.create_table(
        "public_paths",
        sa.Column("id", KEY, nullable=False),
        sa.Column("project_id", KEY, nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("name", sa.Text()),
        sa.Column("description", sa.Text()),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("unlisted", sa.Boolean(), nullable=False),
        sa.Column("authenticated", sa.Boolean(), nullable=False),
        sa.Column("vhost", sa.Text()),
        sa.Column("license", sa.Text()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("last_edited_at", sa.BigInteger(), nullable=False),
        sa.Column("last_saved_at", sa.BigInteger()),
        sa.Column("counter", sa.BigInteger(), nullable=False),
        sa.Column("compute_image", sa.Text()),
        sa.Column("site_license_id", sa.Text()),
        sa.Column("url", sa.Text()),
        sa.Column("redirect", sa.Text()),
        sa.Column("jupyter_api", sa.Boolean()),
        sa.Column("image", sa.Text()),
        sa.Column("token", sa.Text()),
        sa.ForeignKeyConstraint(["project_id"], ["projects.project_id"], name="fk_public_paths_project_id"),
        sa.PrimaryKeyConstraint("id", name="pk_public_paths"),
    )
    op.create_index("ix_public_paths_project_id", "public_paths", ["project_id"])


def _create_licenses() -> None:
    op.create_table(
        "licenses",
        sa.Column("id", KEY, nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("quota", VALUE, nullable=False),
        sa.Column("run_limit", sa.BigInteger()),
        sa.Column("activates_at", sa.BigInteger()),
        sa.Column("expires_at", sa.BigInteger()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_licenses"),
    )


def _create_idempotency_keys() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("account_id", KEY, nullable=False),
        sa.Column("key", KEY, nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("result", VALUE),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name="fk_idempotency_keys_account_id"),
        sa.PrimaryKeyConstraint("account_id", "key", name="pk_idempotency_keys"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])


def _create_counters() -> None:
    op.create_table(
        "counters",
        sa.Column("name", KEY, nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_counters"),
    )
    op.execute("INSERT INTO counters (name, value) VALUES ('unix_slot', 0)")
