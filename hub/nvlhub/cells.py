"""Texts in cells of CSV files: kept from being formulas on the way out, and as they were on the way in."""

from __future__ import annotations

FORMULA = "=+-@\t\r\n＝＋－＠"
"""What makes a spreadsheet take a text for a formula, the full-width signs of East Asian ones included."""


def guarded(text: str | None) -> str:
    """Return a text that no spreadsheet takes for a formula: with an apostrophe before it, where it could."""
    return f"'{text}" if _like_formula(text or "") else text or ""


def bare(text: str) -> str:
    """Take off what :func:`guarded` put before a text, and nothing else."""
    return text[1:] if text.startswith("'") and _like_formula(text) else text


def _like_formula(text: str) -> bool:
    # A text that begins with apostrophes by itself gets one more, so that none of its own is taken off.
    return text.lstrip("'")[:1] in FORMULA and text.lstrip("'") != ""
