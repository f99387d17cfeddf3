"""Announcements from a terminal."""

from __future__ import annotations

from tests.cli.conftest import Terminal


def test_something_is_announced_read_and_withdrawn(nvlhub: Terminal) -> None:
    made = nvlhub.json("announcement", "add", "Maintenance", "--level", "warning", "--chinese", "維護")
    assert [row["text"] for row in nvlhub.json("announcement", "list", who="researcher")] == ["Maintenance"]
    assert nvlhub.json("announcement", "withdraw", made["id"]) == {"withdrawn": int(made["id"])}
    assert nvlhub.json("announcement", "list") == []
    assert "Maintenance" in nvlhub.run("announcement", "list", "--all")
    assert "may not" in nvlhub.run("announcement", "add", "x", who="researcher", code=1)
    assert "level" in nvlhub.run("announcement", "add", "x", "--level", "loud", code=1)
