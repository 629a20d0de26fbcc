"""Wiring: which controller there is, what gives it its keys, and what wakes it. A wake-up carries a key and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from skyward.api import Node, Object, Pool
from skyward.contracts import Change, Verb
from skyward.controllers.adoption import Adopter
from skyward.controllers.clock import ClockGuard
from skyward.controllers.deps import Deps
from skyward.controllers.garbage.reconciler import GarbageReconciler
from skyward.controllers.heartbeats import Heartbeats, is_mere_heartbeat
from skyward.controllers.launches import LaunchBook
from skyward.controllers.limits import LaunchLimits
from skyward.controllers.node.lookups import LookUps
from skyward.controllers.node.reconciler import NodeReconciler
from skyward.controllers.node.returns import Returns
from skyward.controllers.numbers import Numbers, are_mere_numbers
from skyward.controllers.observe import Observer
from skyward.controllers.pool.reconciler import PoolReconciler
from skyward.controllers.standing import guarded
from skyward.controllers.tasks.reconciler import COLLECT, TasksReconciler
from skyward.kit.calls import Calls
from skyward.kit.catalog import Catalog
from skyward.kit.controller import Controller, Reconciler
from skyward.kit.decisions import DecisionBook
from skyward.kit.lifecycle import Component
from skyward.kit.steady import steady
from skyward.kit.work_queue import WorkQueue
from skyward_agent.wire.messages import AttemptId, Result

_COUNTS_DELAY_S = 1.0
"""How late a pool's status may show the numbers of its queue."""
_GATHER_S = 0.0005
_GATHER_AT_MOST_S = 0.5
"""A pool waits this long for each of its nodes after one of them changed: a pass looks at all of them, and in a large pool
many change together."""


def build(deps: Deps) -> tuple[Component, ...]:
    """All controllers and, before them, what they need started; to be run in this order, after the plugs that `deps` holds.
    The cache must be started and the task queue recovered."""
    launches = LaunchBook(deps.store)
    deps = guarded(deps, launches)
    calls = Calls(deps.clock, deps.ids)
    look_ups = LookUps(deps, calls)
    catalog = deps.catalog or Catalog(deps.drivers, deps.clock)
    returns = Returns(catalog.cool_downs)
    observer = Observer(deps, launches, look_ups, returns.why)
    decisions = DecisionBook(deps.store, deps.clock)
    queues = _Queues(deps)
    queues.subscribe()
    nodes = NodeReconciler(
        deps,
        launches,
        observer,
        decisions,
        calls,
        queues.nodes,
        look_ups,
        LaunchLimits(deps, launches),
        catalog,
        returns,
    )
    providers = tuple(deps.drivers)
    return (
        launches,
        decisions,
        calls,
        Adopter(deps, launches),
        ClockGuard(deps.store, steady(deps.clock), launches),
        Heartbeats(deps),
        Numbers(deps, queues.pools.add),
        _controller(
            deps, "pool", PoolReconciler(deps, launches, observer, decisions), queues.pools, _keys(deps, Pool), 4
        ),
        _controller(deps, "node", nodes, queues.nodes, _keys(deps, Node), deps.workers),
        _controller(
            # One worker for each provider: one that hangs delays its own sweep alone.
            deps,
            "garbage",
            GarbageReconciler(deps, launches),
            queues.providers,
            lambda: providers,
            len(providers),
        ),
        _controller(deps, "tasks", TasksReconciler(deps), queues.tasks, queues.task_keys, 2),
    )


def _controller(
    deps: Deps,
    name: str,
    reconciler: Reconciler,
    queue: WorkQueue,
    keys: Callable[[], Sequence[str]],
    workers: int,
) -> Controller:
    return Controller(
        name,
        reconciler,
        queue,
        workers=workers,
        clock=deps.clock,
        ids=deps.ids,
        keys=keys,
        resync_s=deps.durations.resync_s,
    )


def _keys(deps: Deps, kind: type[Pool] | type[Node]) -> Callable[[], Sequence[str]]:
    return lambda: deps.cache.keys(kind)


class _Queues:
    """The work queues, and the sources that fill them. Also listens to the task queue, for the numbers of the status."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self.pools, self.nodes, self.providers, self.tasks = (WorkQueue(deps.clock, deps.ids) for _ in range(4))
        self._decided: dict[str, tuple[str, str, str]] = {}
        self._leaving: dict[str, None] = {}
        self._working: dict[str, None] = {}
        """Pools whose queue has held something since its numbers were last looked at."""

    def subscribe(self) -> None:
        self._deps.cache.on_change(Pool, self._pool_changed)
        self._deps.cache.on_change(Node, self._node_changed)
        self._deps.listings.subscribe(self._listing_changed)
        self._deps.bootstrapper.subscribe(self._node_uid_changed)
        self._deps.link.subscribe(self._node_uid_changed)
        self._deps.queue.listen(self)

    def task_keys(self) -> tuple[str, ...]:
        return (COLLECT, *sorted(self._deps.queue.holders()))

    def _pool_changed(self, change: Change, before: Object | None) -> None:
        """Nodes depend on what the user decides and not on the pool's status, which changes much more often."""
        pool = change.object
        if isinstance(pool, Pool) and isinstance(before, Pool) and are_mere_numbers(before, pool):
            return
        self.pools.add(pool.key)
        meta = pool.metadata
        decided = (meta.uid, f"{meta.generation} {meta.annotations}", str(meta.deletion_timestamp))
        if self._decided.get(pool.key) == decided:
            return
        self._decided[pool.key] = decided
        self._deps.queue.look_again(pool.key)
        for node in self._deps.cache.nodes_of(meta.uid):
            self.nodes.add(node.key)

    def _node_changed(self, change: Change, before: Object | None) -> None:
        node = change.object
        if not isinstance(node, Node):
            return
        if isinstance(before, Node) and change.verb is Verb.MODIFIED and is_mere_heartbeat(before, node):
            return
        self.nodes.add(node.key)
        siblings = self._deps.cache.count_nodes(node.spec.pool_uid)
        self.pools.add_after(
            f"{node.metadata.namespace}/{node.spec.pool}", min(siblings * _GATHER_S, _GATHER_AT_MOST_S)
        )
        self.tasks.add(node.metadata.uid)
        if isinstance(before, Node) and before.metadata.labels != node.metadata.labels:
            self._deps.queue.look_again(f"{node.metadata.namespace}/{node.spec.pool}")
        drains = node.metadata.deletion_timestamp is not None or node.spec.unschedulable
        if change.verb is not Verb.DELETED and drains:
            self._leaving[node.key] = None
        else:
            self._leaving.pop(node.key, None)

    def _listing_changed(self, provider: str) -> None:
        """Only what shows another instance than before has news; everybody when all of the listing counts, or nothing of it."""
        self.providers.add(provider)
        cache, touched = self._deps.cache, self._deps.listings.touched(provider)
        if touched is None:
            for pool in cache.list(Pool):
                self.pools.add(pool.key)
            nodes = {node.key: node for node in cache.list(Node)}
        else:
            nodes = {node.key: node for name in sorted(touched) for node in cache.nodes_naming(name)}
        for node in nodes.values():
            if node.status.provider not in ("", provider):
                continue
            if touched is not None:
                self.pools.add(f"{node.metadata.namespace}/{node.spec.pool}")
            self.nodes.add(node.key)
            if self._deps.queue.held(node.metadata.uid):
                self.tasks.add(node.metadata.uid)

    def _node_uid_changed(self, node_uid: str) -> None:
        self.tasks.add(node_uid)
        node = self._deps.cache.node_by_uid(node_uid)
        if node is not None:
            self.nodes.add(node.key)

    # --- QueueListener ---

    def work_available(self, pool: str, node_uid: str | None) -> None:
        self._working[pool] = None
        self.pools.add_after(pool, _COUNTS_DELAY_S)

    def items_finished(self, results: Sequence[Result]) -> None:
        """A node that drains may have nothing left to wait for; a pool's numbers changed."""
        for pool in tuple(self._working):
            self.pools.add_after(pool, _COUNTS_DELAY_S)
            if not any(self._deps.queue.counts(pool)):
                self._working.pop(pool, None)
        for key in self._leaving:
            self.nodes.add(key)

    def abandon(self, node_uid: str, attempts: Sequence[AttemptId], reason: str) -> None:
        return None

    def task_closed(self, task: str, items: int) -> None:
        return None
