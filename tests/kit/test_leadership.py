"""One leads, the others wait; who was replaced writes nothing more; nobody trusts anybody's clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from skyward.contracts import Lease, Transaction
from skyward.errors import LeadershipLost, StoreUnavailable
from skyward.kit.leadership import ACT_S, DURATION_S, LEADER, Leadership
from skyward.store import SqlStore, memory_store
from tests.fakes.ids import FakeIds
from tests.fakes.time import FakeClock, run_virtual
from tests.store.world import pool

T = TypeVar("T")


class _Process:
    """The store as one process has it, which may die and whose disk may be full."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store
        self.is_full = False
        self.is_dead = False
        self.delay_s = 0.0
        self.installation = store.installation
        self.read = store.read
        self.changes, self.subscribe, self.close = store.changes, store.subscribe, store.close

    async def lead(self, take: Callable[[Transaction], Lease | None], lost: Callable[[], None]) -> Lease | None:
        await asyncio.sleep(self.delay_s)
        return await self._store.lead(take, lost)

    async def run(self, work: Callable[[Transaction], T], *, power_safe: bool = False) -> T:
        if self.is_dead:
            await asyncio.Event().wait()
        if self.is_full:
            raise StoreUnavailable("the disk is full")
        return await self._store.run(work, power_safe=power_safe)


class Operators:
    """Several processes on one store, each with a store object of its own."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.first = memory_store(clock, FakeIds(1))
        self.tasks: list[asyncio.Task[None]] = []

    def another(self, name: str) -> tuple[SqlStore, Leadership]:
        store = memory_store(self.clock, FakeIds(2), beside=self.first)
        return store, Leadership(store, self.clock, holder=name)

    def slow(self, name: str) -> Leadership:
        """Far from its store: between looking and taking others may do the same."""
        store = _Process(memory_store(self.clock, FakeIds(2), beside=self.first))
        store.delay_s = 0.01
        return Leadership(store, self.clock, holder=name)

    async def leading(self, name: str) -> tuple[_Process, Leadership, asyncio.Task[None]]:
        store = _Process(memory_store(self.clock, FakeIds(2), beside=self.first))
        leadership = Leadership(store, self.clock, holder=name)
        await leadership.acquire()
        task = asyncio.create_task(leadership.run(lambda: None))
        self.tasks.append(task)
        return store, leadership, task

    async def lease(self) -> Lease:
        lease = await self.first.read(lambda tx: tx.lease(LEADER))
        assert lease is not None
        return lease


def run(story: Callable[[Operators], Awaitable[None]]) -> None:
    clock = FakeClock()

    async def main() -> None:
        operators = Operators(clock)
        try:
            await story(operators)
        finally:
            for task in operators.tasks:
                task.cancel()
            await asyncio.gather(*operators.tasks, return_exceptions=True)
            await operators.first.close()

    run_virtual(main(), clock)


def test_the_first_leads_at_once_and_keeps_the_lease_for_as_long_as_it_lives() -> None:
    async def story(operators: Operators) -> None:
        began = operators.clock.monotonic()
        _, first, _ = await operators.leading("first")
        assert operators.clock.monotonic() == began
        _, standby = operators.another("standby")
        waiting = asyncio.create_task(standby.acquire())
        await asyncio.sleep(3600)

        assert not waiting.done()
        assert (await operators.lease()).holder == "first"
        assert (first.epoch, first.epoch_before) == (1, 0)
        waiting.cancel()

    run(story)


def test_a_standby_takes_over_within_twenty_seconds_of_a_silent_death() -> None:
    async def story(operators: Operators) -> None:
        process, _, _ = await operators.leading("first")
        _, standby = operators.another("standby")
        waiting = asyncio.create_task(standby.acquire())
        await asyncio.sleep(47)
        process.is_dead = True
        died_at = operators.clock.monotonic()
        await waiting

        assert DURATION_S - 5 <= operators.clock.monotonic() - died_at <= 20
        assert (standby.epoch, standby.epoch_before) == (2, 1)

    run(story)


def test_who_stops_in_order_hands_over_without_a_wait() -> None:
    async def story(operators: Operators) -> None:
        _, _, task = await operators.leading("first")
        _, standby = operators.another("standby")
        waiting = asyncio.create_task(standby.acquire())
        await asyncio.sleep(30)
        task.cancel()
        await asyncio.sleep(3)

        assert waiting.done()
        assert standby.epoch == 2

    run(story)


def test_two_standbys_never_both_lead() -> None:
    async def story(operators: Operators) -> None:
        process, _, _ = await operators.leading("first")
        others = [operators.slow(name) for name in ("second", "third")]
        waiting = [asyncio.create_task(other.acquire()) for other in others]
        await asyncio.sleep(10)
        process.is_dead = True
        await asyncio.sleep(25)

        assert sorted(other.epoch for other in others) == [0, 2]
        for one in waiting:
            one.cancel()

    run(story)


def test_a_stale_leader_writes_nothing_more_and_ends() -> None:
    async def story(operators: Operators) -> None:
        stale, leadership, task = await operators.leading("first")
        new = await _usurp(operators)
        with pytest.raises(LeadershipLost, match="epoch 2 has begun"):
            await stale.run(lambda tx: tx.put(pool("late")))
        with pytest.raises(LeadershipLost):
            await leadership.confirm()
        with pytest.raises(LeadershipLost):
            await task

        assert await new.read(lambda tx: tx.get(type(pool()), "default/late")) is None

    run(story)


def test_versions_go_on_where_the_last_leader_stopped() -> None:
    async def story(operators: Operators) -> None:
        standby, waiting = operators.another("standby")
        store, _, task = await operators.leading("first")
        for nodes in range(5):
            await store.run(lambda tx, nodes=nodes: tx.put(pool(nodes=nodes)))  # type: ignore[misc]
        task.cancel()
        await asyncio.sleep(1)
        await waiting.acquire()
        put = await standby.run(lambda tx: tx.put(pool("next")))

        assert put.metadata.resource_version == "6"

    run(story)


def test_after_a_pause_it_looks_before_it_acts() -> None:
    async def story(operators: Operators) -> None:
        _, leadership, _ = await operators.leading("first")
        operators.clock.advance(ACT_S + 1)  # stopped: nothing renews meanwhile
        before = (await operators.lease()).renewals
        await leadership.confirm()
        assert (await operators.lease()).renewals == before + 1
        await leadership.confirm()
        assert (await operators.lease()).renewals == before + 1
        operators.clock.advance(600)
        await _usurp(operators)
        with pytest.raises(LeadershipLost):
            await leadership.confirm()

    run(story)


def test_a_store_that_fails_for_minutes_stops_all_calls_and_ends_nobody() -> None:
    async def story(operators: Operators) -> None:
        process, leadership, task = await operators.leading("first")
        process.is_full = True
        await asyncio.sleep(300)
        with pytest.raises(StoreUnavailable):
            await leadership.confirm()
        assert not task.done()
        process.is_full = False
        await asyncio.sleep(5)
        await leadership.confirm()

        assert not task.done()

    run(story)


def test_an_exclusive_store_proves_that_the_former_holder_is_dead() -> None:
    async def story(operators: Operators) -> None:
        process, _, _ = await operators.leading("first")
        process.is_dead = True
        store = memory_store(operators.clock, FakeIds(4), beside=operators.first)
        began = operators.clock.monotonic()
        second = Leadership(store, operators.clock, holder="second", is_exclusive=True)
        await second.acquire()

        assert operators.clock.monotonic() == began
        assert second.epoch == 2

    run(story)


def test_an_epoch_can_be_raised_above_those_that_others_used() -> None:
    async def story(operators: Operators) -> None:
        store, leadership, task = await operators.leading("first")
        await leadership.raise_above(7)
        await store.run(lambda tx: tx.put(pool()))
        await asyncio.sleep(60)

        assert leadership.epoch == (await operators.lease()).epoch == 8
        assert not task.done()

    run(story)


async def _usurp(operators: Operators) -> SqlStore:
    """A standby that found the lease standing still."""
    store = memory_store(operators.clock, FakeIds(5), beside=operators.first)
    await Leadership(store, operators.clock, holder="usurper", is_exclusive=True).acquire()
    return store
