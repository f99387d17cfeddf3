"""What is counted while it happens: told by the desk and the run loop, kept in memory, read by Prometheus.

A counter begins at 0 with the process, as Prometheus expects it.
"""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics

from nvlhub.flow.lease import Lease
from nvlhub.observer import Observer, SoFar
from nvlhub.wire import EndReason, Kind, State

REFUSALS = (
    "award-ends-first", "balance-changed", "balance-too-low", "cap-award", "cap-member", "cap-programme", "cap-project",
    "cap-user", "domain-unknown", "key-reused", "lease-unknown", "never-fit-domain", "never-fit-pool", "never-fits",
    "no-award", "no-room", "parent-cannot", "pool-unknown", "preemptible-off", "preemptible-unneeded",
    "profile-draft", "profile-not-for", "profile-unknown", "project-unknown",
)  # fmt: skip
"""Why a start may be refused; whatever is not here counts as ``other``."""
OTHER = "other"
ADMISSION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
WAIT_BUCKETS = (1, 2, 5, 10, 30, 60, 120, 300, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400)
TURN_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

# One series more per counter, which nobody asks for.
disable_created_metrics()


class Counts(Observer):
    """Counters and histograms, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._began = time.monotonic()
        self.turned_at = self._began
        """When the run loop last ended a turn, on the monotonic clock; until it has: when this began."""
        self.proof: tuple[int, bool] | None = None
        """When the ledger was last verified, and whether it was right."""
        self._admissions = self._counter("nvlhub_admissions", "Leases admitted", "kind", tuple(Kind))
        self._refusals = self._counter("nvlhub_refusals", "Starts refused", "slug", (*REFUSALS, OTHER))
        self._ended = self._counter(
            "nvlhub_leases_ended", "Leases settled, by why they ended", "reason", tuple(EndReason)
        )
        self._charged = self._amounts("charged", "Charged when leases were settled")
        self._refunded = self._amounts("refunded", "Given back at once, because the machine failed")
        self._admission = self._histogram(
            "nvlhub_admission_seconds", "From asking to the saved hold, of what was admitted", ADMISSION_BUCKETS
        )
        self._wait = self._histogram("nvlhub_wait_seconds", "From asking to running", WAIT_BUCKETS)
        self._turn = self._histogram("nvlhub_run_loop_turn_seconds", "Turns of the run loop", TURN_BUCKETS)

    def _counter(self, name: str, text: str, label: str, values: tuple[str, ...]) -> Counter:
        made = Counter(name, text, [label], registry=self.registry)
        for value in values:
            made.labels(value)
        return made

    def _amounts(self, what: str, text: str) -> tuple[Counter, Counter]:
        """Return counters of GPU-seconds, and of what they cost: the integers of the ledger, to compare without rounding."""
        return (
            Counter(f"nvlhub_{what}_gpu_seconds", f"{text}: GPUs x seconds", registry=self.registry),
            Counter(
                f"nvlhub_{what}_milli_gpu_seconds",
                f"{text}: GPUs x seconds x charge factor in thousandths",
                registry=self.registry,
            ),
        )

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, text, buckets=buckets, registry=self.registry)

    def admitted(self, kind: Kind, count: int, seconds: float) -> None:
        """Count leases, and how long their admission took."""
        self._admissions.labels(kind).inc(count)
        self._admission.observe(seconds)

    def refused(self, slug: str) -> None:
        """Count a refusal."""
        self._refusals.labels(slug if slug in REFUSALS else OTHER).inc()

    def moved(self, before: Lease, after: Lease) -> None:
        """Count a lease that begins to run, or is settled."""
        if before.started_at is None and after.started_at is not None:
            self._wait.observe(after.started_at - after.asked_at)
        if after.state is State.SETTLED and after.end_reason is not None:
            self._ended.labels(after.end_reason).inc()
            for amount, (seconds, units) in ((after.charged, self._charged), (after.refunded, self._refunded)):
                seconds.inc(amount // after.factor_milli)
                units.inc(amount)

    def turned(self, seconds: float) -> None:
        """Count a turn of the run loop."""
        self._turn.observe(seconds)
        self.turned_at = time.monotonic()

    def verified(self, at: int, *, ok: bool) -> None:
        """Remember what the proof said."""
        self.proof = (at, ok)

    def so_far(self) -> SoFar:
        """Return the same numbers as Prometheus reads."""
        now = time.monotonic()
        refused = _values(self._refusals, "_total")
        [turns], [seconds] = _values(self._turn, "_count").values(), _values(self._turn, "_sum").values()
        return SoFar(
            up=int(now - self._began), admitted=int(sum(_values(self._admissions, "_total").values())),
            refused={slug: int(count) for slug, count in refused.items() if count}, turns=int(turns),
            turn_mean=seconds / turns if turns else None, turn_ago=now - self.turned_at, proof=self.proof,
        )  # fmt: skip


def _values(metric: Counter | Histogram, kind: str) -> dict[str, float]:
    """Return the values of a metric's samples of one kind, by their label."""
    samples = (sample for family in metric.collect() for sample in family.samples if sample.name.endswith(kind))
    return {next(iter(sample.labels.values()), ""): sample.value for sample in samples}
