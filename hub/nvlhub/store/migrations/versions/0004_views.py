"""What people see: announcements, reservations, what GPUs did, more in a profile, when a lease was placed."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

Big = sa.BigInteger().with_variant(sa.Integer, "sqlite")


SQLITE_ONCE = """
CREATE TRIGGER reserved_once_{verb} BEFORE {verb} ON reserved_trays
WHEN EXISTS (
    SELECT 1 FROM reserved_trays AS other
    WHERE other.pool = NEW.pool AND other.domain = NEW.domain AND other.tray = NEW.tray
    AND other.reservation <> NEW.reservation AND other.starts < NEW.ends AND NEW.starts < other.ends
)
BEGIN SELECT RAISE(ABORT, 'the tray is reserved already'); END
"""
# The lock: of two that look at the same moment, neither would see what the other has not committed yet.
POSTGRESQL_ONCE = """
CREATE FUNCTION tray_is_reserved_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('reservations:' || NEW.pool, 0));
    IF EXISTS (
        SELECT 1 FROM reserved_trays AS other
        WHERE other.pool = NEW.pool AND other.domain = NEW.domain AND other.tray = NEW.tray
        AND other.reservation <> NEW.reservation AND other.starts < NEW.ends AND NEW.starts < other.ends
    ) THEN
        RAISE EXCEPTION 'the tray is reserved already' USING ERRCODE = 'exclusion_violation';
    END IF;
    RETURN NEW;
END $$
"""


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


def _sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


def _refuse_overlaps() -> None:
    """Have the database refuse a tray that would be reserved twice at a time."""
    if _sqlite():
        for verb in ("INSERT", "UPDATE"):
            op.execute(SQLITE_ONCE.format(verb=verb))
    else:
        op.execute(POSTGRESQL_ONCE)
        op.execute(
            "CREATE TRIGGER reserved_once BEFORE INSERT OR UPDATE ON reserved_trays "
            "FOR EACH ROW EXECUTE FUNCTION tray_is_reserved_once()"
        )


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
        sa.Column("gpus", sa.Integer, nullable=False),
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
    _refuse_overlaps()
    op.create_table(
        "lease_usage",
        sa.Column("lease", sa.String(36), sa.ForeignKey("leases.id"), primary_key=True),
        sa.Column("measured", sa.BigInteger, nullable=False),
        sa.Column("busy_milli", sa.BigInteger, nullable=False),
        sa.Column("idle", sa.BigInteger, nullable=False),
        sa.Column("memory_peak", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("memory_total", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("real", sa.Boolean),
        sa.Column("series", sa.JSON, nullable=False),
        sa.Column("warned", sa.JSON, nullable=False, server_default="[]"),
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
    if not _sqlite():
        op.execute("DROP FUNCTION tray_is_reserved_once")
    op.drop_index("leases_by_profile", "leases")
    for table, columns in new_columns().items():
        for column in columns:
            op.drop_column(table, column.name)
