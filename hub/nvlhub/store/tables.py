"""The tables, and rows <-> frozen dataclasses. The model knows nothing of the database; this module knows both.

Amounts are milli-GPU-seconds, times Unix seconds, both as 64-bit integers.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from nvlhub.flow.lease import Lease
from nvlhub.flow.quota import Award
from nvlhub.flow.request import Audience, Pool, Profile
from nvlhub.wire import EndReason, Kind, Mailbox, Share, Span, State

metadata = sa.MetaData()

Big = sa.BigInteger().with_variant(sa.Integer, "sqlite")
"""64 bits everywhere; SQLite numbers rows by itself only for its own INTEGER."""

FINISHED = ("settled", "refused")

institutions = sa.Table(
    "institutions",
    metadata,
    sa.Column("slug", sa.String(40), primary_key=True),
    sa.Column("name", sa.String(200), nullable=False),
    # Its identifier in the Research Organization Registry (ror.org), if it has one.
    sa.Column("ror", sa.String(40), nullable=False, server_default=""),
)

users = sa.Table(
    "users",
    metadata,
    sa.Column("name", sa.String(255), primary_key=True),
    # GPUs held at once in all projects together.
    sa.Column("cap", sa.Integer),
    sa.Column("since", sa.BigInteger, nullable=False),
)

programmes = sa.Table(
    "programmes",
    metadata,
    sa.Column("slug", sa.String(40), primary_key=True),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("cap", sa.Integer),
    # Weight in the queue against other programmes of the same priority.
    sa.Column("share", sa.Integer, nullable=False, server_default="100"),
    sa.Column("priority", sa.Integer, nullable=False, server_default="0"),
    sa.Column("at_zero", sa.String(12), nullable=False, server_default="stop"),
    # Multiplies the charge factor of the pool; in thousandths.
    sa.Column("factor_milli", sa.Integer, nullable=False, server_default="1000"),
    # Whether a run of a course pays for its whole slot, or for what is used.
    sa.Column("slot_charge", sa.Boolean, nullable=False, server_default=sa.false()),
)

officers = sa.Table(
    "officers",
    metadata,
    sa.Column("programme", sa.ForeignKey("programmes.slug"), primary_key=True),
    sa.Column("user", sa.String(255), primary_key=True),
    sa.Index("officers_by_user", "user"),
)

budgets = sa.Table(
    "budgets",
    metadata,
    # What a programme may award in a pool, and what of it is awarded.
    sa.Column("programme", sa.ForeignKey("programmes.slug"), primary_key=True),
    sa.Column("pool", sa.ForeignKey("pools.name"), primary_key=True),
    sa.Column("granted", sa.BigInteger, nullable=False),
    sa.Column("awarded", sa.BigInteger, nullable=False, server_default="0"),
    sa.CheckConstraint("awarded >= 0 AND awarded <= granted", name="never_over_budget"),
)

projects = sa.Table(
    "projects",
    metadata,
    sa.Column("slug", sa.String(40), primary_key=True),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("programme", sa.ForeignKey("programmes.slug"), nullable=False, index=True),
    sa.Column("institution", sa.ForeignKey("institutions.slug"), index=True),
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

capacities = sa.Table(
    "capacities",
    metadata,
    # From `at` on this many GPUs are announced, installed or in service; the last word for a time counts.
    sa.Column("id", Big, primary_key=True, autoincrement=True),
    sa.Column("pool", sa.ForeignKey("pools.name"), nullable=False),
    sa.Column("kind", sa.String(10), nullable=False),
    sa.Column("gpus", sa.Integer, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("source", sa.String(200), nullable=False),
    sa.Column("actor", sa.String(255), nullable=False),
    sa.CheckConstraint("kind IN ('announced', 'installed', 'in_service')", name="capacity_kind_known"),
    sa.Index("capacities_by_pool", "pool", "kind", "at"),
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
    # Who may start it: {"programmes": [...], "projects": [...]}; both empty: everybody.
    sa.Column("audience", sa.JSON, nullable=False, server_default="{}"),
    # Variables of what is started with it.
    sa.Column("environment", sa.JSON, nullable=False, server_default="{}"),
    # What only one engine understands, by its name.
    sa.Column("hints", sa.JSON, nullable=False, server_default="{}"),
    sa.Column("note", sa.String(500), nullable=False, server_default=""),
    sa.Column("made_by", sa.String(255), nullable=False, server_default=""),
    sa.Column("made_at", sa.BigInteger, nullable=False, server_default="0"),
    # Which publication of its profile made it the published one last, from 1: what a roll-back goes back to.
    sa.Column("publication", sa.Integer),
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
    # `awarded` is what it has now; this is what it had and gave back to its programme.
    sa.Column("returned", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("revoked_at", sa.BigInteger),
    sa.Column("request", sa.BigInteger),
    # The last line of defence: whatever the code does, nobody spends what was not awarded.
    sa.CheckConstraint("charged >= 0 AND held >= 0 AND charged + held <= awarded", name="never_overspent"),
    sa.CheckConstraint("starts < ends", name="starts_before_ends"),
    sa.Index("awards_by_project", "project", "pool"),
)

requests = sa.Table(
    "requests",
    metadata,
    sa.Column("id", Big, primary_key=True, autoincrement=True),
    sa.Column("project", sa.ForeignKey("projects.slug"), nullable=False, index=True),
    sa.Column("kind", sa.String(10), nullable=False),
    sa.Column("pool", sa.ForeignKey("pools.name"), nullable=False),
    # Milli-GPU-seconds; 0 where only dates are asked for.
    sa.Column("amount", sa.BigInteger, nullable=False),
    sa.Column("starts", sa.BigInteger),
    sa.Column("ends", sa.BigInteger),
    sa.Column("cap", sa.Integer),
    # The award that is renewed, extended, supplemented or taken from.
    sa.Column("award", sa.ForeignKey("awards.id")),
    sa.Column("reasons", sa.Text, nullable=False),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("asked_by", sa.String(255), nullable=False),
    sa.Column("asked_at", sa.BigInteger, nullable=False),
    # The award that came of it.
    sa.Column("result", sa.BigInteger),
    sa.Index("requests_by_state", "state", "id"),
)

reviews = sa.Table(
    "reviews",
    metadata,
    sa.Column("id", Big, primary_key=True, autoincrement=True),
    sa.Column("request", sa.ForeignKey("requests.id"), nullable=False, index=True),
    sa.Column("reviewer", sa.String(255), nullable=False),
    sa.Column("verdict", sa.String(10), nullable=False),
    sa.Column("amount", sa.BigInteger),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
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
    # Sum of later corrections: negative gives back, positive charges more.
    sa.Column("corrected", sa.BigInteger, nullable=False, server_default="0"),
    # Seconds that it ran and pays for, once it is settled.
    sa.Column("ran", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("preemptible", sa.Boolean, nullable=False, server_default=sa.false()),
    # When it must make room for others.
    sa.Column("preempt_at", sa.BigInteger),
    sa.Column("idle", sa.Integer),
    sa.Column("label", sa.String(80), nullable=False, server_default=""),
    sa.Column("server", sa.String(300), nullable=False, server_default=""),
    sa.Column("parent", sa.String(36), nullable=False, server_default=""),
    sa.Column("domain", sa.String(100), nullable=False, server_default=""),
    sa.Column("pinned", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("mailbox", sa.JSON(none_as_null=True)),
    sa.Column("placement", sa.JSON, nullable=False),
    sa.Column("handle", sa.JSON, nullable=False),
    # When there was room for it: from then to `started_at` is the time that a start takes.
    sa.Column("placed_at", sa.BigInteger),
    # The run of a course that it belongs to.
    sa.Column("run", sa.BigInteger),
    sa.Column("started_at", sa.BigInteger),
    sa.Column("beat_at", sa.BigInteger),
    sa.Column("idle_seconds", sa.Integer, nullable=False, server_default="0"),
    sa.Column("ended_at", sa.BigInteger),
    sa.Column("end_reason", sa.String(10)),
    sa.Column("note", sa.String(500), nullable=False, server_default=""),
    sa.Index("leases_by_user", "user", "number"),
    sa.Index("leases_by_parent", "parent"),
    sa.Index("leases_by_end", "ended_at"),
    sa.Index("leases_by_profile", "profile", "version"),
)
active = leases.c.state.not_in([sa.literal_column(f"'{state}'") for state in FINISHED])
# Admission asks what is active; these indexes hold nothing else, so the past costs nothing.
sa.Index("leases_active", leases.c.number, sqlite_where=active, postgresql_where=active)
sa.Index(
    "leases_active_by_programme", leases.c.programme, leases.c.project, leases.c.user, leases.c.award, leases.c.gpus,
    sqlite_where=active, postgresql_where=active,
)  # fmt: skip

sa.Index(
    "leases_active_by_user", leases.c.user, leases.c.gpus, sqlite_where=active, postgresql_where=active,
)  # fmt: skip
of_a_run = leases.c.run.is_not(None)
sa.Index("leases_by_run", leases.c.run, sqlite_where=of_a_run, postgresql_where=of_a_run)

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
    # None: between the supply of a pool and a programme, where no award is concerned.
    sa.Column("award", sa.ForeignKey("awards.id"), index=True),
    sa.Column("lease", sa.String(36), nullable=False, server_default="", index=True),
    # The run of a course whose slot it is about.
    sa.Column("run", sa.BigInteger),
    sa.Column("corrects", sa.String(120), nullable=False, server_default=""),
    sa.Column("reason", sa.String(500), nullable=False, server_default=""),
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


audit = sa.Table(
    "audit",
    metadata,
    # Who changed what, when, from what to what; each line's hash covers the one before it.
    sa.Column("id", Big, primary_key=True, autoincrement=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("actor", sa.String(255), nullable=False),
    sa.Column("action", sa.String(40), nullable=False),
    sa.Column("object", sa.String(300), nullable=False),
    # Whose business it is: a programme, a project, a user; empty: the administrators'.
    sa.Column("programme", sa.String(40), nullable=False, server_default="", index=True),
    sa.Column("project", sa.String(40), nullable=False, server_default="", index=True),
    sa.Column("user", sa.String(255), nullable=False, server_default="", index=True),
    sa.Column("before", sa.JSON(none_as_null=True)),
    sa.Column("after", sa.JSON(none_as_null=True)),
    sa.Column("hash", sa.String(64), nullable=False),
)

once = sa.Table(
    "once",
    metadata,
    # What was asked for with an idempotency key, other than leases, and what came of it.
    sa.Column("user", sa.String(255), primary_key=True),
    sa.Column("key", sa.String(80), primary_key=True),
    sa.Column("body_hash", sa.String(64), nullable=False),
    sa.Column("result", sa.String(40), nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
)

differences = sa.Table(
    "differences",
    metadata,
    # Where the engine's own records and the ledger disagree about a lease.
    sa.Column("id", Big, primary_key=True, autoincrement=True),
    sa.Column("pool", sa.ForeignKey("pools.name"), nullable=False),
    sa.Column("lease", sa.String(36), nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    # GPU-seconds as the ledger and as the engine has them; None: it has none.
    sa.Column("ledger", sa.BigInteger),
    sa.Column("engine", sa.BigInteger),
    sa.Column("found_at", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String(10), nullable=False, server_default="open"),
    sa.Column("closed_by", sa.String(255), nullable=False, server_default=""),
    sa.Column("closed_at", sa.BigInteger),
    sa.Column("reason", sa.String(500), nullable=False, server_default=""),
    # Key of the compensating transaction, where one was written.
    sa.Column("correction", sa.String(120), nullable=False, server_default=""),
    sa.UniqueConstraint("pool", "lease", "kind", name="difference_once"),
)

announcements = sa.Table(
    "announcements",
    metadata,
    # What those who run the portal say: to everybody, to a programme, or to one user about one lease.
    sa.Column("id", Big, primary_key=True, autoincrement=True),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("actor", sa.String(255), nullable=False),
    sa.Column("level", sa.String(10), nullable=False),
    sa.Column("text", sa.String(500), nullable=False),
    # The same in Chinese; empty: there is only one wording.
    sa.Column("text_zh", sa.String(500), nullable=False, server_default=""),
    sa.Column("starts", sa.BigInteger, nullable=False),
    sa.Column("ends", sa.BigInteger),
    sa.Column("programme", sa.String(40), nullable=False, server_default=""),
    sa.Column("user", sa.String(255), nullable=False, server_default=""),
    sa.Column("lease", sa.String(36), nullable=False, server_default=""),
    sa.Column("withdrawn_at", sa.BigInteger),
    sa.CheckConstraint("level IN ('info', 'warning', 'urgent')", name="level_known"),
    sa.Index("announcements_by_user", "user", "ends"),
)

reservations = sa.Table(
    "reservations",
    metadata,
    # Capacity kept between two times.
    sa.Column("id", Big, primary_key=True, autoincrement=True),
    sa.Column("pool", sa.ForeignKey("pools.name"), nullable=False),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("project", sa.ForeignKey("projects.slug")),
    # What its trays have together.
    sa.Column("gpus", sa.Integer, nullable=False),
    sa.Column("starts", sa.BigInteger, nullable=False),
    sa.Column("ends", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("note", sa.String(500), nullable=False, server_default=""),
    sa.Column("made_by", sa.String(255), nullable=False),
    sa.Column("made_at", sa.BigInteger, nullable=False),
    sa.CheckConstraint("starts < ends", name="reservation_starts_before_it_ends"),
    sa.CheckConstraint("state IN ('booked', 'cancelled')", name="reservation_state_known"),
    sa.Index("reservations_by_time", "pool", "ends"),
)

reserved_trays = sa.Table(
    "reserved_trays",
    metadata,
    # The trays of a reservation; a cancelled one has none. Triggers refuse two that overlap.
    sa.Column("reservation", sa.ForeignKey("reservations.id"), primary_key=True),
    sa.Column("pool", sa.String(40), nullable=False),
    sa.Column("domain", sa.String(100), primary_key=True),
    sa.Column("tray", sa.Integer, primary_key=True),
    sa.Column("starts", sa.BigInteger, nullable=False),
    sa.Column("ends", sa.BigInteger, nullable=False),
    sa.Index("reserved_trays_by_place", "pool", "domain", "tray", "starts"),
)

lease_usage = sa.Table(
    "lease_usage",
    metadata,
    # What the GPUs of a lease did, as far as it was measured. GPU-seconds, bytes.
    sa.Column("lease", sa.ForeignKey("leases.id"), primary_key=True),
    sa.Column("measured", sa.BigInteger, nullable=False),
    # GPU-milliseconds of work: GPUs x time x utilisation.
    sa.Column("busy_milli", sa.BigInteger, nullable=False),
    # Held while neither kernel nor GPU did anything.
    sa.Column("idle", sa.BigInteger, nullable=False),
    sa.Column("memory_peak", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("memory_total", sa.BigInteger, nullable=False, server_default="0"),
    # Whether it is of GPUs, or of the processes that stand for simulated ones; None: nothing was measured.
    sa.Column("real", sa.Boolean),
    # Thinned samples, the longest time at the coarsest step.
    sa.Column("series", sa.JSON, nullable=False),
    # What its holder was warned of, and when: [[time, slug], ...].
    sa.Column("warned", sa.JSON, nullable=False, server_default="[]"),
    # Until when it is counted.
    sa.Column("at", sa.BigInteger, nullable=False),
)

activity = sa.Table(
    "activity",
    metadata,
    # GPU-seconds held and worked in a quarter of an hour, by whom and for what.
    sa.Column("at", sa.BigInteger, primary_key=True),
    sa.Column("user", sa.String(255), primary_key=True),
    sa.Column("project", sa.String(40), primary_key=True),
    sa.Column("held", sa.BigInteger, nullable=False),
    sa.Column("busy_milli", sa.BigInteger, nullable=False),
    sa.Column("measured", sa.BigInteger, nullable=False),
    sa.Index("activity_by_user", "user", "at"),
)

courses = sa.Table(
    "courses",
    metadata,
    # What is taught: material at a commit, the profile of a seat's kernel, an assessment.
    sa.Column("slug", sa.String(40), primary_key=True),
    # Who pays; those who answer for it, and the instructors named, run the course.
    sa.Column("project", sa.ForeignKey("projects.slug"), nullable=False),
    sa.Column("title", sa.String(100), nullable=False),
    sa.Column("title_zh", sa.String(100), nullable=False, server_default=""),
    sa.Column("summary", sa.String(500), nullable=False, server_default=""),
    # A git repository, the full hash of a commit in it, and what is opened first.
    sa.Column("repository", sa.String(500), nullable=False, server_default=""),
    sa.Column("commit", sa.String(64), nullable=False, server_default=""),
    sa.Column("opens", sa.String(200), nullable=False, server_default=""),
    sa.Column("profile", sa.String(40), nullable=False),
    # What is handed in, how it is run and judged; {}: nothing is assessed.
    sa.Column("assessment", sa.JSON, nullable=False, server_default="{}"),
    # Days after the end for which names of learners are kept.
    sa.Column("keep_days", sa.Integer, nullable=False, server_default="60"),
    sa.Column("retired_at", sa.BigInteger),
    sa.Column("made_by", sa.String(255), nullable=False),
    sa.Column("made_at", sa.BigInteger, nullable=False),
)

instructors = sa.Table(
    "instructors",
    metadata,
    sa.Column("course", sa.ForeignKey("courses.slug"), primary_key=True),
    sa.Column("user", sa.String(255), primary_key=True),
    sa.Index("instructors_by_user", "user"),
)

runs = sa.Table(
    "runs",
    metadata,
    # One dated event of a course. Durations in seconds.
    sa.Column("id", Big, primary_key=True, autoincrement=True),
    sa.Column("course", sa.ForeignKey("courses.slug"), nullable=False),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("zone", sa.String(60), nullable=False),
    sa.Column("starts", sa.BigInteger, nullable=False),
    sa.Column("ends", sa.BigInteger, nullable=False),
    sa.Column("seats", sa.Integer, nullable=False),
    # GPUs of a seat; 0: its kernel has none.
    sa.Column("gpus", sa.Integer, nullable=False),
    # Before the start: seats are started from then on, and the code is accepted.
    sa.Column("warm", sa.Integer, nullable=False),
    sa.Column("flex", sa.Integer, nullable=False),
    # After the end: what is handed in still counts.
    sa.Column("grace", sa.Integer, nullable=False),
    # After the start: a seat that nobody uses is free again; 0: never.
    sa.Column("no_show", sa.Integer, nullable=False),
    sa.Column("code", sa.String(12), nullable=False, unique=True),
    sa.Column("roster_only", sa.Boolean, nullable=False),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("reservation", sa.ForeignKey("reservations.id")),
    # Where the programme charges the whole slot: what was set aside of which award, and what it cost.
    sa.Column("award", sa.ForeignKey("awards.id")),
    sa.Column("held", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("charged", sa.BigInteger, nullable=False, server_default="0"),
    # The charge factor as it was when money was set aside; how often it was; when the slot was paid for.
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
    sa.Index("runs_by_time", "state", "ends"),
    sa.Index("runs_by_course", "course", "starts"),
)

roster = sa.Table(
    "roster",
    metadata,
    # Who is to come; the row's number stays for ever, so that results find their way back.
    sa.Column("run", sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("row", sa.Integer, primary_key=True),
    sa.Column("student_no", sa.String(40), nullable=False, server_default=""),
    sa.Column("name", sa.String(100), nullable=False, server_default=""),
    sa.Column("name_latin", sa.String(100), nullable=False, server_default=""),
    # An account of the hub, or an address of mail that stands for one.
    sa.Column("user", sa.String(255), nullable=False, server_default=""),
    sa.Column("group", sa.String(40), nullable=False, server_default=""),
    sa.Column("seat", sa.Integer),
    # Somebody who is on the roster no more: their number is never another's.
    sa.Column("dropped", sa.Boolean, nullable=False, server_default=sa.false()),
)

seats = sa.Table(
    "seats",
    metadata,
    # All seats of a run, made with it; one with nobody on it has no user.
    sa.Column("run", sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("pseudonym", sa.String(40), nullable=False),
    sa.Column("user", sa.String(255)),
    # The row of the roster that its user is.
    sa.Column("row", sa.Integer),
    # The name on the certificate, as the learner wrote it.
    sa.Column("name", sa.String(100), nullable=False, server_default=""),
    sa.Column("name_latin", sa.String(100), nullable=False, server_default=""),
    sa.Column("taken_at", sa.BigInteger),
    # When its server was asked for, when it answered, and when its user was last there.
    sa.Column("warm_at", sa.BigInteger),
    sa.Column("ready_at", sa.BigInteger),
    sa.Column("seen_at", sa.BigInteger),
    sa.Column("failed", sa.String(200), nullable=False, server_default=""),
    # How often in a row its server did not start; `warm_at` is when that was tried last.
    sa.Column("tries", sa.Integer, nullable=False, server_default="0"),
    sa.Column("hand_at", sa.BigInteger),
    sa.Column("helped_by", sa.String(255), nullable=False, server_default=""),
    sa.Column("step", sa.Integer, nullable=False, server_default="0"),
    sa.Column("steps", sa.Integer, nullable=False, server_default="0"),
    sa.Column("check_name", sa.String(60), nullable=False, server_default=""),
    sa.Column("check_ok", sa.Boolean),
    sa.Column("check_at", sa.BigInteger),
    # Seconds beyond the end of the run.
    sa.Column("extra", sa.Integer, nullable=False, server_default="0"),
    # Whether the run made its user a member of the project, to be undone at the end.
    sa.Column("made_member", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Index("seats_by_user", "user"),
    sa.UniqueConstraint("run", "user", name="one_seat_each"),
)

run_messages = sa.Table(
    "run_messages",
    metadata,
    # What an instructor told everybody, or one seat.
    sa.Column("id", Big, primary_key=True, autoincrement=True),
    sa.Column("run", sa.ForeignKey("runs.id"), nullable=False),
    sa.Column("seat", sa.Integer),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("by", sa.String(255), nullable=False),
    sa.Column("text", sa.String(500), nullable=False),
    sa.Index("run_messages_by_run", "run", "id"),
)

attempts = sa.Table(
    "attempts",
    metadata,
    # What a seat handed in, and what became of it.
    sa.Column("id", Big, primary_key=True, autoincrement=True),
    sa.Column("run", sa.ForeignKey("runs.id"), nullable=False),
    sa.Column("seat", sa.Integer, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    # Whose it is: seats change hands.
    sa.Column("user", sa.String(255), nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String(10), nullable=False),
    # Of 1000; None: it was not judged.
    sa.Column("score_milli", sa.Integer),
    # What the learner is told, item by item; nothing that is hidden.
    sa.Column("feedback", sa.JSON, nullable=False, server_default="[]"),
    sa.Column("snapshot", sa.String(64), nullable=False, server_default=""),
    sa.Column("grader", sa.String(64), nullable=False, server_default=""),
    sa.Column("lease", sa.String(36), nullable=False, server_default=""),
    # How often it was begun: one that a portal’s end cut short is begun once more.
    sa.Column("starts", sa.Integer, nullable=False, server_default="0"),
    # Why no lease was to be had for it: slug and members of what its learner is told. It ran nowhere then, and is broken.
    sa.Column("why", sa.JSON, nullable=False, server_default="{}"),
    # What it printed, for its learner; what the grader printed, for those who teach.
    sa.Column("log", sa.Text, nullable=False, server_default=""),
    sa.Column("grader_log", sa.Text, nullable=False, server_default=""),
    sa.Column("ended_at", sa.BigInteger),
    sa.CheckConstraint("state IN ('queued', 'running', 'passed', 'failed', 'broken')", name="attempt_state_known"),
    sa.UniqueConstraint("run", "user", "number", name="attempts_in_order"),
)

signing_keys = sa.Table(
    "signing_keys",
    metadata,
    # Public halves, for ever: old certificates are verified with them. Ed25519, base64.
    sa.Column("id", sa.String(20), primary_key=True),
    sa.Column("public", sa.String(60), nullable=False),
    sa.Column("made_at", sa.BigInteger, nullable=False),
    sa.Column("retired_at", sa.BigInteger),
    # One whose private half became known: nothing that it signed counts.
    sa.Column("broken_at", sa.BigInteger),
)

certificates = sa.Table(
    "certificates",
    metadata,
    # `document` is what was signed, byte for byte.
    sa.Column("id", sa.String(20), primary_key=True),
    sa.Column("run", sa.ForeignKey("runs.id"), nullable=False),
    sa.Column("seat", sa.Integer, nullable=False),
    sa.Column("user", sa.String(255), nullable=False),
    sa.Column("attempt", sa.ForeignKey("attempts.id"), nullable=False, unique=True),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("signature", sa.String(100), nullable=False),
    sa.Column("key", sa.ForeignKey("signing_keys.id"), nullable=False),
    sa.Column("issued_at", sa.BigInteger, nullable=False),
    sa.Column("revoked_at", sa.BigInteger),
    sa.Column("revoked_by", sa.String(255), nullable=False, server_default=""),
    sa.Column("reason", sa.String(500), nullable=False, server_default=""),
    sa.Index("certificates_by_run", "run", "seat"),
)


def lease_of(row: sa.Row[Any]) -> Lease:
    """Return the lease that a row of ``leases`` stands for."""
    return Lease(
        id=row.id, state=State(row.state), user=row.user, project=row.project, programme=row.programme,
        profile=row.profile, version=row.version, pool=row.pool, kind=Kind(row.kind), gpus=row.gpus,
        span=Span(row.span), seconds=row.seconds, factor_milli=row.factor_milli, asked_at=row.asked_at,
        award=row.award, held=row.held, charged=row.charged, refunded=row.refunded, ran=row.ran,
        preemptible=row.preemptible, preempt_at=row.preempt_at, idle=row.idle, label=row.label,
        server=row.server, parent=row.parent, domain=row.domain, pinned=row.pinned, mailbox=Mailbox(**row.mailbox) if row.mailbox else None,
        placement=tuple(Share(**share) for share in row.placement), handle=row.handle, placed_at=row.placed_at, started_at=row.started_at,
        beat_at=row.beat_at, idle_seconds=row.idle_seconds, ended_at=row.ended_at, run=row.run,
        end_reason=EndReason(row.end_reason) if row.end_reason else None, note=row.note,
    )  # fmt: skip


def row_of(lease: Lease) -> dict[str, Any]:
    """Return the columns of a lease."""
    return {
        "id": lease.id, "user": lease.user, "project": lease.project, "programme": lease.programme,
        "profile": lease.profile, "version": lease.version, "pool": lease.pool, "kind": lease.kind.value,
        "gpus": lease.gpus, "span": lease.span.value, "factor_milli": lease.factor_milli, "preemptible": lease.preemptible,
        "asked_at": lease.asked_at, "award": lease.award, "idle": lease.idle, "label": lease.label,
        "server": lease.server, "parent": lease.parent, "domain": lease.domain, "pinned": lease.pinned,
        "run": lease.run, "mailbox": lease.mailbox.model_dump() if lease.mailbox else None, **changing_of(lease),
    }  # fmt: skip


def changing_of(lease: Lease) -> dict[str, Any]:
    """Return the columns of a lease that change in its life."""
    return {
        "state": lease.state.value, "seconds": lease.seconds, "held": lease.held, "charged": lease.charged,
        "refunded": lease.refunded, "ran": lease.ran, "preempt_at": lease.preempt_at,
        "placement": [share.model_dump() for share in lease.placement], "handle": dict(lease.handle),
        "placed_at": lease.placed_at, "started_at": lease.started_at, "beat_at": lease.beat_at, "idle_seconds": lease.idle_seconds,
        "ended_at": lease.ended_at, "end_reason": lease.end_reason.value if lease.end_reason else None,
        "note": lease.note[:500],
    }  # fmt: skip


def award_of(row: sa.Row[Any]) -> Award:
    """Return the award that a row of ``awards`` stands for."""
    return Award(
        row.id, row.awarded, row.charged, row.held, row.starts, row.ends, row.cap, revoked=row.revoked_at is not None
    )


def pool_of(row: sa.Row[Any]) -> Pool:
    """Return the pool that a row of ``pools`` stands for."""
    return Pool(row.name, row.gpu_model, row.factor_milli, row.domain_gpus, row.gpus)


def profile_of(row: sa.Row[Any]) -> Profile:
    """Return the profile that a row of ``profiles`` stands for."""
    audience = {name: tuple(slugs) for name, slugs in row.audience.items()}
    return Profile(
        row.name, row.version, row.display_name, row.pool, row.gpus, Span(row.span), row.longest, row.idle,
        audience=Audience(**audience), environment=row.environment, hints=row.hints, note=row.note,
        made_by=row.made_by, made_at=row.made_at,
    )  # fmt: skip
