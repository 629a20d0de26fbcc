"""What every driver must do, as tests to inherit: subclass `DriverSuite`, say how to open the driver, and collect.

The suite speaks only the contract, so that one text judges the fake, the local driver and each cloud.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import ClassVar
from uuid import uuid4

import pytest

from skyward.api import Json
from skyward.contracts import Driver, HostKeyTrust
from skyward.errors import InstanceNotFound, LaunchRejected
from skyward.facts import Instance, InstanceState, LaunchRequest

OWNER = "installation-1"
STRANGER = "installation-2"


class DriverSuite:
    authorized_key: ClassVar[str] = (
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6tTqLc6ToTWoYuAWPDhQAcQfATWqAEQyXaWjGxPmjZ suite"
    )
    patience_s: ClassVar[float] = 30.0
    bad_options: ClassVar[Json] = {"noSuchOption": 1}

    tag: str

    def setup_method(self) -> None:
        self.tag = uuid4().hex[:7]

    def launch(self, number: int) -> str:
        """Unlike any other test's, from its first characters on: suites may run side by side."""
        return f"{self.tag}-{number:04}-abcdef"

    def open(self, directory: Path) -> AbstractAsyncContextManager[Driver]:
        """The driver over an empty provider. Leaving it removes whatever a test left there."""
        raise NotImplementedError

    # --- words for the tests ------------------------------------------------------------------------------------

    async def request(self, driver: Driver, number: int = 1, count: int = 1) -> LaunchRequest:
        offerings = await driver.offerings({})
        return LaunchRequest(
            launch=self.launch(number),
            owner=OWNER,
            pool_uid="pool-uid",
            pool="default/suite",
            count=count,
            offering=offerings[0],
            authorized_key=self.authorized_key,
        )

    async def until(self, is_so: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(self.patience_s):
            while not await is_so():  # noqa: ASYNC110 - the world outside has no event
                await asyncio.sleep(0.02)

    async def until_gone(self, driver: Driver, *instance_ids: str) -> None:
        async def is_gone() -> bool:
            for instance_id in instance_ids:
                await driver.delete(instance_id)
            listing = await driver.list(OWNER)
            return not any(listing.find(instance_id) for instance_id in instance_ids)

        await self.until(is_gone)

    def check(self, directory: Path, test: Callable[[Driver], Awaitable[None]]) -> None:
        async def inside() -> None:
            async with self.open(directory) as driver:
                await test(driver)
                await driver.close()

        asyncio.run(inside())

    # --- rules --------------------------------------------------------------------------------------------------

    def test_an_empty_provider_lists_nothing(self, tmp_path: Path) -> None:
        async def test(driver: Driver) -> None:
            listing = await driver.list(OWNER)

            assert listing.instances == ()
            assert listing.provider == driver.facts.name
            assert listing.started_at <= listing.ended_at

        self.check(tmp_path, test)

    def test_offers_something_under_its_own_name(self, tmp_path: Path) -> None:
        async def test(driver: Driver) -> None:
            offerings = await driver.offerings({})

            assert offerings
            assert {offering.provider for offering in offerings} == {driver.facts.name}

        self.check(tmp_path, test)

    def test_created_instances_carry_their_launch_and_are_listed(self, tmp_path: Path) -> None:
        async def test(driver: Driver) -> None:
            outcome = await driver.create(await self.request(driver, count=2))

            assert outcome.rejected is None
            assert len({instance.id for instance in outcome.instances}) == 2
            assert {instance.launch for instance in outcome.instances} == {self.launch(1)}
            listed = (await driver.list(OWNER)).instances
            assert {_identity(instance) for instance in listed} == {_identity(i) for i in outcome.instances}

        self.check(tmp_path, test)

    def test_an_instance_comes_up_reachable(self, tmp_path: Path) -> None:
        async def test(driver: Driver) -> None:
            outcome = await driver.create(await self.request(driver))
            instance_id = outcome.instances[0].id

            async def is_up() -> bool:
                instance = await driver.get(instance_id)
                assert not instance.state.is_lost, instance.message
                return instance.state is InstanceState.UP

            await self.until(is_up)
            instance = await driver.get(instance_id)
            assert instance.address
            assert instance.port > 0
            assert instance.user
            if driver.facts.host_key_trust is HostKeyTrust.VOUCHED:
                assert instance.host_key

        self.check(tmp_path, test)

    def test_replaying_a_launch_makes_no_second_instance(self, tmp_path: Path) -> None:
        async def test(driver: Driver) -> None:
            if not driver.facts.has_token:
                pytest.skip("this provider has no token: an unknown launch is resolved by listing alone")
            request = await self.request(driver, count=2)
            first = await driver.create(request)

            again = await driver.create(request)

            assert {_identity(i) for i in again.instances} == {_identity(i) for i in first.instances}
            assert len((await driver.list(OWNER)).instances) == 2

        self.check(tmp_path, test)

    def test_two_launches_make_two_instances(self, tmp_path: Path) -> None:
        async def test(driver: Driver) -> None:
            await driver.create(await self.request(driver, 1))
            await driver.create(await self.request(driver, 2))

            launches = [instance.launch for instance in (await driver.list(OWNER)).instances]
            assert sorted(launch or "" for launch in launches) == [self.launch(1), self.launch(2)]

        self.check(tmp_path, test)

    def test_lists_only_what_carries_the_owners_mark(self, tmp_path: Path) -> None:
        async def test(driver: Driver) -> None:
            foreign = replace(await self.request(driver, 2), owner=STRANGER)
            theirs = (await driver.create(foreign)).instances[0]
            ours = (await driver.create(await self.request(driver))).instances[0]

            assert [instance.id for instance in (await driver.list(OWNER)).instances] == [ours.id]
            assert [instance.id for instance in (await driver.list(STRANGER)).instances] == [theirs.id]

        self.check(tmp_path, test)

    def test_deleting_repeats_until_it_is_gone_and_touches_nothing_else(self, tmp_path: Path) -> None:
        async def test(driver: Driver) -> None:
            doomed, kept = (await driver.create(await self.request(driver, count=2))).instances

            await self.until_gone(driver, doomed.id)

            assert [instance.id for instance in (await driver.list(OWNER)).instances] == [kept.id]
            await driver.delete(doomed.id)

        self.check(tmp_path, test)

    def test_deleting_at_once_after_creating_is_gone_too(self, tmp_path: Path) -> None:
        async def test(driver: Driver) -> None:
            instance = (await driver.create(await self.request(driver))).instances[0]

            await self.until_gone(driver, instance.id)

            assert (await driver.list(OWNER)).instances == ()

        self.check(tmp_path, test)

    def test_an_unknown_id_is_not_found_and_its_deletion_is_no_error(self, tmp_path: Path) -> None:
        async def test(driver: Driver) -> None:
            with pytest.raises(InstanceNotFound):
                await driver.get("no-such-instance")

            await driver.delete("no-such-instance")

        self.check(tmp_path, test)

    def test_a_wrong_option_is_rejected_and_makes_nothing(self, tmp_path: Path) -> None:
        async def test(driver: Driver) -> None:
            request = replace(await self.request(driver), options=self.bad_options)

            with pytest.raises(LaunchRejected):
                await driver.create(request)

            assert (await driver.list(OWNER)).instances == ()

        self.check(tmp_path, test)

    def test_concurrent_calls_do_not_disturb_each_other(self, tmp_path: Path) -> None:
        async def test(driver: Driver) -> None:
            requests = [await self.request(driver, n) for n in range(4)]

            async with asyncio.TaskGroup() as group:
                for request in requests:
                    group.create_task(driver.create(request))
                    group.create_task(driver.list(OWNER))

            assert len((await driver.list(OWNER)).instances) == 4

        self.check(tmp_path, test)

    def test_what_it_made_fits_the_template_it_was_made_from(self, tmp_path: Path) -> None:
        async def test(driver: Driver) -> None:
            instance = (await driver.create(await self.request(driver))).instances[0]

            assert driver.drifted(instance, {"providers": [{"name": driver.facts.name}]}) is None

        self.check(tmp_path, test)


def _identity(instance: Instance) -> tuple[str, str | None]:
    return instance.id, instance.launch
