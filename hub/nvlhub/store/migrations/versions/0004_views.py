"""What people see: announcements, reservations, what GPUs did, more in a profile, when a lease was placed."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

Big = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def new_columns() -> dict[str, tuple[sa.Column[Any], ...]]:
    """Return the columns that older tables get; made afresh, because a column belongs to one table only."""
    return {
        "profiles": (
            sa.Column("audience", sa.JSON, nullable=False, server_default="{}"),
            sa.Column("environment", sa.JSON, nullable=False, server_default="{}"),
            sa.Column("hints", sa.JSON, nullable=False, server_default="{}"),
            sa.Column("note", sa.String(500), nullable=False, server_default=""),
            sa.Column("made_by", sa.String(255), nullable=False, server_default=""),
            sa.Column("made_at", sa.BigInteger, nullable=False, server_default="0"),
            sa.Column("publication", sa.Integer),
        ),
        "leases": (sa.Column("placed_at", sa.BigInteger),),
    }


def upgrade() -> None:
    for table, columns in new_columns().items():
        for column in columns:
            op.add_column(table, column)
    op.execute("UPDATE profiles SET publication = 1 WHERE published")
    op.create_index("leases_by_profile", "leases", ["profile", "version"])
    op.create_table(
        "announcements",
        sa.Column("id", Big, primary_key=True, autoincrement=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("level", sa.String(10), nullable=False),
        sa.Column("text", sa.String(500), nullable=False),
        sa.Column("text_zh", sa.String(500), nullable=False, server_default=""),
        sa.Column("starts", sa.BigInteger, nullable=False),
        sa.Column("ends", sa.BigInteger),
        sa.Column("programme", sa.String(40), nullable=False, server_default=""),
        sa.Column("user", sa.String(255), nullable=False, server_default=""),
        sa.Column("lease", sa.String(36), nullable=False, server_default=""),
        sa.Column("withdrawn_at", sa.BigInteger),
        sa.CheckConstraint("level IN ('info', 'warning', 'urgent')", name="level_known"),
    )
    op.create_index("announcements_by_user", "announcements", ["user", "ends"])
    op.create_table(
        "reservations",
        sa.Column("id", Big, primary_key=True, autoincrement=True),
        sa.Column("pool", sa.String(40), sa.ForeignKey("pools.name"), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("project", sa.String(40), sa.ForeignKey("projects.slug")),
        sa.Column("starts", sa.BigInteger, nullable=False),
        sa.Column("ends", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("note", sa.String(500), nullable=False, server_default=""),
        sa.Column("made_by", sa.String(255), nullable=False),
        sa.Column("made_at", sa.BigInteger, nullable=False),
        sa.CheckConstraint("starts < ends", name="reservation_starts_before_it_ends"),
        sa.CheckConstraint("state IN ('booked', 'cancelled')", name="reservation_state_known"),
    )
    op.create_index("reservations_by_time", "reservations", ["pool", "ends"])
    op.create_table(
        "reserved_trays",
        sa.Column("reservation", Big, sa.ForeignKey("reservations.id"), primary_key=True),
        sa.Column("pool", sa.String(40), nullable=False),
        sa.Column("domain", sa.String(100), primary_key=True),
        sa.Column("tray", sa.Integer, primary_key=True),
        sa.Column("starts", sa.BigInteger, nullable=False),
        sa.Column("ends", sa.BigInteger, nullable=False),
    )
    op.create_index("reserved_trays_by_place", "reserved_trays", ["pool", "domain", "tray", "starts"])
    op.create_table(
        "lease_usage",
        sa.Column("lease", sa.String(36), sa.ForeignKey("leases.id"), primary_key=True),
        sa.Column("measured", sa.BigInteger, nullable=False),
        sa.Column("busy_milli", sa.BigInteger, nullable=False),
        sa.Column("idle", sa.BigInteger, nullable=False),
        sa.Column("memory_peak", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("memory_total", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("real", sa.Boolean, nullable=False),
        sa.Column("series", sa.JSON, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "activity",
        sa.Column("at", sa.BigInteger, primary_key=True),
        sa.Column("user", sa.String(255), primary_key=True),
        sa.Column("project", sa.String(40), primary_key=True),
        sa.Column("held", sa.BigInteger, nullable=False),
        sa.Column("busy_milli", sa.BigInteger, nullable=False),
        sa.Column("measured", sa.BigInteger, nullable=False),
    )
    op.create_index("activity_by_user", "activity", ["user", "at"])


def downgrade() -> None:
    for table in ("activity", "lease_usage", "reserved_trays", "reservations", "announcements"):
        op.drop_table(table)
    op.drop_index("leases_by_profile", "leases")
    for table, columns in new_columns().items():
        for column in columns:
            op.drop_column(table, column.name)
