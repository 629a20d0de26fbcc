"""The control loop: takes keys from a work queue and hands each to a reconciler, which reads everything again and
answers when it wants to be asked next. An exception delays its own key and no other."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import structlog

from skyward.contracts import Clock, Ids
from skyward.errors import SkyError
from skyward.kit.work_queue import WorkQueue

_log = structlog.get_logger()
_REPEATS_BEFORE_QUIET = 3
_LONGEST_TURN_S = 0.002
"""Passes that wait for nothing give nobody else a turn: after so long of them, of all workers, the rest of the loop gets one."""
_SHARE_KEYS = 10
_SHARE_S = 0.1
"""A resync goes round in shares of so many keys, or more where they would follow each other sooner than this."""


@dataclass(frozen=True, slots=True)
class Done:
    """As desired: only a change, or the next resync, is a reason to look again."""


@dataclass(frozen=True, slots=True)
class After:
    """Waiting for something: look again then at the latest."""

    duration_s: float
    reason: str


Next = Done | After
DONE = Done()


class Reconciler(Protocol):
    async def reconcile(self, key: str) -> Next:
        """Move what the key names one step closer to desired. Reads everything again; never relies on what woke it.
        Failing is an exception; waiting is `After`."""
        ...


class Controller:
    """One named loop. `keys` gives every key that exists: all are added at the start, and from then on each once in every
    resync, a few at a time: whatever happens meanwhile waits for a few passes and not for thousands."""

    def __init__(
        self,
        name: str,
        reconciler: Reconciler,
        queue: WorkQueue,
        *,
        workers: int,
        clock: Clock,
        ids: Ids,
        keys: Callable[[], Iterable[str]] = tuple,
        resync_s: float = 30.0,
    ) -> None:
        self.name = name
        self.queue = queue
        self.passes = 0
        """Reconciles that ended, failed ones included."""
        self.failures = 0
        self._reconciler = reconciler
        self._workers = workers
        self._clock = clock
        self._ids = ids
        self._keys = keys
        self._resync_s = resync_s
        self._turn_ends = 0.0
        self._in_line: deque[asyncio.Future[None]] = deque()

    async def run(self, ready: Callable[[], None]) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.queue.run_timers(), name=f"{self.name} timers")
            group.create_task(self._resync(), name=f"{self.name} resync")
            for number in range(self._workers):
                group.create_task(self._work(), name=f"{self.name} worker {number}")
            ready()

    async def _resync(self) -> None:
        self._offer(self._keys())
        while True:
            keys = tuple(self._keys())
            # Jitter keeps the controllers of one process, and several processes, from working in step.
            period_s = self._resync_s * (0.9 + 0.2 * self._ids.fraction())
            shares = max(1, min(len(keys) // _SHARE_KEYS, int(period_s / _SHARE_S)))
            offered: set[str] = set()
            for number in range(shares - 1):
                await self._clock.sleep(period_s / shares)
                offered.update(self._offer(keys[number::shares]))
            await self._clock.sleep(period_s / shares)
            self._offer(key for key in self._keys() if key not in offered)

    def _offer(self, keys: Iterable[str]) -> Iterable[str]:
        for key in keys:
            self.queue.offer(key)
        return keys

    async def _work(self) -> None:
        structlog.contextvars.bind_contextvars(controller=self.name)  # this task's own
        while True:
            key = await self.queue.get()
            try:
                await self._pass(key)
            finally:
                self.queue.done(key)
            await self._give_way()

    async def _give_way(self) -> None:
        if self._clock.monotonic() < self._turn_ends:
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._in_line.append(turn)
        if len(self._in_line) == 1:
            asyncio.get_running_loop().call_soon(self._begin_turn)
        await turn

    def _begin_turn(self) -> None:
        """One worker goes on, and in the loop's next round another: most of them would find the turn used up."""
        self._turn_ends = self._clock.monotonic() + _LONGEST_TURN_S
        while self._in_line:
            turn = self._in_line.popleft()
            if not turn.done():
                turn.set_result(None)
                break
        if self._in_line:
            asyncio.get_running_loop().call_soon(self._begin_turn)

    async def _pass(self, key: str) -> None:
        started = self._clock.monotonic()
        try:
            following = await self._reconciler.reconcile(key)
        except Exception as error:
            self.failures += 1
            self._report(key, error, self.queue.add_failed(key), self._clock.monotonic() - started)
            return
        finally:
            self.passes += 1
        self.queue.forget(key)
        if isinstance(following, After):
            self.queue.add_after(key, following.duration_s)

    def _report(self, key: str, error: Exception, retry_s: float, duration_s: float) -> None:
        quiet = self.queue.failures(key) > _REPEATS_BEFORE_QUIET
        log = _log.debug if quiet else _log.error
        log(
            "reconcile failed",
            controller=self.name,
            key=key,
            error=str(error) or type(error).__name__,
            retry_s=round(retry_s, 3),
            duration_s=round(duration_s, 3),
            exc_info=not isinstance(error, SkyError),
        )
