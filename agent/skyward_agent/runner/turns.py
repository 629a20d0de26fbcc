"""Standard output and standard error come by two pipes, and who reads two pipes cannot tell which was written first. So a
process that turns from one stream to the other waits until the agent has taken in what it wrote to the first.

Only what goes through Python's own streams waits, and never long: a function that turns back and forth all the time loses
the order, not its time.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable

_LONGEST_S = 0.02
_PAUSE_S = 0.0002
_SHARE = 0.05
"""Of all time, what may be spent on waiting."""
_SAVED_S = 0.5
"""Time that may be saved up for waiting."""


class Turns:
    """`unread` tells how many bytes the pipe behind a descriptor holds."""

    def __init__(self, unread: Callable[[int], int]) -> None:
        self._unread = unread
        self._writing = 1
        self._allowance = _SAVED_S
        self._counted_at = time.monotonic()

    def take(self, descriptor: int) -> None:
        """This stream is written to next."""
        other, self._writing = self._writing, descriptor
        if other == descriptor or not self._unread(other):
            return
        began = now = time.monotonic()
        self._allowance = min(_SAVED_S, self._allowance + _SHARE * (began - self._counted_at))
        while now - began < min(_LONGEST_S, self._allowance) and self._unread(other):
            time.sleep(_PAUSE_S)
            now = time.monotonic()
        self._allowance -= now - began
        self._counted_at = now


class InTurn(io.FileIO):
    """One of the two streams; closing it leaves the descriptor open."""

    def __init__(self, descriptor: int, turns: Turns) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._descriptor = descriptor
        self._turns = turns

    def write(self, data: object, /) -> int:
        self._turns.take(self._descriptor)
        return super().write(data)  # type: ignore[arg-type]
