"""A database with a past: 5,000 projects of 20 programmes and a million settled leases, made by whole sets."""

from __future__ import annotations

import sqlalchemy as sa

from nvlhub.flow.request import Pool, Profile
from nvlhub.store import Store
from nvlhub.store import tables as t
from nvlhub.wire import MILLI_PER_GPU_HOUR, Span

PROGRAMMES = 20
BUDGET = 10**8 * MILLI_PER_GPU_HOUR
AWARDED = 100_000 * MILLI_PER_GPU_HOUR
YEAR = 365 * 24 * 3600

COUNTED = "WITH RECURSIVE counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < {count}) "
PROJECTS = (
    """INSERT INTO users (name, since) {counted} SELECT 'user' || n, {now} FROM counted""",
    """INSERT INTO projects (slug, name, programme, cap)
       {counted} SELECT 'project' || n, 'Project ' || n, 'programme' || (n % {programmes}), 1000 FROM counted""",
    """INSERT INTO members (project, "user", role, cap)
       {counted} SELECT 'project' || n, 'user' || n, 'pi', 100 FROM counted""",
    """INSERT INTO awards (project, pool, awarded, starts, ends)
       {counted} SELECT 'project' || n, 'main', {awarded}, {now} - 2 * {year}, {now} + {year} FROM counted""",
    """INSERT INTO transactions (key, entry, at, actor, award) SELECT 'award:' || id, 'award', {now}, 'admin', id FROM awards""",
    """INSERT INTO postings (transaction_id, account, amount)
       SELECT tx.id, 'award:' || tx.award, {awarded} FROM transactions tx WHERE tx.entry = 'award'""",
    """INSERT INTO postings (transaction_id, account, amount)
       SELECT tx.id, 'programme:' || pr.programme || '\\:main', -{awarded} FROM transactions tx
       JOIN awards a ON a.id = tx.award JOIN projects pr ON pr.slug = a.project WHERE tx.entry = 'award'""",
    """UPDATE budgets SET awarded = given.amount FROM
       (SELECT pr.programme, SUM(a.awarded) AS amount FROM awards a JOIN projects pr ON pr.slug = a.project
        GROUP BY pr.programme) AS given WHERE given.programme = budgets.programme""",
)
# A GPU held for an hour by each, used for one minute to nearly all of it.
LEASES = (
    """INSERT INTO leases (id, state, "user", project, programme, profile, version, pool, kind, gpus, span, seconds,
                           factor_milli, asked_at, award, held, charged, ran, placement, handle, started_at, ended_at,
                           end_reason)
       {counted}
       SELECT 'past-' || n, 'settled', 'user' || substr(a.project, 8), a.project, pr.programme, 'gpu1', 1, 'main',
              'kernel', 1, 'domain', 3600, 1000, {now} - 3600 - ({past} - n) * 30, a.id, 3600000, (60 + n % 3540) * 1000,
              60 + n % 3540, '[]', '{{}}', {now} - 3600 - ({past} - n) * 30,
              {now} - 3600 - ({past} - n) * 30 + 60 + n % 3540, 'user'
       FROM counted JOIN awards a ON a.id = 1 + n % {projects} JOIN projects pr ON pr.slug = a.project""",
    """INSERT INTO keys ("user", key, body_hash, lease, at) SELECT "user", id, '', id, asked_at FROM leases""",
    """INSERT INTO transactions (key, entry, at, actor, award, lease)
       SELECT 'hold:' || id, 'hold', asked_at, "user", award, id FROM leases""",
    """INSERT INTO postings (transaction_id, account, amount)
       SELECT id, 'award:' || award, -3600000 FROM transactions WHERE entry = 'hold'""",
    """INSERT INTO postings (transaction_id, account, amount)
       SELECT id, 'held:' || award, 3600000 FROM transactions WHERE entry = 'hold'""",
    """INSERT INTO transactions (key, entry, at, actor, award, lease)
       SELECT 'settle:' || id, 'settle', ended_at, 'portal', award, id FROM leases""",
    """INSERT INTO postings (transaction_id, account, amount)
       SELECT id, 'held:' || award, -3600000 FROM transactions WHERE entry = 'settle'""",
    """INSERT INTO postings (transaction_id, account, amount)
       SELECT tx.id, 'charged\\:main', l.charged FROM transactions tx JOIN leases l ON l.id = tx.lease
       WHERE tx.entry = 'settle'""",
    """INSERT INTO postings (transaction_id, account, amount)
       SELECT tx.id, 'award:' || tx.award, 3600000 - l.charged FROM transactions tx JOIN leases l ON l.id = tx.lease
       WHERE tx.entry = 'settle'""",
    """UPDATE awards SET charged = used.amount FROM
       (SELECT award, SUM(charged) AS amount FROM leases GROUP BY award) AS used WHERE used.award = awards.id""",
)
FILLED = (t.users, t.projects, t.members, t.awards, t.leases, t.keys, t.transactions, t.postings)


def fill(store: Store, *, projects: int, past: int, now: int) -> None:
    """Fill an empty database."""
    with store.writing() as unit:
        unit.set_pool(Pool("main", "GB300", 1000))
        for number in range(PROGRAMMES):
            slug = f"programme{number}"
            unit.add_programme(slug, slug, cap=10_008)
            unit.set_budget(slug, "main", BUDGET, ref="first", at=now, actor="admin")
        unit.publish("gpu1", unit.add_profile(Profile("gpu1", 0, "1 GPU", "main", 1, Span.DOMAIN, 4 * 3600, idle=3600)))
    told = {
        "now": now, "year": YEAR, "programmes": PROGRAMMES, "awarded": AWARDED, "past": past, "projects": projects
    }  # fmt: skip
    # SQLite's journal can be switched off by whoever is alone.
    store.close()
    engine = sa.create_engine(store.url)
    with engine.connect() as connection:
        _without_checks(connection)
        indexes = [index for table in FILLED for index in table.indexes]
        for index in indexes:
            index.drop(connection)
        for statements, count in ((PROJECTS, projects), (LEASES, past)):
            for statement in statements:
                connection.execute(sa.text(statement.format(counted=COUNTED.format(count=count), **told)))
        for index in indexes:
            # Made at the end they are made by sorting, which is many times faster.
            index.create(connection)
        connection.commit()
    if engine.dialect.name == "postgresql":
        # What the server's own housekeeping has done long before a database is that old.
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text("VACUUM ANALYZE"))
            connection.execute(sa.text("CHECKPOINT"))
    engine.dispose()


def _without_checks(connection: sa.Connection) -> None:
    """Have nothing checked row by row: `verify` looks at the whole afterwards."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SET session_replication_role = replica"))
        return
    for pragma in ("foreign_keys = OFF", "synchronous = OFF", "journal_mode = OFF"):
        connection.exec_driver_sql(f"PRAGMA {pragma}")
