"""Actors that share one thread: each is a generator that does something and yields how many seconds it then pauses."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable, Iterator

Actor = Iterator[float]


class Stage:
    """Whatever an actor must undo, it undoes in `finally`: leaving the stage closes it."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Actor]] = []
        self._numbers = itertools.count()

    def enter(self, actor: Actor, after_s: float = 0.0) -> None:
        heapq.heappush(self._due, (time.monotonic() + after_s, next(self._numbers), actor))

    def play(self, is_over: Callable[[], bool], limit_s: float) -> bool:
        """Let the actors act until it is over (True) or so long has passed (False)."""
        deadline = time.monotonic() + limit_s
        while not is_over():
            if time.monotonic() >= deadline:
                return False
            self._step(min(deadline, time.monotonic() + 0.1))
        return True

    def clear(self) -> None:
        """Everyone leaves."""
        while self._due:
            _, _, actor = heapq.heappop(self._due)
            close = getattr(actor, "close", None)
            if close is not None:
                close()

    def _step(self, until: float) -> None:
        if not self._due or self._due[0][0] > until:
            time.sleep(max(0.0, until - time.monotonic()))
            return
        due, _, actor = heapq.heappop(self._due)
        time.sleep(max(0.0, due - time.monotonic()))
        pause_s = next(actor, None)
        if pause_s is not None:
            self.enter(actor, pause_s)
