"""A certificate as a page to print: PDF, A4, with a QR code of the address where it is verified."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import segno
from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4, landscape
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas

from nvlhub.text import say

CHINESE = "MSung-Light"
"""Adobe's font for Traditional Chinese: every reader of PDF has one in its place, so none is embedded."""
LATIN = "Helvetica"
WIDE = 0x2E80
"""Code points from here on are Chinese, Japanese or Korean, or their punctuation."""
GREEN, GREY = HexColor("#3f6d00"), HexColor("#555555")


def certificate_pdf(told: Mapping[str, Any], address: str, lang: str) -> bytes:
    """Return the PDF of a certificate's document; `address`: where it is verified."""
    pdfmetrics.registerFont(UnicodeCIDFont(CHINESE))
    width, height = landscape(A4)
    out = io.BytesIO()
    # Without the time of making: the same certificate is the same file.
    page = Canvas(out, pagesize=(width, height), invariant=1, lang=lang)
    course, run = told["course"], told["run"]
    title = (lang == "zh-TW" and course["title_zh"]) or course["title"]
    page.setTitle(say("certificate-title", lang))
    page.setAuthor(told["issuer"])
    page.setStrokeColor(GREEN)
    page.setLineWidth(3)
    page.rect(28, 28, width - 56, height - 56)
    middle = width / 2
    _line(page, say("certificate-title", lang), middle, height - 110, 34, GREEN)
    _line(page, say("certificate-says", lang), middle, height - 160, 14, GREY)
    _line(page, told["name"], middle, height - 215, 34)
    if told["name_latin"] and told["name_latin"] != told["name"]:
        _line(page, told["name_latin"], middle, height - 245, 18)
    _line(page, say("certificate-passed", lang), middle, height - 285, 14, GREY)
    _line(page, title, middle, height - 325, 24)
    _line(page, f"{run['name']} · {told['achieved'][:10]}", middle, height - 352, 14, GREY)
    score = f"{told['score'] / 10:g} %"
    _line(page, say("certificate-score", lang, score=score), middle, height - 385, 14)
    _code(page, address, 60, 55, 90)
    page.setFillColor(GREY)
    lines = (say("certificate-verify-at", lang), address, f"{told['id']} · {told['key']} · {told['issuer']}")
    for number, text in enumerate(lines):
        _text(page, text, 165, 110 - 16 * number, 10)
    page.save()
    return out.getvalue()


def _code(page: Canvas, address: str, x: float, y: float, size: float) -> None:
    """Draw the QR code of an address."""
    rows = list(segno.make(address, error="m", micro=False).matrix)
    unit = size / len(rows)
    page.setFillColor(HexColor("#000000"))
    for down, row in enumerate(rows):
        for right, dark in enumerate(row):
            if dark:
                page.rect(x + right * unit, y + size - (down + 1) * unit, unit, unit, stroke=0, fill=1)


def _line(page: Canvas, text: str, middle: float, y: float, size: float, colour: Any = None) -> None:
    """Write a line around the middle, smaller where it is too long."""
    page.setFillColor(colour or HexColor("#000000"))
    while size > 8 and _width(text, size) > 700:  # the smallest that can be read; what the frame holds
        size -= 1
    _text(page, text, middle - _width(text, size) / 2, y, size)


def _parts(text: str) -> list[tuple[str, str]]:
    """Return a text in pieces, each with the font that has its letters."""
    pieces: list[tuple[str, str]] = []
    for letter in text:
        font = CHINESE if ord(letter) >= WIDE else LATIN
        # Helvetica's encoding ends with Latin-1.
        shown = letter if font == CHINESE or ord(letter) < 0x100 else "?"
        if pieces and pieces[-1][0] == font:
            pieces[-1] = font, pieces[-1][1] + shown
        else:
            pieces.append((font, shown))
    return pieces


def _width(text: str, size: float) -> float:
    return sum(float(pdfmetrics.stringWidth(part, font, size)) for font, part in _parts(text))


def _text(page: Canvas, text: str, x: float, y: float, size: float) -> None:
    for font, part in _parts(text):
        page.setFont(font, size)
        page.drawString(x, y, part)
        x += float(pdfmetrics.stringWidth(part, font, size))
