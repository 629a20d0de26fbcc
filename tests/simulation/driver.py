"""The plug of one operator process into the cloud: requests travel, arrive or get lost, and so do their answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from skyward.api import Json
from skyward.contracts import Clock, DriverFacts
from skyward.errors import InstanceNotFound, OutcomeUnknown, ProviderError, ProviderUnavailable, RateLimited
from skyward.facts import Instance, LaunchOutcome, LaunchRequest, Listing, Offering
from tests.simulation.network import Fate, Network
from tests.simulation.process import Process, When

T = TypeVar("T")


class SimDriver:
    """Implements `contracts.Driver`."""

    def __init__(self, network: Network, process: Process, clock: Clock, provider: str) -> None:
        self._network = network
        self._cloud = network.cloud
        self._process = process
        self._clock = clock
        self._facts = network.cloud.profile.facts(provider)

    @property
    def facts(self) -> DriverFacts:
        return self._facts

    async def offerings(self, options: Json) -> tuple[Offering, ...]:
        return await self._call("offerings", lambda: self._cloud.offerings(self._facts.name))

    async def create(self, request: LaunchRequest) -> LaunchOutcome:
        def arrive() -> LaunchOutcome:
            self._network.watch.create_arrives(self._process, request)
            return self._cloud.create(request)

        self._network.watch.create_sent(self._process, request)
        return await self._call("create", arrive, token=request.launch)

    async def get(self, instance_id: str) -> Instance:
        staleness_s = self._network.staleness_s()

        def arrive() -> Instance:
            found = self._cloud.find(instance_id, staleness_s)
            if found is None:
                raise InstanceNotFound(f"there is no instance {instance_id}")
            return found

        return await self._call("get", arrive)

    async def list(self, owner: str) -> Listing:
        started_at = self._clock.now()
        staleness_s = self._network.staleness_s()
        instances = await self._call("list", lambda: self._cloud.read(self._facts.name, owner, staleness_s))
        listing = Listing(self.facts.name, instances, started_at, self._clock.now())
        self._network.watch.listed(self._process, listing)
        return listing

    async def delete(self, instance_id: str) -> None:
        def arrive() -> None:
            self._network.watch.delete_arrives(self._process, instance_id)
            self._cloud.delete(instance_id)

        self._network.watch.delete_sent(self._process, instance_id)
        await self._call("delete", arrive)

    def drifted(self, instance: Instance, template: Json) -> str | None:
        return None

    async def close(self) -> None:
        return None

    # --- one request ---------------------------------------------------------------------------------------------------

    async def _call(self, kind: str, work: Callable[[], T], *, token: str = "") -> T:
        dies = self._process.enter(f"{kind}.request")
        if self._process.dead or dies(When.BEFORE):
            await self._process.halt()
        fate = self._network.fate(kind)
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._network.after(fate.out_s, lambda: self._arrive(kind, fate, work, answer, dies, token))
        try:
            result = await answer
        except ProviderError:
            await self._process.hear_error(dies)
            raise
        if dies(When.AFTER):
            await self._process.halt()
        return result

    def _arrive(
        self,
        kind: str,
        fate: Fate,
        work: Callable[[], T],
        answer: asyncio.Future[T],
        dies: Callable[[When], bool],
        token: str,
    ) -> None:
        """In the world: the process that asked may be long dead."""
        error: ProviderError | None = None
        result: T | None = None
        if fate.refused is not None:
            error = fate.refused if isinstance(fate.refused, RateLimited) else _no_answer(kind, token)
        elif fate.lost_request:
            error = _no_answer(kind, token)
        else:
            try:
                result = work()
            except ProviderError as raised:
                error = raised
            dies(When.EFFECT)
            if fate.lost_reply:
                error = _no_answer(kind, token)
        if fate.hangs:
            return

        def deliver() -> None:
            if self._process.dead or answer.done():
                return
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(result)  # type: ignore[arg-type]

        self._network.after(fate.back_s, deliver)


def _no_answer(kind: str, token: str) -> ProviderError:
    """What a driver makes of a broken connection."""
    if kind == "create":
        return OutcomeUnknown("the connection broke", token)
    return ProviderUnavailable("the connection broke")
