"""Routes of a learner's own seat: taking it, and using it from a notebook."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

from fastapi import APIRouter, Path
from starlette.concurrency import run_in_threadpool

from nvlhub.api.doors import Doors, Here, Who, listed
from nvlhub.forms import Hand, Listed, OwnSeat, Progress, SeatName
from nvlhub.forms.seats import Joining
from nvlhub.registry.joining import CodeWrongError
from nvlhub.visitor import Visitor

WRONG_TAKES = 0.3
"""Seconds that the answer to a wrong code takes, whatever is wrong with it: longer than any takes to be found."""

router = APIRouter()
Run = Annotated[int, Path(ge=1, le=2**53)]


async def try_code(here: Doors, who: Visitor, code: str) -> OwnSeat:
    """Give a visitor the seat of a code; a wrong one is answered after the same time whatever is wrong with it."""
    began = time.monotonic()
    try:
        return await run_in_threadpool(here.registry.joining.join, who, code)
    except CodeWrongError:
        await asyncio.sleep(began + WRONG_TAKES - time.monotonic())
        raise


@router.post("/join")
async def join(here: Here, who: Who, body: Joining) -> OwnSeat:
    """Take a seat of the run whose code it is; whoever has one gets the same again."""
    return await try_code(here, who, body.code)


@router.get("/seat")
def own_seats(here: Here, who: Who) -> Listed[OwnSeat]:
    """List the visitor's seats in runs that are not over."""
    return listed(here.registry.joining.mine(who))


@router.post("/seat/{run}/hand")
def raise_hand(here: Here, who: Who, run: Run, body: Hand) -> OwnSeat:
    """Raise or lower the visitor's hand."""
    return here.registry.joining.hand(who, run, up=body.up)


@router.post("/seat/{run}/progress")
def tell_progress(here: Here, who: Who, run: Run, body: Progress) -> OwnSeat:
    """Tell how far the visitor is, or what came of a check of their work."""
    return here.registry.joining.progress(who, run, body)


@router.post("/seat/{run}/name")
def name_for_certificate(here: Here, who: Who, run: Run, body: SeatName) -> OwnSeat:
    """Write the name that stands on the certificate, until there is one."""
    return here.registry.joining.rename(who, run, body)
