"""What the ledger must say, by rules that are written down here a second time: plain dictionaries and whole numbers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

Facts = dict[str, Any]


class Oracle:
    """Shares no code with the product. Amounts in milli-GPU-seconds, times in seconds."""

    def __init__(self, programmes: Iterable[str]) -> None:
        self.budgets: dict[tuple[str, str], list[int]] = {}  # [granted, awarded]
        self.awards: dict[int, Facts] = {}
        self.leases: dict[str, Facts] = {}
        self.caps: dict[tuple[str, ...], int | None] = {}
        self.factors = dict.fromkeys(programmes, 1000)

    def left(self, award: int) -> int:
        return int(self.awards[award]["awarded"] - self.awards[award]["charged"] - self.awards[award]["held"])

    def over(self, award: int, now: int) -> bool:
        return bool(self.awards[award]["revoked"] or now >= self.awards[award]["ends"])

    def award(self, number: int, amount: int, **facts: Any) -> None:
        self.awards[number] = {**facts, "awarded": amount, "charged": 0, "held": 0, "returned": 0, "revoked": False}
        self.budgets[facts["programme"], facts["pool"]][1] += amount

    def supplement(self, award: int, amount: int) -> None:
        facts = self.awards[award]
        facts["awarded"] += amount
        self.budgets[facts["programme"], facts["pool"]][1] += amount

    def give_back(self, award: int, amount: int) -> None:
        self.supplement(award, -amount)
        self.awards[award]["returned"] += amount

    def sweep(self, now: int) -> None:
        for award in self.awards:
            if self.over(award, now):
                self.give_back(award, self.left(award))

    def used(self, **marks: object) -> int:
        """GPUs of what is not settled and has these marks."""
        return sum(
            lease["gpus"]
            for lease in self.leases.values()
            if not lease["settled"] and all(lease[name] == value for name, value in marks.items())
        )

    def payers(self, who: Facts, gpus: int, seconds: int, count: int, now: int) -> list[int] | None:
        """The awards that pay for so many starts, one after the other; None: refused, all of them together."""
        payers: list[int] = []
        for names in (("user",), ("user", "project"), ("project",), ("programme",)):
            cap = self.caps.get(tuple(who[name] for name in names))
            if cap is not None and self.used(**{name: who[name] for name in names}) + count * gpus > cap:
                return None
        hold = gpus * seconds * self.factors[who["programme"]]
        for number, award in sorted(self.awards.items(), key=lambda item: (item[1]["ends"], item[0])):
            if (award["project"], award["pool"]) == (who["project"], "main") and award["starts"] <= now:
                starts = count - len(payers)
                if self.over(number, now) or now + seconds > award["ends"]:
                    starts = 0
                if award["cap"] is not None:
                    starts = min(starts, max(0, award["cap"] - self.used(award=number)) // gpus)
                payers += [number] * min(starts, self.left(number) // hold)
        return payers if len(payers) == count else None

    def hold(self, lease: str, award: int, who: Facts, gpus: int, seconds: int, now: int) -> None:
        factor = self.factors[who["programme"]]
        self.leases[lease] = {
            **who, "award": award, "gpus": gpus, "seconds": seconds, "rate": gpus * factor, "held": gpus * seconds * factor,
            "charged": 0, "refunded": 0, "corrected": 0, "started": None, "beat": now, "settled": False,
        }  # fmt: skip
        self.awards[award]["held"] += gpus * seconds * factor

    def extend(self, lease: str, seconds: int) -> None:
        facts = self.leases[lease]
        facts["seconds"] += seconds
        facts["held"] += seconds * facts["rate"]
        self.awards[facts["award"]]["held"] += seconds * facts["rate"]

    def settle(self, lease: str, reason: str, now: int, grace: int) -> None:
        facts, award = self.leases[lease], self.awards[self.leases[lease]["award"]]
        ran = 0
        if facts["started"] is not None:
            end = min(now, facts["beat"] + grace) if reason == "lost" else now
            ran = max(0, min(end - facts["started"], facts["seconds"]))
        facts["settled"], facts["charged"] = True, ran * facts["rate"]
        facts["refunded"] = facts["charged"] if reason == "engine" else 0
        award["held"] -= facts["held"]
        award["charged"] += facts["charged"] - facts["refunded"]

    def correct(self, lease: str, amount: int) -> None:
        self.leases[lease]["corrected"] += amount
        self.awards[self.leases[lease]["award"]]["charged"] += amount

    def paid(self, lease: str) -> int:
        facts = self.leases[lease]
        return int(facts["charged"] - facts["refunded"] + facts["corrected"])

    def accounts(self) -> dict[str, int]:
        """What the journal must add up to."""
        accounts: dict[str, int] = defaultdict(int)
        for (programme, pool), (granted, awarded) in self.budgets.items():
            accounts[f"supply:{pool}"] -= granted
            accounts[f"programme:{programme}:{pool}"] += granted - awarded
        for number, award in self.awards.items():
            accounts[f"award:{number}"] += self.left(number)
            accounts[f"held:{number}"] += award["held"]
            accounts[f"charged:{award['pool']}"] += award["charged"]
        return {account: amount for account, amount in accounts.items() if amount}
