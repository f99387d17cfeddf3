"""The lessons of the example course, as learners have them and with answers in: on CPUs, without a hub."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from tests.course.solutions import SOLUTIONS

COURSE = Path(__file__).parents[2] / "examples" / "course_accelerated_dataframes"
LESSONS = sorted(COURSE.glob("0*.ipynb"))
RESULTS = "import json, checks\nprint(json.dumps(checks.results))"


def lesson(path: Path, *, answered: bool) -> tuple[Any, list[str]]:
    """Return a lesson, with the answers in it or without, and the names of its exercises."""
    read = nbformat.read(path, as_version=4)
    names = [tag for cell in read.cells for tag in cell.metadata.get("tags", []) if tag.startswith("ex-")]
    for cell in read.cells:
        for tag in cell.metadata.get("tags", []):
            if answered and tag in SOLUTIONS:
                cell.source = SOLUTIONS[tag]
    return read, names


async def run(book: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, int]:
    """Run a notebook in a folder of its own beside the checks; return what it printed, and how many pictures it drew."""
    (folder / "checks.py").write_text((COURSE / "checks.py").read_text(encoding="utf-8"), encoding="utf-8")
    for name in [name for name in os.environ if name.startswith(("NVLHUB_", "JUPYTERHUB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NVLHUB_LANGUAGE", "en")
    manager = AsyncKernelManager(kernel_cmd=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"])
    client = NotebookClient(book, km=manager, timeout=120, resources={"metadata": {"path": str(folder)}})
    await client.async_execute()
    outputs = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    text = "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")
    return text, sum("image/png" in output.get("data", {}) for output in outputs)
