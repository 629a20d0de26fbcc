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

from tests.simulation.callbacks import Callback, Timer
from tests.simulation.livelock import Watch

T = TypeVar("T")
START = 1_800_000_000.0
_CANCELLED_KEPT = 200


class Mortal:
    """A process as the loop sees it."""

    def __init__(self) -> None:
        self.dead = False
        self.frozen: list[Callback] | None = None
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

    def __init__(self, coro: Any, number: int, **more: Any) -> None:
        self.number = number  # first: asyncio puts it into a set of its own at once
        super().__init__(coro, **more)

    def __hash__(self) -> int:
        return self.number


class SimLoop(asyncio.BaseEventLoop):
    def __init__(self, chance: random.Random, schedule: Schedule) -> None:
        super().__init__()
        self.steps = 0
        self.problems: list[str] = []
        """What asyncio itself complained about."""
        self._watch = Watch()
        self._ready: deque[Callback] = deque()
        self._timers: list[tuple[float, int, Timer]] = []
        """A heap. Those that are due at one instant come in the order in which they were set."""
        self._timers_set = 0
        self._timers_cancelled = 0
        """About how many of the heap."""
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
        self._tasks_made += 1
        task = SimTask(coro, self._tasks_made, loop=self, **more)
        context = more.get("context")
        process = PROCESS.get() if context is None else context.get(PROCESS)
        if process is not None:
            process.tasks.add(task)
        return task

    def thaw(self, process: Mortal) -> None:
        """Everything that came due while it stood still is due now."""
        waiting, process.frozen = process.frozen or [], None
        self._ready.extend(waiting)

    # --- what is to be called ----------------------------------------------------------------------------------------

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:  # type: ignore[override]
        handle = Callback(callback, args, context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Any, *args: Any, context: Any = None
    ) -> Any:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Any = None
    ) -> Any:
        timer = Timer(when, callback, args, context, self._one_cancelled)
        self._timers_set += 1
        heapq.heappush(self._timers, (when, self._timers_set, timer))
        return timer

    def _one_cancelled(self) -> None:
        self._timers_cancelled += 1

    # --- one turn ----------------------------------------------------------------------------------------------------

    def _run_once(self) -> None:
        timers, ready = self._timers, self._ready
        if self._timers_cancelled > _CANCELLED_KEPT and 2 * self._timers_cancelled > len(timers):
            timers[:] = [entry for entry in timers if not entry[2].is_cancelled]
            heapq.heapify(timers)
            self._timers_cancelled = 0
        while timers and timers[0][2].is_cancelled:
            heapq.heappop(timers)
        if not ready:
            if not timers:
                raise Stuck("nothing is ready and no timer runs")
            self._now = max(self._now, timers[0][0])
        now = self._now
        while timers and timers[0][0] <= now:
            ready.append(heapq.heappop(timers)[2])
        self._watch.look(now, self.steps, ready)
        self._run_batch()

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
        best, highest = 0, float("-inf")
        for place, waiting in enumerate(ready):
            priority = self._priority(waiting.owner)
            if priority > highest:
                best, highest = place, priority
        handle = ready[best]
        del ready[best]
        if self.steps >= self._change_at:
            self._lowest -= 1.0
            self._priorities[handle.owner] = self._lowest
            self._change_at = self.steps + self._chance.randrange(50, 5_000)
        owner = handle.owner
        self._run_handle(handle)
        if owner and ready and ready[-1].owner == owner:  # it gave way: whom it waits for must get a turn
            self._lowest -= 1.0
            self._priorities[owner] = self._lowest

    def _priority(self, owner: int) -> float:
        found = self._priorities.get(owner)
        if found is None:
            found = self._priorities[owner] = self._chance.random()
        return found

    def _run_handle(self, handle: Callback) -> None:
        if handle.is_cancelled:
            return
        process = handle.context.get(PROCESS)
        if process is not None:
            if process.dead:
                return
            if process.frozen is not None:
                process.frozen.append(handle)
                return
        self.steps += 1
        try:
            handle.context.run(handle.call, *handle.args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # as asyncio does: told, and the loop goes on
            self.call_exception_handler({"message": f"Exception in callback {handle.call!r}", "exception": error})

    # --- what a simulated process may not do ---------------------------------------------------------------------------

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]
        raise AssertionError(f"a thread inside the simulation: {func}")

    async def create_server(self, protocol_factory: Callable[[], Any], *args: Any, **kwargs: Any) -> Any:
        process = PROCESS.get()
        assert process is not None, "only an operator listens"
        return process.listen(protocol_factory)

    def _write_to_self(self) -> None:
        return None

    def _process_events(self, event_list: Any) -> None:
        return None


def _describe(context: dict[str, Any]) -> str:
    error = context.get("exception")
    task = context.get("task") or context.get("future")
    return f"{context.get('message')} {task!r}: {error!r}"
