"""A demo project, marked as such, for a portal that was just made."""

from __future__ import annotations

from nvlhub.flow.request import Pool, Profile
from nvlhub.store import Store
from nvlhub.wire import MILLI_PER_GPU_HOUR, Span

HOUR = 3600
USERS = ("researcher", "instructor", "admin")
BUDGET = 100_000
"""GPU-hours that the demo programme may award."""
PROJECTS = (
    ("demo", "Demo project", 200, ("researcher", "instructor")),
    ("demo-small", "Demo project, nearly spent", 2, USERS),
)
"""Nobody decides on a project that they are a member of: the officer, admin, is none of the first."""
PROFILES = (
    ("gpu1", "1 GPU", 1, 4 * HOUR),
    ("gpu2", "2 GPUs (superchip)", 2, 4 * HOUR),
    ("gpu4", "4 GPUs (tray)", 4, 4 * HOUR),
    ("gpu8", "8 GPUs (two trays)", 8, 2 * HOUR),
)


def seed(store: Store, pool: Pool, now: int) -> None:
    """Fill an empty directory with the demo; do nothing in one that has projects."""
    with store.writing() as unit:
        if unit.projects(per_page=1)[1]:
            return
        for user in USERS:
            unit.know_user(user, now)
        unit.add_institution("demo", "Demo institution")
        unit.add_programme("demo", "Demo programme")
        unit.set_officer("demo", "admin", is_one=True)
        unit.note("demo-made", "programme:demo", at=now, actor="demo", programme="demo", after={"budget": BUDGET})
        unit.set_budget("demo", pool.name, BUDGET * MILLI_PER_GPU_HOUR, ref="demo", at=now, actor="demo")
        for slug, name, hours, members in PROJECTS:
            unit.add_project(slug, name, "demo", institution="demo")
            told = {"gpu_hours": hours, "members": list(members)}
            unit.note("demo-made", f"project:{slug}", at=now, actor="demo", programme="demo", project=slug, after=told)
            for user in members:
                unit.set_member(slug, user, "pi" if user == "researcher" else "member")
            year = 365 * 24 * HOUR
            unit.add_award(
                slug, pool.name, hours * MILLI_PER_GPU_HOUR, now - HOUR, now + year, cap=None, at=now, actor="demo"
            )
        for name, title, gpus, longest in PROFILES:
            if gpus <= pool.domain_gpus:
                version = unit.add_profile(
                    Profile(name, 0, title, pool.name, gpus, Span.DOMAIN, longest, idle=HOUR)
                )  # fmt: skip
                unit.publish(name, version)
