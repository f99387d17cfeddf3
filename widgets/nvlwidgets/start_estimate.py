"""What could be started now: shape, how many are free, expected wait, price; or why not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from nvlhub.wire import Offer
from nvlwidgets.asking import portal
from nvlwidgets.feed import Topic
from nvlwidgets.live import Live, site


def _offers(found: Any) -> list[Offer]:
    return [Offer.model_validate(item) for item in found["items"]]


class StartEstimate(Live):
    """The offers to one project, or to all of this user's projects."""

    template: ClassVar[str] = "start_estimate.html"
    title: ClassVar[str] = "widget-start"

    def __init__(self, project: str | None = None) -> None:
        self._query = {"project": project} if project else {}
        super().__init__()

    def _topic(self) -> Topic:
        return portal("/offers", _offers, 15.0, **self._query)

    def topics(self) -> tuple[Topic, ...]:
        """Return the offers and the site's zone."""
        return self._topic(), site()

    def values(self) -> Mapping[str, Any]:
        """Return the offers; None: not known yet."""
        return {"offers": self.reading(self._topic()).value}
