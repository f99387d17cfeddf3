"""Courses: what is taught, its dated runs with their seats, what is handed in, certificates."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

Big = sa.BigInteger().with_variant(sa.Integer, "sqlite")

TABLES = (
    "certificates",
    "signing_keys",
    "attempts",
    "run_messages",
    "seats",
    "roster",
    "runs",
    "instructors",
    "courses",
)


def upgrade() -> None:
    op.add_column("programmes", sa.Column("slot_charge", sa.Boolean, nullable=False, server_default=sa.false()))
    for table in ("leases", "transactions"):
        op.add_column(table, sa.Column("run", sa.BigInteger))
    of_a_run = sa.text("run IS NOT NULL")
    op.create_index("leases_by_run", "leases", ["run"], sqlite_where=of_a_run, postgresql_where=of_a_run)
    op.create_table(
        "courses",
        sa.Column("slug", sa.String(40), primary_key=True),
        sa.Column("project", sa.String(40), sa.ForeignKey("projects.slug"), nullable=False),
        sa.Column("title", sa.String(100), nullable=False),
        sa.Column("title_zh", sa.String(100), nullable=False, server_default=""),
        sa.Column("summary", sa.String(500), nullable=False, server_default=""),
        sa.Column("repository", sa.String(500), nullable=False, server_default=""),
        sa.Column("commit", sa.String(64), nullable=False, server_default=""),
        sa.Column("opens", sa.String(200), nullable=False, server_default=""),
        sa.Column("profile", sa.String(40), nullable=False),
        sa.Column("assessment", sa.JSON, nullable=False, server_default="{}"),
        sa.Column("keep_days", sa.Integer, nullable=False, server_default="60"),
        sa.Column("retired_at", sa.BigInteger),
        sa.Column("made_by", sa.String(255), nullable=False),
        sa.Column("made_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "instructors",
        sa.Column("course", sa.String(40), sa.ForeignKey("courses.slug"), primary_key=True),
        sa.Column("user", sa.String(255), primary_key=True),
    )
    op.create_index("instructors_by_user", "instructors", ["user"])
    op.create_table(
        "runs",
        sa.Column("id", Big, primary_key=True, autoincrement=True),
        sa.Column("course", sa.String(40), sa.ForeignKey("courses.slug"), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("zone", sa.String(60), nullable=False),
        sa.Column("starts", sa.BigInteger, nullable=False),
        sa.Column("ends", sa.BigInteger, nullable=False),
        sa.Column("seats", sa.Integer, nullable=False),
        sa.Column("gpus", sa.Integer, nullable=False),
        sa.Column("warm", sa.Integer, nullable=False),
        sa.Column("flex", sa.Integer, nullable=False),
        sa.Column("grace", sa.Integer, nullable=False),
        sa.Column("no_show", sa.Integer, nullable=False),
        sa.Column("code", sa.String(12), nullable=False, unique=True),
        sa.Column("roster_only", sa.Boolean, nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("reservation", Big, sa.ForeignKey("reservations.id")),
        sa.Column("award", Big, sa.ForeignKey("awards.id")),
        sa.Column("held", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("charged", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("factor_milli", sa.Integer),
        sa.Column("holds", sa.Integer, nullable=False, server_default="0"),
        sa.Column("settled_at", sa.BigInteger),
        sa.Column("note", sa.String(500), nullable=False, server_default=""),
        sa.Column("made_by", sa.String(255), nullable=False),
        sa.Column("made_at", sa.BigInteger, nullable=False),
        sa.Column("requested_by", sa.String(255), nullable=False, server_default=""),
        sa.Column("requested_at", sa.BigInteger),
        sa.Column("decided_by", sa.String(255), nullable=False, server_default=""),
        sa.Column("decided_at", sa.BigInteger),
        sa.Column("reason", sa.String(500), nullable=False, server_default=""),
        sa.Column("closed_at", sa.BigInteger),
        sa.Column("redacted_at", sa.BigInteger),
        sa.CheckConstraint("starts < ends", name="run_starts_before_it_ends"),
        sa.CheckConstraint("seats >= 1 AND gpus >= 0", name="run_has_seats"),
        sa.CheckConstraint(
            "state IN ('draft', 'requested', 'approved', 'refused', 'cancelled', 'closed')", name="run_state_known"
        ),
    )
    op.create_index("runs_by_time", "runs", ["state", "ends"])
    op.create_index("runs_by_course", "runs", ["course", "starts"])
    op.create_table(
        "roster",
        sa.Column("run", Big, sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("row", sa.Integer, primary_key=True),
        sa.Column("student_no", sa.String(40), nullable=False, server_default=""),
        sa.Column("name", sa.String(100), nullable=False, server_default=""),
        sa.Column("name_latin", sa.String(100), nullable=False, server_default=""),
        sa.Column("user", sa.String(255), nullable=False, server_default=""),
        sa.Column("group", sa.String(40), nullable=False, server_default=""),
        sa.Column("seat", sa.Integer),
        sa.Column("dropped", sa.Boolean, nullable=False, server_default=sa.false()),
    )
    op.create_table(
        "seats",
        sa.Column("run", Big, sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("pseudonym", sa.String(40), nullable=False),
        sa.Column("user", sa.String(255)),
        sa.Column("row", sa.Integer),
        sa.Column("name", sa.String(100), nullable=False, server_default=""),
        sa.Column("name_latin", sa.String(100), nullable=False, server_default=""),
        sa.Column("taken_at", sa.BigInteger),
        sa.Column("warm_at", sa.BigInteger),
        sa.Column("ready_at", sa.BigInteger),
        sa.Column("seen_at", sa.BigInteger),
        sa.Column("failed", sa.String(200), nullable=False, server_default=""),
        sa.Column("tries", sa.Integer, nullable=False, server_default="0"),
        sa.Column("hand_at", sa.BigInteger),
        sa.Column("helped_by", sa.String(255), nullable=False, server_default=""),
        sa.Column("step", sa.Integer, nullable=False, server_default="0"),
        sa.Column("steps", sa.Integer, nullable=False, server_default="0"),
        sa.Column("check_name", sa.String(60), nullable=False, server_default=""),
        sa.Column("check_ok", sa.Boolean),
        sa.Column("check_at", sa.BigInteger),
        sa.Column("extra", sa.Integer, nullable=False, server_default="0"),
        sa.Column("made_member", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.UniqueConstraint("run", "user", name="one_seat_each"),
    )
    op.create_index("seats_by_user", "seats", ["user"])
    op.create_table(
        "run_messages",
        sa.Column("id", Big, primary_key=True, autoincrement=True),
        sa.Column("run", Big, sa.ForeignKey("runs.id"), nullable=False),
        sa.Column("seat", sa.Integer),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("by", sa.String(255), nullable=False),
        sa.Column("text", sa.String(500), nullable=False),
    )
    op.create_index("run_messages_by_run", "run_messages", ["run", "id"])
    op.create_table(
        "attempts",
        sa.Column("id", Big, primary_key=True, autoincrement=True),
        sa.Column("run", Big, sa.ForeignKey("runs.id"), nullable=False),
        sa.Column("seat", sa.Integer, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("user", sa.String(255), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("score_milli", sa.Integer),
        sa.Column("feedback", sa.JSON, nullable=False, server_default="[]"),
        sa.Column("snapshot", sa.String(64), nullable=False, server_default=""),
        sa.Column("grader", sa.String(64), nullable=False, server_default=""),
        sa.Column("lease", sa.String(36), nullable=False, server_default=""),
        sa.Column("starts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("log", sa.Text, nullable=False, server_default=""),
        sa.Column("grader_log", sa.Text, nullable=False, server_default=""),
        sa.Column("ended_at", sa.BigInteger),
        sa.CheckConstraint("state IN ('queued', 'running', 'passed', 'failed', 'broken')", name="attempt_state_known"),
        sa.UniqueConstraint("run", "user", "number", name="attempts_in_order"),
    )
    op.create_table(
        "signing_keys",
        sa.Column("id", sa.String(20), primary_key=True),
        sa.Column("public", sa.String(60), nullable=False),
        sa.Column("made_at", sa.BigInteger, nullable=False),
        sa.Column("retired_at", sa.BigInteger),
        sa.Column("broken_at", sa.BigInteger),
    )
    op.create_table(
        "certificates",
        sa.Column("id", sa.String(20), primary_key=True),
        sa.Column("run", Big, sa.ForeignKey("runs.id"), nullable=False),
        sa.Column("seat", sa.Integer, nullable=False),
        sa.Column("user", sa.String(255), nullable=False),
        sa.Column("attempt", Big, sa.ForeignKey("attempts.id"), nullable=False, unique=True),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("signature", sa.String(100), nullable=False),
        sa.Column("key", sa.String(20), sa.ForeignKey("signing_keys.id"), nullable=False),
        sa.Column("issued_at", sa.BigInteger, nullable=False),
        sa.Column("revoked_at", sa.BigInteger),
        sa.Column("revoked_by", sa.String(255), nullable=False, server_default=""),
        sa.Column("reason", sa.String(500), nullable=False, server_default=""),
    )
    op.create_index("certificates_by_run", "certificates", ["run", "seat"])


def downgrade() -> None:
    for table in TABLES:
        op.drop_table(table)
    op.drop_index("leases_by_run", "leases")
    for table in ("leases", "transactions"):
        op.drop_column(table, "run")
    op.drop_column("programmes", "slot_charge")
