"""Submits that the operator has not answered: who has too many of them waits until it has. An operator whose queue is full, or
that is away for a while, is felt as time, and not as memory that grows in its client."""

from __future__ import annotations

import threading

MOST = 4_000
MOST_BYTES = 64 * 1024 * 1024
"""Arguments of them, in all. One alone may have more."""


class Unanswered:
    """From any thread."""

    def __init__(self, most: int = MOST, most_bytes: int = MOST_BYTES) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._count = 0
        self._bytes = 0
        self._has_ended = False
        self._changed = threading.Condition(threading.Lock())

    def enter(self, size: int) -> None:
        """Waits for room. Each needs its `leave`, when it is answered or given up."""
        with self._changed:
            self._changed.wait_for(lambda: self._has_ended or self._has_room(size))
            self._count += 1
            self._bytes += size

    def leave(self, size: int) -> None:
        with self._changed:
            self._count -= 1
            self._bytes -= size
            self._changed.notify()

    def end(self) -> None:
        """Nothing will be answered any more: nobody waits."""
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()

    def _has_room(self, size: int) -> bool:
        return not self._count or (self._count < self._most and self._bytes + size <= self._most_bytes)
