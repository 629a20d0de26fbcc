"""What the task queue asks about pools, answered from the cache."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import overload

from skyward.api import POOL_LABEL, Node, NodeCondition, Pool, is_true
from skyward.contracts import AgentLink, NodeFacts, PoolDirectory, PoolFacts, Rank
from skyward.kit.cache import ObjectCache

_NOTHING = NodeFacts()


def pool_facts(cache: ObjectCache, link: AgentLink, *, python: str) -> PoolDirectory:
    """`python` is the operator's own minor version: what nodes run when the pool says nothing."""

    def facts(key: str) -> PoolFacts | None:
        pool = cache.get(Pool, key)
        if pool is None:
            return None
        return PoolFacts(
            key=key,
            uid=pool.metadata.uid,
            nodes=pool.spec.nodes,
            python=pool.spec.image.python or python,
            deleting=pool.metadata.deletion_timestamp is not None,
            ready=_Ranks(cache, link, pool.metadata.uid),
            generation=pool.metadata.generation,
            template_hash=pool.spec.template_hash,
            fixed={
                "provider": frozenset(provider.name for provider in pool.spec.places),
                POOL_LABEL: frozenset((pool.metadata.name,)),
            },
        )

    return facts


class _Ranks(Sequence[Rank]):
    """The ready nodes of a pool, looked for when somebody asks: most calls are for no node in particular, and a large pool
    takes long to look through."""

    def __init__(self, cache: ObjectCache, link: AgentLink, pool_uid: str) -> None:
        self._cache = cache
        self._link = link
        self._pool_uid = pool_uid

    @overload
    def __getitem__(self, index: int) -> Rank: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Rank]: ...

    def __getitem__(self, index: int | slice) -> Rank | Sequence[Rank]:
        return self._found[index]

    def __len__(self) -> int:
        return len(self._found)

    @cached_property
    def _found(self) -> tuple[Rank, ...]:
        nodes = working_nodes(self._cache.nodes_of(self._pool_uid))
        return tuple(
            Rank(node.metadata.uid, node.metadata.name, node.status.address)
            for node in nodes
            if _answers(self._link, node)
        )


class CachedNodes:
    """What the task queue asks about nodes with every lease. Implements `contracts.NodeDirectory`."""

    def __init__(self, cache: ObjectCache) -> None:
        self._cache = cache
        self._known: dict[str, tuple[Node, Pool | None, NodeFacts]] = {}

    def is_held(self, pool: str) -> bool:
        found = self._cache.get(Pool, pool)
        return found is not None and found.spec.queue == "held"

    def node(self, node_uid: str) -> NodeFacts:
        node = self._cache.node_by_uid(node_uid)
        if node is None:
            self._known.pop(node_uid, None)
            return _NOTHING
        pool = self._cache.get(Pool, f"{node.metadata.namespace}/{node.spec.pool}")
        known = self._known.get(node_uid)
        if known is None or known[0] is not node or known[1] is not pool:
            known = self._known[node_uid] = (node, pool, _facts(node, pool))
        return known[2]

    def nodes(self, pool: str) -> Sequence[NodeFacts]:
        found = self._cache.get(Pool, pool)
        if found is None:
            return ()
        staying = (node for node in self._cache.nodes_of(found.metadata.uid) if not node.metadata.deletion_timestamp)
        return tuple(self.node(node.metadata.uid) for node in staying)


def _facts(node: Node, pool: Pool | None) -> NodeFacts:
    """Fields go by the names that `requirements` have for them; a label of that name does not hide one."""
    status = node.status
    fields = {
        "node": node.metadata.name,
        "slot": str(node.spec.slot),
        "provider": status.provider,
        "region": status.region,
        "zone": status.zone,
        "host-id": status.host_id,
        "offering": status.offering,
    }
    labels = {**node.metadata.labels, **{name: value for name, value in fields.items() if value}}
    lanes = pool.spec.concurrency if pool is not None and isinstance(pool.spec.concurrency, int) else 1
    return NodeFacts(status.address, labels, float(status.hourly_cost) / 3600.0 / lanes)


def working_nodes(nodes: Iterable[Node]) -> tuple[Node, ...]:
    """The nodes that take work, by rank: ready, schedulable, not leaving; in the order of their slots."""
    ready = (
        node
        for node in nodes
        if node.metadata.deletion_timestamp is None
        and not node.spec.unschedulable
        and is_true(node.status.conditions, NodeCondition.READY)
    )
    return tuple(sorted(ready, key=lambda node: (node.spec.slot, node.metadata.name)))


def _answers(link: AgentLink, node: Node) -> bool:
    session = link.session(node.metadata.uid)
    return session is not None and session.connected and session.ready
