"""An event loop without a selector: virtual time, a schedule that the seed chooses, and processes that can die.

Every callback carries a context, and a context names the operator process it belongs to. A callback of a dead process is
dropped: its tasks stay as they were, referenced and never resumed, so no `finally` and no `async with` of it ever ends.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import random
import weakref
from collections import deque
from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar

T = TypeVar("T")
START = 1_800_000_000.0
_CANCELLED_KEPT = 200


class Mortal:
    """A process as the loop sees it."""

    def __init__(self) -> None:
        self.dead = False
        self.frozen: list[Any] | None = None
        """What has to wait until it thaws; None while it runs."""
        self.tasks: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()

    def listen(self, accept: Callable[[], Any]) -> Any:
        raise NotImplementedError


PROCESS: contextvars.ContextVar[Mortal | None] = contextvars.ContextVar("process", default=None)


class Schedule(StrEnum):
    FIFO = "fifo"
    """As asyncio runs them: only the world's answers come in another order."""
    SHUFFLED = "shuffled"
    """What is ready at one instant runs in random order."""
    PRIORITIES = "priorities"
    """Each task has a random priority, which falls to the lowest at a few random steps; the highest always runs first."""


class Stuck(Exception):
    """Nothing is ready and no timer runs: every task waits for another."""


class SimTask(asyncio.Task[Any]):
    """Hashes by its number, so that sets of tasks have the same order in every run."""

    number = 0

    def __hash__(self) -> int:
        return self.number


class SimLoop(asyncio.BaseEventLoop):
    def __init__(self, chance: random.Random, schedule: Schedule) -> None:
        super().__init__()
        self.steps = 0
        self.problems: list[str] = []
        """What asyncio itself complained about."""
        self._ready: deque[Any] = deque()
        self._scheduled: list[Any] = []
        self._timer_cancelled_count = 0
        self._now = 0.0
        self._chance = chance
        self._run_batch = {
            Schedule.FIFO: self._run_in_order,
            Schedule.SHUFFLED: self._run_shuffled,
            Schedule.PRIORITIES: self._run_by_priority,
        }[schedule]
        self._priorities: dict[int, float] = {}
        self._lowest = 0.0
        self._change_at = chance.randrange(50, 5_000)
        self._tasks_made = 0
        self.set_task_factory(self._make_task)
        self.set_exception_handler(lambda _, context: self.problems.append(_describe(context)))

    def time(self) -> float:
        return self._now

    def _make_task(self, _: Any, coro: Any, **more: Any) -> SimTask:
        task = SimTask(coro, loop=self, **more)
        self._tasks_made += 1
        task.number = self._tasks_made
        process = (more.get("context") or contextvars.copy_context()).get(PROCESS)
        if process is not None:
            process.tasks.add(task)
        return task

    def thaw(self, process: Mortal) -> None:
        """Everything that came due while it stood still is due now."""
        waiting, process.frozen = process.frozen or [], None
        self._ready.extend(waiting)

    # --- one turn ----------------------------------------------------------------------------------------------------

    def _run_once(self) -> None:
        timers, ready = self._scheduled, self._ready
        self._drop_cancelled(timers)
        if not ready:
            if not timers:
                raise Stuck("nothing is ready and no timer runs")
            self._now = max(self._now, timers[0]._when)
        while timers and timers[0]._when <= self._now:
            timer = heapq.heappop(timers)
            timer._scheduled = False
            if not timer._cancelled:
                ready.append(timer)
        self._run_batch()

    def _drop_cancelled(self, timers: list[Any]) -> None:
        if self._timer_cancelled_count > _CANCELLED_KEPT and 2 * self._timer_cancelled_count > len(timers):
            kept = [timer for timer in timers if not timer._cancelled]
            for timer in timers:
                timer._scheduled = timer._scheduled and not timer._cancelled
            heapq.heapify(kept)
            timers[:] = kept
            self._timer_cancelled_count = 0
        while timers and timers[0]._cancelled:
            timer = heapq.heappop(timers)
            timer._scheduled = False
            self._timer_cancelled_count -= 1

    def _run_in_order(self) -> None:
        ready = self._ready
        for _ in range(len(ready)):
            self._run_handle(ready.popleft())

    def _run_shuffled(self) -> None:
        batch = list(self._ready)
        self._ready.clear()
        if len(batch) > 1:
            self._chance.shuffle(batch)
        for handle in batch:
            self._run_handle(handle)

    def _run_by_priority(self) -> None:
        """One step of the ready task with the highest priority."""
        ready = self._ready
        if len(ready) == 1:
            self._run_handle(ready.popleft())
            return
        best = max(range(len(ready)), key=lambda place: (self._priority(ready[place]), -place))
        handle = ready[best]
        del ready[best]
        if self.steps >= self._change_at:
            self._lowest -= 1.0
            self._priorities[_owner(handle)] = self._lowest
            self._change_at = self.steps + self._chance.randrange(50, 5_000)
        self._run_handle(handle)
        owner = _owner(handle)
        if owner and ready and _owner(ready[-1]) == owner:  # it gave way: whom it waits for must get a turn
            self._lowest -= 1.0
            self._priorities[owner] = self._lowest

    def _priority(self, handle: Any) -> float:
        owner = _owner(handle)
        found = self._priorities.get(owner)
        if found is None:
            found = self._priorities[owner] = self._chance.random()
        return found

    def _run_handle(self, handle: Any) -> None:
        if handle._cancelled:
            return
        process = handle._context.get(PROCESS)
        if process is not None:
            if process.dead:
                return
            if process.frozen is not None:
                process.frozen.append(handle)
                return
        self.steps += 1
        handle._run()

    # --- what a simulated process may not do ---------------------------------------------------------------------------

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]
        raise AssertionError(f"a thread inside the simulation: {func}")

    async def create_server(self, protocol_factory: Callable[[], Any], *args: Any, **kwargs: Any) -> Any:
        process = PROCESS.get()
        assert process is not None, "only an operator listens"
        return process.listen(protocol_factory)

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> Any:  # type: ignore[override]
        return self.call_soon(callback, *args, context=context)

    def _write_to_self(self) -> None:
        return None

    def _process_events(self, event_list: Any) -> None:
        return None


def _owner(handle: Any) -> int:
    """The number of the task whose step this is; 0 for all plain callbacks."""
    return getattr(getattr(handle._callback, "__self__", None), "number", 0)


def _describe(context: dict[str, Any]) -> str:
    error = context.get("exception")
    task = context.get("task") or context.get("future")
    return f"{context.get('message')} {task!r}: {error!r}"
