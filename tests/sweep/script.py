"""What goes wrong because the story wants it so, and how often; nothing goes wrong by chance."""

from __future__ import annotations

from collections import Counter

from tests.simulation.chance import Chance
from tests.simulation.faults import NO_FAULTS, RATES, Faults
from tests.simulation.network import Fate

LOST_REQUEST = Fate(0.2, 0.2, lost_request=True)
LOST_REPLY = Fate(0.2, 0.2, lost_reply=True)


class Script(Faults):
    def __init__(self, chance: Chance) -> None:
        super().__init__(NO_FAULTS, chance)
        self._due: Counter[str] = Counter()
        self._amounts: dict[str, float] = {}

    def order(self, kind: str, times: int = 1, *, amount: float = 0.0) -> None:
        """The next so many chances of this kind are taken. `amount` is how much of it, or which, where that matters."""
        assert kind in RATES, f"{kind!r} is no kind of fault"
        self._due[kind] += times
        self._amounts[kind] = amount

    def strikes(self, kind: str) -> bool:
        if not self._due[kind]:
            return False
        self._due[kind] -= 1
        self.struck(kind)
        return True

    def between(self, kind: str, low: float, high: float) -> float:
        return min(max(self._amounts.get(kind, low), low), high)

    def pick(self, kind: str, count: int) -> int:
        return min(int(self._amounts.get(kind, 0)), count - 1)
