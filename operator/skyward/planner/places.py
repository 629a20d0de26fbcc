"""Where each node of a pool stands, read from its row and from what was observed; never from the pool's own conditions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import inf

from skyward.api import Node, NodeCondition, Reason, Status, find, is_true
from skyward.api.meta import DO_NOT_DISRUPT
from skyward.facts import ObservedNode, ObservedPool
from skyward.planner.annotations import is_asked
from skyward.planner.drift import Drift, Wanted
from skyward.planner.keeping import first_kept, is_kept


class Place(StrEnum):
    GONE = "gone"
    """Kept as the record of a failure; its instance is proved gone."""
    LEAVING = "leaving"
    FAILED = "failed"
    """The node's own plan gave it up; it is to be retired."""
    KEPT = "kept"
    """Failed, and left as it is for a look. It holds no slot."""
    LOST = "lost"
    """Its instance will never serve again."""
    PENDING = "pending"
    """Not ready, and no sign that it holds work."""
    UNSURE = "unsure"
    """It was ready, and its agent is away or not seen yet: it may still be at work. It counts as unavailable, but the pool
    takes no advantage of that: within a short time it is either ready again or failed."""
    READY = "ready"

    @property
    def stands(self) -> bool:
        """It holds its slot. Only these count against `nodes + maxSurge`: a leaving node is on its way out and is excess
        only because of a scale-down, a replacement or a roll-out."""
        return self in _STANDING


_STANDING = (Place.READY, Place.PENDING, Place.UNSURE, Place.LOST)


@dataclass(frozen=True, slots=True)
class Member:
    """One node of the pool, as the pool's plan sees it."""

    node: Node
    place: Place
    drift: Drift | None = None
    """Why it is to be replaced; None when it is as wanted."""
    is_protected: bool = False
    """Not to be replaced by our own choice."""
    ready_since: float | None = None
    """When it last became ready, in whole seconds; None while it is not."""
    interrupted: bool = False
    """Its instance was taken by the provider."""
    provider_says: str = ""
    """Why the instance is as it is, in the provider's words."""

    @property
    def outdated(self) -> bool:
        """Made from another template than the pool's, no longer what it was made as, or a user asked for its replacement."""
        return self.drift is not None

    @property
    def key(self) -> str:
        return self.node.key

    @property
    def slot(self) -> int:
        return self.node.spec.slot


def classify(observed: ObservedPool, wanted: Wanted | None = None) -> tuple[Member, ...]:
    """Every node with its place, by slot and name: the order of the input carries no meaning. Without `wanted`, what the pool
    wants once every restart that it asks for has come to count."""
    wanted = wanted or Wanted.of(observed.pool, inf)
    kept = first_kept(one.node for one in observed.nodes if is_kept(one, observed.pool))
    members = tuple(_member(one, wanted, kept) for one in observed.nodes)
    return tuple(sorted(members, key=lambda member: (member.slot, member.key)))


def _member(observed: ObservedNode, wanted: Wanted, kept: frozenset[str]) -> Member:
    node = observed.node
    instance = observed.instance
    place = _place(observed, kept)
    return Member(
        node=node,
        place=place,
        drift=wanted.drift(node, observed.drift, observed.better),
        is_protected=wanted.is_protected or is_asked(node.metadata.annotations, DO_NOT_DISRUPT),
        ready_since=since(node, NodeCondition.READY) if place is Place.READY else None,
        interrupted=instance is not None and instance.state is instance.state.PREEMPTED,
        provider_says=instance.message if instance is not None else "",
    )


def _place(observed: ObservedNode, kept: frozenset[str]) -> Place:
    node = observed.node
    if is_gone(node):
        return Place.GONE
    if node.metadata.deletion_timestamp is not None:
        return Place.LEAVING
    if node.status.failure:
        return Place.KEPT if node.key in kept else Place.FAILED
    if observed.instance is not None and observed.instance.state.is_lost:
        return Place.LOST
    return _standing(node)


def _standing(node: Node) -> Place:
    ready = find(node.status.conditions, NodeCondition.READY)
    if ready is not None and ready.status is Status.TRUE:
        return Place.READY
    away = ready is not None and (ready.status is Status.UNKNOWN or ready.reason is Reason.AGENT_LOST)
    return Place.UNSURE if away and was_ready(node) else Place.PENDING


def is_gone(node: Node) -> bool:
    """The record of a node whose instance was proved gone: `Finish` wrote that, and nothing undoes it."""
    if node.metadata.deletion_timestamp is None:
        return False
    terminating = find(node.status.conditions, NodeCondition.TERMINATING)
    return terminating is not None and terminating.status is Status.FALSE and terminating.reason is Reason.GONE


def was_ready(node: Node) -> bool:
    """It was ready at least once: `Initialized` stays true for the rest of a node's life."""
    return is_true(node.status.conditions, NodeCondition.INITIALIZED)


def since(node: Node, type_: str) -> float | None:
    """When this condition got its status, in whole seconds since 1970; None when the node has no such condition."""
    found = find(node.status.conditions, type_)
    return None if found is None else found.last_transition_time.timestamp()
