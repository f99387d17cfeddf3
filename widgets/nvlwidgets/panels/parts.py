"""What screens are made of: HTML that says what was asked for, and plots that can be read without seeing them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import panel as pn
import param
from bokeh.plotting import figure
from panel.custom import AnyWidgetComponent

from nvlwidgets.markup import asset, markup


class Html(AnyWidgetComponent):
    """HTML rendered and escaped here; ``asked`` is told what somebody pressed, sent or chose in it."""

    _esm = asset("view.js")
    _stylesheets: ClassVar = [asset("style.css")]

    html = param.String("")
    # Whatever a browser sends: what is no request is not an error of ours either.
    asked = param.Parameter({})

    def __init__(self, asked: Callable[[Mapping[str, Any]], None] | None = None, **params: Any) -> None:
        super().__init__(sizing_mode="stretch_width", **params)
        if asked is not None:
            self.param.watch(lambda event: asked(event.new) if isinstance(event.new, dict) else None, "asked")

    def put(self, html: str) -> None:
        """Show something else, if it is something else."""
        if html != self.html:
            self.html = html


SERIES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
"""Colours that people with any kind of colour vision tell apart (Okabe and Ito, 2008); dashes are the second cue."""
DASHES = ("solid", "dashed", "dotted", "dotdash", "dashdot", "solid", "dashed", "dotted")


def empty_figure(lang: str, *, height: int = 220, **more: Any) -> Any:
    """Return a figure in the house style: as wide as there is room, no toolbar, no tab stops without a name."""
    plot = figure(height=height, sizing_mode="stretch_width", toolbar_location=None, min_width=200, **more)
    plot.xgrid.grid_line_color = None
    plot.outline_line_color = None
    for axis in plot.axis:
        if hasattr(axis.ticker, "desired_num_ticks"):
            # As many as have room on a phone.
            axis.ticker.desired_num_ticks = 4
        axis.minor_tick_line_color = None
        axis.axis_line_color = "#55605a"
    return plot


class Plot(pn.viewable.Viewer):
    """A plot with a heading, one sentence that says what it shows, and the same as a table."""

    def __init__(self, lang: str, title: str, plot: Any) -> None:
        super().__init__()
        self._lang = lang
        self._title = title
        self._head = Html()
        self._table = Html()
        self._view = pn.Column(
            self._head, pn.pane.Bokeh(plot, sizing_mode="stretch_width"), self._table, sizing_mode="stretch_width"
        )

    def tell(self, sentence: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Say in a sentence and in a table what the figure shows now."""
        self._head.put(markup("plot_head.html", self._lang, title=self._title, sentence=sentence))
        self._table.put(markup("plot_table.html", self._lang, title=self._title, head=head, rows=rows))

    def __panel__(self) -> Any:
        return self._view
