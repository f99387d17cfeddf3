"""What a widget shows, as plain text: for terminals, and wherever widgets cannot run."""

from __future__ import annotations

from html.parser import HTMLParser

BLOCKS = frozenset({"section", "div", "p", "h2", "h3", "ul", "li", "table", "thead", "tbody", "tr"})
CELLS = frozenset({"td", "th"})
LEFT_OUT = frozenset({"button", "details", "script", "style", "svg"})
"""What only works in a browser, and what is said in words beside it."""


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.lines: list[list[str]] = [[]]
        self._inside = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in LEFT_OUT:
            self._inside += 1
        elif tag in BLOCKS:
            self.lines.append(["- "] if tag == "li" else [])

    def handle_endtag(self, tag: str) -> None:
        if tag in LEFT_OUT:
            self._inside -= 1
        elif tag in BLOCKS:
            self.lines.append([])
        elif tag in CELLS:
            self.lines[-1].append(" | ")

    def handle_data(self, data: str) -> None:
        if not self._inside:
            self.lines[-1].append(data)


def plain(html: str) -> str:
    """Return the words of our own HTML, a line for each of its blocks."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    lines = (" ".join("".join(parts).split()).removesuffix("|").rstrip() for parts in reader.lines)
    return "\n".join(line for line in lines if line.strip("- |"))
