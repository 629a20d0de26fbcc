"""How much work an agent holds ahead: enough that no lane waits for the gateway, and no more than that."""

from __future__ import annotations

import math
from dataclasses import dataclass

AHEAD_S = 0.010
"""Work held for each lane beyond what runs, as time."""
MOST_AHEAD = 64
AT_HAND_S = 0.004
"""Work in the hands of a child, as time: enough that it does not wait for the agent."""
MOST_AT_HAND = 32
_WEIGHT = 0.25
_LONGEST_S = 1.0
"""One very slow attempt must not hide for long that the others are quick."""


class Pace:
    """Mean seconds that an attempt takes its lane, overhead included; the latest count most."""

    def __init__(self) -> None:
        self._mean_s: float | None = None
        self._ahead = self._at_hand = 1
        self._slow_s = AHEAD_S

    def took(self, seconds: float) -> None:
        seconds = min(max(seconds, 1e-6), _LONGEST_S)
        mean = self._mean_s = seconds if self._mean_s is None else self._mean_s + _WEIGHT * (seconds - self._mean_s)
        self._ahead = min(MOST_AHEAD, math.ceil(AHEAD_S / mean))
        self._at_hand = max(1, min(MOST_AT_HAND, int(AT_HAND_S / mean)))
        self._slow_s = max(AHEAD_S, 2.0 * mean)

    @property
    def ahead(self) -> int:
        """Attempts to hold beyond the one that runs: the next one always, so that its lane does not idle in between."""
        return self._ahead

    @property
    def at_hand(self) -> int:
        """Attempts to give to one child, the one that runs included."""
        return self._at_hand

    @property
    def slow_s(self) -> float:
        """An attempt that runs for this long has shown that nothing should wait behind it."""
        return self._slow_s


@dataclass(slots=True)
class Credit:
    """What the gateway was told that this agent could take, on this connection."""

    said: int = 0
    received: int = 0

    def reset(self) -> None:
        self.said = self.received = 0

    def use(self, count: int) -> None:
        self.said = max(0, self.said - count)
        self.received += count

    def is_news(self, capacity: int, *, idle: int) -> bool:
        """Whether the gateway should hear of this capacity: small changes are saved up, so that work comes in batches."""
        if capacity == 0 or self.said == 0:
            return capacity != self.said
        return self.said < min(idle, capacity) or capacity >= 2 * self.said or 2 * capacity <= self.said
