"""The tables, and rows <-> frozen dataclasses. The model knows nothing of the database; this module knows both.

Amounts are milli-GPU-seconds, times Unix seconds, both as 64-bit integers.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from nvlhub.flow.lease import Lease
from nvlhub.flow.quota import Award
from nvlhub.flow.request import Pool, Profile
from nvlhub.wire import EndReason, Kind, Mailbox, Share, Span, State

metadata = sa.MetaData()

Big = sa.BigInteger().with_variant(sa.Integer, "sqlite")
"""64 bits everywhere; SQLite numbers rows by itself only for its own INTEGER."""

FINISHED = ("settled", "refused")

programmes = sa.Table(
    "programmes",
    metadata,
    sa.Column("slug", sa.String(40), primary_key=True),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("cap", sa.Integer),
)

projects = sa.Table(
    "projects",
    metadata,
    sa.Column("slug", sa.String(40), primary_key=True),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("programme", sa.ForeignKey("programmes.slug"), nullable=False),
    sa.Column("institution", sa.String(200), nullable=False, server_default=""),
    sa.Column("cap", sa.Integer),
)

members = sa.Table(
    "members",
    metadata,
    sa.Column("project", sa.ForeignKey("projects.slug"), primary_key=True),
    sa.Column("user", sa.String(255), primary_key=True),
    sa.Column("role", sa.String(10), nullable=False),
    sa.Column("cap", sa.Integer),
    sa.CheckConstraint("role IN ('pi', 'manager', 'member')", name="role_known"),
    sa.Index("members_by_user", "user"),
)

pools = sa.Table(
    "pools",
    metadata,
    sa.Column("name", sa.String(40), primary_key=True),
    sa.Column("gpu_model", sa.String(100), nullable=False),
    sa.Column("factor_milli", sa.Integer, nullable=False),
    sa.Column("domain_gpus", sa.Integer, nullable=False),
    sa.Column("gpus", sa.Integer, nullable=False),
)

out_of_service = sa.Table(
    "out_of_service",
    metadata,
    sa.Column("pool", sa.ForeignKey("pools.name"), primary_key=True),
    sa.Column("domain", sa.String(100), primary_key=True),
    sa.Column("tray", sa.Integer, primary_key=True),
)

profiles = sa.Table(
    "profiles",
    metadata,
    sa.Column("name", sa.String(40), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("display_name", sa.String(100), nullable=False),
    sa.Column("pool", sa.ForeignKey("pools.name"), nullable=False),
    sa.Column("gpus", sa.Integer, nullable=False),
    sa.Column("span", sa.String(10), nullable=False),
    sa.Column("longest", sa.Integer, nullable=False),
    sa.Column("idle", sa.Integer),
    sa.Column("published", sa.Boolean, nullable=False, server_default=sa.false()),
)

awards = sa.Table(
    "awards",
    metadata,
    sa.Column("id", Big, primary_key=True, autoincrement=True),
    sa.Column("project", sa.ForeignKey("projects.slug"), nullable=False),
    sa.Column("pool", sa.ForeignKey("pools.name"), nullable=False),
    sa.Column("awarded", sa.BigInteger, nullable=False),
    sa.Column("charged", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("held", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("starts", sa.BigInteger, nullable=False),
    sa.Column("ends", sa.BigInteger, nullable=False),
    sa.Column("cap", sa.Integer),
    # The last line of defence: whatever the code does, nobody spends what was not awarded.
    sa.CheckConstraint("charged >= 0 AND held >= 0 AND charged + held <= awarded", name="never_overspent"),
    sa.CheckConstraint("starts < ends", name="starts_before_ends"),
    sa.Index("awards_by_project", "project", "pool"),
)

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("number", Big, primary_key=True, autoincrement=True),
    sa.Column("id", sa.String(36), nullable=False, unique=True),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("user", sa.String(255), nullable=False),
    sa.Column("project", sa.ForeignKey("projects.slug"), nullable=False),
    sa.Column("programme", sa.String(40), nullable=False),
    sa.Column("profile", sa.String(40), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("pool", sa.String(40), nullable=False),
    sa.Column("kind", sa.String(10), nullable=False),
    sa.Column("gpus", sa.Integer, nullable=False),
    sa.Column("span", sa.String(10), nullable=False),
    sa.Column("seconds", sa.Integer, nullable=False),
    sa.Column("factor_milli", sa.Integer, nullable=False),
    sa.Column("asked_at", sa.BigInteger, nullable=False),
    sa.Column("award", sa.ForeignKey("awards.id"), nullable=False),
    sa.Column("held", sa.BigInteger, nullable=False),
    sa.Column("charged", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("refunded", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("idle", sa.Integer),
    sa.Column("label", sa.String(80), nullable=False, server_default=""),
    sa.Column("server", sa.String(300), nullable=False, server_default=""),
    sa.Column("parent", sa.String(36), nullable=False, server_default=""),
    sa.Column("domain", sa.String(100), nullable=False, server_default=""),
    sa.Column("pinned", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("mailbox", sa.JSON(none_as_null=True)),
    sa.Column("placement", sa.JSON, nullable=False),
    sa.Column("handle", sa.JSON, nullable=False),
    sa.Column("started_at", sa.BigInteger),
    sa.Column("beat_at", sa.BigInteger),
    sa.Column("idle_seconds", sa.Integer, nullable=False, server_default="0"),
    sa.Column("ended_at", sa.BigInteger),
    sa.Column("end_reason", sa.String(10)),
    sa.Column("note", sa.String(500), nullable=False, server_default=""),
    sa.Index("leases_by_user", "user", "number"),
    sa.Index("leases_by_parent", "parent"),
)
active = leases.c.state.not_in([sa.literal_column(f"'{state}'") for state in FINISHED])
# Admission asks what is active; these indexes hold nothing else, so the past costs nothing.
sa.Index("leases_active", leases.c.number, sqlite_where=active, postgresql_where=active)
sa.Index(
    "leases_active_by_programme", leases.c.programme, leases.c.project, leases.c.user, leases.c.award, leases.c.gpus,
    sqlite_where=active, postgresql_where=active,
)  # fmt: skip

keys = sa.Table(
    "keys",
    metadata,
    sa.Column("user", sa.String(255), primary_key=True),
    sa.Column("key", sa.String(80), primary_key=True),
    # Several leases can be asked for with one key: their order.
    sa.Column("place", sa.Integer, primary_key=True, server_default="0"),
    sa.Column("body_hash", sa.String(64), nullable=False),
    sa.Column("lease", sa.ForeignKey("leases.id"), nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
)

holdings = sa.Table(
    "holdings",
    metadata,
    # One row per GPU that is held: the primary key makes it impossible to hand a GPU out twice.
    sa.Column("pool", sa.String(40), primary_key=True),
    sa.Column("domain", sa.String(100), primary_key=True),
    sa.Column("tray", sa.Integer, primary_key=True),
    sa.Column("gpu", sa.Integer, primary_key=True),
    sa.Column("lease", sa.ForeignKey("leases.id"), nullable=False, index=True),
)

transactions = sa.Table(
    "transactions",
    metadata,
    sa.Column("id", Big, primary_key=True, autoincrement=True),
    sa.Column("key", sa.String(120), nullable=False, unique=True),
    sa.Column("entry", sa.String(10), nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("actor", sa.String(255), nullable=False),
    sa.Column("award", sa.ForeignKey("awards.id"), nullable=False, index=True),
    sa.Column("lease", sa.String(36), nullable=False, server_default="", index=True),
    sa.Column("corrects", sa.String(120), nullable=False, server_default=""),
)

postings = sa.Table(
    "postings",
    metadata,
    sa.Column("transaction_id", sa.ForeignKey("transactions.id"), primary_key=True),
    sa.Column("account", sa.String(80), primary_key=True),
    sa.Column("amount", sa.BigInteger, nullable=False),
    sa.CheckConstraint("amount <> 0", name="amount_not_zero"),
    sa.Index("postings_by_account", "account", "amount"),
)


def lease_of(row: sa.Row[Any]) -> Lease:
    """Return the lease that a row of ``leases`` stands for."""
    return Lease(
        id=row.id, state=State(row.state), user=row.user, project=row.project, programme=row.programme,
        profile=row.profile, version=row.version, pool=row.pool, kind=Kind(row.kind), gpus=row.gpus,
        span=Span(row.span), seconds=row.seconds, factor_milli=row.factor_milli, asked_at=row.asked_at,
        award=row.award, held=row.held, charged=row.charged, refunded=row.refunded, idle=row.idle, label=row.label,
        server=row.server, parent=row.parent, domain=row.domain, pinned=row.pinned, mailbox=Mailbox(**row.mailbox) if row.mailbox else None,
        placement=tuple(Share(**share) for share in row.placement), handle=row.handle, started_at=row.started_at,
        beat_at=row.beat_at, idle_seconds=row.idle_seconds, ended_at=row.ended_at,
        end_reason=EndReason(row.end_reason) if row.end_reason else None, note=row.note,
    )  # fmt: skip


def row_of(lease: Lease) -> dict[str, Any]:
    """Return the columns of a lease."""
    return {
        "id": lease.id, "user": lease.user, "project": lease.project, "programme": lease.programme,
        "profile": lease.profile, "version": lease.version, "pool": lease.pool, "kind": lease.kind.value,
        "gpus": lease.gpus, "span": lease.span.value, "factor_milli": lease.factor_milli,
        "asked_at": lease.asked_at, "award": lease.award, "idle": lease.idle, "label": lease.label,
        "server": lease.server, "parent": lease.parent, "domain": lease.domain, "pinned": lease.pinned,
        **changing_of(lease),
    }  # fmt: skip


def changing_of(lease: Lease) -> dict[str, Any]:
    """Return the columns of a lease that change in its life."""
    return {
        "state": lease.state.value, "seconds": lease.seconds, "held": lease.held, "charged": lease.charged,
        "refunded": lease.refunded, "mailbox": lease.mailbox.model_dump() if lease.mailbox else None,
        "placement": [share.model_dump() for share in lease.placement], "handle": dict(lease.handle),
        "started_at": lease.started_at, "beat_at": lease.beat_at, "idle_seconds": lease.idle_seconds,
        "ended_at": lease.ended_at, "end_reason": lease.end_reason.value if lease.end_reason else None,
        "note": lease.note[:500],
    }  # fmt: skip


def award_of(row: sa.Row[Any]) -> Award:
    """Return the award that a row of ``awards`` stands for."""
    return Award(row.id, row.awarded, row.charged, row.held, row.starts, row.ends, row.cap)


def pool_of(row: sa.Row[Any]) -> Pool:
    """Return the pool that a row of ``pools`` stands for."""
    return Pool(row.name, row.gpu_model, row.factor_milli, row.domain_gpus, row.gpus)


def profile_of(row: sa.Row[Any]) -> Profile:
    """Return the profile that a row of ``profiles`` stands for."""
    return Profile(row.name, row.version, row.display_name, row.pool, row.gpus, Span(row.span), row.longest, row.idle)
