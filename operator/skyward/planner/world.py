"""Which nodes make up a pool's world, and their ranks."""

from __future__ import annotations

from collections.abc import Iterable

from skyward.api import Node, NodeCondition, is_true


def world(nodes: Iterable[Node]) -> tuple[Node, ...]:
    """The ready nodes in the order of their ranks, which is that of their slots: a node's rank is its place in this tuple.
    A cordoned node keeps its rank; a leaving or failed one has none."""
    members = (
        node
        for node in nodes
        if node.metadata.deletion_timestamp is None
        and not node.status.failure
        and is_true(node.status.conditions, NodeCondition.READY)
    )
    return tuple(sorted(members, key=lambda node: (node.spec.slot, node.key)))
