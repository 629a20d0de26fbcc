"""What planners read: a frozen, timed picture of one pool or one node. Ordering inside it carries no meaning."""

from __future__ import annotations

from dataclasses import dataclass, field

from skyward.api import Node, Pool, Reason
from skyward.facts.instance import Instance
from skyward.facts.launch import Launch, Offering
from skyward.facts.progress import AgentSession, BootstrapProgress


@dataclass(frozen=True, slots=True)
class ObservedNode:
    node: Node
    launch: Launch | None = None
    """The launch that the node's status names."""
    instance: Instance | None = None
    """Its instance in the newest complete listing; None also while there is no such listing. For a node that is not bound
    yet: an instance in that listing which carries the node's launch and is bound to no node."""
    listed_at: float | None = None
    """When the newest complete listing of its provider began; None when there is none younger than three resyncs."""
    bootstrap: BootstrapProgress = field(default_factory=BootstrapProgress)
    session: AgentSession | None = None
    held: int = 0
    """Attempts that its agent holds."""
    drift: str = ""
    """Why its instance is no longer what it was made as, in the driver's words; empty when it is."""


@dataclass(frozen=True, slots=True)
class ObservedPool:
    pool: Pool
    nodes: tuple[ObservedNode, ...]
    """Every node of the pool's uid, leaving and failed ones included."""
    synced: bool
    """Every provider of the pool, and of its nodes, has a complete and fresh listing."""
    unsynced: tuple[str, ...] = ()
    """The providers that have none, for the message."""


@dataclass(frozen=True, slots=True)
class CoolDown:
    """What was refused lately, and until when it is left alone (seconds since 1970)."""

    offering: str
    """An offering's id; or a provider's name, when it refused the account and so all that it offers."""
    until: float
    message: str
    reason: Reason = Reason.INSUFFICIENT_CAPACITY
    """What kind of refusal it was: capacity, quota, balance, credentials or the request itself."""


@dataclass(frozen=True, slots=True)
class ObservedMarket:
    offerings: tuple[Offering, ...]
    cool_downs: tuple[CoolDown, ...] = ()
