"""The example notebooks in GPU kernels, as their readers run them: cells in order, the last ones say what it cost."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from tests.stories.live import Live

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOKS = sorted([*EXAMPLES.glob("*.ipynb"), *EXAMPLES.glob("course_*/0*.ipynb")])


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
async def test_an_example_runs_from_top_to_bottom_and_gives_everything_back(live: Live, notebook: Path) -> None:
    cells = [cell.source for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    async with live.session() as session:
        await session.start_server()
        kernel = await session.start_kernel("nvlhub-demo.gpu1", f"examples/{notebook.relative_to(EXAMPLES)}")
        pictures, text = 0, ""
        for number, code in enumerate(cells, start=1):
            ran = await kernel.run(code, timeout=180)
            assert ran.error == "", f"cell {number}: {ran.error}\n{code}"
            pictures += ran.pictures
            text += ran.text
        assert pictures
        assert "SIM-nvl001" in text
        if "Cluster(" in "".join(cells):
            assert "Charged so far" in text
            [lease] = live.api("GET", "/leases")["items"]
            assert lease["kind"] == "kernel"
        await kernel.shut_down()
        await live.settled()


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_an_example_ships_without_outputs(notebook: Path) -> None:
    read = nbformat.read(notebook, as_version=4)
    nbformat.validate(read)
    for cell in read.cells:
        assert not cell.get("outputs")
        assert not cell.get("execution_count")
