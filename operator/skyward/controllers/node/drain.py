"""Drain: a node that leaves takes no new work; what it runs may finish until the planner says it waited long enough."""

from __future__ import annotations

from skyward.api import Node, NodeSpec, Pool
from skyward.controllers.deps import Deps
from skyward.controllers.node.registration import idle_config, is_dismissed


def cordon(deps: Deps, pool: Pool | None, node: Node) -> NodeSpec:
    """The node's spec once it takes no new work. Its agent is told at once, before anybody counts what it holds."""
    if pool is not None and not is_dismissed(node):
        deps.link.configure(node.metadata.uid, idle_config(deps, pool, ()))
    return node.spec.replace(unschedulable=True)
