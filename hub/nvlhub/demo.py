"""``nvlhub demo``: what a researcher does, without a browser, with the time of every step."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from nvlhub.notebook import NotebookError, Session
from nvlhub.ports import free_port
from nvlhub.trust import trusted
from nvlhub.up import Options, Up, UpError, examples, running
from nvlhub.wire import API_PATH, gpu_hours

NOTEBOOK = "01_first_lease.ipynb"
SETTLED = 30.0
"""Seconds in which a lease must be settled after its kernel was shut down."""


class _Steps:
    """Prints steps with their time."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._begun = self._last = time.monotonic()

    def done(self, text: str) -> None:
        now = time.monotonic()
        self._say(f"[{now - self._begun:6.1f} s, +{now - self._last:5.1f}] {text}")
        self._last = now


def run_demo(data: Path | None, say: Callable[[str], None]) -> None:
    """Run the demo in `data`, or in a directory that is removed afterwards. Raises `UpError` when a step fails."""
    with tempfile.TemporaryDirectory(prefix="nvlhub-demo-", ignore_cleanup_errors=True) as scratch:
        where = data or Path(scratch)
        steps = _Steps(say)
        with running(Options(data=where, port=free_port()), say) as portal:
            steps.done(f"hub and portal run at {portal.url} with 144 simulated GPUs")
            try:
                asyncio.run(_story(portal, where, steps, say))
            except (NotebookError, httpx.HTTPError, TimeoutError) as error:
                raise UpError(f"the demo failed: {error}") from error
        steps.done("everything stopped")


async def _story(portal: Up, data: Path, steps: _Steps, say: Callable[[str], None]) -> None:
    operator = (data / "admin-token").read_text(encoding="utf-8")
    async with Session(portal.url, "researcher", operator) as session:
        offers = (await session.portal("GET", "/offers", params={"project": "demo"}))["items"]
        for offer in offers:
            say(
                f"      offer: {offer['display_name']:<20} {offer['price_milli'] / 1000:g} GPU-h/h, {offer['free_now']} free now"
            )
        await session.start_server()
        steps.done("the researcher's server runs (CPU, free of charge)")
        kernel = await session.start_kernel("nvlhub-demo.gpu1", NOTEBOOK)
        ran = await kernel.run("import nvlkernels; print(nvlkernels.lease()); print(nvlkernels.devices())")
        steps.done("a kernel runs on 1 GPU under a lease:")
        say(_indented(ran.text))
        for number, code in enumerate(_cells(), start=1):
            ran = await kernel.run(code)
            if ran.error:
                raise NotebookError(f"cell {number} of {NOTEBOOK}: {ran.error}")
            steps.done(f"cell {number}: {_first(ran.text)}" + (f" [{ran.pictures} picture]" if ran.pictures else ""))
        await kernel.shut_down()
        lease = await _settled(session)
        ran_for = lease["charged"] // (lease["gpus"] * lease["factor_milli"])
        steps.done(
            f"the kernel is shut down: charged {lease['gpus']} GPU × {ran_for} s = {lease['charged'] // 1000} GPU-seconds"
        )
        steps.done("a start beyond the balance is refused in words:")
        say(_indented(await _refusal(session)))
        award = (await session.portal("GET", "/awards", params={"project": "demo"}))["items"][0]
        say(
            f"      left of the award: {gpu_hours(award['left'])} of {gpu_hours(award['awarded'])} GPU-hours, {award['held']} held"
        )
        _print_ledger(portal.url, operator, lease["id"], say)
        await session.stop_server()
        steps.done("the server is stopped")


def _cells() -> list[str]:
    notebook = json.loads((examples() / NOTEBOOK).read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


async def _refusal(session: Session) -> str:
    """Return what a start beyond the balance is told."""
    try:
        await session.start_kernel("nvlhub-demo-small.gpu8", "refused.ipynb")
    except NotebookError as refusal:
        return str(refusal)
    raise NotebookError("a start beyond the balance was not refused")


async def _settled(session: Session) -> dict[str, Any]:
    until = time.monotonic() + SETTLED
    while time.monotonic() < until:
        found = (await session.portal("GET", "/leases", params={"state": "ended"}))["items"]
        if found:
            lease: dict[str, Any] = found[0]
            return lease
        await asyncio.sleep(0.2)
    raise NotebookError("the lease was not settled")


def _print_ledger(url: str, token: str, lease: str, say: Callable[[str], None]) -> None:
    headers = {"Authorization": f"token {token}"}
    with httpx.Client(base_url=url + API_PATH, headers=headers, timeout=30, verify=trusted()) as http:
        rows = http.get("/ledger", params={"lease": lease}).json()["items"]
        verified = http.get("/ledger/verify").json()
    say("      the ledger's postings (GPU-seconds):")
    for row in rows:
        postings = "   ".join(f"{posting['account']} {posting['amount'] / 1000:+,.3f}" for posting in row["postings"])
        say(f"        {row['entry']:<7} {postings}")
    say(
        f"      ledger verified: {verified['transactions']} transactions, "
        + ("every invariant holds" if verified["ok"] else "BROKEN")
    )
    if not verified["ok"]:
        raise NotebookError(str(verified["broken"]))


def _indented(text: str) -> str:
    return "\n".join(f"        {line}" for line in text.strip().splitlines())


def _first(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[0][:90] if lines else "done"
