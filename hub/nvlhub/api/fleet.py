"""Routes of the fleet as one picture."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
