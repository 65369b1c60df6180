"""Of copies that have ended, whether they were applied stays known."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_operations = sa.table(
    "copy_operations",
    sa.column("state", sa.Text()),
    sa.column("applies", sa.Boolean()),
    sa.column("undo_until", sa.BigInteger()),
)


def upgrade() -> None:
    # Cancelled plans look like copies that were cancelled before anything was done. They are gone after a day.
    has_done_something = sa.or_(
        _operations.c.state.in_(("done", "failed", "undone")), _operations.c.undo_until.is_not(None)
    )
    op.execute(_operations.update().where(has_done_something).values(applies=sa.true()))
