"""Routes of what GPUs did."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
