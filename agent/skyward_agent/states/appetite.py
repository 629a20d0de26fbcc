"""How much work an agent holds ahead: enough that no lane waits for the gateway, and no more than that."""

from __future__ import annotations

import math

AHEAD_S = 0.010
"""Work held for each lane beyond what runs, as time."""
MOST_AHEAD = 64
_WEIGHT = 0.25
_LONGEST_S = 1.0
"""One very slow attempt must not hide for long that the others are quick."""


class Pace:
    """Mean seconds that an attempt takes its lane, overhead included; the latest count most."""

    def __init__(self) -> None:
        self._mean_s: float | None = None

    def took(self, seconds: float) -> None:
        seconds = min(seconds, _LONGEST_S)
        self._mean_s = seconds if self._mean_s is None else self._mean_s + _WEIGHT * (seconds - self._mean_s)

    def ahead(self) -> int:
        """Attempts to hold beyond the one that runs: the next one always, so that its lane does not idle in between."""
        if self._mean_s is None:
            return 1
        return min(MOST_AHEAD, max(1, math.ceil(AHEAD_S / max(self._mean_s, 1e-6))))

    def is_slow(self, seconds: float) -> bool:
        """An attempt that runs for this long already has shown that nothing should wait behind it."""
        return seconds > max(AHEAD_S, 2.0 * (self._mean_s or 0.0))


def is_worth_saying(capacity: int, credit: int, *, idle: int) -> bool:
    """Whether the gateway should hear of this capacity, when it knows of `credit`: small changes are saved up, so that work
    comes in batches."""
    if capacity == 0 or credit == 0:
        return capacity != credit
    return credit < min(idle, capacity) or capacity >= 2 * credit or 2 * capacity <= credit
