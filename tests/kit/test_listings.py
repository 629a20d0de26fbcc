from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from skyward.errors import ProviderError, ProviderUnavailable, RateLimited
from skyward.facts import LaunchRequest, Listing, Offering
from skyward.kit.lineage import Doubt
from skyward.kit.listings import Listings
from tests.fakes.cloud import FakeCloud, FakeDriver
from tests.fakes.ids import FakeIds
from tests.fakes.time import FakeClock, run_virtual

REQUEST = LaunchRequest("launch", "me", "pool", "default/pool", 1, Offering("local", "small"), "key")


def with_listings(main: Callable[[Listings, FakeCloud, list[str]], Awaitable[None]]) -> FakeCloud:
    clock = FakeClock()
    cloud = FakeCloud(clock, boot_s=0)

    async def run() -> None:
        listings = Listings({"local": FakeDriver(cloud)}, "me", clock, FakeIds())
        woken: list[str] = []
        listings.subscribe(woken.append)
        task = asyncio.create_task(listings.run(lambda: None))
        try:
            await main(listings, cloud, woken)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    run_virtual(run(), clock)
    return cloud


def test_is_not_fresh_before_the_first_complete_listing() -> None:
    async def main(listings: Listings, cloud: FakeCloud, woken: list[str]) -> None:
        assert not listings.fresh("local", cloud.clock.now())
        await asyncio.sleep(1)
        assert listings.fresh("local", cloud.clock.now())
        assert woken == ["local"]

    with_listings(main)


def test_reads_at_its_pace_and_wakes_nobody_when_nothing_changed() -> None:
    async def main(listings: Listings, cloud: FakeCloud, woken: list[str]) -> None:
        await asyncio.sleep(100)
        assert woken == ["local"]
        assert cloud.calls["list"] == pytest.approx(10, abs=1)

    with_listings(main)


def test_a_change_names_the_instances_and_launches_it_is_about() -> None:
    async def main(listings: Listings, cloud: FakeCloud, woken: list[str]) -> None:
        cloud.create(REQUEST, has_token=True)
        await asyncio.sleep(1)
        assert listings.touched("local") is None
        (instance,) = cloud.create(replace(REQUEST, launch="another"), has_token=True)
        await asyncio.sleep(10)
        assert listings.touched("local") == {instance.id, "another"}
        cloud.vanish(instance.id)
        await asyncio.sleep(10)
        assert listings.touched("local") == {instance.id, "another"}

    with_listings(main)


def test_a_poke_reads_soon_and_often_for_a_while() -> None:
    async def main(listings: Listings, cloud: FakeCloud, woken: list[str]) -> None:
        await asyncio.sleep(5)
        before = cloud.calls["list"]
        cloud.create(REQUEST, has_token=True)
        listings.poke("local")
        await asyncio.sleep(0.2)
        assert woken == ["local", "local"]
        await asyncio.sleep(9)
        assert cloud.calls["list"] - before == pytest.approx(6, abs=2)

    with_listings(main)


def test_turns_stale_after_three_resyncs_without_an_answer_and_says_so_once() -> None:
    async def main(listings: Listings, cloud: FakeCloud, woken: list[str]) -> None:
        await asyncio.sleep(1)
        cloud.faults.listing_is_down = True
        await asyncio.sleep(25)
        assert listings.fresh("local", cloud.clock.now())
        assert listings.error("local") == "the cloud does not answer"
        await asyncio.sleep(20)
        assert not listings.fresh("local", cloud.clock.now())
        assert listings.newest("local") is not None
        assert woken == ["local", "local"]

        cloud.faults.listing_is_down = False
        await asyncio.sleep(310)
        assert listings.fresh("local", cloud.clock.now())
        assert listings.error("local") == ""
        assert woken == ["local", "local", "local"]

    with_listings(main)


def test_a_failing_provider_is_not_hurried() -> None:
    async def main(listings: Listings, cloud: FakeCloud, woken: list[str]) -> None:
        cloud.faults.listing_is_down = True
        for _ in range(3000):
            listings.poke("local")
            await asyncio.sleep(0.1)
        assert cloud.calls["list"] < 40

    with_listings(main)


def test_comes_back_no_sooner_than_a_rate_limit_says() -> None:
    async def main(listings: Listings, cloud: FakeCloud, woken: list[str]) -> None:
        cloud.faults.list_errors = [RateLimited("slow down", 40)]
        await asyncio.sleep(39)
        assert cloud.calls["list"] == 1
        await asyncio.sleep(3)
        assert listings.fresh("local", cloud.clock.now())

    with_listings(main)


def test_refresh_answers_with_a_listing_that_began_later() -> None:
    async def main(listings: Listings, cloud: FakeCloud, woken: list[str]) -> None:
        await asyncio.sleep(0.05)  # a reading is under way
        asked_at = cloud.clock.now()

        listing = await listings.refresh("local")

        assert listing.started_at >= asked_at

    with_listings(main)


def test_refresh_raises_what_the_reading_raised() -> None:
    async def main(listings: Listings, cloud: FakeCloud, woken: list[str]) -> None:
        await asyncio.sleep(1)
        cloud.faults.list_errors = [ProviderUnavailable("down")]
        with pytest.raises(ProviderUnavailable):
            await listings.refresh("local")
        with pytest.raises(ProviderError, match="no driver"):
            await listings.refresh("nowhere")

    with_listings(main)


def test_what_raises_a_doubt_is_not_acted_on_from_that_moment() -> None:
    async def main(listings: Listings, cloud: FakeCloud, woken: list[str]) -> None:
        doubts: list[Doubt] = []

        async def judge(listing: Listing) -> Doubt | None:
            return next(iter(doubts), None)

        listings.judge_by(judge)
        await asyncio.sleep(5)
        assert listings.fresh("local", cloud.clock.now())
        before = listings.newest("local")
        doubts.append(Doubt("local", ()))
        with pytest.raises(ProviderError, match="skyctl adopt"):
            await listings.refresh("local")
        assert not listings.fresh("local", cloud.clock.now())
        assert listings.newest("local") == before
        assert listings.doubt("local") == doubts[0]
        doubts.clear()
        await listings.refresh("local")

        assert listings.fresh("local", cloud.clock.now())
        assert listings.doubt("local") is None
        assert woken == ["local"] * 3

    with_listings(main)
