"""Which hosts brought down the nodes that ran on them: read from the nodes' records, and from their launches when those are
gone. So a restart finds all that still counts: a launch is kept for longer than any host is shunned."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from skyward.api import Node, Object
from skyward.contracts import Change, Transaction, Verb
from skyward.controllers.launches import LaunchBook, Note
from skyward.facts import HostFailure, ShunnedHost
from skyward.kit.cache import ObjectCache
from skyward.planner import HOST_MEMORY_S, host_failure, shun


class HostBook:
    def __init__(self, cache: ObjectCache, launches: LaunchBook) -> None:
        self._launches = launches
        self._failures: dict[str, HostFailure] = {}
        """By the uid of each node on record."""
        cache.on_change(Node, self._node_changed)
        for node in cache.list(Node):
            self._note(node)

    def shunned(self, now: float) -> tuple[ShunnedHost, ...]:
        return shun((*self._failures.values(), *self._launches.host_failures()), now)

    def _node_changed(self, change: Change, before: Object | None) -> None:
        node = change.object
        if not isinstance(node, Node):
            return
        self._failures.pop(node.metadata.uid, None)
        if change.verb is not Verb.DELETED:
            self._note(node)

    def _note(self, node: Node) -> None:
        failure = host_failure(node)
        if failure is not None:
            self._failures[node.metadata.uid] = failure


def keep_failures(tx: Transaction, note: Note, nodes: Iterable[Node], now: float) -> None:
    """These nodes' records go in this transaction. What they say against their hosts stays with their launches."""
    for node in nodes:
        failure = host_failure(node)
        if failure is None or failure.at <= now - HOST_MEMORY_S:
            continue
        launch = tx.launch(node.status.launch)
        if launch is None:
            continue
        others = tuple(one for one in launch.host_failures if one.node_uid != failure.node_uid)
        kept = replace(launch, host_failures=(*others, failure))
        tx.put_launch(kept)
        note(kept)
