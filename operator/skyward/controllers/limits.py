"""What bounds the next launch, counted from the newest listings and from launches whose instances may not show yet."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from skyward.controllers.deps import Deps
from skyward.controllers.launches import LaunchBook
from skyward.facts import Launch, Limits, Listing, Use
from skyward.planner import CREATE_WINDOW_S, UNANSWERED, launch_allowance, use_of, use_of_stray

_Stamp = tuple[float, ...]
_ALLOWED_S = 10.0
"""Time alone raises what a pool may ask for after a refusal, and is in no hurry."""


@dataclass(frozen=True, slots=True)
class _Count:
    by_pool: dict[str, Use]
    everywhere: Use


class LaunchLimits:
    def __init__(self, deps: Deps, launches: LaunchBook) -> None:
        self._deps = deps
        self._launches = launches
        self._last: tuple[_Stamp, _Count] | None = None
        self._allowances: dict[str, tuple[float, int | None]] = {}
        """By pool, each with its time."""

    def about(self, pool_uid: str) -> Limits:
        """For planning: counted at most once a second, or with the next listing."""
        now = self._deps.clock.now()
        listings = (self._deps.listings.newest(name) for name in sorted(self._deps.drivers))
        stamp = (now // 1, *(listing.started_at if listing is not None else 0.0 for listing in listings))
        if self._last is None or self._last[0] != stamp:
            self._last = (stamp, self._count(now))
        at, allowance = self._allowances.get(pool_uid, (float("-inf"), None))
        if not at <= now <= at + _ALLOWED_S:
            allowance = launch_allowance(self._launches.of_pool(pool_uid), now)
            self._allowances[pool_uid] = (now, allowance)
        return self._limits(pool_uid, self._last[1], allowance)

    def changed(self, pool_uid: str) -> None:
        """A launch of this pool was recorded or answered."""
        self._allowances.pop(pool_uid, None)

    def exactly(self, pool_uid: str) -> Limits:
        """As it is at this instant. In a transaction that records a launch nothing can change between this and that: all
        launches are recorded there."""
        now = self._deps.clock.now()
        allowance = launch_allowance(self._launches.of_pool(pool_uid), now)
        return self._limits(pool_uid, self._count(now), allowance)

    def _limits(self, pool_uid: str, count: _Count, allowance: int | None) -> Limits:
        return Limits(
            ceilings=self._deps.ceilings,
            own=count.by_pool.get(pool_uid, Use()),
            everywhere=count.everywhere,
            allowance=allowance,
        )

    def _count(self, now: float) -> _Count:
        listings = {name: self._deps.listings.newest(name) for name in self._deps.drivers}
        by_pool: dict[str, Use] = defaultdict(Use)
        for launch in self._launches.all():
            provider = launch.request.offering.provider
            shown = self._deps.listings.of_launch(provider, launch.id)
            if shown or launch.state in UNANSWERED or launch.sent_at > now - CREATE_WINDOW_S:
                may_hide = self._may_hide(launch, listings.get(provider))
                by_pool[launch.pool_uid] += use_of(launch, shown, may_hide=may_hide, now=now)
        everywhere = sum(by_pool.values(), Use())
        for listing in listings.values():
            if listing is not None:
                everywhere += use_of_stray(one for one in listing.instances if not self._is_known(one.launch))
        return _Count(dict(by_pool), everywhere)

    def _is_known(self, launch_id: str | None) -> bool:
        return launch_id is not None and self._launches.get(launch_id) is not None

    def _may_hide(self, launch: Launch, listing: Listing | None) -> bool:
        driver = self._deps.drivers.get(launch.request.offering.provider)
        return listing is None or driver is None or listing.started_at < launch.sent_at + driver.facts.visibility_s
