"""Kernelspecs from offers: one per project and published profile, so that a notebook remembers who pays.

Never waits for the portal: what is known is shown, and asking again happens on a thread of its own. When nothing is known
the CPU kernel remains, and a notebook that names one of our kernels still gets the reason in words.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
from jupyter_client.kernelspec import NATIVE_KERNEL_NAME, KernelSpec, KernelSpecManager, NoSuchKernel
from traitlets import Float, default

from nvlhub.text import say
from nvlhub.wire import Offer
from nvlkernels.client import PortalDownError, PortalError, call, spoken

PREFIX = "nvlhub-"
IDLE = ".idle"
"""End of the name of a kernel that uses idle GPUs: it is pre-emptible."""
TIMEOUT = httpx.Timeout(10.0)
STEPS = (5, 10, 15, 30, 45, 60, 90, 120, 180, 240, 360, 480, 720, 1440, 2880)
"""Times offered, in minutes: round ones, because a notebook remembers its kernel's name."""
RESOURCES = str(Path(__file__).parent / "resources")


def spec_name(project: str, profile: str) -> str:
    """Return the kernel's name; slugs have no dot, so it can be taken apart again."""
    return f"{PREFIX}{project}.{profile}"


def parts_of(name: str) -> tuple[str, str, int, bool] | None:
    """Return project, profile, minutes (0: the profile's longest) and whether it is pre-emptible; None: no name of ours."""
    found = re.fullmatch(
        re.escape(PREFIX) + r"([^.]+)\.([^.]+)(?:\.([1-9][0-9]{0,4})m|(" + re.escape(IDLE) + r"))?", name
    )
    return (found[1], found[2], int(found[3] or 0), found[4] is not None) if found else None


def affordable(offer: Offer) -> int:
    """Return for how many whole minutes an offer could be started that is refused for its full time; 0: not at all."""
    if offer.why_not is None or offer.why_not.member("longest_gpus") != offer.gpus:
        return 0
    minutes = int(offer.why_not.member("longest_seconds") or 0) // 60
    return max((step for step in STEPS if step <= minutes), default=0)


class OfferKernelSpecManager(KernelSpecManager):
    """Shows the CPU kernel and what the portal offers."""

    fresh = Float(10.0, config=True, help="Seconds for which offers are shown without asking again.")

    @default("allowed_kernelspecs")
    def _allowed(self) -> set[str]:
        return set()

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._offers: dict[str, Offer] = {}
        self._asked = float("-inf")
        self._lock = threading.Lock()
        self._refresh()

    def _refresh(self) -> None:
        """Ask again on a thread, if what is known is no longer fresh and nobody asks already."""
        if time.monotonic() - self._asked > self.fresh and self._lock.acquire(blocking=False):
            self._asked = time.monotonic()
            threading.Thread(target=self._fetch, name="offers", daemon=True).start()

    def _fetch(self) -> None:
        try:
            offers = [Offer(**item) for item in call("GET", "/offers", timeout=TIMEOUT)["items"]]
            self._offers = {spec_name(offer.project, offer.profile): offer for offer in offers}
            # What the rest of an award still pays for is one click away, too.
            self._offers |= {
                f"{spec_name(offer.project, offer.profile)}.{minutes}m": offer
                for offer in offers
                if (minutes := affordable(offer))
            }
            self._offers |= {
                f"{spec_name(offer.project, offer.profile)}{IDLE}": offer for offer in offers if offer.low_priority
            }
        except (PortalError, PortalDownError) as error:
            self.log.warning("offers could not be read: %s", error)
        finally:
            self._lock.release()

    def find_kernel_specs(self) -> dict[str, str]:
        """Return kernel names and their resource directories."""
        self._refresh()
        specs: dict[str, str] = super().find_kernel_specs()
        return {**specs, **dict.fromkeys(self._offers, RESOURCES)}

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """Return a spec. Raises `NoSuchKernel`."""
        named = parts_of(kernel_name)
        if named is None:
            spec = super().get_kernel_spec(kernel_name)
            if kernel_name == NATIVE_KERNEL_NAME:
                spec.display_name = say("cpu-kernel", spoken())
            return spec
        if len(kernel_name) > 100:  # two slugs of 40, a time and our own
            raise NoSuchKernel(kernel_name)
        return self._spec(*named, self._offers.get(kernel_name))

    def get_all_specs(self) -> dict[str, Any]:
        """Return everything that the launcher shows."""
        return {
            name: {"resource_dir": where, "spec": self.get_kernel_spec(name).to_dict()}
            for name, where in self.find_kernel_specs().items()
        }

    def _spec(
        self, project: str, profile: str, minutes: int, preemptible: bool, offer: Offer | None
    ) -> KernelSpec:  # fmt: skip
        shape, payer = (offer.display_name, offer.project_name) if offer else (profile, project)
        lang = spoken()
        if minutes:
            shape += f", {say('kernel-minutes', lang, minutes=str(minutes))}"
        if preemptible:
            shape += f", {say('kernel-preemptible', lang)}"
        python = os.environ.get("NVLHUB_KERNEL_PYTHON") or sys.executable
        return KernelSpec(
            resource_dir=RESOURCES,
            argv=[python, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            display_name=f"{shape} · {payer}",
            language="python",
            interrupt_mode="signal",
            metadata={
                "debugger": True,
                "supported_encryption": ["curve"],
                "kernel_provisioner": {
                    "provisioner_name": "nvlhub-lease",
                    "config": {
                        "project": project, "profile": profile, "seconds": 60 * minutes, "preemptible": preemptible,
                    },
                },
            },
        )  # fmt: skip
