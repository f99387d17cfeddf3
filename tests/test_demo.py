"""The demo and the example notebooks, as a newcomer runs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nbformat
import psutil
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]


def test_the_demo_goes_the_whole_way_and_leaves_nothing(tmp_path: Path) -> None:
    before = {process.pid for process in psutil.process_iter()}
    done = subprocess.run(
        [Path(sys.executable).with_name("nvlhub"), "demo", "--data", str(tmp_path / "demo")],
        capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for words in (
        "SIM-nvl001-t01-g0",
        "[1 picture]",
        "charged 1 GPU ×",
        "Left: 2.00 GPU-hours",
        "settle",
        "every invariant holds",
    ):
        assert words in done.stdout
    left = [
        process
        for process in psutil.process_iter(["cmdline"])
        if process.pid not in before and str(tmp_path) in " ".join(process.info["cmdline"] or [])
    ]
    assert left == []


@pytest.mark.parametrize("notebook", ["01_first_lease", "03_accelerated_dataframes_lesson"])
def test_an_example_without_a_cluster_runs_on_a_cpu_kernel_too(notebook: str, tmp_path: Path) -> None:
    read = nbformat.read(ROOT / "examples" / f"{notebook}.ipynb", as_version=4)
    NotebookClient(read, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in read.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert "336776" in str(outputs) or "336,776" in str(outputs)
