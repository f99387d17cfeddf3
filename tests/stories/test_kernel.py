"""A GPU kernel from its start to the ledger, in a real server under a real hub."""

from __future__ import annotations

import asyncio
import json
import re

import httpx
import pytest

from nvlhub.notebook import NotebookError
from tests.stories.live import GPUS, Live
from tests.waiting import eventually

LITTLE = r"Left: (2\.00|1\.\d\d) GPU-hours"
"""What is left of the small demo award, of which tests use a little."""


async def test_a_kernel_holds_a_lease_from_start_to_shutdown(live: Live) -> None:
    async with live.session() as session:
        await session.start_server()
        kernel = await session.start_kernel("nvlhub-demo.gpu2")
        ran = await kernel.run(
            "import nvlkernels, os; l = nvlkernels.lease(); print(l.id, l.gpus, nvlkernels.devices(), nvlkernels.simulated(), repr(os.environ['CUDA_VISIBLE_DEVICES']))"
        )
        assert not ran.error
        lease_id, gpus, *rest = ran.text.split(" ", 2)
        assert gpus == "2"
        assert rest[0].strip() == "('SIM-nvl001-t01-g0', 'SIM-nvl001-t01-g1') True ''"
        shown = await kernel.run("nvlkernels.lease()")
        assert lease_id in shown.text
        assert "simulated" in shown.text
        longer = await kernel.run("print(nvlkernels.lease().extend(minutes=30).seconds_left)")
        assert 4 * 3600 < int(longer.text) <= 4 * 3600 + 1800
        await kernel.shut_down()
        ended = await live.settled()
        assert ended[0]["id"] == lease_id
        assert ended[0]["end_reason"] == "user"
        ran_for = ended[0]["ended_at"] - ended[0]["started_at"]
        assert ended[0]["charged"] == 2 * ran_for * 1000


async def test_a_restart_and_a_crash_keep_the_lease(live: Live) -> None:
    async with live.session() as session:
        await session.start_server()
        kernel = await session.start_kernel("nvlhub-demo.gpu1")
        mark = "import os; print(os.environ['NVLHUB_LEASE'], os.getpid())"
        first = (await kernel.run(mark)).text.split()
        assert (await session.jupyter("POST", f"/api/kernels/{kernel.id}/restart")).status_code == 200
        await kernel.connect()
        second = (await kernel.run(mark)).text.split()
        assert first[0] == second[0]
        assert first[1] != second[1]
        with pytest.raises((NotebookError, TimeoutError)):
            await kernel.run("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", timeout=2)
        await asyncio.sleep(6)
        await kernel.connect()
        third = (await kernel.run(mark)).text.split()
        assert third[0] == first[0]
        assert third[1] != second[1]
        await kernel.shut_down()
        await live.settled()


async def test_an_interrupt_stops_a_cell_and_keeps_the_kernel(live: Live) -> None:
    async with live.session() as session:
        await session.start_server()
        kernel = await session.start_kernel("nvlhub-demo.gpu1")
        await kernel.run("x = 41")
        running = asyncio.create_task(kernel.run("import time; time.sleep(60)"))
        await asyncio.sleep(1)
        await session.jupyter("POST", f"/api/kernels/{kernel.id}/interrupt")
        assert "KeyboardInterrupt" in (await asyncio.wait_for(running, 60)).error
        assert (await kernel.run("print(x + 1)")).text == "42\n"
        await kernel.shut_down()
        await live.settled()


async def test_a_refusal_says_the_arithmetic_and_leaves_nothing(live: Live) -> None:
    async with live.session() as session:
        await session.start_server()
        with pytest.raises(NotebookError) as refused:
            await session.start_kernel("nvlhub-demo-small.gpu8", "refused.ipynb")
        for words in ("16.00 GPU-hours", "Allowed now: ", f"{live.url}/services/portal/more"):
            assert words in str(refused.value)
        assert re.search(LITTLE, str(refused.value))
        assert (await session.jupyter("GET", "/api/kernels")).json() == []
        assert (await session.jupyter("GET", "/api/sessions")).json() == []
        await live.settled()


@pytest.mark.parametrize("name", ["nvlhub-demo.nope", "nvlhub-others.gpu1"])
async def test_an_unknown_profile_or_project_is_refused_by_name(live: Live, name: str) -> None:
    async with live.session() as session:
        await session.start_server()
        with pytest.raises(NotebookError, match="there is no"):
            await session.start_kernel(name)
        await live.settled()


async def test_a_start_waits_for_room_and_runs_the_cells_typed_meanwhile(live: Live) -> None:
    async with live.session("instructor") as other, live.session() as session:
        await other.start_server()
        await session.start_server()
        full = await other.start_kernel("nvlhub-demo.gpu8")
        await full.run("1")
        waiting = await session.start_kernel("nvlhub-demo.gpu1")
        cell = asyncio.create_task(waiting.run("print('ran at last')"))

        async def queued() -> dict[str, object] | None:
            items = (await session.jupyter("GET", "/nvlhub/leases")).json()["items"]
            return next((item for item in items if item.get("text")), None)

        shown = None
        for _ in range(50):
            shown = await queued()
            if shown:
                break
            await asyncio.sleep(0.2)
        assert shown is not None
        assert "position 1" in str(shown["text"])
        assert "in about" in str(shown["text"])
        assert not cell.done()
        await full.shut_down()
        assert (await asyncio.wait_for(cell, 30)).text == "ran at last\n"
        await waiting.shut_down()
        await live.settled()


@pytest.mark.parametrize("way", ["nvlhub", "kernel"])
async def test_a_start_that_waits_can_be_cancelled(live: Live, way: str) -> None:
    async with live.session("instructor") as other, live.session() as session:
        await other.start_server()
        await session.start_server()
        full = await other.start_kernel("nvlhub-demo.gpu8")
        await full.run("1")
        waiting = await session.start_kernel("nvlhub-demo.gpu1")
        await eventually(lambda: live.api("GET", "/leases?user=researcher")["total"] == 1)
        path = f"/nvlhub/leases/{waiting.id}" if way == "nvlhub" else f"/api/kernels/{waiting.id}"
        assert (await session.jupyter("DELETE", path)).status_code == 204
        await eventually(lambda: live.api("GET", "/leases?user=researcher")["total"] == 0)
        await full.shut_down()
        ended = await live.settled()
        [cancelled] = [lease for lease in ended[:2] if lease["user"] == "researcher"]
        assert cancelled["charged"] == 0
        await asyncio.sleep(1.5)
        assert (await session.jupyter("GET", "/api/kernels")).json() == []


async def test_a_lease_that_ends_from_outside_is_told_with_its_reason_and_the_kernel_stays_gone(live: Live) -> None:
    async with live.session() as session:
        await session.start_server()
        kernel = await session.start_kernel("nvlhub-demo.gpu1", "ended.ipynb")
        await kernel.run("1")
        [lease] = live.api("GET", "/leases")["items"]
        live.cli("lease", "end", lease["id"])

        async def told() -> list[dict[str, str]]:
            return list((await session.jupyter("GET", "/nvlhub/leases")).json()["ended"])

        for _ in range(50):
            if any(item["kernel"] == kernel.id for item in await told()):
                break
            await asyncio.sleep(0.1)
        [text] = [item["text"] for item in await told() if item["kernel"] == kernel.id]
        assert "an administrator ended it" in text
        for _ in range(100):
            if not (await session.jupyter("GET", "/api/kernels")).json():
                break
            await asyncio.sleep(0.1)
        assert (await session.jupyter("GET", "/api/kernels")).json() == []
        assert (await session.jupyter("DELETE", f"/api/sessions/{kernel.session_id}")).status_code in {204, 404, 410}
        await live.settled()


async def test_a_refusal_of_a_bare_kernel_is_a_409_with_its_text(live: Live) -> None:
    async with live.session() as session:
        await session.start_server()
        refused = await session.jupyter("POST", "/api/kernels", json={"name": "nvlhub-demo-small.gpu8"})
        assert refused.status_code == 409
        assert re.search(LITTLE, refused.json()["message"])


async def test_what_the_rest_of_an_award_pays_for_can_be_started(live: Live) -> None:
    async with live.session() as session:
        await session.start_server()
        for _ in range(20):
            # What is listed may be seconds old, and earlier tests pay from this award, too.
            specs = (await session.jupyter("GET", "/api/kernelspecs")).json()["kernelspecs"]
            [name] = [name for name in specs if name.startswith("nvlhub-demo-small.gpu4.")]
            minutes = int(name.rsplit(".", 1)[1].removesuffix("m"))
            if 4 * 60_000 * minutes <= live.api("GET", "/awards?project=demo-small")["items"][0]["left"]:
                break
            await asyncio.sleep(1)
        kernel = await session.start_kernel(name, "short.ipynb")
        await kernel.run("1")
        [lease] = live.api("GET", "/leases")["items"]
        assert (lease["gpus"], lease["seconds"], lease["project"]) == (4, 60 * minutes, "demo-small")
        await kernel.shut_down()
        await live.settled()


async def test_tricks_with_the_query_of_the_spawn_page_are_refused_in_words(live: Live) -> None:
    async with live.session("instructor") as session:
        await session.stop_server()
    async with httpx.AsyncClient(follow_redirects=True) as http:
        login = await http.get(f"{live.url}/hub/login")
        form = {"username": "instructor", "password": live.password, "_xsrf": login.cookies.get("_xsrf") or ""}
        await http.post(f"{live.url}/hub/login", data=form)
        for query in ("opt-cmd=sh", "opt-gpus=73", "opt-%3Cscript%3E=1"):
            page = await http.get(f"{live.url}/hub/spawn?{query}")
            assert "positional argument" not in page.text
            assert "<script>=1" not in page.text
            assert "option does not exist" in page.text or "this option" in page.text, page.text[:2000]
    assert live.api("GET", "/leases")["total"] == 0


async def test_the_launcher_shows_a_cpu_kernel_and_one_kernel_per_project_and_profile(live: Live) -> None:
    async with live.session() as session:
        await session.start_server()
        for _ in range(20):
            specs = (await session.jupyter("GET", "/api/kernelspecs")).json()["kernelspecs"]
            if len(specs) == 13:
                break
            await asyncio.sleep(0.5)
        names = {name: spec["spec"]["display_name"] for name, spec in specs.items()}
        assert names["python3"] == "Python 3 (CPU)"
        assert names["nvlhub-demo.gpu2"] == "2 GPUs (superchip) · Demo project"
        [short] = [name for name in names if name.startswith("nvlhub-demo-small.gpu1.")]
        assert re.fullmatch(r"1 GPU, \d+ min · Demo project, nearly spent", names[short])
        assert len(names) == 13
        kernel = await session.start_kernel("python3")
        ran = await kernel.run("import nvlkernels; print(nvlkernels.lease())")
        assert "holds no lease" in ran.text
        await kernel.shut_down()


async def test_options_that_the_form_would_not_send_are_refused(live: Live) -> None:
    async with live.session("admin") as session:
        for options in (
            {"project": "demo"},
            {"cmd": ["sh"]},
            {"environment": {}},
            {"<script>": "x"},
            {"opt-project": "demo"},
        ):
            response = await session.hub("POST", "/users/admin/server", json={"user_options": options})
            assert response.status_code == 400, response.text
            assert "<script>" not in json.loads(response.text)["message"]
        assert (await session.hub("GET", "/users/admin")).json()["servers"] == {}


async def test_the_command_line_lists_ends_and_verifies(live: Live) -> None:
    async with live.session() as session:
        await session.start_server()
        kernel = await session.start_kernel("nvlhub-demo.gpu4")
        await kernel.run("1")
        [lease] = json.loads(live.cli("lease", "list", "--json"))
        assert lease["gpus"] == 4
        [domain] = json.loads(live.cli("domain", "list", "--json"))
        assert (domain["gpus"], domain["leased"]) == (GPUS, 4)
        assert "demo" in live.cli("award", "list")
        assert "admin" not in live.cli("lease", "show", lease["id"])
        live.cli("lease", "end", lease["id"])
        ended = await live.settled()
        assert ended[0]["end_reason"] == "admin"
        assert f"settle:{lease['id']}" in live.cli("ledger", "list", "--lease", lease["id"])
        assert "every invariant holds" in live.cli("ledger", "verify")
        assert "there is no lease" in live.cli("lease", "end", "nope", fails=True).lower()
        await kernel.shut_down()
