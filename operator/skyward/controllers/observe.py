"""The planners' input, put together from the caches: one picture per node or pool, of one instant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from skyward.api import Node, Pool, places_of
from skyward.controllers.deps import Deps
from skyward.controllers.launches import LaunchBook
from skyward.controllers.losses import LossCounts
from skyward.controllers.node.lookups import LookUps
from skyward.facts import Instance, InstanceState, Launch, LookUp, ObservedNode, ObservedPool
from skyward.planner import must_show_at, shown_at

ReadAt = dict[tuple[str, ...], float | None]
"""When the oldest of the newest listings of these providers began; None when one is not fresh."""


class Observer:
    def __init__(
        self,
        deps: Deps,
        launches: LaunchBook,
        look_ups: LookUps,
        better: Callable[[str], str] = lambda node_uid: "",
    ) -> None:
        """`better`: why a node's pool would be better served by another machine, by its uid."""
        self._better = better
        self._deps = deps
        self._launches = launches
        self._look_ups = look_ups
        self._losses = LossCounts(deps, self._picture)

    def node(self, node: Node, read_at: ReadAt | None = None) -> ObservedNode:
        """`read_at` keeps what was found of providers, for more nodes of this instant."""
        observed = self._picture(node, read_at)
        blocked = self._losses.about(observed)
        return observed if blocked is None else replace(observed, blocked=blocked)

    def _picture(self, node: Node, read_at: ReadAt | None = None) -> ObservedNode:
        uid = node.metadata.uid
        launch = self._launches.get(node.status.launch) if node.status.launch else None
        instance = self._instance(node, launch)
        providers, read_at = providers_of(node, launch), {} if read_at is None else read_at
        if providers not in read_at:
            read_at[providers] = self._listed_at(providers)
        listed_at = read_at[providers]
        looked_up = self._look_ups.answer(uid)
        lacks = bool(node.status.provider_id) and instance is None and listed_at is not None
        return ObservedNode(
            node=node,
            launch=launch,
            instance=instance,
            listed_at=listed_at,
            missing_since=self._missing_since(node, launch, looked_up) if lacks else None,
            looked_up=looked_up,
            bootstrap=self._deps.bootstrapper.progress(uid),
            session=self._deps.link.session(uid),
            held=self._deps.queue.held(uid),
            drift=self._drift(node, instance),
            better=self._better(uid),
        )

    def pool(self, pool: Pool) -> ObservedPool:
        read_at: ReadAt = {}
        nodes = tuple(self.node(node, read_at) for node in self._deps.cache.nodes_of(pool.metadata.uid))
        providers = {provider.name for provider in pool.spec.places}
        for observed in nodes:
            providers.update(providers_of(observed.node, observed.launch))
        now = self._deps.clock.now()
        unsynced = tuple(
            self._with_error(name) for name in sorted(providers) if not self._deps.listings.fresh(name, now)
        )
        doubts = (self._deps.listings.doubt(name) for name in sorted(providers))
        doubt = next((str(doubt) for doubt in doubts if doubt is not None), "")
        blocked = next((one.blocked for one in nodes if one.blocked is not None and not one.node.status.failure), None)
        return ObservedPool(
            pool=pool, nodes=nodes, synced=not unsynced, unsynced=unsynced, doubt=doubt, blocked=blocked
        )

    def unbound_instances(self, launch: Launch) -> tuple[Instance, ...]:
        """What the newest complete listing shows of this launch and no node is bound to, by id. What is gone and only still
        listed is given to nobody."""
        found = self._deps.listings.of_launch(launch.request.offering.provider, launch.id)
        if not found:
            return ()
        bound = {node.status.provider_id for node in self._deps.cache.nodes_of(launch.pool_uid)}
        return tuple(one for one in found if one.id not in bound and one.state is not InstanceState.GONE)

    def _with_error(self, provider: str) -> str:
        error = self._deps.listings.error(provider)
        return f"{provider} ({error})" if error else provider

    def _instance(self, node: Node, launch: Launch | None) -> Instance | None:
        if not node.status.provider_id:
            # Which of its launch's instances it will get is decided when they are bound; any shows that there are some.
            return next(iter(self.unbound_instances(launch)), None) if launch is not None else None
        return self._deps.listings.instance(node.status.provider, node.status.provider_id)

    def _missing_since(self, node: Node, launch: Launch | None, looked_up: LookUp | None) -> float | None:
        """Only listings count that must show it, and that are newer than the last direct question which found it."""
        driver = self._deps.drivers.get(node.status.provider)
        if driver is None:
            return None
        after = max(must_show_at(node, launch, driver.facts.visibility_s), shown_at(looked_up))
        return self._deps.listings.missing_since(node.status.provider, node.status.provider_id, after)

    def _drift(self, node: Node, instance: Instance | None) -> str:
        driver = self._deps.drivers.get(node.status.provider)
        if driver is None or instance is None:
            return ""
        return driver.drifted(instance, node.spec.template) or ""

    def _listed_at(self, providers: tuple[str, ...]) -> float | None:
        listings, now = self._deps.listings, self._deps.clock.now()
        oldest: float | None = None
        for name in providers:
            newest = listings.newest(name)
            if newest is None or not listings.fresh(name, now):
                return None
            oldest = newest.started_at if oldest is None else min(oldest, newest.started_at)
        return oldest


def providers_of(node: Node, launch: Launch | None) -> tuple[str, ...]:
    """Where the node's instance is, or may be: its provider once it has one, all of its template before."""
    if node.status.provider:
        return (node.status.provider,)
    if launch is not None:
        return (launch.request.offering.provider,)
    return tuple(dict.fromkeys(entry["name"] for entry in places_of(node.spec.template)))
