"""How long ago something was, for people."""

from __future__ import annotations

import time


def ago(stamp: str) -> str:
    """Of a time as the API writes it."""
    return age_at(stamp, time.time())


def age_at(stamp: str, now: float) -> str:
    """One unit, the coarser the older."""
    from datetime import datetime

    passed = max(now - datetime.fromisoformat(stamp).timestamp(), 0.0)
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if passed >= 2 * length:
            return f"{int(passed // length)}{unit}"
    return f"{int(passed)}s"
