"""Where each node of a pool stands, read from its row and from what was observed; never from the pool's own conditions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from skyward.api import Node, NodeCondition, Reason, Status, find, is_true, template_hash
from skyward.facts import ObservedNode, ObservedPool

REPLACE = "skyward.dev/replace"
"""Annotation of a node that a user wants to have replaced, within the pool's budget."""


TEMPLATE_CHANGED = "the pool's template changed since it was made"


class Place(StrEnum):
    GONE = "gone"
    """Kept as the record of a failure; its instance is proved gone."""
    LEAVING = "leaving"
    FAILED = "failed"
    """The node's own plan gave it up; it is to be retired."""
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
        return self in (Place.LOST, Place.PENDING, Place.UNSURE, Place.READY)


@dataclass(frozen=True, slots=True)
class Member:
    """One node of the pool, as the pool's plan sees it."""

    node: Node
    place: Place
    outdated: bool
    """Made from another template than the pool's, no longer what it was made as, or a user asked for its replacement."""
    interrupted: bool = False
    """Its instance was taken by the provider."""
    provider_says: str = ""
    """Why the instance is as it is, in the provider's words."""
    drift: str = ""
    """Why the instance is no longer what it was made as."""

    @property
    def key(self) -> str:
        return self.node.key

    @property
    def slot(self) -> int:
        return self.node.spec.slot


def classify(observed: ObservedPool) -> tuple[Member, ...]:
    """Every node with its place, by slot and name: the order of the input carries no meaning."""
    current = template_hash(observed.pool.spec)
    members = (_member(one, current) for one in observed.nodes)
    return tuple(sorted(members, key=lambda member: (member.slot, member.key)))


def _member(observed: ObservedNode, current: str) -> Member:
    node = observed.node
    instance = observed.instance
    return Member(
        node=node,
        place=_place(observed),
        outdated=node.spec.template_hash != current or bool(observed.drift) or wants_replacement(node),
        interrupted=instance is not None and instance.state is instance.state.PREEMPTED,
        provider_says=instance.message if instance is not None else "",
        drift=observed.drift,
    )


def _place(observed: ObservedNode) -> Place:
    node = observed.node
    if is_gone(node):
        return Place.GONE
    if node.metadata.deletion_timestamp is not None:
        return Place.LEAVING
    if node.status.failure:
        return Place.FAILED
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
    terminating = find(node.status.conditions, NodeCondition.TERMINATING)
    return (
        node.metadata.deletion_timestamp is not None
        and terminating is not None
        and terminating.status is Status.FALSE
        and terminating.reason is Reason.GONE
    )


def was_ready(node: Node) -> bool:
    """It was ready at least once: `Initialized` stays true for the rest of a node's life."""
    return is_true(node.status.conditions, NodeCondition.INITIALIZED)


def wants_replacement(node: Node) -> bool:
    value = node.metadata.annotations.get(REPLACE)
    return value is not None and value.lower() != "false"


def since(node: Node, type_: str) -> float | None:
    """When this condition got its status, in whole seconds since 1970; None when the node has no such condition."""
    found = find(node.status.conditions, type_)
    return None if found is None else found.last_transition_time.timestamp()


def parse_time(text: str) -> float | None:
    """Seconds since 1970 of an ISO time, UTC when it names no zone; None when it is not a time."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (time if time.tzinfo is not None else time.replace(tzinfo=UTC)).timestamp()
