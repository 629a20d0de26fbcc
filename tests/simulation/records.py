"""The rows as the commits left them, kept by listening: what checkers compare the world with."""

from __future__ import annotations

from skyward.api import Node, Pool
from skyward.contracts import Verb
from skyward.facts import Launch
from tests.simulation.storing import Commit


class Records:
    def __init__(self) -> None:
        self.launches: dict[str, Launch] = {}
        self.pools: dict[str, Pool] = {}
        """By key."""
        self.nodes: dict[str, Node] = {}
        """By uid."""
        self.bound: dict[str, Node] = {}
        """By the provider's id."""
        self._by_pool: dict[str, dict[str, Node]] = {}

    def take(self, commit: Commit) -> None:
        for _, launch in commit.launches:
            self.launches[launch.id] = launch
        for launch_id in commit.dropped:
            self.launches.pop(launch_id, None)
        for change in commit.changes:
            if isinstance(change.object, Node):
                self._take_node(change.object, gone=change.verb is Verb.DELETED)
            elif isinstance(change.object, Pool):
                if change.verb is Verb.DELETED:
                    self.pools.pop(change.object.key, None)
                else:
                    self.pools[change.object.key] = change.object

    def nodes_of(self, pool_uid: str) -> tuple[Node, ...]:
        return tuple(self._by_pool.get(pool_uid, {}).values())

    def _take_node(self, node: Node, *, gone: bool) -> None:
        uid = node.metadata.uid
        old = self.nodes.pop(uid, None)
        if old is not None and old.status.provider_id:
            self.bound.pop(old.status.provider_id, None)
        self._by_pool.setdefault(node.spec.pool_uid, {}).pop(uid, None)
        if gone:
            return
        self.nodes[uid] = node
        self._by_pool[node.spec.pool_uid][uid] = node
        if node.status.provider_id:
            self.bound[node.status.provider_id] = node


def version_of(node: Node) -> str:
    """Of its template."""
    return str(node.spec.template.get("image", {}).get("env", {}).get("VERSION", "0"))
