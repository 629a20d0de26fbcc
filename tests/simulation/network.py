"""What may happen to one request to the provider, and how long it takes."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from skyward.errors import ProviderError, ProviderUnavailable, RateLimited
from skyward.facts import LaunchRequest, Listing
from tests.simulation.chance import Chance
from tests.simulation.cloud import Cloud
from tests.simulation.faults import Faults
from tests.simulation.loop import SimLoop
from tests.simulation.process import Process

_QUICK_S = (0.05, 0.6)


@dataclass(frozen=True, slots=True)
class Fate:
    out_s: float
    back_s: float
    refused: ProviderError | None = None
    """Answered without being looked at."""
    lost_request: bool = False
    """It never arrives; the caller learns that the connection broke."""
    lost_reply: bool = False
    """It does its work, and the caller learns that the connection broke."""
    hangs: bool = False
    """It may do its work, and no answer ever comes."""


class Watch(Protocol):
    """Who looks at every request."""

    def create_sent(self, process: Process, request: LaunchRequest) -> None: ...

    def create_arrives(self, process: Process, request: LaunchRequest) -> None: ...

    def delete_sent(self, process: Process, instance_id: str) -> None: ...

    def delete_arrives(self, process: Process, instance_id: str) -> None: ...

    def listed(self, process: Process, listing: Listing) -> None: ...


class Network:
    def __init__(self, cloud: Cloud, loop: SimLoop, faults: Faults, chance: Chance, watch: Watch) -> None:
        self.cloud = cloud
        self.watch = watch
        self.calls = 0
        self.faulted = 0
        self.brown_out = False
        """No request is answered for a while."""
        self.planned: dict[str, list[Fate]] = {}
        """What becomes of the next calls of a kind, where a story says so."""
        self._loop = loop
        self._faults = faults
        self._stream = chance.stream("network")
        self._world = contextvars.copy_context()

    def after(self, seconds: float, work: Callable[[], None]) -> None:
        """In the world's own name, whoever asked for it."""
        self._loop.call_later(seconds, work, context=self._world)

    def staleness_s(self) -> float:
        """How old the replica is that answers a read."""
        visibility_s = self.cloud.profile.visibility_s
        if visibility_s and self._faults.strikes("stale-read"):
            self.faulted += 1
            return self._faults.between("stale-read", 0.02, 1.0) * visibility_s
        return 0.0

    def fate(self, kind: str) -> Fate:
        self.calls += 1
        planned = self.planned.get(kind)
        fate = planned.pop(0) if planned else self._draw()
        if fate.refused is not None or fate.lost_request or fate.lost_reply or fate.hangs or fate.out_s > _QUICK_S[1]:
            self.faulted += 1
        return fate

    def _draw(self) -> Fate:
        low, high = _QUICK_S
        out_s = low + (high - low) * self._stream.random()
        back_s = low + (high - low) * self._stream.random()
        faults, slowest_s = self._faults, self.cloud.profile.slowest_request_s
        if self.brown_out:
            return Fate(out_s, back_s, refused=ProviderUnavailable("the service is unavailable"))
        if faults.strikes("slow"):
            out_s = min(faults.between("slow", 1.0, 60.0), slowest_s)
            back_s = faults.between("slow", 1.0, 60.0)
        if faults.strikes("fail-before"):
            return Fate(out_s, back_s, refused=ProviderUnavailable("502 bad gateway"))
        if faults.strikes("rate-limited"):
            return Fate(out_s, back_s, refused=RateLimited("too many requests", faults.between("rate-limited", 1, 60)))
        if faults.strikes("lost-request"):
            return Fate(out_s, back_s, lost_request=True)
        if faults.strikes("fail-after"):
            return Fate(out_s, back_s, lost_reply=True)
        return Fate(out_s, back_s, hangs=faults.strikes("hang"))
