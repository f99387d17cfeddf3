"""Attempts that had no lease: why, for their learners."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("attempts", sa.Column("why", sa.JSON, nullable=False, server_default="{}"))


def downgrade() -> None:
    op.drop_column("attempts", "why")
