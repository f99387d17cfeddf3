"""Answers to the exercises of the example course: the code that a learner may write into the marked cells."""

from __future__ import annotations

SOLUTIONS = {
    "ex-1.1": """
cancelled = flights["dep_time"].isnull().astype("float64").groupby(flights["origin"]).mean()
""",
    "ex-1.2": """
by_place = flights.groupby("dest")["arr_delay"].agg(["mean", "count"])
often = by_place[by_place["count"] >= 365].sort_values("mean", ascending=False)
worst = list(host(often).index[:5])
""",
    "ex-1.3": """
built = planes[["tailnum", "year"]].rename(columns={"year": "built"})
flown = flights[["carrier", "tailnum"]].merge(built, on="tailnum", how="left")
flown["age"] = 2013 - flown["built"]
ages = host(flown.groupby("carrier")["age"].mean())
unknown = float(flown["age"].isnull().mean())
""",
    "ex-2.1": """
needed = ["carrier", "dep_time"]
read = dd.read_parquet(str(year), columns=needed)
marked = read.assign(gone=read["dep_time"].isnull().astype("float64"))
shares = marked.groupby("carrier")["gone"].mean().compute()
""",
    "ex-2.2": """
frontier, airtran = delays_of("F9"), delays_of("FL")


def drawn_difference(seed, first, second):
    chance = np.random.default_rng(seed)
    one = chance.choice(first, size=len(first)).mean()
    return float(one - chance.choice(second, size=len(second)).mean())


first, second = client.scatter([frontier, airtran], broadcast=True)
drawn = client.gather(client.map(drawn_difference, range(400), first=first, second=second))
interval = np.percentile(drawn, [2.5, 97.5])
""",
    "ex-2.3": """
def bill(seconds):
    least = min(seconds)
    cost = {workers: workers * taken for workers, taken in seconds.items()}
    return cost, {workers: cost[least] / paid for workers, paid in cost.items()}
""",
    "ex-3.1": """
spent = {where[2]: numbers[3] for where, numbers in stats.stats.items()}
hottest = "seats_of"
share = spent[hottest] / spent["slow_report"]
""",
    "ex-3.2": """
known_seats = dict(zip(planes_host["tailnum"], planes_host["seats"].astype(object)))


def seats_of_dict(tailnum):
    return known_seats.get(tailnum)
""",
    "ex-3.3": """
def fast_report(table, planes):
    late = table[table["arr_delay"] > 0]
    late = late.assign(weekend=weekend(late))[["carrier", "tailnum", "weekend", "arr_delay"]]
    both = late.merge(planes[["tailnum", "seats"]], on="tailnum")
    both["hours"] = both["seats"] * both["arr_delay"] / 60
    sums = host(both.groupby(["carrier", "weekend"])["hours"].sum())
    return {(carrier, bool(free)): float(hours) for (carrier, free), hours in sums.items()}
""",
    "ex-3.4": """
small = {name: "int8" for name in ("month", "day", "hour", "minute")}
names = {name: "category" for name in ("carrier", "origin", "dest")}
slim = wide.astype({**small, **names, "arr_delay": "float32"})
""",
}
