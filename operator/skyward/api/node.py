"""Node: our record of one machine over its whole life. Written by controllers; users may annotate, cordon and delete."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from skyward.api.base import Json, Time, Word
from skyward.api.conditions import Condition
from skyward.api.meta import Object

POOL_LABEL = "skyward.dev/pool"


class Phase(Word):
    """One step of a node's bootstrap and how long it took."""

    name: str
    seconds: float


class NodeSpec(Word):
    """Immutable but for `unschedulable`."""

    pool: str
    pool_uid: str
    slot: int
    """The node's place in its pool; its rank among the ready nodes follows this order."""
    template_hash: str
    template: Json = Field(default_factory=dict)
    """The replace-fields of the pool's spec when the node was planned: what this node is made from, whatever the pool says now."""
    unschedulable: bool = False
    """Cordoned: takes no new work."""


class NodeStatus(Word):
    launch: str = ""
    """Id of the launch (the intent of one create call) that makes this node's instance."""
    offering: str = ""
    provider: str = ""
    provider_id: str = Field(default="", alias="providerID")
    address: str = ""
    port: int = 0
    region: str = ""
    zone: str = ""
    capacity_type: str = ""
    """`on-demand`, `spot` or `reserved`: as it was asked for."""
    host_id: str = ""
    """The physical host, where its provider names one."""
    hourly_cost: str = "0"
    host_key_fingerprint: str = ""
    agent_version: str = ""
    task_limits: str = ""
    """What keeps tasks within their limits here: `cgroup`, the kernel's, or `watch`, where only the agent does."""
    last_heartbeat: Time | None = None
    """Refreshed about once a minute; the live value is in memory."""
    phases: tuple[Phase, ...] = ()
    failure: str = ""
    """Why this node failed, with the last lines of the step that did. Empty while it may still succeed."""
    failed_at: Time | None = None
    """When that was, in whole seconds: delays after failures count from it."""
    restarts: int = 0
    """How often the agent was started again on this instance since it last kept running for an hour."""
    retire_reason: str = ""
    """Why the node is leaving: set together with the deletion timestamp."""
    conditions: tuple[Condition, ...] = ()


class Node(Object):
    KIND: ClassVar[str] = "Node"
    PLURAL: ClassVar[str] = "nodes"
    SHORT_NAMES: ClassVar[tuple[str, ...]] = ("sn",)

    kind: Literal["Node"] = "Node"
    spec: NodeSpec
    status: NodeStatus = NodeStatus()
