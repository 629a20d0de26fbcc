"""The law of a pool's end: its row goes only when nothing that could cost money can be left of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from types import SimpleNamespace
from typing import Any

from skyward.api import to_time
from skyward.contracts import DriverFacts, HostKeyTrust
from skyward.controllers.pool.deletion import hindrance
from skyward.facts import Instance, InstanceState, Launch, LaunchRequest, LaunchState, Listing, Offering
from tests.builders import make_pool

_NOW = 1_800_000_000.0
_VISIBILITY_S = 60.0
_OPEN = (LaunchState.PREPARED, LaunchState.SENT, LaunchState.UNKNOWN)


@dataclass
class _Listings:
    listing: Listing | None
    is_fresh: bool
    poked: list[str] = field(default_factory=list)

    def newest(self, provider: str) -> Listing | None:
        return self.listing

    def fresh(self, provider: str, now: float) -> bool:
        return self.listing is not None and self.is_fresh

    def poke(self, provider: str) -> None:
        self.poked.append(provider)


def check_ending(seed: int) -> None:
    random = Random(seed)
    pool = make_pool()
    deleted_at = _NOW - random.choice((1.0, 30.0, 300.0))
    pool = pool.replace(metadata=pool.metadata.replace(deletion_timestamp=to_time(deleted_at)))
    own = tuple(_launch(random, number, pool.metadata.uid) for number in range(random.randint(0, 3)))
    shown = tuple(_instance(random.choice((*own, None))) for _ in range(random.choice((0, 0, 1, 2))))
    began = _NOW - random.choice((0.0, 20.0, 100.0, 400.0))
    listings = _Listings(Listing("p", shown, began, began) if random.random() < 0.9 else None, random.random() < 0.9)
    why = hindrance(_deps(listings), _launches(own), pool)
    may_show = {one.id for one in own}
    stays = (
        any(one.state in _OPEN for one in own)
        or (bool(own) and not listings.fresh("p", _NOW))
        or any(instance.launch in may_show for instance in shown)
        or any(began < one.sent_at + _VISIBILITY_S for one in own)
        or (bool(own) and began < deleted_at)
    )
    assert not stays or why is not None, "the pool goes, and something may be left of it"
    assert stays or why is None, f"waits for nothing: {why}"


def _deps(listings: _Listings) -> Any:
    facts = DriverFacts("p", False, True, _VISIBILITY_S, 120.0, HostKeyTrust.VOUCHED, 30.0, 10)
    return SimpleNamespace(
        listings=listings, drivers={"p": SimpleNamespace(facts=facts)}, clock=SimpleNamespace(now=lambda: _NOW)
    )


def _launches(own: tuple[Launch, ...]) -> Any:
    return SimpleNamespace(of_pool=lambda uid: own)


def _launch(random: Random, number: int, pool_uid: str) -> Launch:
    state = random.choice((*_OPEN, LaunchState.BOUND, LaunchState.BOUND, LaunchState.REJECTED, LaunchState.ABSENT))
    at = _NOW - random.choice((10.0, 100.0, 1000.0))
    request = LaunchRequest(f"launch-{number}", "owner", pool_uid, "default/pool", 1, Offering("p", "small"), "key")
    return Launch(request.launch, pool_uid, request, (), state, 1, at, at)


def _instance(launch: Launch | None) -> Instance:
    return Instance("p", "i-1", launch.id if launch is not None else "another", InstanceState.UP)
