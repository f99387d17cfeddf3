"""Budgets, officers, requests, reviews, the audit trail, corrections, pre-emptible leases."""

import re
from itertools import chain, count
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

Big = sa.BigInteger().with_variant(sa.Integer, "sqlite")
ACTIVE = sa.text("state NOT IN ('settled', 'refused')")
SQLITE_GUARD = """
CREATE TRIGGER {table}_no_{verb} BEFORE {verb} ON {table}
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END
"""


def new_columns() -> dict[str, tuple[sa.Column[Any], ...]]:
    """Return the columns that older tables get; made afresh, because a column belongs to one table only."""
    return {
        "programmes": (
            sa.Column("share", sa.Integer, nullable=False, server_default="100"),
            sa.Column("priority", sa.Integer, nullable=False, server_default="0"),
            sa.Column("at_zero", sa.String(12), nullable=False, server_default="stop"),
            sa.Column("factor_milli", sa.Integer, nullable=False, server_default="1000"),
        ),
        "awards": (
            sa.Column("returned", sa.BigInteger, nullable=False, server_default="0"),
            sa.Column("revoked_at", sa.BigInteger),
            sa.Column("request", sa.BigInteger),
        ),
        "leases": (
            sa.Column("corrected", sa.BigInteger, nullable=False, server_default="0"),
            sa.Column("ran", sa.BigInteger, nullable=False, server_default="0"),
            sa.Column("preemptible", sa.Boolean, nullable=False, server_default=sa.false()),
            sa.Column("preempt_at", sa.BigInteger),
        ),
    }


def _sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


def _guard(table: str) -> None:
    """Have the database refuse every change of what is written."""
    if _sqlite():
        for verb in ("UPDATE", "DELETE"):
            op.execute(SQLITE_GUARD.format(table=table, verb=verb))
    else:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION journal_is_append_only()"
        )


def _unguard(table: str) -> None:
    if _sqlite():
        for verb in ("UPDATE", "DELETE"):
            op.execute(f"DROP TRIGGER {table}_no_{verb}")
    else:
        op.execute(f"DROP TRIGGER {table}_append_only ON {table}")


def upgrade() -> None:
    op.create_table(
        "institutions",
        sa.Column("slug", sa.String(40), primary_key=True),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("ror", sa.String(40), nullable=False, server_default=""),
    )
    op.create_table(
        "users",
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("cap", sa.Integer),
        sa.Column("since", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "officers",
        sa.Column("programme", sa.String(40), sa.ForeignKey("programmes.slug"), primary_key=True),
        sa.Column("user", sa.String(255), primary_key=True),
    )
    op.create_index("officers_by_user", "officers", ["user"])
    op.create_table(
        "budgets",
        sa.Column("programme", sa.String(40), sa.ForeignKey("programmes.slug"), primary_key=True),
        sa.Column("pool", sa.String(40), sa.ForeignKey("pools.name"), primary_key=True),
        sa.Column("granted", sa.BigInteger, nullable=False),
        sa.Column("awarded", sa.BigInteger, nullable=False, server_default="0"),
        sa.CheckConstraint("awarded >= 0 AND awarded <= granted", name="never_over_budget"),
    )
    for table, columns in new_columns().items():
        for column in columns:
            op.add_column(table, column)
    _institutions_of_projects()
    op.create_index("ix_projects_programme", "projects", ["programme"])
    op.create_table(
        "capacities",
        sa.Column("id", Big, primary_key=True, autoincrement=True),
        sa.Column("pool", sa.String(40), sa.ForeignKey("pools.name"), nullable=False),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("gpus", sa.Integer, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("source", sa.String(200), nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.CheckConstraint("kind IN ('announced', 'installed', 'in_service')", name="capacity_kind_known"),
    )
    op.create_index("capacities_by_pool", "capacities", ["pool", "kind", "at"])
    op.create_table(
        "requests",
        sa.Column("id", Big, primary_key=True, autoincrement=True),
        sa.Column("project", sa.String(40), sa.ForeignKey("projects.slug"), nullable=False),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("pool", sa.String(40), sa.ForeignKey("pools.name"), nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("starts", sa.BigInteger),
        sa.Column("ends", sa.BigInteger),
        sa.Column("cap", sa.Integer),
        sa.Column("award", Big, sa.ForeignKey("awards.id")),
        sa.Column("reasons", sa.Text, nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("asked_by", sa.String(255), nullable=False),
        sa.Column("asked_at", sa.BigInteger, nullable=False),
        sa.Column("result", sa.BigInteger),
    )
    op.create_index("ix_requests_project", "requests", ["project"])
    op.create_index("requests_by_state", "requests", ["state", "id"])
    op.create_table(
        "reviews",
        sa.Column("id", Big, primary_key=True, autoincrement=True),
        sa.Column("request", Big, sa.ForeignKey("requests.id"), nullable=False),
        sa.Column("reviewer", sa.String(255), nullable=False),
        sa.Column("verdict", sa.String(10), nullable=False),
        sa.Column("amount", sa.BigInteger),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_reviews_request", "reviews", ["request"])
    op.create_index("leases_by_end", "leases", ["ended_at"])
    op.create_index(
        "leases_active_by_user", "leases", ["user", "gpus"], sqlite_where=ACTIVE, postgresql_where=ACTIVE
    )  # fmt: skip
    op.create_table(
        "audit",
        sa.Column("id", Big, primary_key=True, autoincrement=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("action", sa.String(40), nullable=False),
        sa.Column("object", sa.String(300), nullable=False),
        sa.Column("programme", sa.String(40), nullable=False, server_default=""),
        sa.Column("project", sa.String(40), nullable=False, server_default=""),
        sa.Column("user", sa.String(255), nullable=False, server_default=""),
        sa.Column("before", sa.JSON(none_as_null=True)),
        sa.Column("after", sa.JSON(none_as_null=True)),
        sa.Column("hash", sa.String(64), nullable=False),
    )
    for name in ("programme", "project", "user"):
        op.create_index(f"ix_audit_{name}", "audit", [name])
    _guard("audit")
    op.create_table(
        "once",
        sa.Column("user", sa.String(255), primary_key=True),
        sa.Column("key", sa.String(80), primary_key=True),
        sa.Column("body_hash", sa.String(64), nullable=False),
        sa.Column("result", sa.String(40), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "differences",
        sa.Column("id", Big, primary_key=True, autoincrement=True),
        sa.Column("pool", sa.String(40), sa.ForeignKey("pools.name"), nullable=False),
        sa.Column("lease", sa.String(36), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("ledger", sa.BigInteger),
        sa.Column("engine", sa.BigInteger),
        sa.Column("found_at", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(10), nullable=False, server_default="open"),
        sa.Column("closed_by", sa.String(255), nullable=False, server_default=""),
        sa.Column("closed_at", sa.BigInteger),
        sa.Column("reason", sa.String(500), nullable=False, server_default=""),
        sa.Column("correction", sa.String(120), nullable=False, server_default=""),
        sa.UniqueConstraint("pool", "lease", "kind", name="difference_once"),
    )
    _unguard("transactions")
    with op.batch_alter_table("transactions") as batch:
        batch.alter_column("award", existing_type=Big, nullable=True)
        batch.add_column(sa.Column("reason", sa.String(500), nullable=False, server_default=""))
    _guard("transactions")
    op.execute("UPDATE leases SET ran = charged / (gpus * factor_milli) WHERE state = 'settled'")
    op.execute(
        "INSERT INTO users (name, since) SELECT who, 0 FROM "
        '(SELECT "user" AS who FROM members UNION SELECT "user" AS who FROM leases) AS known'
    )
    _columns_from_journal()
    _budgets_of_programmes()


def _columns_from_journal() -> None:
    """Say in the new columns what the journal may know already, after a step back and forth."""
    op.execute(
        sa.text("UPDATE leases SET preemptible = :yes WHERE held = 0 AND state <> 'refused'").bindparams(yes=True)
    )
    op.execute(
        "UPDATE leases SET corrected = (SELECT SUM(p.amount) FROM transactions tx JOIN postings p ON p.transaction_id = tx.id "
        "WHERE tx.lease = leases.id AND tx.entry = 'correct' AND p.account LIKE 'charged:%') "
        "WHERE id IN (SELECT lease FROM transactions WHERE entry = 'correct')"
    )
    op.execute(
        "UPDATE awards SET returned = (SELECT -SUM(p.amount) FROM transactions tx JOIN postings p ON p.transaction_id = tx.id "
        "WHERE tx.award = awards.id AND tx.entry = 'return' AND p.account LIKE 'award:%') "
        "WHERE id IN (SELECT award FROM transactions WHERE entry = 'return')"
    )


def _institutions_of_projects() -> None:
    """Turn the names of institutions into a table of their own."""
    bind = op.get_bind()
    op.execute("ALTER TABLE projects RENAME COLUMN institution TO institution_name")
    op.execute("ALTER TABLE projects ADD COLUMN institution VARCHAR(40) REFERENCES institutions (slug)")
    op.create_index("ix_projects_institution", "projects", ["institution"])
    names = bind.execute(
        sa.text("SELECT DISTINCT institution_name FROM projects WHERE institution_name <> ''")
    ).scalars()
    taken: set[str] = set()
    for name in sorted(names):
        short = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:30].strip("-") or "institution"
        slug = next(s for s in chain([short], (f"{short}-{n}" for n in count(2))) if s not in taken)
        taken.add(slug)
        told = {"slug": slug, "name": name}
        bind.execute(sa.text("INSERT INTO institutions (slug, name) VALUES (:slug, :name)"), told)
        bind.execute(sa.text("UPDATE projects SET institution = :slug WHERE institution_name = :name"), told)
    op.drop_column("projects", "institution_name")


def _budgets_of_programmes() -> None:
    """Give every programme the budget that its awards so far have used; from here on accounts are per pool."""
    bind = op.get_bind()
    rows = bind.execute(
        sa.text(
            "SELECT p.programme, a.pool, SUM(a.awarded) AS amount, MAX(t.at) AS at FROM awards a "
            "JOIN projects p ON p.slug = a.project JOIN transactions t ON t.award = a.id AND t.entry = 'award' "
            "GROUP BY p.programme, a.pool"
        )
    ).all()
    for programme, pool, amount, at in rows:
        bind.execute(
            sa.text("INSERT INTO budgets (programme, pool, granted, awarded) VALUES (:p, :pool, :amount, :amount)"),
            {"p": programme, "pool": pool, "amount": int(amount)},
        )
        number = bind.execute(
            sa.text(
                "INSERT INTO transactions (key, entry, at, actor) VALUES (:key, 'budget', :at, 'portal') RETURNING id"
            ),
            {"key": f"budget:{programme}:{pool}:before", "at": at},
        ).scalar_one()
        # After a step back and forth some awards have been posted to the account of the pool already.
        new_account = f"programme:{programme}:{pool}"
        posted = bind.execute(
            sa.text("SELECT COALESCE(SUM(amount), 0) FROM postings WHERE account = :a"), {"a": new_account}
        ).scalar_one()
        units = {
            f"supply:{pool}": -int(amount),
            f"programme:{programme}": int(amount + posted),
            new_account: -int(posted),
        }
        for account, change in units.items():
            if change:
                bind.execute(
                    sa.text("INSERT INTO postings (transaction_id, account, amount) VALUES (:n, :account, :units)"),
                    {"n": number, "account": account, "units": change},
                )


def downgrade() -> None:
    """Go back. What the older tables cannot say is gone: budgets, and corrections of leases."""
    bind = op.get_bind()
    for table in ("transactions", "postings"):
        _unguard(table)
    bind.execute(
        sa.text("DELETE FROM postings WHERE transaction_id IN (SELECT id FROM transactions WHERE award IS NULL)")
    )
    bind.execute(sa.text("DELETE FROM transactions WHERE award IS NULL"))
    with op.batch_alter_table("transactions") as batch:
        batch.drop_column("reason")
        batch.alter_column("award", existing_type=Big, nullable=False)
    for table in ("transactions", "postings"):
        _guard(table)
    _unguard("audit")
    for table in ("differences", "once", "audit", "reviews", "requests", "capacities", "budgets", "officers", "users"):
        op.drop_table(table)
    op.drop_index("leases_by_end", "leases")
    op.drop_index("leases_active_by_user", "leases")
    op.drop_index("ix_projects_programme", "projects")
    op.drop_index("ix_projects_institution", "projects")
    op.add_column("projects", sa.Column("institution_name", sa.String(200), nullable=False, server_default=""))
    op.execute(
        "UPDATE projects SET institution_name = COALESCE((SELECT i.name FROM institutions i WHERE i.slug = projects.institution), '')"
    )
    if _sqlite():
        with op.batch_alter_table("projects") as batch:
            batch.drop_column("institution")
    else:
        op.drop_column("projects", "institution")
    op.execute("ALTER TABLE projects RENAME COLUMN institution_name TO institution")
    op.drop_table("institutions")
    for table, columns in new_columns().items():
        for column in columns:
            op.drop_column(table, column.name)
