"""A certificate as a page to print: PDF, A4, with a QR code of the address where it is verified."""

from __future__ import annotations

import functools
import io
import unicodedata
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import segno
from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4, landscape
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.ttfonts import TTFError, TTFont
from reportlab.pdfgen.canvas import Canvas

from nvlhub.text import say

CHINESE = "MSung-Light"
"""Adobe's font for Traditional Chinese: every reader of PDF has one in its place, so none is embedded."""
LATIN = "Helvetica"
FURTHER = "DejaVuSans"
"""What has the letters of Vietnamese, Greek, Cyrillic and many more: embedded, as far as it is used."""
PLACES = ("/usr/share/fonts/truetype/dejavu", "/usr/share/fonts/dejavu-sans-fonts", "/usr/share/fonts/TTF")
CHINESE_LETTERS = ((0x2E80, 0xABFF), (0xF900, 0xFAFF), (0xFE30, 0xFE4F), (0xFF00, 0xFFEF))
"""Code points of that font: Han, kana, bopomofo and their punctuation; no Hangul, and nothing beyond the first plane."""
GREEN, GREY = HexColor("#3f6d00"), HexColor("#555555")


def certificate_pdf(told: Mapping[str, Any], address: str, lang: str) -> bytes:
    """Return the PDF of a certificate's document; `address`: where it is verified."""
    pdfmetrics.registerFont(UnicodeCIDFont(CHINESE))
    _further()
    width, height = landscape(A4)
    out = io.BytesIO()
    # Without the time of making: the same certificate is the same file.
    page = Canvas(out, pagesize=(width, height), invariant=1, lang=lang)
    course, run = told["course"], told["run"]
    title = _first(*((course["title_zh"],) if lang == "zh-TW" else ()), course["title"], course["title_zh"])
    latin = _first(told["name_latin"])
    # A name is written rightly or not at all.
    name = _first(told["name"]) or latin or say("certificate-name-elsewhere", lang)
    page.setTitle(say("certificate-title", lang))
    page.setAuthor(told["issuer"])
    page.setStrokeColor(GREEN)
    page.setLineWidth(3)
    page.rect(28, 28, width - 56, height - 56)
    middle = width / 2
    _line(page, say("certificate-title", lang), middle, height - 110, 34, GREEN)
    _line(page, say("certificate-says", lang), middle, height - 160, 14, GREY)
    _line(page, name, middle, height - 215, 34)
    if latin and latin != name:
        _line(page, latin, middle, height - 245, 18)
    _line(page, say("certificate-passed", lang), middle, height - 285, 14, GREY)
    _line(page, title or course["name"], middle, height - 325, 24)
    held = " · ".join(filter(None, (_first(run["name"]), told["achieved"][:10])))
    _line(page, held, middle, height - 352, 14, GREY)
    score = f"{told['score'] / 10:g} %"
    _line(page, say("certificate-score", lang, score=score), middle, height - 385, 14)
    _code(page, address, 60, 55, 90)
    page.setFillColor(GREY)
    lines: tuple[str, ...] = (
        say("certificate-verify-at", lang),
        address,
        f"{told['id']} · {told['key']} · {told['issuer']}",
    )
    if not all(map(_first, filter(None, (told["name"], told["name_latin"], course["title"], run["name"])))):
        lines += (say("certificate-not-drawn", lang),)
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
    for letter in unicodedata.normalize("NFC", text):
        font = _font_of(letter)
        if font and pieces and pieces[-1][0] == font:
            pieces[-1] = font, pieces[-1][1] + letter
        elif font:
            pieces.append((font, letter))
    return pieces


def _first(*texts: str) -> str:
    """Return the first text that can be written whole; nothing where none can."""
    for text in texts:
        if text and all(map(_font_of, unicodedata.normalize("NFC", text))):
            return text
    return ""


def _font_of(letter: str) -> str:
    """Return the font that has a letter; nothing where none has, or where letters change with their neighbours."""
    code = ord(letter)
    if any(first <= code <= last for first, last in CHINESE_LETTERS):
        return CHINESE
    # Helvetica's encoding ends with Latin-1.
    if 0x20 <= code < 0x7F or 0xA0 <= code < 0x100:
        return LATIN
    font = _further()
    shaped = unicodedata.category(letter)[0] not in "LNPS" or unicodedata.bidirectional(letter) in {"R", "AL", "AN"}
    return FURTHER if font is not None and code in font.face.charToGlyph and not shaped else ""


@functools.cache
def _further() -> TTFont | None:
    """Return the font for further letters, registered; None: this machine has none."""
    spec = find_spec("matplotlib")
    own = (
        [str(Path(place) / "mpl-data" / "fonts" / "ttf") for place in (spec.submodule_search_locations or ())]
        if spec
        else []
    )
    for place in (*own, *PLACES):
        try:
            font = TTFont(FURTHER, str(Path(place) / "DejaVuSans.ttf"))
        except TTFError:
            continue
        pdfmetrics.registerFont(font)
        return font
    return None


def _width(text: str, size: float) -> float:
    return sum(float(pdfmetrics.stringWidth(part, font, size)) for font, part in _parts(text))


def _text(page: Canvas, text: str, x: float, y: float, size: float) -> None:
    for font, part in _parts(text):
        page.setFont(font, size)
        page.drawString(x, y, part)
        x += float(pdfmetrics.stringWidth(part, font, size))
