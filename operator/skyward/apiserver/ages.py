"""How long ago, as kubectl writes it: at most two units, the coarser the older."""

from __future__ import annotations

from datetime import datetime

_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86400, 365 * 86400


def age(since: datetime | None, now: float) -> str:
    return "<unknown>" if since is None else human(now - since.timestamp())


def human(seconds: float) -> str:
    whole = max(int(seconds), 0)
    if whole < 2 * _MINUTE:
        return f"{whole}s"
    if whole < 10 * _MINUTE:
        return _two(whole, _MINUTE, "m", 1, "s")
    if whole < 3 * _HOUR:
        return f"{whole // _MINUTE}m"
    if whole < 8 * _HOUR:
        return _two(whole, _HOUR, "h", _MINUTE, "m")
    if whole < 2 * _DAY:
        return f"{whole // _HOUR}h"
    if whole < 8 * _DAY:
        return _two(whole, _DAY, "d", _HOUR, "h")
    if whole < 2 * _YEAR:
        return f"{whole // _DAY}d"
    return _two(whole, _YEAR, "y", _DAY, "d") if whole < 8 * _YEAR else f"{whole // _YEAR}y"


def _two(whole: int, coarse: int, coarse_unit: str, fine: int, fine_unit: str) -> str:
    rest = whole % coarse // fine
    return f"{whole // coarse}{coarse_unit}" + (f"{rest}{fine_unit}" if rest else "")
