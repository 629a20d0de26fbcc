"""Nodes on demand that could be on spot again, and why. In memory: a new operator looks anew."""

from __future__ import annotations

from skyward.api import Node
from skyward.kit.catalog import CoolDowns


class Returns:
    """What was found counts until anything is refused: then nobody gives way before it was looked at again, so that one node
    finds out for all what is still sold out."""

    def __init__(self, cool_downs: CoolDowns) -> None:
        self._cool_downs = cool_downs
        self._found: dict[str, tuple[str, int]] = {}

    def why(self, node_uid: str) -> str:
        """Empty for a node that stays where it is."""
        why, count = self._found.get(node_uid, ("", 0))
        return why if count == self._cool_downs.count else ""

    def put(self, node: Node, why: str) -> None:
        if why:
            self._found[node.metadata.uid] = why, self._cool_downs.count
        else:
            self.forget(node)

    def forget(self, node: Node) -> None:
        self._found.pop(node.metadata.uid, None)
