"""Times as people write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime


def unix_time(text: str) -> int:
    """Return the Unix time that `text` names: whole Unix seconds, or YYYY-MM-DD for the first second of that day (UTC).

    Raises `ValueError` for anything else.
    """
    if re.fullmatch(r"[0-9]{1,13}", text):
        return int(text)
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        raise ValueError("neither Unix seconds nor YYYY-MM-DD")
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
