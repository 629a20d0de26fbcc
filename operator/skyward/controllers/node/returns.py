"""Nodes on demand that could be on spot again, and why. In memory: a new operator looks anew."""

from __future__ import annotations

from skyward.api import Node


class Returns:
    def __init__(self) -> None:
        self._why: dict[str, str] = {}

    def why(self, node_uid: str) -> str:
        """Empty for a node that stays where it is."""
        return self._why.get(node_uid, "")

    def put(self, node: Node, why: str) -> None:
        if why:
            self._why[node.metadata.uid] = why
        else:
            self.forget(node)

    def forget(self, node: Node) -> None:
        self._why.pop(node.metadata.uid, None)
