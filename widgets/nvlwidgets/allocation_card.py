"""Awards: how much is used, held and left, until when it lasts, and where to ask for more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from nvlhub.wire import View
from nvlwidgets.asking import portal
from nvlwidgets.feed import Reading, Topic
from nvlwidgets.live import Live, site


class Award(View):
    """What is shown of an award; milli-GPU-seconds, Unix seconds."""

    id: str
    project: str
    pool: str
    state: str
    awarded: int
    charged: int
    held: int
    left: int
    ends: int
    dry_at: int | None = None

    def share(self, amount: int) -> float:
        """Return per cent of what was awarded."""
        return round(min(100.0, max(0.0, 100 * amount / self.awarded)), 1) if self.awarded > 0 else 0.0


def _awards(found: Any) -> list[Award]:
    awards = [Award.model_validate(item) for item in found["items"]]
    return [award for award in awards if award.state == "active"]


class AllocationCard(Live):
    """The awards of one project, or of all of this user's projects."""

    template: ClassVar[str] = "allocation_card.html"
    title: ClassVar[str] = "widget-awards"

    def __init__(self, project: str | None = None) -> None:
        self._query = {"project": project} if project else {}
        super().__init__()

    def _awards_topic(self) -> Topic:
        return portal("/awards", _awards, 15.0, per_page="200", **self._query)

    def topics(self) -> tuple[Topic, ...]:
        """Return the awards and the site's zone."""
        return self._awards_topic(), site()

    def values(self) -> Mapping[str, Any]:
        """Return the awards; None: not known yet."""
        reading: Reading = self.reading(self._awards_topic())
        return {"awards": reading.value, "more": "/services/portal/more"}
