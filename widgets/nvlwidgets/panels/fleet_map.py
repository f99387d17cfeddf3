"""All GPUs as one picture, in a dashboard."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import param
from panel.custom import AnyWidgetComponent

from nvlwidgets.fleet_cells import words
from nvlwidgets.markup import asset


class FleetMap(AnyWidgetComponent):
    """The picture; ``asked`` is told which rack somebody opens. What each trait means: ``esm/fleet.js``."""

    _esm = asset("fleet.js")
    _stylesheets: ClassVar = [asset("style.css"), asset("fleet.css")]

    cells = param.Bytes(b"")
    racks = param.List([])
    mode = param.String("state")
    legend = param.List([])
    words = param.Dict({})
    chosen = param.String("")
    sentence = param.String("")
    asked = param.Dict({})

    def __init__(self, lang: str, asked: Callable[[Mapping[str, Any]], None], **params: Any) -> None:
        super().__init__(sizing_mode="stretch_width", words=words(lang), **params)
        self.param.watch(lambda event: asked(event.new), "asked")
