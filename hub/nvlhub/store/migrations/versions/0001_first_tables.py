"""First tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


# The journal only grows: what was written is never changed, whoever asks.
SQLITE_GUARD = """
CREATE TRIGGER {table}_no_{verb} BEFORE {verb} ON {table}
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END
"""
POSTGRESQL_GUARD = """
CREATE FUNCTION journal_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'the journal is append-only'; END $$
"""
JOURNAL = ("transactions", "postings")


def guard_journal() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for table in JOURNAL:
            for verb in ("UPDATE", "DELETE"):
                op.execute(SQLITE_GUARD.format(table=table, verb=verb))
        return
    op.execute(POSTGRESQL_GUARD)
    for table in JOURNAL:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION journal_is_append_only()"
        )


def upgrade() -> None:
    op.create_table(
        "pools",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("gpu_model", sa.String(length=100), nullable=False),
        sa.Column("factor_milli", sa.Integer(), nullable=False),
        sa.Column("domain_gpus", sa.Integer(), nullable=False),
        sa.Column("gpus", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "programmes",
        sa.Column("slug", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("cap", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("slug"),
    )
    op.create_table(
        "out_of_service",
        sa.Column("pool", sa.String(length=40), nullable=False),
        sa.Column("domain", sa.String(length=100), nullable=False),
        sa.Column("tray", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["pool"],
            ["pools.name"],
        ),
        sa.PrimaryKeyConstraint("pool", "domain", "tray"),
    )
    op.create_table(
        "profiles",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("display_name", sa.String(length=100), nullable=False),
        sa.Column("pool", sa.String(length=40), nullable=False),
        sa.Column("gpus", sa.Integer(), nullable=False),
        sa.Column("span", sa.String(length=10), nullable=False),
        sa.Column("longest", sa.Integer(), nullable=False),
        sa.Column("idle", sa.Integer(), nullable=True),
        sa.Column("published", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.ForeignKeyConstraint(
            ["pool"],
            ["pools.name"],
        ),
        sa.PrimaryKeyConstraint("name", "version"),
    )
    op.create_table(
        "projects",
        sa.Column("slug", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("programme", sa.String(length=40), nullable=False),
        sa.Column("institution", sa.String(length=200), server_default="", nullable=False),
        sa.Column("cap", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["programme"],
            ["programmes.slug"],
        ),
        sa.PrimaryKeyConstraint("slug"),
    )
    op.create_table(
        "awards",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("project", sa.String(length=40), nullable=False),
        sa.Column("pool", sa.String(length=40), nullable=False),
        sa.Column("awarded", sa.BigInteger(), nullable=False),
        sa.Column("charged", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("held", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("starts", sa.BigInteger(), nullable=False),
        sa.Column("ends", sa.BigInteger(), nullable=False),
        sa.Column("cap", sa.Integer(), nullable=True),
        sa.CheckConstraint("charged >= 0 AND held >= 0 AND charged + held <= awarded", name="never_overspent"),
        sa.CheckConstraint("starts < ends", name="starts_before_ends"),
        sa.ForeignKeyConstraint(
            ["pool"],
            ["pools.name"],
        ),
        sa.ForeignKeyConstraint(
            ["project"],
            ["projects.slug"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("awards", schema=None) as batch_op:
        batch_op.create_index("awards_by_project", ["project", "pool"], unique=False)

    op.create_table(
        "members",
        sa.Column("project", sa.String(length=40), nullable=False),
        sa.Column("user", sa.String(length=255), nullable=False),
        sa.Column("role", sa.String(length=10), nullable=False),
        sa.Column("cap", sa.Integer(), nullable=True),
        sa.CheckConstraint("role IN ('pi', 'manager', 'member')", name="role_known"),
        sa.ForeignKeyConstraint(
            ["project"],
            ["projects.slug"],
        ),
        sa.PrimaryKeyConstraint("project", "user"),
    )
    with op.batch_alter_table("members", schema=None) as batch_op:
        batch_op.create_index("members_by_user", ["user"], unique=False)

    op.create_table(
        "leases",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("user", sa.String(length=255), nullable=False),
        sa.Column("project", sa.String(length=40), nullable=False),
        sa.Column("programme", sa.String(length=40), nullable=False),
        sa.Column("profile", sa.String(length=40), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("pool", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("gpus", sa.Integer(), nullable=False),
        sa.Column("span", sa.String(length=10), nullable=False),
        sa.Column("seconds", sa.Integer(), nullable=False),
        sa.Column("factor_milli", sa.Integer(), nullable=False),
        sa.Column("asked_at", sa.BigInteger(), nullable=False),
        sa.Column("award", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.Column("charged", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("refunded", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("idle", sa.Integer(), nullable=True),
        sa.Column("label", sa.String(length=80), server_default="", nullable=False),
        sa.Column("server", sa.String(length=300), server_default="", nullable=False),
        sa.Column("mailbox", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("placement", sa.JSON(), nullable=False),
        sa.Column("handle", sa.JSON(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("beat_at", sa.BigInteger(), nullable=True),
        sa.Column("idle_seconds", sa.Integer(), server_default="0", nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("end_reason", sa.String(length=10), nullable=True),
        sa.Column("note", sa.String(length=500), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["award"],
            ["awards.id"],
        ),
        sa.ForeignKeyConstraint(
            ["project"],
            ["projects.slug"],
        ),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("id"),
    )
    with op.batch_alter_table("leases", schema=None) as batch_op:
        batch_op.create_index(
            "leases_active",
            ["number"],
            unique=False,
            sqlite_where=sa.text("(state NOT IN ('settled', 'refused'))"),
            postgresql_where=sa.text("(state NOT IN ('settled', 'refused'))"),
        )
        batch_op.create_index(
            "leases_active_by_programme",
            ["programme", "project", "user", "award", "gpus"],
            unique=False,
            sqlite_where=sa.text("(state NOT IN ('settled', 'refused'))"),
            postgresql_where=sa.text("(state NOT IN ('settled', 'refused'))"),
        )
        batch_op.create_index("leases_by_user", ["user", "number"], unique=False)

    op.create_table(
        "transactions",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("key", sa.String(length=120), nullable=False),
        sa.Column("entry", sa.String(length=10), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("award", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("lease", sa.String(length=36), server_default="", nullable=False),
        sa.Column("corrects", sa.String(length=120), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["award"],
            ["awards.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key"),
    )
    with op.batch_alter_table("transactions", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_transactions_award"), ["award"], unique=False)
        batch_op.create_index(batch_op.f("ix_transactions_lease"), ["lease"], unique=False)

    op.create_table(
        "holdings",
        sa.Column("pool", sa.String(length=40), nullable=False),
        sa.Column("domain", sa.String(length=100), nullable=False),
        sa.Column("tray", sa.Integer(), nullable=False),
        sa.Column("gpu", sa.Integer(), nullable=False),
        sa.Column("lease", sa.String(length=36), nullable=False),
        sa.ForeignKeyConstraint(
            ["lease"],
            ["leases.id"],
        ),
        sa.PrimaryKeyConstraint("pool", "domain", "tray", "gpu"),
    )
    with op.batch_alter_table("holdings", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_holdings_lease"), ["lease"], unique=False)

    op.create_table(
        "keys",
        sa.Column("user", sa.String(length=255), nullable=False),
        sa.Column("key", sa.String(length=80), nullable=False),
        sa.Column("body_hash", sa.String(length=64), nullable=False),
        sa.Column("lease", sa.String(length=36), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["lease"],
            ["leases.id"],
        ),
        sa.PrimaryKeyConstraint("user", "key"),
    )
    op.create_table(
        "postings",
        sa.Column("transaction_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("account", sa.String(length=80), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("amount <> 0", name="amount_not_zero"),
        sa.ForeignKeyConstraint(
            ["transaction_id"],
            ["transactions.id"],
        ),
        sa.PrimaryKeyConstraint("transaction_id", "account"),
    )
    with op.batch_alter_table("postings", schema=None) as batch_op:
        batch_op.create_index("postings_by_account", ["account", "amount"], unique=False)
    guard_journal()


def downgrade() -> None:
    with op.batch_alter_table("postings", schema=None) as batch_op:
        batch_op.drop_index("postings_by_account")

    op.drop_table("postings")
    op.drop_table("keys")
    with op.batch_alter_table("holdings", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_holdings_lease"))

    op.drop_table("holdings")
    with op.batch_alter_table("transactions", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_transactions_lease"))
        batch_op.drop_index(batch_op.f("ix_transactions_award"))

    op.drop_table("transactions")
    with op.batch_alter_table("leases", schema=None) as batch_op:
        batch_op.drop_index("leases_by_user")
        batch_op.drop_index(
            "leases_active_by_programme",
            sqlite_where=sa.text("(state NOT IN ('settled', 'refused'))"),
            postgresql_where=sa.text("(state NOT IN ('settled', 'refused'))"),
        )
        batch_op.drop_index(
            "leases_active",
            sqlite_where=sa.text("(state NOT IN ('settled', 'refused'))"),
            postgresql_where=sa.text("(state NOT IN ('settled', 'refused'))"),
        )

    op.drop_table("leases")
    with op.batch_alter_table("members", schema=None) as batch_op:
        batch_op.drop_index("members_by_user")

    op.drop_table("members")
    with op.batch_alter_table("awards", schema=None) as batch_op:
        batch_op.drop_index("awards_by_project")

    op.drop_table("awards")
    op.drop_table("projects")
    op.drop_table("profiles")
    op.drop_table("out_of_service")
    op.drop_table("programmes")
    op.drop_table("pools")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION journal_is_append_only")
