"""Slurm's accounts as they are against what is wanted: what is changed, what is left alone, and that it suffices."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvlhub.engines.slurm.limits import (
    FLAGS,
    Account,
    CollisionError,
    Limits,
    Present,
    Wanted,
    diff,
    read,
    strangers,
    warnings,
)
from nvlhub.engines.slurm.reading import settings

# As Slurm 22.05.8 printed them.
ASSOCS = """root|||||||normal|
root||root|||||normal|
nvlhub|root||||||nvlhub|nvlhub
nvlhub.programme.teach|nvlhub|||gres/gpu=16|||nvlhub|nvlhub
demo|nvlhub.programme.teach|||gres/gpu=8|gres/gpu=0|gres/gpu=8|nvlhub|nvlhub
demo||carol.x||gres/gpu=4||gres/gpu=8|nvlhub|nvlhub
demo||root||cpu=8,gres/gpu=4||gres/gpu=8|nvlhub|nvlhub
"""
ACCOUNTS = "demo|nvlhub\nnvlhub|nvlhub\nnvlhub.programme.teach|nvlhub\nroot|root\n"
QOS = "normal|\nnvlhub|DenyOnLimit,NoDecay\n"
USERS = "carol.x|demo\nroot|root\n"

LIMITED = Wanted(
    "nvl", "nvlhub",
    {
        "nvlhub": Account(None, qos="nvlhub"),
        "nvlhub.programme.teach": Account("nvlhub", Limits(gpus=16)),
        "demo": Account("nvlhub.programme.teach", Limits(8, 0, 8)),
    },
    {("demo", "carol.x"): Limits(4), ("demo", "root"): Limits(4)},
)  # fmt: skip


@dataclass
class Fake:
    """A sacctmgr of one cluster: takes its commands, prints what it has."""

    accounts: dict[str, dict[str, str]] = field(
        default_factory=lambda: {"root": {"parent": "", "Organization": "root"}}
    )
    seats: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    qos: dict[str, set[str]] = field(default_factory=lambda: {"normal": set()})
    defaults: dict[str, str] = field(default_factory=dict)

    def run(self, argv: tuple[str, ...]) -> None:
        assert argv[:2] == ("sacctmgr", "-i")
        verb, kind, *rest = argv[2:]
        given_ = dict(word.split("=", 1) for word in rest if "=" in word and not word.startswith("Flags"))
        assert kind == "qos" or given_.pop("cluster") == "nvl"
        getattr(self, f"{verb}_{kind}")(rest, given_)

    def add_qos(self, rest: list[str], _: dict[str, str]) -> None:
        assert rest[0] not in self.qos
        self.qos[rest[0]] = set(rest[1].removeprefix("Flags=").split(","))

    def modify_qos(self, rest: list[str], told: dict[str, str]) -> None:
        self.qos[told["name"]] |= set(rest[-1].removeprefix("Flags+=").split(","))

    def add_account(self, rest: list[str], told: dict[str, str]) -> None:
        assert rest[0] not in self.accounts
        assert told.setdefault("parent", "root") in self.accounts
        assert "QOS" not in told or told["QOS"] in self.qos
        self.accounts[rest[0]] = told

    def modify_account(self, _: list[str], told: dict[str, str]) -> None:
        name = told.pop("name")
        assert told.get("parent", "root") in self.accounts
        assert told, "nothing to modify"
        self.accounts[name] |= told

    def delete_account(self, _: list[str], told: dict[str, str]) -> None:
        assert not any(account["parent"] == told["name"] for account in self.accounts.values())
        assert not any(account == told["name"] for account, _ in self.seats)
        del self.accounts[told["name"]]

    def add_user(self, rest: list[str], told: dict[str, str]) -> None:
        account = told.pop("account")
        assert account in self.accounts
        for name in rest[0].split(","):
            assert (account, name) not in self.seats
            self.seats[account, name] = dict(told)
            self.defaults.setdefault(name, account)

    def modify_user(self, _: list[str], told: dict[str, str]) -> None:
        name = told.pop("name")
        if default := told.get("DefaultAccount"):
            assert (default, name) in self.seats
            self.defaults[name] = default
        else:
            account = told.pop("account")
            for one in name.split(","):
                self.seats[account, one] |= told

    def delete_user(self, _: list[str], told: dict[str, str]) -> None:
        del self.seats[told["account"], told["name"]]
        left = [account for account, user in self.seats if user == told["name"]]
        assert self.defaults[told["name"]] != told["account"] or not left, "somebody would be without a default account"
        if not left:
            del self.defaults[told["name"]]

    def present(self) -> Present:
        assocs = []
        for name, facts in self.accounts.items():
            qos = facts.get("QOS", "normal")
            assocs.append([name, facts["parent"], "", "", *_limits(facts), qos, facts.get("DefaultQOS", "")])
        for (account, user), facts in self.seats.items():
            inherited = _limits(self.accounts[account])[2]
            assocs.append([account, "", user, "", *_limits(facts)[:2], inherited, "normal", ""])
        return read(
            "\n".join("|".join(row) for row in assocs),
            "\n".join(f"{name}|{facts['Organization']}" for name, facts in self.accounts.items()),
            "\n".join(f"{name}|{','.join(sorted(flags))}" for name, flags in self.qos.items()),
            "\n".join(f"{name}|{account}" for name, account in self.defaults.items()),
        )


def _limits(facts: dict[str, str]) -> list[str]:
    told = [facts.get(name, "") for name in ("GrpTRES", "GrpTRESMins", "MaxTRES")]
    return ["" if value.endswith("=-1") else value for value in told]


def test_what_slurm_prints_is_read() -> None:
    present = read(ASSOCS, ACCOUNTS, QOS, USERS)
    assert present.accounts["demo"] == Account("nvlhub.programme.teach", Limits(8, 0, 8), "nvlhub")
    assert {(seat.user, seat.limits.gpus) for seat in present.seats} == {("root", None), ("carol.x", 4), ("root", 4)}
    assert present.defaults == {"carol.x": "demo", "root": "root"}
    assert present.qos["nvlhub"] == FLAGS


def test_where_all_is_as_it_should_be_nothing_is_done() -> None:
    assert diff(LIMITED, read(ASSOCS, ACCOUNTS, QOS, USERS)) == []


def test_changes_are_told_in_sentences_and_only_limits_of_gpus_are_touched() -> None:
    accounts = {**LIMITED.accounts, "demo": Account("nvlhub.programme.teach", Limits(None, 12_000, 8))}
    wanted = Wanted("nvl", "nvlhub", accounts, {("demo", "dave"): Limits(), ("demo", "root"): Limits(2)})
    changes = diff(wanted, read(ASSOCS, ACCOUNTS, QOS.replace(",NoDecay", ""), USERS))
    assert [change.sentence for change in changes] == [
        "QOS nvlhub: add NoDecay",
        "account demo: GPUs at once: no limit instead of 8; GPU-minutes in all: 12,000 instead of 0",
        "user dave in account demo: add",
        "user root in account demo: GPUs at once: 2 instead of 4",
        "user carol.x in account demo: remove",
    ]
    assert changes[1].argv == (
        "sacctmgr", "-i", "modify", "account", "where", "name=demo", "cluster=nvl", "set",
        "GrpTRES=gres/gpu=-1", "GrpTRESMins=gres/gpu=12000",
    )  # fmt: skip
    assert [change.removes for change in changes] == [False, False, False, False, True]


@pytest.mark.parametrize(
    ("accounts", "organizations", "names"),
    [
        ("demo|root||||||normal|", "demo|physics", "demo"),
        # Made by another cluster of the same database.
        ("", "demo|physics", "demo"),
        # With our mark, but not below our root: somebody moved it.
        ("demo|root||||||normal|", "demo|nvlhub", "demo"),
        ("nvlhub|root||||||normal|", "nvlhub|physics", "nvlhub"),
    ],
)
def test_an_account_of_others_is_never_taken(accounts: str, organizations: str, names: str) -> None:
    with pytest.raises(CollisionError, match=names):
        diff(LIMITED, read(f"root|||||||normal|\n{accounts}", organizations, QOS, ""))


def test_what_others_put_below_our_root_stays_and_is_told() -> None:
    fake = Fake()
    for change in diff(LIMITED, fake.present()):
        fake.run(change.argv)
    fake.accounts["lab"] = {"parent": "demo", "Organization": "lab"}
    fake.seats["lab", "eve"] = {}
    without = Wanted("nvl", "nvlhub", {"nvlhub": LIMITED.accounts["nvlhub"]}, {})
    assert strangers(without, fake.present()) == ["lab"]
    for change in diff(without, fake.present()):
        fake.run(change.argv)
    # What lies above theirs stays, too, without its users.
    assert set(fake.accounts) == {"root", "nvlhub", "nvlhub.programme.teach", "demo", "lab"}
    assert set(fake.seats) == {("lab", "eve")}


def test_a_partition_of_its_own_does_not_get_somebody_past_the_limits() -> None:
    rows = ASSOCS + "demo||carol.x|gpu||||nvlhub|nvlhub\n"
    [change] = diff(LIMITED, read(rows, ACCOUNTS, QOS, USERS))
    assert change.argv[-4:] == ("name=carol.x", "account=demo", "cluster=nvl", "partition=gpu")


def test_members_who_lack_the_same_are_one_step_of_no_more_than_a_hundred() -> None:
    users = {("demo", f"u{number:03}"): Limits(gpus=4) for number in range(150)} | {("demo", "eve"): Limits()}
    changes = diff(Wanted("nvl", "nvlhub", LIMITED.accounts, LIMITED.users | users), read(ASSOCS, ACCOUNTS, QOS, USERS))
    told = [len(change.argv[4].split(",")) for change in changes]
    assert told == [1, 100, 50]
    assert changes[1].sentence.startswith("users u000, u001, ")


LIMIT = st.none() | st.integers(0, 10**6)
NAMES = st.sampled_from([f"p{number}" for number in range(6)])
PEOPLE = st.sampled_from(["ann", "bob", "cy"])


@st.composite
def layouts(draw: st.DrawFn) -> Wanted:
    accounts = {"nvlhub": Account(None, qos="nvlhub")}
    programmes = draw(st.sets(st.sampled_from(["nvlhub.programme.a", "nvlhub.programme.b"]), min_size=1))
    accounts |= {name: Account("nvlhub", Limits(gpus=draw(LIMIT))) for name in sorted(programmes)}
    if draw(st.booleans()):
        accounts["nvlhub.low"] = Account("nvlhub", qos="nvlhub.low")
    for name in draw(st.sets(NAMES)):
        parent = draw(st.sampled_from(sorted(programmes)))
        accounts[name] = Account(parent, Limits(draw(LIMIT), draw(LIMIT), draw(LIMIT)))
    seats = st.sets(st.tuples(st.sampled_from(sorted(accounts)), PEOPLE))
    return Wanted("nvl", "nvlhub", accounts, {seat: Limits(gpus=draw(LIMIT)) for seat in draw(seats)})


@given(layouts(), layouts(), st.sets(PEOPLE))
def test_whatever_there_is_becomes_what_is_wanted_and_strangers_stay(
    before: Wanted, after: Wanted, others: set[str]
) -> None:
    fake = Fake()
    fake.accounts["lab"] = {"parent": "root", "Organization": "lab", "GrpTRES": "gres/gpu=3"}
    for name in sorted(others):
        fake.add_user([name], {"account": "lab", "GrpTRES": "gres/gpu=1"})
    theirs = (dict(fake.accounts["lab"]), {seat: dict(facts) for seat, facts in fake.seats.items()})
    for layout in (before, after):
        for change in diff(layout, fake.present()):
            fake.run(change.argv)
        present = fake.present()
        assert diff(layout, present) == []
        ours = {name: account for name, account in present.accounts.items() if name not in {"root", "lab"}}
        assert {name: account.limits for name, account in ours.items()} == {
            name: account.limits for name, account in layout.accounts.items()
        }
        assert all(account.parent == layout.accounts[name].parent for name, account in ours.items() if name != "nvlhub")
        found = {(seat.account, seat.user): seat.limits for seat in present.seats if seat.account != "lab"}
        assert found == layout.users
    seats = {seat: facts for seat, facts in fake.seats.items() if seat[0] == "lab"}
    assert (fake.accounts["lab"], seats) == theirs


def test_settings_that_undo_the_limits_are_told() -> None:
    good = """ClusterName             = nvlhub
AccountingStorageEnforce = associations,limits,qos,safe
AccountingStorageTRES   = cpu,mem,energy,node,billing,fs/disk,vmem,pages,gres/gpu
PriorityDecayHalfLife   = 00:00:00
PriorityType            = priority/multifactor
PriorityUsageResetPeriod = NONE
"""
    assert warnings(settings(good)) == []
    bad = (
        good.replace("00:00:00", "7-00:00:00")
        .replace("= NONE", "= MONTHLY")
        .replace(",safe", "")
        .replace(",gres/gpu", "")
    )
    told = " ".join(warnings(settings(bad)))
    for words in ("half-life of 7-00:00:00", "forgotten monthly", "lacks safe", "does not count GPUs"):
        assert words in told
    assert len(warnings({"PriorityType": "priority/basic"})) == 2
