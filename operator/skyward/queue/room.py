"""How many unfinished tasks one pool may have: who submits more waits, and feels it as time and not as an error."""

from __future__ import annotations

import asyncio
from collections import deque

MOST_TASKS = 200_000
"""Each takes about 1.5 KB of the operator's memory, whatever the number of its items."""


class Room:
    def __init__(self, most: int) -> None:
        self._most = most
        self._inside: dict[str, int] = {}
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    async def wait(self, pool: str) -> None:
        """Until this pool has fewer tasks than it may; those that are being committed come on top."""
        while self._inside.get(pool, 0) >= self._most:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(pool, deque()).append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._call_next(pool)
                raise

    def enter(self, pool: str) -> None:
        self._inside[pool] = self._inside.get(pool, 0) + 1

    def leave(self, pool: str) -> None:
        self._inside[pool] -= 1
        if not self._inside[pool]:
            del self._inside[pool]
        self._call_next(pool)

    def _call_next(self, pool: str) -> None:
        waiting = self._waiting.get(pool)
        while waiting:
            turn = waiting.popleft()
            if not turn.done():  # who gave up waiting takes nobody's turn
                turn.set_result(None)
                return
        self._waiting.pop(pool, None)
