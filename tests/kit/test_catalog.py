"""The table of offerings: how often drivers are asked, how old an answer may be, and what is left alone."""

from __future__ import annotations

import asyncio

import pytest

from skyward.api import Reason
from skyward.errors import ProviderError
from skyward.facts import Offering
from skyward.kit.aged import Aged
from skyward.kit.catalog import Catalog, CoolDowns
from tests.fakes.cloud import FakeCloud, FakeDriver
from tests.fakes.time import FakeClock, run_virtual


class Source:
    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.reads = 0
        self.fails = False
        self.takes_s = 0.0

    async def read(self) -> int:
        self.reads += 1
        await self.clock.sleep(self.takes_s)
        if self.fails:
            raise ProviderError("the catalogue is closed")
        return self.reads


def test_a_value_is_read_again_only_when_it_is_too_old() -> None:
    clock = FakeClock()
    source = Source(clock)

    async def story() -> None:
        aged = Aged(source.read, clock, fresh_s=60, usable_s=600)
        assert aged.fresh() is None
        first = await aged.get()
        await clock.sleep(59)
        assert (await aged.get()) == first
        await clock.sleep(2)
        second = await aged.get()
        assert (second.value, second.read_at - first.read_at) == (2, 61)

    run_virtual(story(), clock)


def test_while_it_cannot_be_read_an_older_one_will_do_and_says_why() -> None:
    clock = FakeClock()
    source = Source(clock)

    async def story() -> None:
        aged = Aged(source.read, clock, fresh_s=60, usable_s=600)
        first = await aged.get()
        source.fails = True
        await clock.sleep(100)
        old = await aged.get()
        assert (old.value, old.read_at, old.problem) == (1, first.read_at, "the catalogue is closed")
        await clock.sleep(600)
        with pytest.raises(ProviderError, match="closed"):
            await aged.get()

    run_virtual(story(), clock)


def test_many_that_ask_at_once_share_one_reading() -> None:
    clock = FakeClock()
    source = Source(clock)
    source.takes_s = 3.0

    async def story() -> None:
        aged = Aged(source.read, clock, fresh_s=60, usable_s=600)
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(aged.get()) for _ in range(20)]
        assert {one.result().value for one in asked} == {1}
        assert source.reads == 1

    run_virtual(story(), clock)


def test_each_driver_is_asked_once_a_minute_for_the_same_options() -> None:
    clock = FakeClock()
    cloud = FakeCloud(clock)
    catalog = Catalog({"shop": FakeDriver(cloud, offerings=(Offering("shop", "one"),))}, clock)

    async def story() -> None:
        for options in ({}, {}, {"region": "eu"}):
            answer = catalog.answer("shop", options)
            assert answer is not None
            assert [one.name for one in (await answer.get()).value] == ["one"]
        assert cloud.calls["offerings"] == 2
        assert catalog.answer("nobody", {}) is None

    run_virtual(story(), clock)


def test_cool_downs_end_by_themselves_and_an_earlier_end_shortens_none() -> None:
    cools = CoolDowns()
    cools.add("a", 100.0, "sold out", Reason.INSUFFICIENT_CAPACITY, now=10.0)
    cools.add("a", 50.0, "sold out again", Reason.INSUFFICIENT_CAPACITY, now=20.0)

    assert [(cool.until, cool.message) for cool in cools.current(60.0)] == [(100.0, "sold out")]
    assert cools.current(100.0) == ()
    assert cools.refusals == (("a", 20.0),)
    assert cools.count == 2
