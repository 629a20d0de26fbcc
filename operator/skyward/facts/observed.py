"""What planners read: a frozen, timed picture of one pool or one node. Ordering inside it carries no meaning."""

from __future__ import annotations

from dataclasses import dataclass, field

from skyward.api import Node, Pool, Reason
from skyward.facts.health import ShunnedHost
from skyward.facts.instance import Instance
from skyward.facts.launch import Launch
from skyward.facts.limits import Hindrance, Limits
from skyward.facts.offering import Offering
from skyward.facts.progress import AgentSession, BootstrapProgress


@dataclass(frozen=True, slots=True)
class LookUp:
    """What the provider answered when it was asked for one instance by its id."""

    asked_at: float
    """When the question was sent, seconds since 1970."""
    instance: Instance | None
    """As it is; None when the provider knows no such instance, which alone proves nothing."""


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
    missing_since: float | None = None
    """The beginning of the first complete listing since which all lack its instance, although it is old enough to show;
    None when they do not, and while there is no fresh listing."""
    looked_up: LookUp | None = None
    """The newest answer to a direct question for its instance; None when there was none."""
    blocked: Hindrance | None = None
    """Why it may not be given up for its silence alone: too many others fell silent with it."""
    bootstrap: BootstrapProgress = field(default_factory=BootstrapProgress)
    session: AgentSession | None = None
    held: int = 0
    """Attempts that its agent holds."""
    drift: str = ""
    """Why its instance is no longer what it was made as, in the driver's words; empty when it is."""
    better: str = ""
    """Why its pool would be better served by another machine; empty when it is not known to be."""


@dataclass(frozen=True, slots=True)
class ObservedPool:
    pool: Pool
    nodes: tuple[ObservedNode, ...]
    """Every node of the pool's uid, leaving and failed ones included."""
    synced: bool
    """Every provider of the pool, and of its nodes, has a complete and fresh listing."""
    unsynced: tuple[str, ...] = ()
    """The providers that have none, for the message."""
    doubt: str = ""
    """Why what a provider of it lists is not acted on until a human has looked; empty when nothing is doubted."""
    blocked: Hindrance | None = None
    """Why silent nodes of it are not replaced now."""


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
    limits: Limits = field(default_factory=Limits)
    """What bounds the next launch of the node's pool."""
    shunned: tuple[ShunnedHost, ...] = ()
    """Hosts that nothing is launched on for now."""
    refusals: tuple[tuple[str, float], ...] = ()
    """What was refused and when, seconds since 1970: offerings by id, or a provider by name."""
    unlisted: int = 0
    """So many more offerings there are that do not fit, or are dearer than many that do."""
