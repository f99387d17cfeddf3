"""Slurm's accounts as the portal wants them x as they are -> what must be changed, in order, as commands and sentences.

    root account (ours by its mark)        QOS of ours, limits of nobody
    |-- root.programme.NAME                GPUs at once: the programme's cap
    |   `-- project                        GPUs at once, GPUs of a job, GPU-minutes in all; members with their caps
    `-- root.low                           pre-emptible leases: nothing is counted

Only accounts below the root that bear our mark are touched, and of their limits only those of GPUs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from nvlhub.engines.slurm.names import MARK

ASSOC_FORMAT = "account,parentname,user,partition,grptres,grptresmins,maxtres,qos,defaultqos"
"""For ``sacctmgr -nP show assoc``."""
ACCOUNT_FORMAT = "account,organization"
QOS_FORMAT = "name,flags"
USER_FORMAT = "user,defaultaccount"
FLAGS = frozenset({"DenyOnLimit", "NoDecay"})
"""Of each QOS of ours: what can never start is refused at once; what its own counters hold does not fade."""
GPU = "gres/gpu"
NO_LIMIT = -1
AT_ONCE = 100
"""Users in one step."""

Limit = int | None


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of an association; None: no limit."""

    gpus: Limit = None
    """GPUs of all its jobs at once (GrpTRES)."""
    minutes: Limit = None
    """GPU-minutes of all its jobs ever (GrpTRESMins)."""
    per_job: Limit = None
    """GPUs of one job (MaxTRES)."""

    def arguments(self, before: Limits | None = None) -> Iterator[str]:
        """Yield the settings in which it differs from `before`."""
        old = before or Limits()
        names = (("GrpTRES", "gpus"), ("GrpTRESMins", "minutes"), ("MaxTRES", "per_job"))
        for option, name in names:
            value = getattr(self, name)
            if value != getattr(old, name):
                yield f"{option}={GPU}={NO_LIMIT if value is None else value}"

    def words(self, before: Limits | None = None) -> Iterator[str]:
        """Yield the same for people."""
        old = before or Limits()
        names = (("GPUs at once", "gpus"), ("GPU-minutes in all", "minutes"), ("GPUs in one job", "per_job"))
        for title, name in names:
            now, then = getattr(self, name), getattr(old, name)
            if now != then:
                changed = "" if before is None else f" instead of {_told(then)}"
                yield f"{title}: {_told(now)}{changed}"


def _told(limit: Limit) -> str:
    return "no limit" if limit is None else f"{limit:,}"


@dataclass(frozen=True, slots=True)
class Account:
    """An account. `parent` and `qos` are None where they are not ours to say, or inherited."""

    parent: str | None
    limits: Limits = Limits()
    qos: str | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What there should be. Users stand by account and name."""

    cluster: str
    root: str
    accounts: Mapping[str, Account]
    users: Mapping[tuple[str, str], Limits]


@dataclass(frozen=True, slots=True)
class Seat:
    """A user's association as it is; `partition` is empty for all of them."""

    account: str
    user: str
    partition: str
    limits: Limits


@dataclass(frozen=True, slots=True)
class Present:
    """What there is on one cluster."""

    accounts: Mapping[str, Account]
    """All of them, the strangers' included."""
    seats: tuple[Seat, ...]
    organizations: Mapping[str, str]
    """By account, those that other clusters have included."""
    qos: Mapping[str, frozenset[str]]
    defaults: Mapping[str, str] = field(default_factory=dict)
    """Default account of each user."""

    def is_below(self, account: str, root: str) -> bool:
        """Tell whether an account is the root or lies below it."""
        seen: set[str] = set()
        name: str | None = account
        while name and name not in seen:
            if name == root:
                return True
            seen.add(name)
            name = self.accounts[name].parent if name in self.accounts else None
        return False

    def is_ours(self, account: str, root: str) -> bool:
        """Tell whether an account may be touched."""
        return self.organizations.get(account) == MARK and self.is_below(account, root)


class CollisionError(ValueError):
    """Names that cannot be had; the text says which and what to do."""


@dataclass(frozen=True, slots=True)
class Change:
    """One call of ``sacctmgr``."""

    argv: tuple[str, ...]
    sentence: str
    removes: bool = False
    """Whether it is refused while jobs still run there, and left for later then."""


# --- reading ----------------------------------------------------------------------------------------------------------


def read(assocs: str, accounts: str, qos: str, users: str) -> Present:
    """Read what ``sacctmgr -nP show`` prints of one cluster's associations, and of accounts, QOS and users."""
    found: dict[str, Account] = {}
    seats: list[Seat] = []
    for account, parent, user, partition, gpus, minutes, per_job, of_qos, default in _rows(assocs, ASSOC_FORMAT):
        limits = Limits(_gpus(gpus), _gpus(minutes), _gpus(per_job))
        if user:
            # What it has of its account in one job is printed with it, too.
            seats.append(Seat(account, user, partition, Limits(limits.gpus, limits.minutes)))
        else:
            found[account] = Account(parent or None, limits, default if of_qos == default else None)
    return Present(
        found,
        tuple(seats),
        _pairs(accounts, ACCOUNT_FORMAT),
        {name: frozenset(flags.split(",")) - {""} for name, flags in _rows(qos, QOS_FORMAT)},
        _pairs(users, USER_FORMAT),
    )


def _rows(text: str, columns: str) -> Iterator[tuple[str, ...]]:
    width = columns.count(",") + 1
    for line in text.splitlines():
        parts = tuple(line.split("|"))
        if len(parts) == width and parts[0]:
            yield parts


def _pairs(text: str, columns: str) -> dict[str, str]:
    return {row[0]: row[1] for row in _rows(text, columns)}


def _gpus(tres: str) -> Limit:
    found = re.search(rf"(?:^|,){GPU}=(\d+)(?:,|$)", tres)
    return int(found[1]) if found else None


# --- what is in the way -----------------------------------------------------------------------------------------------


def check(wanted: Wanted, present: Present) -> None:
    """Raise `CollisionError` where an account that others made has a name that is wanted."""
    root = wanted.root
    if root in present.organizations and present.organizations[root] != MARK:
        raise CollisionError(
            f"The account {root} exists already and was not made by nvlhub. Choose another name with --root, or hand it "
            f"over, with what it can do, by: sacctmgr modify account {root} set Organization={MARK}"
        )
    taken = [
        name for name in wanted.accounts
        if name in present.organizations.keys() | present.accounts.keys()
        and not (present.is_ours(name, root) or (name not in present.accounts and present.organizations[name] == MARK))
    ]  # fmt: skip
    if taken:
        raise CollisionError(
            f"Accounts of others have these names already: {', '.join(sorted(taken))}. They stay as they are, and nothing "
            "was changed. Choose names that nobody has with --account, e.g. nvlhub-{project}."
        )


def strangers(wanted: Wanted, present: Present) -> list[str]:
    """Return the accounts below our root that others made: they are left alone, and somebody should know."""
    below = (name for name in present.accounts if name != wanted.root and present.is_below(name, wanted.root))
    return sorted(name for name in below if not present.is_ours(name, wanted.root))


# --- what must be changed ---------------------------------------------------------------------------------------------


def diff(wanted: Wanted, present: Present) -> list[Change]:
    """Return what must be changed, in an order in which each step finds what it needs.

    Grants come first, so that nobody waits for something that cannot be taken away yet. Raises `CollisionError`.
    """
    check(wanted, present)
    work = _Work(wanted, present)
    return [*work.qos(), *work.accounts(), *work.seats(), *work.leaving()]


@dataclass(frozen=True, slots=True)
class _Work:
    """Both sides, and the changes between them."""

    wanted: Wanted
    present: Present

    def qos(self) -> Iterator[Change]:
        """Yield what QOS lack."""
        for name in sorted({account.qos for account in self.wanted.accounts.values() if account.qos}):
            flags = ",".join(sorted(FLAGS))
            if name not in self.present.qos:
                yield _change("add", "qos", name, f"Flags={flags}", say=f"QOS {name}: add, with {flags}")
            elif missing := FLAGS - self.present.qos[name]:
                lacking = ",".join(sorted(missing))
                words = ("modify", "qos", "where", f"name={name}", "set", f"Flags+={lacking}")
                yield _change(*words, say=f"QOS {name}: add {lacking}")

    def accounts(self) -> Iterator[Change]:
        """Yield what accounts lack, parents first."""
        for name in sorted(self.wanted.accounts, key=lambda name: (self._depth(name), name)):
            account, before = self.wanted.accounts[name], self.present.accounts.get(name)
            if before is None:
                parent = [f"parent={account.parent}"] if account.parent else []
                yield _change(
                    "add", "account", name, self._cluster, *parent, f"Organization={MARK}",
                    "Description=kept by nvlhub slurm sync", *_qos(account), *account.limits.arguments(),
                    say=_sentence(f"account {name}: add", f"below {account.parent}" if parent else "", account.limits),
                )  # fmt: skip
                continue
            moved = account.parent is not None and account.parent != before.parent
            settings = [
                *account.limits.arguments(before.limits),
                *(_qos(account) if account.qos != before.qos else []),
                *([f"parent={account.parent}"] if moved else []),
            ]
            if settings:
                told = [
                    *account.limits.words(before.limits),
                    *([f"QOS: {account.qos}"] if account.qos and account.qos != before.qos else []),
                    *([f"below {account.parent} instead of {before.parent}"] if moved else []),
                ]
                words = ("modify", "account", "where", f"name={name}", self._cluster, "set", *settings)
                yield _change(*words, say=f"account {name}: {'; '.join(told)}")

    def seats(self) -> Iterator[Change]:
        """Yield what members lack: those of an account who lack the same in one step, as each takes sacctmgr a while."""
        before = {(seat.account, seat.user): seat.limits for seat in self.present.seats if not seat.partition}
        alike: dict[tuple[str, Limits, Limits | None], list[str]] = {}
        for (account, user), limits in sorted(self.wanted.users.items()):
            if (there := before.get((account, user))) != limits:
                alike.setdefault((account, limits, there), []).append(user)
        for (account, limits, there), users in alike.items():
            for some in (users[start : start + AT_ONCE] for start in range(0, len(users), AT_ONCE)):
                names = ",".join(some)
                who = f"user{'s' if len(some) > 1 else ''} {', '.join(some)} in account {account}"
                if there is None:
                    words = ("add", "user", names, f"account={account}", self._cluster, *limits.arguments())
                    yield _change(*words, say=_sentence(f"{who}: add", "", limits))
                else:
                    where = ("where", f"name={names}", f"account={account}", self._cluster)
                    told = "; ".join(limits.words(there))
                    yield _change("modify", "user", *where, "set", *limits.arguments(there), say=f"{who}: {told}")

    def leaving(self) -> Iterator[Change]:
        """Yield what is too much, children first."""
        root = self.wanted.root
        ours = [name for name in self.present.accounts if self.present.is_ours(name, root)]
        for seat in sorted(self.present.seats, key=self._order):
            if seat.account in ours and (seat.partition or (seat.account, seat.user) not in self.wanted.users):
                yield from self._leave(seat)
        gone = [name for name in ours if name not in self.wanted.accounts]
        # Others may have put something of theirs below it.
        carrying = {above for name in strangers(self.wanted, self.present) for above in self._above(name)}
        for name in sorted(gone, key=lambda name: (-self._depth_now(name), name)):
            if name not in carrying:
                yield _change(
                    "delete", "account", "where", f"name={name}", self._cluster, say=f"account {name}: remove",
                    removes=True,
                )  # fmt: skip

    def _order(self, seat: Seat) -> tuple[bool, str, str, str]:
        """Put a default account last: newer versions let nobody be without one."""
        return self.present.defaults.get(seat.user) == seat.account, seat.account, seat.user, seat.partition

    def _above(self, name: str) -> Iterator[str]:
        """Yield an account and those above it, as they lie once all is done."""
        while name:
            yield name
            account = self.wanted.accounts.get(name) or self.present.accounts.get(name)
            name = (account.parent if account else None) or ""

    def _leave(self, seat: Seat) -> Iterator[Change]:
        stays = {one.account for one in self.present.seats if one.user == seat.user} | {
            account for account, user in self.wanted.users if user == seat.user
        }
        stays = {
            account for account in stays
            if not self.present.is_ours(account, self.wanted.root) or (account, seat.user) in self.wanted.users
        }  # fmt: skip
        if self.present.defaults.get(seat.user) == seat.account and stays and seat.account not in stays:
            other = min(stays)
            yield _change(
                "modify", "user", "where", f"name={seat.user}", self._cluster, "set", f"DefaultAccount={other}",
                say=f"user {seat.user}: default account {other} instead of {seat.account}",
            )  # fmt: skip
        partition = [f"partition={seat.partition}"] if seat.partition else []
        yield _change(
            "delete", "user", "where", f"name={seat.user}", f"account={seat.account}", self._cluster, *partition,
            say=f"user {seat.user} in account {seat.account}: remove", removes=True,
        )  # fmt: skip

    @property
    def _cluster(self) -> str:
        return f"cluster={self.wanted.cluster}"

    def _depth(self, name: str) -> int:
        parent = self.wanted.accounts[name].parent if name in self.wanted.accounts else None
        return 0 if parent is None else 1 + self._depth(parent)

    def _depth_now(self, name: str) -> int:
        return sum(self.present.is_below(name, other) for other in self.present.accounts)


def _change(*words: str, say: str, removes: bool = False) -> Change:
    return Change(("sacctmgr", "-i", *words), say, removes)


def _qos(account: Account) -> list[str]:
    return [f"QOS={account.qos}", f"DefaultQOS={account.qos}"] if account.qos else []


def _sentence(what: str, where: str, limits: Limits) -> str:
    told = [part for part in (where, *limits.words()) if part]
    return what + (f"; {'; '.join(told)}" if told else "")


# --- the cluster's own settings ---------------------------------------------------------------------------------------


def warnings(config: Mapping[str, str]) -> list[str]:
    """Return why the limits do not hold as they stand, in sentences."""
    found = []
    enforced = {word.strip() for word in config.get("AccountingStorageEnforce", "").split(",")}
    if missing := [word for word in ("associations", "limits", "qos", "safe") if word not in enforced]:
        found.append(
            f"AccountingStorageEnforce lacks {', '.join(missing)}: "
            "set AccountingStorageEnforce=associations,limits,qos,safe in slurm.conf."
        )
    if GPU not in config.get("AccountingStorageTRES", "").split(","):
        found.append(f"Slurm does not count GPUs: set AccountingStorageTRES={GPU} in slurm.conf.")
    if config.get("PriorityType") == "priority/multifactor":
        half_life = config.get("PriorityDecayHalfLife", "")
        if any(part.strip("0") for part in re.split(r"[-:]", half_life)):
            found.append(
                f"What accounts used fades with a half-life of {half_life}, so GPU-minutes come back by themselves: the "
                "second lock is looser than it says. Set PriorityDecayHalfLife=0 in slurm.conf where nobody's fair share "
                "depends on it. The flag NoDecay of a QOS does not help: it is about the QOS's own counters."
            )
        reset = config.get("PriorityUsageResetPeriod", "NONE")
        if reset != "NONE":
            found.append(
                f"What accounts used is forgotten {reset.lower()}: set PriorityUsageResetPeriod=NONE in slurm.conf."
            )
    return found


def check_names(names: Iterable[tuple[str, str]]) -> None:
    """Raise `CollisionError` where two things (account, what it is for) would have one account."""
    seen: dict[str, str] = {}
    for account, what in names:
        if account in seen:
            raise CollisionError(
                f"The {seen[account]} and the {what} would both have the account {account}. Choose other names with "
                "--account or --root."
            )
        seen[account] = what
