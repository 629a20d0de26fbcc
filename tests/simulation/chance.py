"""Random streams of one seed, one for each purpose: what one of them draws moves no other, so a run can be shrunk."""

from __future__ import annotations

import random


class Chance:
    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._streams: dict[str, random.Random] = {}

    def stream(self, name: str) -> random.Random:
        found = self._streams.get(name)
        if found is None:
            found = self._streams[name] = random.Random(f"{self.seed}/{name}")
        return found
