"""The book of decisions writes what begins, changes and ends, and nothing while the world stands still."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from skyward.api import Node, Object, Pool, Reason
from skyward.contracts import Store, Transaction
from skyward.facts import Decision, DecisionKind, DecisionRecord
from skyward.kit.decisions import KEPT, KEPT_S, REPEAT_S, DecisionBook, record_decision
from skyward.kit.steady import SteadyClock
from skyward.store import memory_store
from tests.builders import make_node, make_pool
from tests.fakes.ids import FakeIds
from tests.fakes.time import FakeClock, run_virtual

POOL = make_pool("hello", 3)
HOLD = Decision(DecisionKind.HOLD, "paused", Reason.PAUSED, "nothing is changed", (("nodes", 3),))
WAIT = Decision(DecisionKind.WAIT, "canary", Reason.BACKING_OFF, "waiting for a canary", target="node-1")
MADE = Decision(DecisionKind.CREATE, "replicas", Reason.TOO_FEW_NODES, "2 of 3 stand", target="1")


class Diary:
    """A store with a book over it, as a reconciler uses both."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.store: Store = memory_store(clock, FakeIds())
        self.writes = 0
        self._running: asyncio.Task[None] | None = None

    async def open(self) -> None:
        await self.close()
        self.book = DecisionBook(self.store, self.clock)
        ready = asyncio.Event()
        self._running = asyncio.create_task(self.book.run(ready.set))
        await ready.wait()

    async def close(self) -> None:
        if self._running is not None:
            self._running.cancel()
            with suppress(asyncio.CancelledError):
                await self._running

    async def note(
        self, standing: Iterable[Decision] = (), taken: Iterable[Decision] = (), about: Object = POOL
    ) -> None:
        """One pass."""
        entry = self.book.entry(about, standing, taken, now=self.clock.now())
        if entry:
            self.writes += 1
            await self.store.run(entry.write)
        self.book.keep(entry)

    async def records(self, uid: str = POOL.metadata.uid) -> tuple[DecisionRecord, ...]:
        return await self.store.read(lambda tx: tx.decisions(uid))


def story(main: Callable[[Diary], Awaitable[None]]) -> None:
    clock = FakeClock()

    async def run() -> None:
        diary = Diary(clock)
        await diary.store.run(lambda tx: tx.put(POOL))
        await diary.open()
        await main(diary)
        await diary.close()
        await diary.store.close()

    run_virtual(run(), clock)


def test_what_appears_stands_until_it_ceases_and_is_written_twice() -> None:
    async def main(diary: Diary) -> None:
        began = diary.clock.now()
        for _ in range(5):
            await diary.note([HOLD])
            await diary.clock.sleep(10)
        ended = diary.clock.now()
        for _ in range(5):
            await diary.note()

        assert await diary.records() == (DecisionRecord("Pool", POOL.metadata.uid, POOL.key, HOLD, began, ended),)
        assert diary.writes == 2

    story(main)


def test_other_words_of_what_stands_replace_the_old_ones_in_place() -> None:
    async def main(diary: Diary) -> None:
        await diary.note([HOLD])
        await diary.clock.sleep(10)
        other = replace(HOLD, message="still nothing", inputs=(("nodes", 4),))
        await diary.note([other])

        [record] = await diary.records()
        assert (record.decision, record.until) == (other, None)
        assert record.at < diary.clock.now()

    story(main)


def test_decisions_of_other_targets_are_others() -> None:
    async def main(diary: Diary) -> None:
        await diary.note([WAIT, replace(WAIT, target="node-2")])
        await diary.note([WAIT])

        assert [record.until is None for record in await diary.records()] == [True, False]

    story(main)


def test_what_stood_before_a_restart_stands_on_without_a_write() -> None:
    async def main(diary: Diary) -> None:
        await diary.note([HOLD, WAIT])
        await diary.clock.sleep(60)
        await diary.open()
        diary.writes = 0
        await diary.note([HOLD, WAIT])
        assert diary.writes == 0

        await diary.note([HOLD])
        assert {record.decision.rule: record.until is None for record in await diary.records()} == {
            "paused": True,
            "canary": False,
        }

    story(main)


def test_what_stood_for_an_object_that_went_while_nobody_looked_ends_at_the_start() -> None:
    async def main(diary: Diary) -> None:
        node = make_node(POOL)
        await diary.store.run(lambda tx: tx.put(node))
        await diary.note([WAIT], about=node)
        await diary.store.run(lambda tx: tx.delete(node))
        await diary.open()

        [record] = await diary.records(node.metadata.uid)
        assert record.until == diary.clock.now()

    story(main)


def test_what_stood_for_an_object_that_goes_ends_with_it() -> None:
    async def main(diary: Diary) -> None:
        node = make_node(POOL)
        await diary.store.run(lambda tx: tx.put(node))
        await diary.note([WAIT], about=node)
        await diary.book.close(Node, node.key)
        await diary.book.close(Node, node.key)

        [record] = await diary.records(node.metadata.uid)
        assert record.until == diary.clock.now()
        assert await diary.records() == ()

    story(main)


def test_what_stood_for_an_earlier_object_of_the_name_ends_with_the_first_pass_of_the_next() -> None:
    async def main(diary: Diary) -> None:
        again = make_pool("hello", 3, uid="another")
        await diary.note([HOLD])
        await diary.clock.sleep(1)
        await diary.note([HOLD], about=again)

        named = await diary.store.read(lambda tx: tx.decisions_of("Pool", POOL.key))
        assert [(record.uid, record.until is None) for record in named] == [
            (POOL.metadata.uid, False),
            ("another", True),
        ]

    story(main)


def test_an_instant_that_comes_again_soon_is_counted_and_later_is_a_new_record() -> None:
    async def main(diary: Diary) -> None:
        first = diary.clock.now()
        for _ in range(3):
            await diary.note(taken=[MADE])
            await diary.clock.sleep(REPEAT_S - 1)
        third = diary.clock.now() - (REPEAT_S - 1)
        await diary.clock.sleep(2)
        await diary.note(taken=[MADE])
        await diary.note(taken=[replace(MADE, reason=Reason.NODE_LOST)])

        told = [(record.at, record.until, record.count) for record in await diary.records()]
        now = diary.clock.now()
        assert told == [(first, third, 3), (now, now, 1)]
        assert (await diary.records())[-1].decision.reason is Reason.NODE_LOST

    story(main)


def test_what_comes_and_goes_fills_one_record() -> None:
    async def main(diary: Diary) -> None:
        for _ in range(50):
            await diary.note([WAIT])
            await diary.clock.sleep(5)
            await diary.note()
            await diary.clock.sleep(5)

        [record] = await diary.records()
        assert record.count == 50

    story(main)


def test_a_transaction_that_failed_is_told_again() -> None:
    async def main(diary: Diary) -> None:
        def fails(tx: Transaction) -> None:
            entry.write(tx)
            raise RuntimeError("the disk is full")

        entry = diary.book.entry(POOL, [HOLD], [MADE], now=diary.clock.now())
        with pytest.raises(RuntimeError):
            await diary.store.run(fails)
        assert await diary.records() == ()
        await diary.note([HOLD], [MADE])

        assert len(await diary.records()) == 2

    story(main)


def test_an_answer_that_was_lost_after_the_commit_adds_no_second_record() -> None:
    async def main(diary: Diary) -> None:
        await diary.store.run(diary.book.entry(POOL, [HOLD], now=diary.clock.now()).write)
        await diary.clock.sleep(5)
        await diary.note([HOLD])

        [record] = await diary.records()
        assert (record.until, record.count) == (None, 1)

    story(main)


def test_old_records_go_and_what_stands_stays() -> None:
    async def main(diary: Diary) -> None:
        await diary.note([HOLD], [MADE])
        await diary.clock.sleep(KEPT_S + 2 * 3600)
        await diary.note([HOLD], [replace(MADE, target="2")])
        await diary.clock.sleep(2 * 3600)

        assert [record.decision.target for record in await diary.records()] == ["", "2"]

    story(main)


def test_a_clock_that_is_set_a_year_ahead_makes_no_record_old() -> None:
    async def main(diary: Diary) -> None:
        wall, clock = diary.clock, SteadyClock(diary.clock)
        diary.book = DecisionBook(diary.store, clock)
        running = asyncio.create_task(diary.book.run(lambda: None))
        await diary.note(taken=[MADE])
        wall.set_wall(365 * 86400.0)
        clock.step()
        await wall.sleep(2 * 3600)
        running.cancel()

        assert len(await diary.records()) == 1

    story(main)


def test_of_many_records_of_one_object_the_newest_are_kept() -> None:
    async def main(diary: Diary) -> None:
        await diary.note([HOLD])
        for number in range(KEPT + 50):
            await diary.note([HOLD], [replace(MADE, target=str(number))])
            await diary.clock.sleep(1)
        await diary.clock.sleep(2 * 3600)

        records = await diary.records()
        assert [record.until for record in records].count(None) == 1
        assert len(records) == KEPT + 1
        assert records[-1].decision.target == str(KEPT + 49)

    story(main)


def test_a_book_without_news_leaves_the_store_alone() -> None:
    async def main(diary: Diary) -> None:
        await diary.note([HOLD])
        await diary.clock.sleep(2 * 3600)
        commits = 0

        async def run(work: Callable[[Transaction], Any], *, power_safe: bool = False) -> Any:
            nonlocal commits
            commits += 1
            return await written(work, power_safe=power_safe)

        written = diary.store.run
        diary.store.run = run  # type: ignore[method-assign]
        for _ in range(24):
            await diary.note([HOLD])
            await diary.clock.sleep(3600)

        assert commits == 0

    story(main)


def test_other_rooms_put_decisions_on_record_beside_the_book() -> None:
    async def main(diary: Diary) -> None:
        await diary.note([HOLD])
        now = diary.clock.now()
        await diary.store.run(lambda tx: record_decision(tx, POOL, MADE, now=now))
        await diary.note([HOLD])

        assert {record.decision.rule: record.until for record in await diary.records()} == {
            "paused": None,
            "replicas": now,
        }
        assert await diary.store.read(lambda tx: tx.get(Pool, POOL.key)) is not None

    story(main)
