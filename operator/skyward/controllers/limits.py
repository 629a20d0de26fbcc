"""What bounds the next launch, counted from the newest listings and from launches whose instances may not show yet."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from skyward.controllers.deps import Deps
from skyward.controllers.launches import LaunchBook
from skyward.facts import Instance, Launch, Limits, Listing, Use
from skyward.planner import CREATE_WINDOW_S, UNANSWERED, is_gone, launch_allowance, use_of, use_of_stray

_Stamp = tuple[float, ...]
_Basis = tuple[Launch, tuple[Instance, ...], bool, bool]
"""All that the use of one launch is worked out from: the launch, what a listing shows of it, whether more of it may hide, and
whether it was sent lately."""
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
        self._uses: dict[str, tuple[_Basis, Use]] = {}
        """By launch; each holds for exactly these objects, which never change."""

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
        listings = self._deps.listings
        newest = {name: listings.newest(name) for name in self._deps.drivers}
        shown = {name: listings.by_launch(name) for name in self._deps.drivers}
        uses: dict[str, tuple[_Basis, Use]] = {}
        by_pool: dict[str, Use] = defaultdict(Use)
        for launch in self._launches.all():
            provider = launch.request.offering.provider
            instances = shown.get(provider, {}).get(launch.id, ())
            is_recent = launch.sent_at > now - CREATE_WINDOW_S
            is_missed = len(instances) < len(launch.instances) and self._is_missed(launch)
            if instances or is_recent or is_missed or launch.state in UNANSWERED:
                may_hide = is_missed or self._may_hide(launch, newest.get(provider))
                uses[launch.id] = self._use((launch, instances, may_hide, is_recent), now)
                by_pool[launch.pool_uid] += uses[launch.id][1]
        self._uses = uses
        everywhere = sum(by_pool.values(), Use())
        for by_launch in shown.values():
            for launch_id, instances in by_launch.items():
                if launch_id is None or self._launches.get(launch_id) is None:
                    everywhere += use_of_stray(instances)
        return _Count(dict(by_pool), everywhere)

    def _use(self, basis: _Basis, now: float) -> tuple[_Basis, Use]:
        """What was worked out from these before is so still: of thousands of launches hardly any has changed."""
        launch, instances, may_hide, is_recent = basis
        known = self._uses.get(launch.id)
        if known is not None:
            its_launch, its_instances, *marks = known[0]
            if its_launch is launch and its_instances is instances and marks == [may_hide, is_recent]:
                return known
        return basis, use_of(launch, instances, may_hide=may_hide, now=now)

    def _is_missed(self, launch: Launch) -> bool:
        """The listing leaves out what no node has proved gone: until that is proved it exists, and costs."""
        if launch.gone_at:
            return False
        return any(
            node.status.provider_id
            and not is_gone(node)
            and self._deps.listings.instance(node.status.provider, node.status.provider_id) is None
            for node in self._deps.cache.nodes_naming(launch.id)
        )

    def _may_hide(self, launch: Launch, listing: Listing | None) -> bool:
        driver = self._deps.drivers.get(launch.request.offering.provider)
        return listing is None or driver is None or listing.started_at < launch.sent_at + driver.facts.visibility_s
