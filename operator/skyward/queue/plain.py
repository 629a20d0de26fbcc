"""Nodes of which nothing is known: no queue is held, none has labels, and none costs anything."""

from __future__ import annotations

from collections.abc import Sequence

from skyward.contracts import NodeFacts

_PLAIN = NodeFacts()


class AnyNode:
    """Implements `contracts.NodeDirectory`."""

    def is_held(self, pool: str) -> bool:
        return False

    def node(self, node_uid: str) -> NodeFacts:
        return _PLAIN

    def nodes(self, pool: str) -> Sequence[NodeFacts]:
        return ()
