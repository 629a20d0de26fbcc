"""The counter behind resource versions."""

from __future__ import annotations


class Versions:
    """Store-wide and monotonic. A number given to work that was rolled back is skipped, never given again."""

    def __init__(self, newest: int) -> None:
        self.newest = newest

    def next(self) -> int:
        self.newest += 1
        return self.newest
