"""Nothing is made or deleted at a provider without leave, and nothing that is not ours is deleted at all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from skyward.errors import LeadershipLost, ProviderError
from skyward.facts import LaunchRequest, Offering
from skyward.kit.guarded import GuardedDriver
from tests.fakes.cloud import FakeCloud, FakeDriver
from tests.fakes.time import FakeClock, run_virtual

REQUEST = LaunchRequest("launch", "me", "pool", "default/pool", 1, Offering("local", "small"), "key")


class Leave:
    def __init__(self) -> None:
        self.leads = True
        self.why = ""
        self.ours: set[str] = set()

    async def confirm(self) -> None:
        await asyncio.sleep(0)
        if not self.leads:
            raise LeadershipLost("another operator leads")


def guarded(main: Callable[[GuardedDriver, FakeCloud, Leave], Awaitable[None]]) -> None:
    clock, leave = FakeClock(), Leave()
    cloud = FakeCloud(clock)
    driver = GuardedDriver(
        FakeDriver(cloud), confirm=leave.confirm, hindrance=lambda: leave.why, is_ours=lambda id_: id_ in leave.ours
    )

    async def run() -> None:
        await main(driver, cloud, leave)

    run_virtual(run(), clock)


def test_who_does_not_lead_any_more_calls_nobody() -> None:
    async def main(driver: GuardedDriver, cloud: FakeCloud, leave: Leave) -> None:
        leave.leads = False
        leave.ours = {"i-1"}
        with pytest.raises(LeadershipLost):
            await driver.create(REQUEST)
        with pytest.raises(LeadershipLost):
            await driver.delete("i-1")

        assert cloud.calls == {}

    guarded(main)


def test_a_provider_whose_listings_are_doubted_is_left_alone() -> None:
    async def main(driver: GuardedDriver, cloud: FakeCloud, leave: Leave) -> None:
        leave.why = "somebody must look first"
        leave.ours = {"i-1"}
        with pytest.raises(ProviderError, match="launch is not sent: somebody must look first"):
            await driver.create(REQUEST)
        with pytest.raises(ProviderError, match="i-1 is not deleted: somebody must look first"):
            await driver.delete("i-1")

        assert cloud.calls == {}

    guarded(main)


def test_only_what_is_ours_is_deleted() -> None:
    async def main(driver: GuardedDriver, cloud: FakeCloud, leave: Leave) -> None:
        cloud.add_foreign("theirs")
        (mine,) = (await driver.create(REQUEST)).instances
        leave.ours = {mine.id}
        with pytest.raises(ProviderError, match="theirs at local is not deleted"):
            await driver.delete("theirs")
        await driver.delete(mine.id)
        await asyncio.sleep(60)

        assert set(cloud.alive) == {"theirs"}

    guarded(main)
