"""Ids from a seed: the same test sees the same names."""

from __future__ import annotations

import random
import string
import uuid


class FakeIds:
    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)

    def uid(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def suffix(self) -> str:
        return "".join(self._random.choices(string.ascii_lowercase + string.digits, k=5))

    def token(self) -> str:
        return f"{self._random.getrandbits(256):064x}"

    def fraction(self) -> float:
        return self._random.random()
