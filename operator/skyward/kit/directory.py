"""What the task queue asks about pools, answered from the cache."""

from __future__ import annotations

from collections.abc import Iterable

from skyward.api import Node, NodeCondition, Pool, is_true
from skyward.contracts import AgentLink, PoolDirectory, PoolFacts, Rank
from skyward.kit.cache import ObjectCache


def pool_facts(cache: ObjectCache, link: AgentLink, *, python: str) -> PoolDirectory:
    """`python` is the operator's own minor version: what nodes run when the pool says nothing."""

    def facts(key: str) -> PoolFacts | None:
        pool = cache.get(Pool, key)
        if pool is None:
            return None
        ready = (node for node in working_nodes(cache.nodes_of(pool.metadata.uid)) if _answers(link, node))
        return PoolFacts(
            key=key,
            uid=pool.metadata.uid,
            nodes=pool.spec.nodes,
            python=pool.spec.image.python or python,
            deleting=pool.metadata.deletion_timestamp is not None,
            ready=tuple(Rank(node.metadata.uid, node.metadata.name, node.status.address) for node in ready),
        )

    return facts


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
