"""Drain: a node that leaves takes no new work; what it runs may finish until the planner says it waited long enough."""

from __future__ import annotations

from skyward.api import Node, NodeSpec, Pool
from skyward.controllers.deps import Deps
from skyward.controllers.node.registration import config_of, is_dismissed


def cordon(deps: Deps, pool: Pool | None, node: Node) -> NodeSpec:
    """The node's spec once it takes no new work. Its agent is told at once, before anybody counts what it holds."""
    if pool is not None and not is_dismissed(node):
        deps.link.configure(node.metadata.uid, config_of(deps, pool, _unschedulable(node), -1, ()))
    return _unschedulable(node).spec


def _unschedulable(node: Node) -> Node:
    return node.replace(spec=node.spec.replace(unschedulable=True))
