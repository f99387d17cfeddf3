"""Commands on requests for GPU-hours, and reviews of them."""

from __future__ import annotations

from typing import Annotated

import typer

from nvlhub.cli.base import Cap, Json, When, call, fail, fields, given, group, items, path_of, portal_time, show, tell
from nvlhub.flow.awarding import RequestKind, RequestState

requests = group("request", "Requests for GPU-hours.")

Hours = Annotated[int | None, typer.Option(min=1, help="Whole GPU-hours at charge factor 1.0.")]
AWARDED = frozenset({RequestKind.NEW, RequestKind.RENEWAL})
"""Kinds from which a new award comes: it begins now if no start is given."""


@requests.command("list")
def request_list(
    state: RequestState | None = None, project: str = "", programme: str = "", as_json: Json = False
) -> None:
    """List requests, the oldest first."""
    wanted = {"state": state.value if state else "", "project": project, "programme": programme}
    rows = items("/requests", **{name: value for name, value in wanted.items() if value})
    names = ("id", "project", "kind", "state", "pool", "amount", "starts", "ends", "award", "result", "asked_by")
    show(rows, fields(*names), as_json=as_json)


@requests.command("show")
def request_show(request: int, as_json: Json = False) -> None:
    """Show a request and what was said of it."""
    tell(call("GET", f"/requests/{request}"), as_json=as_json)


@requests.command("add")
def request_add(
    project: str, kind: Annotated[RequestKind, typer.Option()], reasons: Annotated[str, typer.Option()],
    pool: Annotated[str | None, typer.Option(help="new, renewal: where; transfer: where to.")] = None,
    gpu_hours: Hours = None, starts: When = None, ends: When = None, cap: Cap = None,
    award: Annotated[int | None, typer.Option(help="The award that it is about; for all kinds but new.")] = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Ask for GPU-hours, or for a change of an award.

    new: --pool --gpu-hours --ends, perhaps --starts (else now) and --cap. renewal: the same with --award, the one
    before. extension: --award --ends. supplement: --award --gpu-hours. transfer: --award --gpu-hours --pool.
    """
    if starts is None and kind in AWARDED:
        starts = portal_time()
    about = str(award) if award is not None else None
    values = given(pool=pool, gpu_hours=gpu_hours, starts=starts, ends=ends, cap=cap, award=about)
    body = {"project": project, "kind": kind.value, "reasons": reasons, **values}
    tell(call("POST", "/requests", json=body), as_json=as_json)


@requests.command("review")
def request_review(
    request: int, reason: Annotated[str, typer.Option()],
    approve: Annotated[bool, typer.Option("--approve")] = False,
    decline: Annotated[bool, typer.Option("--decline")] = False,
    revise: Annotated[bool, typer.Option("--revise", help="Send it back for revision.")] = False,
    gpu_hours: Hours = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Decide on a request; --gpu-hours awards less than was asked for."""
    verdicts = [name for name, said in (("approve", approve), ("decline", decline), ("revise", revise)) if said]
    if len(verdicts) != 1:
        fail("Say one of --approve, --decline and --revise.")
    body = {"verdict": verdicts[0], "reason": reason, **given(gpu_hours=gpu_hours)}
    tell(call("POST", path_of("requests", str(request), "reviews"), json=body), as_json=as_json)


@requests.command("withdraw")
def request_withdraw(request: int, as_json: Json = False) -> None:
    """Take a request back."""
    tell(call("POST", path_of("requests", str(request), "withdraw")), as_json=as_json)
