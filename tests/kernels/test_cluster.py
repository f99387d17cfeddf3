"""What Dask expects of a cluster, and what we promise beyond it: over the local engine, with real workers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import stat
import threading
import time
from pathlib import Path
from typing import Any

import dask
import httpx
import psutil
import pytest
from distributed import Client, Security
from distributed.comm import connect
from distributed.core import Status

from nvlhub.engines.processes import of_lease
from nvlhub.forms import Membership
from nvlhub.store import tables
from nvlkernels import Cluster
from nvlkernels import cluster as module
from nvlkernels.client import PortalError
from nvlkernels.cluster import ClusterClosedError
from nvlkernels.payer import NoPayerError
from nvlkernels.worker import LeaseWorker
from tests.kernels.conftest import GRACE, PEOPLE, Served
from tests.waiting import until


def double(number: int) -> int:
    return 2 * number


def slow(number: int) -> int:
    time.sleep(0.3)
    return number


def environment_of_worker() -> dict[str, str]:
    return dict(os.environ)


def processes(lease: str, word: str) -> list[psutil.Process]:
    found = []
    for process in of_lease(lease):
        # It may have ended since.
        with contextlib.suppress(psutil.NoSuchProcess):
            found += [process] * (word in " ".join(process.cmdline()))
    return found


def loops() -> int:
    """Threads of clusters that run in this process."""
    return len([thread for thread in threading.enumerate() if "IO loop" in thread.name])


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def make(workers: int = 0, **more: Any) -> Cluster:
    return Cluster(workers, project="demo", quiet=True, **more)


def until_workers(cluster: Cluster, count: int) -> None:
    until(lambda: len(cluster.scheduler_info["workers"]) == count)


# --- what Dask expects ------------------------------------------------------------------------------------------------


def test_workers_come_and_compute_and_everything_is_given_back(served: Served) -> None:
    with make(2) as cluster, cluster.get_client() as client:
        assert client.gather(client.map(double, range(5))) == [0, 2, 4, 6, 8]
        leases = served.leases()
        assert {(lease["kind"], lease["gpus"], lease["state"]) for lease in leases} == {("worker", 1, "running")}
        assert {lease["label"] for lease in leases} == {cluster.name}
    ended = served.settled()
    assert {lease["end_reason"] for lease in ended} == {"user"}


def test_scale_up_and_down(served: Served) -> None:
    with make() as cluster:
        assert cluster.scale(3) is None
        until_workers(cluster, 3)
        cluster.scale(1)
        until_workers(cluster, 1)
        until(lambda: len(served.leases()) == 1)
        cluster.scale(cores=2)
        until_workers(cluster, 2)
        cluster.scale(0)
        until_workers(cluster, 0)


async def test_what_is_given_up_before_dask_has_made_its_worker_is_given_back(served: Served) -> None:
    async with make(asynchronous=True) as cluster:
        await cluster.scale(2)
        await cluster.scale(0)
        await asyncio.to_thread(until, lambda: not served.leases())
        await cluster.scale(2)
    await asyncio.to_thread(until, lambda: not served.leases())


def test_data_survive_a_smaller_cluster(served: Served) -> None:
    with make(2) as cluster, cluster.get_client() as client:
        client.wait_for_workers(2)
        futures = client.map(double, range(20))
        client.gather(futures)
        cluster.scale(1)
        until_workers(cluster, 1)
        assert client.gather(futures) == [2 * number for number in range(20)]


async def test_a_cluster_can_be_awaited(served: Served) -> None:
    async with make(1, asynchronous=True) as cluster, Client(cluster, asynchronous=True) as client:
        assert await client.submit(double, 4) == 8
        await cluster.scale(2)
        await client.wait_for_workers(2)
        with pytest.raises(PortalError):
            await cluster.scale(100)
    assert repr(cluster).startswith("Cluster(")


async def test_a_refusal_of_a_cluster_that_is_awaited_leaves_nothing_open(served: Served) -> None:
    before = descriptors()
    for _ in range(3):
        with pytest.raises(PortalError):
            await Cluster(9, project="demo", asynchronous=True)
    assert served.leases(state="all") == []
    await asyncio.sleep(0.2)
    assert descriptors() <= before + 2


async def test_a_cluster_that_is_awaited_twice_starts_once(served: Served) -> None:
    cluster = await make(1, asynchronous=True)
    await cluster
    assert len(served.leases()) == 1
    await cluster.close()
    await cluster.close()


def test_adapt_follows_the_load_and_goes_back(served: Served) -> None:
    with make() as cluster, cluster.get_client() as client:
        cluster.adapt(minimum=0, maximum=3, interval="100ms", wait_count=2, target_duration="200ms")
        assert sum(client.gather(client.map(slow, range(20)))) == 190
        assert served.leases(state="all")
        until(lambda: not served.leases())


def test_closing_twice_does_no_harm_and_nothing_works_afterwards(served: Served) -> None:
    cluster = make(1)
    cluster.close()
    cluster.close()
    for use in (
        lambda: cluster.scale(2),
        lambda: cluster.scale(0),
        lambda: cluster.adapt(maximum=2),
        cluster.get_client,
    ):
        with pytest.raises(ClusterClosedError, match="is closed"):
            use()
    assert "closed" in repr(cluster)
    assert served.settled()


def test_a_restart_of_the_client_restarts_the_workers_inside_their_leases(served: Served) -> None:
    with make(2) as cluster, cluster.get_client() as client:
        client.wait_for_workers(2)
        before = {lease["id"] for lease in served.leases()}
        pids = set(client.run(os.getpid).values())
        client.restart()
        assert set(client.run(os.getpid).values()).isdisjoint(pids)
        assert {lease["id"] for lease in served.leases()} == before


# --- what people see --------------------------------------------------------------------------------------------------


def test_it_shows_workers_gpus_domain_price_time_and_charge(served: Served) -> None:
    with make(2) as cluster:
        until_workers(cluster, 2)
        time.sleep(1.1)
        asyncio.run_coroutine_threadsafe(cluster._beat_once(), cluster.loop.asyncio_loop).result(10)  # type: ignore[union-attr,attr-defined]
        shown = repr(cluster)
        for words in ("Workers: 2", "GPUs: 2 (simulated", "nvl001 (2)", "Transport: tls", "2 GPU-h per hour", "3 h 59"):
            assert words in shown
        assert cluster.standing.charge >= 2000
        page = cluster._repr_html_()
        assert "NVLink domain" in page
        assert page.split("Scheduler Info")[0].count("Workers:") == 1
        assert "<script" not in page
        text = repr(cluster.explain())
        assert "simulated" in text
        assert "protocol = tls" in text
    assert cluster._spent >= 2000


def test_the_language_is_that_of_the_reader(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NVLHUB_LANGUAGE", "zh-TW")
    with make(1) as cluster:
        assert "傳輸" in repr(cluster)
        with pytest.raises(PortalError, match="資源池"):
            cluster.scale(99)


def test_a_fast_path_that_is_not_there_is_named(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    with Cluster(project="demo", protocol="ucx") as cluster:
        assert "ucx was asked for" in capsys.readouterr().out
        explained = cluster.explain()
        assert explained.warnings
        assert "no GPU here" in explained.warnings[0]
        assert "<table>" in explained._repr_html_()


# --- refusals and bad input -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({"workers": -1}, "workers"),
        ({"workers": 1.5}, "workers"),
        ({"workers": "2"}, "workers"),
        ({"workers": True}, "workers"),
        ({"workers": 10**9}, "workers"),
        ({"span": "galaxy"}, "span"),
        ({"protocol": "tcp"}, "protocol"),
        ({"threads": 0}, "threads"),
        ({"seconds": 5}, "seconds"),
        ({"worker_env": {"A=B": "c"}}, "worker_env"),
        ({"worker_env": {"A": "\0"}}, "worker_env"),
        ({"worker_env": [1]}, "worker_env"),
        ({"worker_options": {"memory-limit": "1GB"}}, "worker_options"),
        ({"worker_options": ["--x"]}, "worker_options"),
        ({"name": 5}, "name"),
        ({"name": "<b>"}, "name"),
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
    ],
)
def test_an_argument_that_cannot_be_is_named_and_nothing_is_started(
    served: Served, arguments: dict[str, Any], names: str
) -> None:
    before = loops()
    with pytest.raises(ValueError, match=f"^{names}"):
        Cluster(project="demo", **arguments)
    assert served.leases(state="all") == []
    assert loops() <= before


def test_a_number_that_cannot_be_changes_nothing(served: Served) -> None:
    with make(1) as cluster:
        for number in (-1, 1.5, 10**9, "many"):
            with pytest.raises(ValueError, match="workers"):
                cluster.scale(number)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="maximum"):
            cluster.adapt(minimum=3, maximum=2)
        with pytest.raises(ValueError, match="minimum"):
            cluster.adapt(minimum=-1)
        assert len(served.leases()) == 1


def test_two_open_clusters_cannot_have_one_name(served: Served) -> None:
    with make(name="mine"), pytest.raises(ValueError, match="mine"):
        make(name="mine")
    with make(name="mine"):
        pass


def test_without_a_lease_somebody_must_be_named_who_pays(served: Served) -> None:
    before = loops()
    with pytest.raises(NoPayerError, match="project="):
        Cluster(2)
    with pytest.raises(NoPayerError, match="span"):
        make(2, span="domain")
    with pytest.raises(PortalError, match="there is no project"):
        Cluster(2, project="others")
    with pytest.raises(NoPayerError, match="gpu1, gpu2"):
        make(2, profile="gpu99")
    assert served.leases(state="all") == []
    until(lambda: loops() <= before)


def test_a_refusal_comes_before_anything_is_started_and_says_the_arithmetic(served: Served) -> None:
    with pytest.raises(PortalError) as refused:
        Cluster(4, project="demo-small", quiet=True)
    for words in ("Asked: 4 × GPU", "hold of 16.00 GPU-hours", "Left: 2.00", "Allowed now", "/services/portal/more"):
        assert words in str(refused.value)
    assert served.leases(state="all") == []


def test_a_refusal_while_it_runs_leaves_the_others_alone(served: Served) -> None:
    with make(2) as cluster, cluster.get_client() as client:
        client.wait_for_workers(2)
        served.portal.registry.directory.set_member(
            PEOPLE["t-admin"], "demo", "researcher", Membership(role="pi", cap=3)
        )
        with pytest.raises(PortalError) as refused:
            cluster.scale(6)
        assert refused.value.problem.member("largest_count") == 1
        assert client.submit(double, 1).result() == 2
        assert len(served.leases()) == 2
        cluster.scale(3)
        until_workers(cluster, 3)


def test_an_award_that_is_over_refuses_more_and_lets_the_running_ones_go_on(served: Served) -> None:
    with make(1) as cluster, cluster.get_client() as client:
        client.wait_for_workers(1)
        with served.portal.store.writing() as unit:
            unit.connection.execute(tables.awards.update().values(ends=served.portal.clock.now() - 1))
        with pytest.raises(PortalError, match="no award that is valid now"):
            cluster.scale(2)
        assert client.submit(double, 1).result() == 2


def test_what_there_is_no_room_for_waits_and_joins_later(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    with make(7) as first, Cluster(2, project="demo") as second:
        assert "1 of 2 workers start now; 1 wait for room (position 1" in capsys.readouterr().out
        until_workers(second, 1)
        assert "1 of 2; the others wait for room" in repr(second)
        first.scale(6)
        until_workers(second, 2)


def test_a_place_in_the_queue_is_given_up_first(served: Served) -> None:
    with make(7), make(2) as second:
        until_workers(second, 1)
        second.scale(1)
        until(lambda: len(served.leases()) == 8)
        assert {lease["state"] for lease in served.leases()} == {"running"}


def test_adapt_stops_at_what_is_allowed_and_says_so_once(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    served.portal.registry.directory.set_member(PEOPLE["t-admin"], "demo", "researcher", Membership(role="pi", cap=2))
    with Cluster(project="demo") as cluster, cluster.get_client() as client:
        cluster.adapt(minimum=0, maximum=6, interval="100ms", target_duration="100ms")
        assert sum(client.gather(client.map(slow, range(16)))) == 120
        assert len(served.leases(state="all")) <= 4
        said = capsys.readouterr().out
    assert said.count("Scaling up to") == 1
    assert "you may hold 2 GPUs at once" in said


def test_adapt_takes_no_place_in_the_queue(served: Served) -> None:
    with make(7), make() as cluster, cluster.get_client() as client:
        cluster.adapt(minimum=0, maximum=4, interval="100ms", target_duration="100ms")
        assert sum(client.gather(client.map(slow, range(8)))) == 28
        assert "held" not in {lease["state"] for lease in served.leases()}


def test_what_was_closed_can_be_taken_again_at_once(served: Served) -> None:
    served.portal.registry.directory.set_member(PEOPLE["t-admin"], "demo", "researcher", Membership(role="pi", cap=2))
    for _ in range(3):
        with make(2) as cluster:
            until_workers(cluster, 2)
            time.sleep(1.1)
        assert served.leases() == []
    assert f"{cluster._spent // 1000} GPU-s" in repr(cluster)
    assert cluster._spent == sum(lease["charged"] for lease in served.leases(state="ended")[:2])


def test_a_number_set_by_hand_ends_adapting_and_says_so(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    with Cluster(project="demo") as cluster:
        cluster.adapt(minimum=0, maximum=3, interval="100ms", wait_count=2)
        cluster.scale(2)
        assert "no longer follows the load" in capsys.readouterr().out
        until_workers(cluster, 2)
        time.sleep(1)
        assert len(served.leases()) == 2


def test_what_follows_the_load_does_nothing_once_it_was_stopped(served: Served) -> None:
    with make() as cluster:
        adaptive: Any = cluster.adapt(minimum=0, maximum=2, interval="1h", wait_count=1)
        until(lambda: adaptive.state == "running")

        async def target() -> int:
            return 2

        async def stopped_while_it_waits_for_its_turn() -> None:
            async with cluster._asking:
                adapting = asyncio.create_task(adaptive.adapt())
                await asyncio.sleep(0.1)
                adaptive.stop()
            await adapting

        adaptive.target = target
        cluster.sync(stopped_while_it_waits_for_its_turn)
        assert cluster.worker_spec == {}
    assert served.leases(state="all") == []


def test_what_follows_the_load_takes_nothing_away_once_it_was_stopped(served: Served) -> None:
    with make(1) as cluster:
        until_workers(cluster, 1)
        adaptive: Any = cluster.adapt(minimum=0, maximum=2, interval="1h", wait_count=1)
        until(lambda: adaptive.state == "running")

        async def stopped_while_it_asks_for_the_load() -> int:
            adaptive.stop()
            return 0

        adaptive.target = stopped_while_it_asks_for_the_load
        cluster.sync(adaptive.adapt)
        assert len(cluster.worker_spec) == 1


# --- gangs ------------------------------------------------------------------------------------------------------------


def test_a_gang_is_one_lease_with_a_worker_on_each_gpu(served: Served) -> None:
    with make(4, gang=True) as cluster, cluster.get_client() as client:
        client.wait_for_workers(4)
        [lease] = served.leases()
        assert (lease["gpus"], lease["kind"]) == (4, "worker")
        devices = {found["NVLHUB_DEVICES"] for found in client.run(environment_of_worker).values()}
        assert devices == set(lease["devices"])
        with pytest.raises(ValueError, match="it can have 4"):
            cluster.scale(2)
        with pytest.raises(ValueError, match="adapt"):
            cluster.adapt(maximum=4)
        cluster.scale(0)
        until(lambda: not served.leases())


def test_a_gang_that_no_profile_can_give_is_refused_with_the_largest(served: Served) -> None:
    with pytest.raises(NoPayerError, match="at most 8"):
        make(16, gang=True)
    with pytest.raises(PortalError, match="whole trays"):
        make(6, gang=True)
    assert served.leases(state="all") == []


def test_a_gang_that_can_never_be_placed_is_refused(served: Served) -> None:
    with make(4, gang=True) as gang, pytest.raises(PortalError, match="0 can"):
        gang.scale(12)
    with make(1) as cluster:
        with pytest.raises(PortalError, match="Ask for at most 7 more"):
            cluster.scale(9)
        assert len(served.leases()) == 1


def test_numbers_in_the_environment_are_text(served: Served) -> None:
    with make(1, worker_env={"ANSWER": 42}) as cluster, cluster.get_client() as client:
        assert client.submit(environment_of_worker).result()["ANSWER"] == "42"


def test_a_worker_shows_nothing_over_http(served: Served) -> None:
    with make(1) as cluster, cluster.get_client() as client:
        client.wait_for_workers(1)
        [worker] = cluster.scheduler_info["workers"].values()
        port = worker["services"].get("dashboard")
        for path in ("metrics", "health", "status"):
            if port:
                assert httpx.get(f"http://127.0.0.1:{port}/{path}").status_code == 404


def test_an_answer_that_nobody_understands_costs_one_sign_of_life_and_no_worker(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEAT", 0.3)
    told: list[int] = []
    real = module.Portal.beat_all

    async def beat_all(portal: module.Portal, beats: Any) -> Any:
        told.append(len(beats))
        if len(told) == 1:
            raise ValueError("what is this?")
        return await real(portal, beats)

    monkeypatch.setattr(module.Portal, "beat_all", beat_all)
    with make(1):
        until(lambda: len(told) > 2)


def test_leases_that_are_lost_again_and_again_are_not_asked_for_for_ever(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEAT", 0.3)
    with make() as cluster:
        cluster.adapt(minimum=1, maximum=2, interval="100ms")
        for _ in range(module.REPLACEMENTS + 1):
            [agent] = until(
                lambda: [
                    process
                    for lease in served.leases()[:1]
                    for process in processes(lease["id"], "nvlkernels.agent")
                    if lease["state"] == "running"
                ]
            )
            agent.kill()
            until(lambda: [lease["state"] for lease in served.leases()[:1]] != ["running"])
            time.sleep(0.7)
        until(lambda: not served.leases())
        time.sleep(1)
        assert served.leases() == []
        assert "no more are asked for" in "\n".join(text for _, text in cluster._cluster_manager_logs)


# --- what dies without a word -----------------------------------------------------------------------------------------


def test_a_killed_worker_comes_back_inside_its_lease_and_no_result_is_wrong(served: Served) -> None:
    with make(2) as cluster, cluster.get_client() as client:
        client.wait_for_workers(2)
        before = {lease["id"] for lease in served.leases()}
        futures = client.map(slow, range(20))
        time.sleep(0.5)
        [victim] = processes(min(before), "dask_worker")
        victim.kill()
        assert client.gather(futures) == list(range(20))
        until_workers(cluster, 2)
        assert {lease["id"] for lease in served.leases()} == before


def test_a_worker_that_cannot_start_is_given_up_with_its_last_words(served: Served) -> None:
    with make(1, worker_options={"--nonsense": "1"}) as cluster:
        until(lambda: not served.leases())
        told = "\n".join(text for _, text in cluster._cluster_manager_logs)
        assert "is given up" in told
        assert "--nonsense" in told


def test_a_killed_agent_loses_its_lease_and_another_one_is_asked_for(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEAT", 0.5)
    with make(1) as cluster, cluster.get_client() as client:
        client.wait_for_workers(1)
        [lease] = served.leases()
        [agent] = processes(lease["id"], "nvlkernels.agent")
        agent.kill()
        until(lambda: [found for found in served.leases() if found["id"] != lease["id"]], 30)
        assert client.submit(double, 21).result(timeout=30) == 42
        told = "\n".join(text for _, text in cluster._cluster_manager_logs)
        assert "was silent for longer than the grace time" in told
        assert "another one is asked for" in told


def test_a_portal_that_restarts_while_it_scales_starts_nothing_twice(served: Served) -> None:
    with make(1) as cluster, cluster.get_client() as client:
        client.wait_for_workers(1)
        served.stop()
        begun = threading.Thread(target=cluster.scale, args=(3,))
        begun.start()
        assert client.submit(double, 1).result() == 2
        time.sleep(1.5)
        served.start()
        begun.join(30)
        until_workers(cluster, 3)
        assert len(served.leases(state="all")) == 3


@pytest.mark.parametrize("grace", [GRACE])
def test_a_cluster_that_nobody_closes_ends_by_silence(served: Served) -> None:
    cluster = make(2)
    until_workers(cluster, 2)
    # What the end of a process without a word looks like from outside: nobody beats, nobody answers the agents.
    for task in list(cluster._background):  # the loop's thread goes on to change it
        cluster.loop.add_callback(task.cancel)  # type: ignore[union-attr]
    cluster.loop.add_callback(cluster.mailbox.close)  # type: ignore[union-attr]
    until(lambda: not served.leases(), 3 * GRACE)
    assert {lease["end_reason"] for lease in served.leases(state="ended")} == {"lost"}
    cluster.close()


def test_a_worker_that_hangs_is_killed_and_starts_again(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MISSING", 0.5)
    with make(1) as cluster, cluster.get_client() as client:
        client.wait_for_workers(1)
        [lease] = served.leases()
        [worker] = processes(lease["id"], "dask_worker")
        worker.send_signal(signal.SIGSTOP)
        address = next(iter(cluster.scheduler_info["workers"]))
        scheduler: Any = cluster.scheduler
        cluster.sync(scheduler.remove_worker, address=address, stimulus_id="test")
        until(lambda: [found for found in processes(lease["id"], "dask_worker") if found.pid != worker.pid])
        assert client.submit(double, 3).result(timeout=30) == 6


# --- secrets ----------------------------------------------------------------------------------------------------------


def test_no_token_and_no_key_is_where_others_could_read_it(served: Served) -> None:
    with make(1) as cluster, cluster.get_client() as client:
        client.wait_for_workers(1)
        [lease] = served.leases()
        seen = " ".join(
            " ".join([*process.cmdline(), *process.environ().values()]) for process in of_lease(lease["id"])
        )
        assert "t-researcher" not in seen
        assert "PRIVATE KEY" not in seen
        [told] = client.run(environment_of_worker).values()
        assert not [name for name in told if name.startswith("JUPYTERHUB_")]
        directory = served.data / "tasks" / lease["id"]
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        [key] = directory.rglob("key.pem")
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    served.settled()
    assert not key.exists()


def test_who_has_no_certificate_of_this_cluster_is_not_spoken_to(served: Served) -> None:
    async def refused(address: str, security: Security) -> None:
        # A client that cannot connect is not made here: what Dask leaves of it ends at some later time in some thread.
        arguments = security.get_connection_args("client")
        with pytest.raises((OSError, RuntimeError)):
            await connect(address, timeout=2, **arguments)

    with make(1) as cluster, make() as other:
        address = cluster.scheduler_address
        assert address.startswith("tls://")
        asyncio.run(refused(address, other.security))
        asyncio.run(refused(address, Security.temporary()))
        asyncio.run(refused(address.replace("tls", "tcp"), Security()))


def test_the_sidebars_clusters_are_paid_by_the_project_with_most_left(served: Served) -> None:
    from nvlkernels.sidebar import SidebarCluster  # noqa: PLC0415

    async def story() -> None:
        async with SidebarCluster(asynchronous=True) as cluster:
            await cluster.scale(1)
            assert {lease["project"] for lease in served.leases()} == {"demo"}
            assert cluster.dashboard_link.startswith("http://127.0.0.1:")

    asyncio.run(story())


def test_a_server_that_stops_closes_the_sidebars_clusters(served: Served) -> None:
    from nvlkernels.extension import LeaseExtension  # noqa: PLC0415

    async def story() -> None:
        from dask_labextension.manager import manager  # noqa: PLC0415  # it wants a loop

        factory = {"module": "nvlkernels.sidebar", "class": "SidebarCluster", "args": [], "kwargs": {}}
        with dask.config.set({"labextension.factory": factory, "labextension.default": {}}):
            made = [(await manager.start_cluster(configuration={"workers": 1}))["id"] for _ in range(2)]
        clusters = [manager._clusters[cluster] for cluster in made]
        assert len(served.leases()) == 2
        await LeaseExtension().stop_extension()
        assert {cluster.status for cluster in clusters} == {Status.closed}
        # Dask's own way comes after the end of the loop.
        assert not any(cluster.shutdown_on_close for cluster in clusters)

    asyncio.run(story())
    assert {lease["end_reason"] for lease in served.leases(state="ended")} == {"user"}


def test_a_lease_worker_is_what_dask_starts(served: Served) -> None:
    with make(1) as cluster:
        [worker] = until(lambda: list(cluster.workers.values()))
        assert isinstance(worker, LeaseWorker)


def test_nothing_is_left_of_many_steps(served: Served) -> None:
    with make() as cluster:
        cluster.scale(1)
        until_workers(cluster, 1)
        [first] = cluster.workers.values()
        cluster.scale(0)
        until_workers(cluster, 0)
        before = descriptors()
        for _ in range(5):
            cluster.scale(2)
            until_workers(cluster, 2)
            cluster.scale(0)
            until_workers(cluster, 0)
        # Whoever still asks after a worker that is gone brings nothing back.
        first.beat(0)
        until(lambda: not cluster.mailbox._lines)
        until(lambda: descriptors() <= before + 2)
        assert cluster.worker_spec == {}
