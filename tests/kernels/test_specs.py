"""Kernels in the launcher: what their names mean, and which are shown."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from nvlkernels import client
from nvlkernels.specs import OfferKernelSpecManager, parts_of


def offer(**more: Any) -> dict[str, Any]:
    facts = {
        "project": "demo", "project_name": "Demo project", "profile": "gpu1", "version": 1, "display_name": "1 GPU",
        "gpus": 1, "span": "domain", "pool": "main", "gpu_model": "GB300", "simulated": True, "factor_milli": 1000,
        "price_milli": 1000, "longest": 14_400, "hold": 14_400_000, "left": 0, "free_now": 1,
    }  # fmt: skip
    return facts | more


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the launcher's kernels for some offers."""
    monkeypatch.setenv("NVLHUB_PORTAL_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "t")
    monkeypatch.setattr(OfferKernelSpecManager, "_refresh", lambda self: None)

    def show(*offers: dict[str, Any]) -> dict[str, Any]:
        def request(method: str, url: str, **more: Any) -> httpx.Response:
            return httpx.Response(200, json={"items": list(offers)}, request=httpx.Request(method, url))

        monkeypatch.setattr(client.httpx, "request", request)
        manager = OfferKernelSpecManager()
        manager._lock.acquire()
        manager._fetch()
        found = manager.get_all_specs()
        return {name: spec["spec"] for name, spec in found.items() if name.startswith("nvlhub-")}

    return show


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("nvlhub-demo.gpu1", ("demo", "gpu1", 0, False)),
        ("nvlhub-demo.gpu1.120m", ("demo", "gpu1", 120, False)),
        ("nvlhub-demo.gpu1.idle", ("demo", "gpu1", 0, True)),
        ("nvlhub-demo.idle", ("demo", "idle", 0, False)),
        ("nvlhub-demo.gpu1.idle.120m", None),
        ("nvlhub-demo.gpu1.busy", None),
        ("python3", None),
    ],
)
def test_a_kernels_name_says_who_pays_for_what(name: str, parts: object) -> None:
    assert parts_of(name) == parts


def test_what_can_only_be_had_preemptible_has_a_tile_of_its_own(shown: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    why_not = {"type": "urn:nvlhub:problem:balance-too-low", "title": "Conflict", "status": 409, "low_priority": True}
    kernels = shown(offer(why_not=why_not, low_priority=True), offer(profile="gpu2", display_name="2 GPUs", gpus=2))
    assert set(kernels) == {"nvlhub-demo.gpu1", "nvlhub-demo.gpu1.idle", "nvlhub-demo.gpu2"}
    tile = kernels["nvlhub-demo.gpu1.idle"]
    assert tile["display_name"] == "1 GPU, pre-emptible · Demo project"
    told = tile["metadata"]["kernel_provisioner"]["config"]
    assert told == {"project": "demo", "profile": "gpu1", "seconds": 0, "preemptible": True}
    assert not kernels["nvlhub-demo.gpu2"]["metadata"]["kernel_provisioner"]["config"]["preemptible"]
    monkeypatch.setenv("NVLHUB_LANGUAGE", "zh-TW")
    assert shown(offer(low_priority=True))["nvlhub-demo.gpu1.idle"]["display_name"] == "1 GPU, 可中斷 · Demo project"
