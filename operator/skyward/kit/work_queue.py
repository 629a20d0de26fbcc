"""Keys that wait to be reconciled.

The same rules as client-go's work queue: equal keys are merged, a key that is added while it is processed is handed
out again afterwards (never lost, never to two workers at once), and order is that of arrival. Delayed keys keep their
earliest time. Keys that nothing happened to, which are only offered, let all others pass, but for one turn in eight.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque

from skyward.contracts import Clock, Ids
from skyward.kit.backoff import Backoff
from skyward.kit.waiting import wait_for

_SPARE_TURN = 8


class WorkQueue:
    """Used from one event loop. `run_timers` must run for delayed keys to come due."""

    def __init__(self, clock: Clock, ids: Ids) -> None:
        self._clock = clock
        self._backoff = Backoff(ids)
        self._waiting: deque[str] = deque()
        self._offered: dict[str, None] = {}
        self._turn = 0
        self._dirty: set[str] = set()
        self._processing: set[str] = set()
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._timers_changed = asyncio.Event()
        self._getters: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        """Keys that could be handed out now."""
        return len(self._waiting) + len(self._offered)

    @property
    def is_idle(self) -> bool:
        """Nothing waits and nothing is processed; delayed keys do not count."""
        return not self._waiting and not self._offered and not self._processing

    def add(self, key: str) -> None:
        if key in self._offered:
            del self._offered[key]
            self._waiting.append(key)
        if key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._processing:
            self._push(key)

    def offer(self, key: str) -> None:
        """Add the key for when there is time: nothing happened to it, and what did happen to others comes first."""
        if key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._processing:
            self._offered[key] = None
            self._wake_one()

    def add_after(self, key: str, delay_s: float) -> None:
        """Add the key once this time has passed; an earlier time that is already set stays."""
        if delay_s <= 0:
            self.add(key)
            return
        due = self._clock.monotonic() + delay_s
        if self._due.get(key, float("inf")) <= due:
            return
        self._due[key] = due
        heapq.heappush(self._heap, (due, key))
        if self._heap[0] == (due, key):
            self._timers_changed.set()

    def add_failed(self, key: str) -> float:
        """Add the key after its backoff, and say how long that is."""
        delay_s = self._backoff.next_s(key)
        self.add_after(key, delay_s)
        return delay_s

    def failures(self, key: str) -> int:
        return self._backoff.failures(key)

    def forget(self, key: str) -> None:
        """The key was handled well: its backoff starts anew."""
        self._backoff.forget(key)

    async def get(self) -> str:
        """The next key. It is this caller's alone until `done`."""
        while not self._waiting and not self._offered:
            getter = asyncio.get_running_loop().create_future()
            self._getters.append(getter)
            try:
                await getter
            except asyncio.CancelledError:
                if getter.done() and not getter.cancelled():
                    self._wake_one()
                raise
        key = self._next()
        self._processing.add(key)
        self._dirty.discard(key)
        return key

    def _next(self) -> str:
        self._turn = (self._turn + 1) % _SPARE_TURN
        if self._offered and (not self._waiting or self._turn == 0):
            key = next(iter(self._offered))
            del self._offered[key]
            return key
        return self._waiting.popleft()

    def done(self, key: str) -> None:
        """Processing ended, however it did."""
        self._processing.discard(key)
        if key in self._dirty:
            self._push(key)

    async def run_timers(self) -> None:
        """Move delayed keys over as they come due, until cancelled."""
        while True:
            self._timers_changed.clear()
            await wait_for(self._timers_changed, self._move_due())

    def _move_due(self) -> float | None:
        now = self._clock.monotonic()
        while self._heap:
            due, key = self._heap[0]
            if self._due.get(key) != due:
                heapq.heappop(self._heap)  # superseded by an earlier time
                continue
            if due > now:
                return due - now
            heapq.heappop(self._heap)
            del self._due[key]
            self.add(key)
        return None

    def _push(self, key: str) -> None:
        self._waiting.append(key)
        self._wake_one()

    def _wake_one(self) -> None:
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return
