"""A cluster for people: what it holds, where, what it costs, and why it is as it is."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nvlhub.text import say
from nvlhub.wire import LeaseView, State, gpu_hours
from nvlkernels.tuning import Tuning


@dataclass(frozen=True, slots=True)
class Standing:
    """What a cluster holds at one moment. Times in Unix seconds by the portal's clock, amounts in milli-GPU-seconds."""

    leases: tuple[LeaseView, ...]
    workers: int
    """Workers that the scheduler knows."""
    now: int
    spent: int = 0
    """Charged by leases that are over."""
    simulated: bool = False
    protocol: str = "tls"

    @property
    def running(self) -> list[LeaseView]:
        """The leases that have GPUs."""
        return [lease for lease in self.leases if lease.placement]

    @property
    def waiting(self) -> list[LeaseView]:
        """The leases that wait for room."""
        return [lease for lease in self.leases if lease.state is State.HELD]

    @property
    def gpus(self) -> int:
        """GPUs held."""
        return sum(lease.gpus for lease in self.running)

    @property
    def price_milli(self) -> int:
        """Milli-GPU-seconds per second."""
        return sum(lease.price_milli for lease in self.running)

    @property
    def charge(self) -> int:
        """Charged so far."""
        return self.spent + sum(spent(lease, self.now) for lease in self.leases)

    @property
    def seconds_left(self) -> int | None:
        """Seconds until the first of its leases ends; None while none has GPUs. One that just starts has all its time."""
        deadlines = [lease.deadline or self.now + lease.seconds for lease in self.running]
        return max(0, min(deadlines) - self.now) if deadlines else None

    @property
    def domains(self) -> dict[str, int]:
        """GPUs by NVLink domain."""
        found: dict[str, int] = {}
        for lease in self.running:
            for share in lease.placement:
                found[share.domain] = found.get(share.domain, 0) + len(share.gpus)
        return dict(sorted(found.items()))


def spent(lease: LeaseView, now: int) -> int:
    """Return what a lease has used until `now`; what it was charged once it is settled."""
    if lease.state is State.SETTLED:
        return lease.charged - lease.refunded
    if lease.started_at is None:
        return 0
    end = min(now, lease.ended_at or now)
    return lease.price_milli * min(max(0, end - lease.started_at), lease.seconds)


def as_rows(standing: Standing, lang: str) -> list[tuple[str, str]]:
    """Return what a reader wants to know, as (what, how much)."""
    wanted = sum(lease.gpus for lease in standing.leases)
    workers = str(standing.workers)
    if standing.waiting:
        workers = say("cluster-workers-waiting", lang, workers=workers, wanted=str(wanted), wait=queue(standing, lang))
    elif standing.workers < wanted:
        workers = say("cluster-workers-coming", lang, workers=workers, wanted=str(wanted))
    kind = say("cluster-simulated" if standing.simulated else "cluster-real", lang, gpus=str(standing.gpus))
    where = ", ".join(f"{domain} ({gpus})" for domain, gpus in standing.domains.items()) or "-"
    left = "-" if standing.seconds_left is None else time_left(standing.seconds_left, lang)
    values = {
        "workers": workers, "gpus": kind, "domain": where, "transport": standing.protocol,
        "price": say("cluster-price", lang, price=f"{standing.price_milli / 1000:g}"), "left": left,
        "charge": say("cluster-charge", lang, hours=gpu_hours(standing.charge), seconds=str(standing.charge // 1000)),
    }  # fmt: skip
    return [(say(f"cluster-row-{name}", lang), value) for name, value in values.items()]


def queue(standing: Standing, lang: str) -> str:
    """Say where the first of the waiting leases stands in the queue."""
    first = min(standing.waiting, key=lambda lease: lease.position or 10**9)
    if first.position is None:
        return first.detail or say("queued-unknown", lang)
    start = say("queued-unknown", lang)
    if first.expected_start is not None:
        start = say("queued-in", lang, minutes=str(-(-max(0, first.expected_start - standing.now) // 60)))
    return say("cluster-queue", lang, position=str(first.position), start=start)


def time_left(seconds: int, lang: str) -> str:
    """Return a time span in hours and minutes."""
    hours, rest = divmod(seconds, 3600)
    return say("cluster-left", lang, hours=str(hours), minutes=f"{rest // 60:02}")


def as_table(rows: Iterable[tuple[str, str]]) -> str:
    """Return rows for the table of Dask's own notebook view."""
    cell = '<td style="text-align: left;"><strong>{}:</strong> {}</td>'
    cells = [cell.format(html.escape(name), html.escape(value)) for name, value in rows]
    pairs = [cells[start : start + 2] for start in range(0, len(cells), 2)]
    return "".join(f"<tr>{''.join(pair)}</tr>" for pair in pairs)


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a cluster is as it is; shown as a table in a notebook."""

    rows: tuple[tuple[str, str, str], ...]
    """(setting, value, why)."""
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        lines = [f"{setting} = {value}: {why}" for setting, value, why in self.rows]
        return "\n".join([*lines, *(f"! {warning}" for warning in self.warnings)])

    def _repr_html_(self) -> str:
        cell = '<td style="text-align:left">{}</td>'
        rows = "".join(f"<tr>{''.join(cell.format(html.escape(part)) for part in row)}</tr>" for row in self.rows)
        notes = "".join(f"<p><strong>{html.escape(warning)}</strong></p>" for warning in self.warnings)
        return f"<table>{rows}</table>{notes}"


def explanation(tuning: Tuning, standing: Standing, lang: str) -> Explanation:
    """Return why a cluster is as it is."""
    where = _where(standing, lang)
    rows = [(choice.setting, choice.value, say(f"explain-{choice.why}", lang)) for choice in tuning.choices]
    warnings = tuple(say(f"explain-{name}", lang) for name in tuning.warnings)
    return Explanation((*where, *rows), warnings)


def _where(standing: Standing, lang: str) -> Sequence[tuple[str, str, str]]:
    kind = "simulated" if standing.simulated else "real"
    domains = standing.domains
    across = "no-workers" if not domains else "one-domain" if len(domains) == 1 else "across-domains"
    return (
        ("GPUs", str(standing.gpus), say(f"explain-{kind}", lang)),
        ("NVLink domain", ", ".join(domains) or "-", say(f"explain-{across}", lang)),
    )
