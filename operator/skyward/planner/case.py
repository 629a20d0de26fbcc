"""One node in one pass: all that its plan is made from, and the questions that every phase asks."""

from __future__ import annotations

from dataclasses import dataclass

from skyward.api import Condition, Json, Node, NodeCondition, Pool, Reason, Status, find
from skyward.facts import (
    AgentSession,
    BootstrapState,
    Instance,
    InstanceState,
    Launch,
    ObservedMarket,
    ObservedNode,
)
from skyward.planner.places import since, was_ready
from skyward.planner.plans import ConditionUpdate, FailNode, NodePlan
from skyward.planner.rules import NodeRules
from skyward.planner.updates import false


@dataclass(frozen=True, slots=True)
class Case:
    observed: ObservedNode
    pool: Pool | None
    market: ObservedMarket
    rules: NodeRules
    now: float

    @property
    def node(self) -> Node:
        return self.observed.node

    @property
    def launch(self) -> Launch | None:
        return self.observed.launch

    @property
    def instance(self) -> Instance | None:
        return self.observed.instance

    @property
    def session(self) -> AgentSession | None:
        return self.observed.session

    @property
    def is_bound(self) -> bool:
        return bool(self.node.status.provider_id)

    @property
    def is_connected(self) -> bool:
        return self.session is not None and self.session.connected

    @property
    def is_reachable(self) -> bool:
        """There is a machine to log in to."""
        return self.instance is not None and self.instance.state is InstanceState.UP

    @property
    def was_ready(self) -> bool:
        return was_ready(self.node)

    @property
    def pool_is_leaving(self) -> bool:
        """The pool is being deleted, or is not there any more under this identity."""
        pool = self.pool
        if pool is None or pool.metadata.uid != self.node.spec.pool_uid:
            return True
        return pool.metadata.deletion_timestamp is not None

    @property
    def is_paused(self) -> bool:
        """The pool is paused and the node stays: what is leaving already goes on."""
        stays = self.node.metadata.deletion_timestamp is None and not self.pool_is_leaving
        return self.pool is not None and self.pool.spec.paused and stays

    @property
    def lacks_tunnel(self) -> bool:
        """The agent needs a tunnel, and this process does not hold one or work on it."""
        return uses_tunnel(self.node.spec.template, self.rules) and self.observed.bootstrap.state is BootstrapState.IDLE

    def condition(self, type_: str) -> Condition | None:
        return find(self.node.status.conditions, type_)

    def has(self, type_: str, status: Status) -> bool:
        found = self.condition(type_)
        return found is not None and found.status is status

    def waited_s(self, type_: str, status: Status) -> float:
        """How long this condition has had this status; 0 when it has another. What passed before this operator began does
        not count: a deadline never expires because nobody was there to look."""
        if not self.has(type_, status):
            return 0.0
        return max(0.0, self.now - max(since(self.node, type_) or 0.0, self.rules.started_at))

    def fail(self, reason: Reason, message: str, *updates: ConditionUpdate) -> NodePlan:
        ready = false(NodeCondition.READY, reason, message.strip().splitlines()[0])
        return NodePlan(FailNode(reason, message), (*updates, ready))


def uses_tunnel(template: Json, rules: NodeRules) -> bool:
    """`auto` is direct where nodes reach the operator over loopback, and a tunnel elsewhere."""
    connection = template.get("connection", "auto")
    return connection == "tunnel" or (connection == "auto" and not rules.same_host)


def later(seconds: float) -> float:
    """When to look again for something that is due in so many seconds: never in a tight loop."""
    return max(seconds, 0.1)
