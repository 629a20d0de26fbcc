"""A driver that asks before it acts: creating and deleting are for the leader, at a provider whose listings are trusted,
and deleting only for what is ours. Whoever calls it cannot forget to ask."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from skyward.api import Json
from skyward.contracts import Driver, DriverFacts
from skyward.errors import ProviderError
from skyward.facts import Instance, LaunchOutcome, LaunchRequest, Listing, Offering


class GuardedDriver:
    """Implements `contracts.Driver` over another."""

    def __init__(
        self,
        driver: Driver,
        *,
        confirm: Callable[[], Awaitable[None]],
        hindrance: Callable[[], str],
        is_ours: Callable[[str], bool],
    ) -> None:
        """`confirm` returns while this operator surely leads, and raises otherwise. `hindrance`: why nothing may be changed at
        this provider now, or empty. `is_ours`: one of our own create calls named this instance, or a listing of ours shows it."""
        self._driver = driver
        self._confirm = confirm
        self._hindrance = hindrance
        self._is_ours = is_ours

    @property
    def facts(self) -> DriverFacts:
        return self._driver.facts

    async def offerings(self, options: Json) -> tuple[Offering, ...]:
        return await self._driver.offerings(options)

    async def create(self, request: LaunchRequest) -> LaunchOutcome:
        await self._check(f"launch {request.launch} is not sent")
        return await self._driver.create(request)

    async def get(self, instance_id: str) -> Instance:
        return await self._driver.get(instance_id)

    async def list(self, owner: str) -> Listing:
        return await self._driver.list(owner)

    async def delete(self, instance_id: str) -> None:
        await self._check(f"instance {instance_id} is not deleted")
        if not self._is_ours(instance_id):
            raise ProviderError(
                f"instance {instance_id} at {self.facts.name} is not deleted: none of our create calls named it and no "
                "listing of ours shows it"
            )
        await self._driver.delete(instance_id)

    def drifted(self, instance: Instance, template: Json) -> str | None:
        return self._driver.drifted(instance, template)

    async def close(self) -> None:
        await self._driver.close()

    async def _check(self, consequence: str) -> None:
        await self._confirm()
        why = self._hindrance()
        if why:
            raise ProviderError(f"{consequence}: {why}")
