"""Commit first, then memory: in that order, whatever happens to the caller."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from skyward.contracts import Store, Transaction

T = TypeVar("T")
R = TypeVar("R")

QUICK_ROWS = 8
"""A work that writes no more than this is done before another thread would have begun it."""
_MANY = 1_000_000


class Commits:
    """Runs works and applies what they committed to memory, in the order in which `run` was called.

    A caller that is cancelled (its connection broke) cancels neither: the rows change in any case, so memory must too.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._running: set[asyncio.Task[Any]] = set()

    async def run(
        self,
        work: Callable[[Transaction], T],
        apply: Callable[[T], R],
        undo: Callable[[], None] | None = None,
        *,
        power_safe: bool = False,
        rows: int = _MANY,
    ) -> R:
        """`undo` is called instead of `apply` when nothing was committed. `rows`: about how many the work writes."""
        quick = rows <= QUICK_ROWS and not power_safe
        if quick and self._store.is_idle and not self._running:
            return await self._run(work, apply, undo, power_safe, quick)  # never waits, so nobody can cancel it
        task = asyncio.get_running_loop().create_task(self._run(work, apply, undo, power_safe, quick))
        self._running.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        """Its caller may be gone, and then nobody asks how it ended."""
        self._running.discard(task)
        if not task.cancelled():
            task.exception()

    async def _run(
        self,
        work: Callable[[Transaction], T],
        apply: Callable[[T], R],
        undo: Callable[[], None] | None,
        power_safe: bool,
        quick: bool,
    ) -> R:
        try:
            result = await self._store.run(work, power_safe=power_safe, quick=quick)
        except Exception:
            if undo is not None:
                undo()
            raise
        return apply(result)
