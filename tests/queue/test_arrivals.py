"""Submissions that come at once: stored together, and each answered for itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from skyward.contracts import Accepted
from skyward.errors import Conflict, Invalid
from skyward.queue import DurableQueue
from skyward.store import memory_store
from tests.queue.world import POOL, QueueWorld, holder, submission
from tests.store.world import CountingIds, StillClock


class CountedStore:
    def __init__(self, store: Any) -> None:
        self._store = store
        self.writes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def run(self, work: Any, *, power_safe: bool = False, quick: bool = False) -> Any:
        self.writes += 1
        return await self._store.run(work, power_safe=power_safe, quick=quick)


class SameSuffix(CountingIds):
    """Names that people would get twice, now and then."""

    def __init__(self) -> None:
        super().__init__()
        self._suffixes = iter(("aaaaa", "aaaaa", "aaaaa", "bbbbb", "ccccc"))

    def suffix(self) -> str:
        return next(self._suffixes)


def run(scenario: Callable[[CountedStore, DurableQueue], Coroutine[Any, Any, None]], **world: Any) -> None:
    async def main() -> None:
        store: Any = CountedStore(memory_store(StillClock(), CountingIds()))
        queue = await QueueWorld(store, **world).queue()
        store.writes = 0
        await scenario(store, queue)

    asyncio.run(main())


def test_what_comes_in_one_turn_is_one_transaction_in_order() -> None:
    async def scenario(store: CountedStore, queue: DurableQueue) -> None:
        accepted = await asyncio.gather(*(queue.submit(submission(f"k{n}", b"%d" % n)) for n in range(100)))

        assert store.writes == 1
        assert queue.counts(POOL) == (100, 0)
        leases = await queue.lease(holder(0), 100)
        assert [lease.id.task for lease in leases] == [one.task for one in accepted]
        assert [lease.arguments for lease in leases] == [b"%d" % n for n in range(100)]

    run(scenario)


def test_more_than_one_transaction_holds_are_stored_in_order() -> None:
    async def scenario(store: CountedStore, queue: DurableQueue) -> None:
        accepted = await asyncio.gather(*(queue.submit(submission(f"k{n}")) for n in range(300)))

        assert store.writes == 3
        leases = await queue.lease(holder(0), 300)
        assert [lease.id.task for lease in leases] == [one.task for one in accepted]

    run(scenario)


def test_each_is_refused_by_itself() -> None:
    async def scenario(store: CountedStore, queue: DurableQueue) -> None:
        await queue.submit(submission("used", b"1"))

        answers = await asyncio.gather(
            queue.submit(submission("one")),
            queue.submit(submission("two", function="0" * 64)),
            queue.submit(submission("used", b"2")),
            queue.submit(submission("three")),
            return_exceptions=True,
        )

        assert [type(answer) for answer in answers] == [Accepted, Invalid, Conflict, Accepted]
        assert queue.counts(POOL) == (3, 0)

    run(scenario)


def test_a_repeat_in_the_same_turn_makes_no_second_task() -> None:
    async def scenario(store: CountedStore, queue: DurableQueue) -> None:
        first, again, other = await asyncio.gather(
            queue.submit(submission("k", b"1")),
            queue.submit(submission("k", b"1")),
            queue.submit(submission("k", b"2")),
            return_exceptions=True,
        )

        assert first == again
        assert isinstance(other, Conflict)
        assert queue.counts(POOL) == (1, 0)

    run(scenario)


def test_names_that_collide_in_the_same_turn_are_chosen_anew() -> None:
    async def scenario(store: CountedStore, queue: DurableQueue) -> None:
        accepted = await asyncio.gather(*(queue.submit(submission(f"k{n}")) for n in range(3)))

        assert [one.name for one in accepted] == ["main-train-aaaaa", "main-train-bbbbb", "main-train-ccccc"]

    run(scenario, ids=SameSuffix())


def test_a_caller_that_goes_away_takes_no_other_along() -> None:
    async def scenario(store: CountedStore, queue: DurableQueue) -> None:
        callers = [asyncio.ensure_future(queue.submit(submission(f"k{n}"))) for n in range(3)]
        await asyncio.sleep(0)
        callers[1].cancel()

        answers = await asyncio.gather(*callers, return_exceptions=True)

        assert [type(answer) for answer in answers] == [Accepted, asyncio.CancelledError, Accepted]
        assert queue.counts(POOL) == (3, 0)

    run(scenario)


def test_uids_of_later_tasks_sort_later() -> None:
    async def scenario(store: CountedStore, queue: DurableQueue) -> None:
        first = await queue.submit(submission("k1"))
        store._store._clock.time += 0.002
        queue._clock.time += 0.002  # type: ignore[attr-defined]

        second = await queue.submit(submission("k2"))

        assert first.task < second.task

    run(scenario)
