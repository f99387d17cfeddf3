"""Leases of workers: the kernel that they belong to, and where they want to be."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("leases", sa.Column("parent", sa.String(36), nullable=False, server_default=""))
    op.add_column("leases", sa.Column("domain", sa.String(100), nullable=False, server_default=""))
    op.add_column("leases", sa.Column("pinned", sa.Boolean, nullable=False, server_default=sa.false()))
    op.create_index("leases_by_parent", "leases", ["parent"])
    _replace_keys(place=True)


def downgrade() -> None:
    _replace_keys(place=False)
    op.drop_index("leases_by_parent", "leases")
    for column in ("pinned", "domain", "parent"):
        op.drop_column("leases", column)


def _replace_keys(*, place: bool) -> None:
    """Make the table of idempotency keys anew, with or without the place of a lease among those of its key."""
    op.rename_table("keys", "keys_before")
    names = ["user", "key", *(["place"] if place else [])]
    op.create_table(
        "keys",
        sa.Column("user", sa.String(255), nullable=False),
        sa.Column("key", sa.String(80), nullable=False),
        *([sa.Column("place", sa.Integer, nullable=False, server_default="0")] if place else []),
        sa.Column("body_hash", sa.String(64), nullable=False),
        sa.Column("lease", sa.String(36), sa.ForeignKey("leases.id"), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint(*names, name=f"keys_of_{len(names)}"),
    )
    copied = ("user", "key", "body_hash", "lease", "at")
    before = sa.table("keys_before", *(sa.column(name) for name in (*copied, "place")))
    rows = sa.select(*(before.c[name] for name in copied))
    after = sa.table("keys", *(sa.column(name) for name in copied))
    op.execute(after.insert().from_select(copied, rows if place else rows.where(before.c.place == 0)))
    op.drop_table("keys_before")
