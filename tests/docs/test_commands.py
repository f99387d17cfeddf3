"""Every command that the documents name is one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer.main

from nvlhub.cli import app

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md"])
CODE = re.compile(r"^```[a-z]*\n(.*?)^```|`([^`\n]+)`", re.MULTILINE | re.DOTALL)
# In tables of commands two spaces part one from the next.
CALL = re.compile(r"(?<![\w./-])nvlhub((?: [^ \n#|&;]+)+)")


def calls(document: Path) -> list[str]:
    code = ["".join(found) for found in CODE.findall(document.read_text(encoding="utf-8"))]
    return [call.strip() for part in code for call in CALL.findall(part)]


CALLS = [(document.name, call) for document in DOCUMENTS for call in calls(document)]


def wrong(call: str) -> str:
    """Return what is wrong with the words after ``nvlhub``; nothing: it is a command with options that it has."""
    command: Any = typer.main.get_command(app)
    words = call.replace('"', " ").split()
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        name = words.pop(0)
        if name not in command.commands:
            return f"there is no {name!r}"
        command = command.commands[name]
    if hasattr(command, "commands") and "--help" not in words:
        return "a group is no command"
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    return ", ".join(sorted({word for word in words if word.startswith("-")} - options - {"--help"}))


@pytest.mark.parametrize(("document", "call"), CALLS)
def test_every_command_in_the_documents_is_one(document: str, call: str) -> None:
    assert wrong(call) == "", f"{document}: nvlhub {call}"


def test_commands_are_found_where_they_stand() -> None:
    named = {document for document, _ in CALLS}
    assert {"README.md", "operations.md"} <= named
    assert ("README.md", "domain drain nvl001") in CALLS
    assert ("operations.md", "ledger backup FILE --data DATA") in CALLS


@pytest.mark.parametrize("call", ["nothing", "ledger", "ledger nothing", "ledger verify --fast", "lease end --force"])
def test_what_is_no_command_is_noticed(call: str) -> None:
    assert wrong(call)
