"""The assessment solved: what the hidden values are made with."""

from __future__ import annotations

ANSWERS = """
def cancelled(flights):
    marked = flights.assign(share=flights["dep_time"].isnull().astype("float64"))
    return marked.groupby("carrier", sort=True)["share"].mean().reset_index()


def rain(flights, weather):
    key = ["origin", "time_hour"]
    joined = flights.merge(weather[[*key, "precip"]], on=key, how="left")
    dry, wet = joined[joined["precip"] == 0], joined[joined["precip"] > 0]
    delays = {"dry": float(dry["dep_delay"].mean()), "wet": float(wet["dep_delay"].mean())}
    return {**delays, "unknown": float(joined["precip"].isnull().mean())}


def ages(flights, planes):
    built = planes[["tailnum", "year"]].rename(columns={"year": "built"})
    flown = flights[["carrier", "tailnum"]].merge(built, on="tailnum", how="left")
    return flown.assign(age=2013 - flown["built"]).groupby("carrier", sort=True)["age"].mean().reset_index()


def late(flights):
    found = flights.groupby(["origin", "hour"])["dep_delay"].agg(["mean", "count"]).reset_index()
    return found[found["count"] >= 100]


def seat_hours(flights, planes):
    late = flights[flights["arr_delay"] > 0].merge(planes[["tailnum", "seats"]], on="tailnum")
    return float((late["seats"] * late["arr_delay"] / 60).sum())
"""

GRADER = '''
"""Compares the delays by airport and hour row by row; in which order they are does not matter."""

import csv


def rows(path):
    """Return mean and count by airport and hour."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return {
            (row["origin"], int(float(row["hour"]))): (float(row["mean"]), float(row["count"]))
            for row in csv.DictReader(file)
        }


def grade(outputs, hidden):
    """Return the share of rows that are right, and how many there should be."""
    wanted = rows(hidden / "late.csv")
    try:
        found = rows(outputs / "late.csv")
    except (KeyError, TypeError, ValueError):
        return 0.0, "late.csv needs columns origin, hour, mean and count, with numbers in the last three."
    right = sum(
        abs(found[key][0] - mean) < 1e-4 and found[key][1] == count for key, (mean, count) in wanted.items() if key in found
    )
    share = right / max(len(wanted), len(found))
    return share, f"{len(found)} rows, {right} of them right; {len(wanted)} are wanted."
'''
