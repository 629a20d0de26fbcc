"""Growing delays after repeated failure, with full jitter so that many failing things do not come back together."""

from __future__ import annotations

from skyward.contracts import Ids

_MOST_DOUBLINGS = 32


class Backoff:
    """One failure counter per key."""

    def __init__(self, ids: Ids, *, first_s: float = 0.05, most_s: float = 300.0) -> None:
        self._ids = ids
        self._first_s = first_s
        self._most_s = most_s
        self._failures: dict[str, int] = {}

    def next_s(self, key: str) -> float:
        """Count one more failure of this key and say how long to leave it alone: 0 up to twice as long each time."""
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        ceiling = min(self._most_s, self._first_s * 2.0 ** min(count, _MOST_DOUBLINGS))
        return self._ids.fraction() * ceiling

    def failures(self, key: str) -> int:
        return self._failures.get(key, 0)

    def forget(self, key: str) -> None:
        """The key succeeded: its next failure counts as the first."""
        self._failures.pop(key, None)
