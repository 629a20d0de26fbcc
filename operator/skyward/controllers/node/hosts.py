"""Which hosts brought down the nodes that ran on them: read from the nodes' records, and kept in mind when those are gone."""

from __future__ import annotations

from skyward.api import Node, Object
from skyward.contracts import Change
from skyward.facts import HostFailure, ShunnedHost
from skyward.kit.cache import ObjectCache
from skyward.planner import host_failure, shun

_MOST = 10_000
"""Failures kept in mind; the oldest go first."""


class HostBook:
    """A restart finds in the records what still counts: those of shunned hosts are kept for as long."""

    def __init__(self, cache: ObjectCache) -> None:
        self._failures: dict[str, HostFailure] = {}
        cache.on_change(Node, self._node_changed)
        for node in cache.list(Node):
            self._note(node)

    def shunned(self, now: float) -> tuple[ShunnedHost, ...]:
        return shun(self._failures.values(), now) if self._failures else ()

    def _node_changed(self, change: Change, before: Object | None) -> None:
        if isinstance(change.object, Node):
            self._note(change.object)

    def _note(self, node: Node) -> None:
        failure = host_failure(node)
        if failure is None:
            return
        self._failures[failure.node_uid] = failure
        if len(self._failures) > _MOST:
            del self._failures[min(self._failures, key=lambda uid: self._failures[uid].at)]
