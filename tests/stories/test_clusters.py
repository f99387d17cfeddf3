"""Dask clusters in a real server under a real hub: whose they are, what dies with what, and who sees the dashboard."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import psutil
import pytest
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from nvlhub.engines.processes import of_lease
from nvlhub.notebook import Kernel, Session
from nvlhub.ports import free_port
from tests.stories.live import GRACE, Live
from tests.waiting import eventually

START = "from nvlkernels import Cluster; cluster = Cluster(workers=2, quiet=True); client = cluster.get_client(); client.wait_for_workers(2); print(client.submit(sum, [1, 2]).result())"
SIDEBAR = "/dask/clusters/11111111-2222-3333-4444-555555555555"


async def with_cluster(session: Session) -> Kernel:
    await session.start_server()
    kernel = await session.start_kernel("nvlhub-demo.gpu1", f"{time.monotonic_ns()}.ipynb")
    ran = await kernel.run(START)
    assert (ran.text.strip().splitlines()[-1], ran.error) == ("3", "")
    return kernel


def family(live: Live) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the kernel's lease and those of its workers."""
    leases = live.api("GET", "/leases")["items"]
    [kernel] = [lease for lease in leases if lease["kind"] == "kernel"]
    return kernel, [lease for lease in leases if lease["parent"] == kernel["id"]]


def worker_processes(leases: list[dict[str, Any]]) -> list[psutil.Process]:
    return [process for lease in leases for process in of_lease(lease["id"])]


async def test_workers_belong_to_the_kernel_sit_in_its_domain_and_end_with_it(live: Live) -> None:
    async with live.session() as session:
        kernel = await with_cluster(session)
        parent, workers = family(live)
        assert len(workers) == 2
        domain = parent["placement"][0]["domain"]
        assert {share["domain"] for worker in workers for share in worker["placement"]} == {domain}
        assert all(worker["started_at"] + worker["seconds"] <= parent["deadline"] + 2 for worker in workers)
        assert {worker["server"] for worker in workers} == {parent["server"]}
        refused = await kernel.run("cluster.scale(8)")
        assert "7 can, beside what you hold there" not in refused.error
        assert "5 can, beside what you hold there" in refused.error
        used = await kernel.run("import nvlkernels; print(nvlkernels.usage(cluster)); cluster")
        assert used.text.count("simulated") >= 3
        await kernel.shut_down()
        ended = await live.settled()
        assert {lease["end_reason"] for lease in ended[:3]} == {"user"}


async def test_a_domain_is_kept_to_and_a_gang_is_one_lease(live: Live) -> None:
    async with live.session() as session:
        await session.start_server()
        kernel = await session.start_kernel("nvlhub-demo.gpu1", "gang.ipynb")
        ran = await kernel.run(
            "from nvlkernels import Cluster\n"
            "with Cluster(4, gang=True, span='domain') as cluster, cluster.get_client() as client:\n"
            "    client.wait_for_workers(4); print(len(cluster.standing.leases), cluster.standing.domains)\n"
            "try: Cluster(8, span='domain')\n"
            "except Exception as error: print(error)"
        )
        assert "1 {'nvl001': 4}" in ran.text, ran
        assert "NVLink domain “nvl001”" in ran.text
        assert 'span="fabric"' in ran.text
        await kernel.shut_down()
        await live.settled()


async def test_a_killed_kernel_comes_back_without_its_cluster_and_the_workers_end_within_the_grace(live: Live) -> None:
    async with live.session() as session:
        kernel = await with_cluster(session)
        parent, workers = family(live)
        pid = int((await kernel.run("import os; print(os.getpid())")).text)
        killed_at = time.time()
        psutil.Process(pid).kill()
        await eventually(lambda: not family(live)[1], GRACE + 15)
        await eventually(lambda: not worker_processes(workers))
        assert family(live)[0]["id"] == parent["id"]
        ended = {lease["id"]: lease for lease in live.api("GET", "/leases?state=ended")["items"]}
        for worker in workers:
            lease = ended[worker["id"]]
            assert lease["charged"] / 1000 <= killed_at - lease["started_at"] + GRACE + 6
        await kernel.connect()
        assert (await kernel.run("print('back')")).text == "back\n"
        await kernel.shut_down()
        await live.settled()


async def test_a_killed_agent_of_the_kernel_takes_the_workers_with_it(live: Live) -> None:
    async with live.session() as session:
        await with_cluster(session)
        parent, workers = family(live)
        [agent] = [process for process in of_lease(parent["id"]) if "nvlkernels.agent" in process.cmdline()]
        agent.kill()
        ended = await live.settled()
        assert {lease["id"] for lease in ended[:3]} == {parent["id"], *(worker["id"] for worker in workers)}
        assert worker_processes(workers) == []


async def test_a_portal_killed_while_a_cluster_grows_starts_every_worker_once(live: Live) -> None:
    async with live.session() as session:
        kernel = await with_cluster(session)
        grown = asyncio.create_task(
            kernel.run("cluster.scale(5); client.wait_for_workers(5); print(len(client.scheduler_info(-1)['workers']))")
        )
        live.kill("nvlhub.portal.service")
        ran = await asyncio.wait_for(grown, 90)
        assert (ran.text.strip(), ran.error) == ("5", "")
        await eventually(live.answers)
        _, workers = family(live)
        assert len(workers) == 5
        assert (await kernel.run("print(sum(client.gather(client.map(abs, range(10)))))")).text.strip() == "45"
        await kernel.shut_down()
        await live.settled()


async def test_a_cpu_kernel_is_told_who_could_pay(live: Live) -> None:
    async with live.session() as session:
        await session.start_server()
        kernel = await session.start_kernel("python3", "cpu.ipynb")
        refused = await kernel.run("from nvlkernels import Cluster; Cluster(2)")
        assert 'Cluster(project="…")' in refused.error
        ran = await kernel.run(
            "with Cluster(1, project='demo') as c, c.get_client() as client: print(client.submit(abs, -7).result())"
        )
        assert ran.text.strip().endswith("7"), ran
        await kernel.shut_down()
        await live.settled()


async def test_the_dashboard_is_seen_after_its_users_login_and_no_other_way(live: Live) -> None:
    async with live.session() as session, live.session("instructor") as other:
        kernel = await with_cluster(session)
        await other.start_server()
        link = (await kernel.run("print(cluster.dashboard_link)")).text.strip()
        port = link.split("/")[-2]
        path = link.removeprefix("/user/researcher")
        assert (await session.jupyter("GET", path)).status_code == 200
        assert (
            "individual" in (await session.jupyter("GET", path.replace("status", "individual-plots.json"))).text.lower()
        )

        async with httpx.AsyncClient() as http:
            stranger = {"Authorization": f"token {other.token}"}
            assert (await http.get(live.url + link, headers=stranger)).status_code == 403
            assert (await http.get(live.url + link)).status_code == 302
            for direct in ("status", "metrics", "health", "info/main/workers.html", "json/counts.json"):
                assert (await http.get(f"http://127.0.0.1:{port}/{direct}")).status_code == 403
            # The way of the other user's own server to this port, and the plain proxy of the same user.
            for way in (f"{other.server}/nvlhub/dask/{port}/status", f"{other.server}/proxy/{port}/status"):
                assert (await http.get(way, headers=stranger)).status_code == 404
        assert (await session.jupyter("GET", f"/proxy/{port}/status")).status_code == 404

        socket = live.url.replace("http", "ws") + link.replace("status", "status/ws")
        with pytest.raises(Exception, match="403"):
            await websocket_connect(HTTPRequest(socket, headers={"Authorization": f"token {other.token}"}))
        await kernel.shut_down()
        await live.settled()


async def test_a_stranger_on_a_port_learns_nothing_of_who_is_sent_there(live: Live) -> None:
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", free_port())
    port = server.sockets[0].getsockname()[1]
    async with live.session() as session:
        await session.start_server()
        answer = await session.jupyter("GET", f"/nvlhub/dask/{port}/status")
        assert answer.status_code == 404
        assert (await session.jupyter("GET", "/nvlhub/dask/99999/status")).status_code == 404
    server.close()
    [asked] = heard
    for private in (b"cookie", b"authorization", b"x-nvlhub-dashboard", session.token.encode()):
        assert private not in asked.lower()


async def test_the_sidebar_makes_scales_shows_and_closes_the_same_clusters(live: Live) -> None:
    async with live.session() as session:
        await session.start_server()
        made = (await session.jupyter("PUT", SIDEBAR)).json()
        assert made["workers"] == 0
        assert (await session.jupyter("PATCH", SIDEBAR, json={"workers": 2})).status_code == 200
        for _ in range(50):
            if (await session.jupyter("GET", SIDEBAR)).json()["workers"] == 2:
                break
            await asyncio.sleep(0.2)
        leases = live.api("GET", "/leases")["items"]
        assert {(lease["kind"], lease["project"], lease["parent"]) for lease in leases} == {("worker", "demo", "")}
        page = await session.jupyter("GET", SIDEBAR.replace("clusters", "dashboard") + "/status")
        assert page.status_code == 200
        refused = await session.jupyter("PATCH", SIDEBAR, json={"workers": 100})
        assert "can never be placed in pool “main” at once; 6 can" in refused.json()["message"]
        adapted = await session.jupyter("PATCH", SIDEBAR, json={"adapt": {"minimum": 0, "maximum": 3}})
        assert adapted.json()["adapt"] == {"minimum": 0, "maximum": 3}
        assert (await session.jupyter("DELETE", SIDEBAR)).status_code == 204
        await live.settled()


async def test_a_stopped_server_takes_the_sidebars_clusters_with_it(live: Live) -> None:
    async with live.session() as session:
        await session.start_server()
        await session.jupyter("PUT", SIDEBAR)
        await session.jupyter("PATCH", SIDEBAR, json={"workers": 2})
        await eventually(lambda: live.api("GET", "/leases")["total"] == 2)
        await session.stop_server()
        ended = await live.settled()
        assert {(lease["end_reason"], lease["detail"]) for lease in ended[:2]} == {("user", "given back")}


async def test_a_refusal_is_read_in_the_cell_that_asked(live: Live) -> None:
    async with live.session() as session:
        await session.start_server()
        kernel = await session.start_kernel(
            "nvlhub-demo-small.gpu1.30m",
            "small.ipynb",
        )
        refused = await kernel.run("from nvlkernels import Cluster; Cluster(4)")
        for words in ("PortalError", "Asked: 4 × GPU", "Allowed now"):
            assert words in refused.error
        assert live.api("GET", "/leases")["total"] == 1
        await kernel.shut_down()
        await live.settled()
