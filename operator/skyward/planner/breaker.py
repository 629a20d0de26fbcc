"""The breaker for correlated losses: when many nodes fall silent together, it is seldom the nodes.

Only silent losses count: instances that vanished without a terminal state or a notice, agents that are gone without a
word. What a provider says is lost is proved and replaced at once. While too many are silent none of them is given up;
those that were given up lately count on for a while, so that a slowly spreading fault is seen as one.
"""

from __future__ import annotations

from dataclasses import dataclass

from skyward.api import Condition, Node, NodeCondition, Pool, Reason, Status, find, is_true
from skyward.api.meta import RECONCILE_REQUESTED
from skyward.facts import Hindrance, InstanceState, ObservedNode
from skyward.planner.annotations import parse_time

WINDOW_S = 300.0
"""A node that was given up for its silence counts for so long."""
SHARE = 0.2
FEWEST = 1
"""So many of a pool, or this share if that is more, may be silent and are replaced."""
SHARE_OF_ALL = 0.5
FEWEST_OF_ALL = 3
"""From so many on, and from this share of all nodes on, nothing silent is replaced anywhere."""
_SILENT = (Reason.AGENT_LOST, Reason.INSTANCE_LOST)
_NAMED = 5
_ANNOUNCED = (InstanceState.LEAVING, InstanceState.HALTED, InstanceState.PREEMPTED, InstanceState.FAILED)


@dataclass(frozen=True, slots=True)
class Patience:
    """When an agent that is away counts as silent."""

    started_at: float
    """When this operator began: what it has not seen since then it must first look for."""
    grace_s: float = 10.0
    lease_s: float = 30.0
    """How long after the start of an operator an agent may take to come back."""


@dataclass(frozen=True, slots=True)
class Losses:
    """Of one pool, or of all."""

    silent: tuple[str, ...] = ()
    """Names of the nodes."""
    nodes: int = 0
    """That could be silent: the silent ones and all that stand."""


def silent_since(observed: ObservedNode, patience: Patience, now: float) -> float | None:
    """Since when nothing vouches for the node, or until when it counts as given up for that; None when it is no silent loss."""
    node = observed.node
    if node.status.failure:
        return _given_up_at(node, now)
    if node.metadata.deletion_timestamp is not None or (observed.session is not None and observed.session.connected):
        return None
    if observed.instance is not None and observed.instance.state in _ANNOUNCED:
        return None
    since = observed.missing_since if observed.instance is None else None
    if since is None:
        since = _agent_away_since(observed, patience, now)
    if since is None:
        return None
    told = _told(node)
    return since if told is None else min(since, told.last_transition_time.timestamp())


def excused_until(pool: Pool | None, now: float) -> float:
    """A user said then that what is silent is lost: it is replaced, and does not count. 0 for never."""
    asked = parse_time(pool.metadata.annotations.get(RECONCILE_REQUESTED, "")) if pool is not None else None
    return asked if asked is not None and asked <= now else 0.0


def blocks(own: Losses, everywhere: Losses) -> Hindrance | None:
    """Why none of the pool's silent nodes may be given up now; None when they may."""
    most = max(FEWEST, int(SHARE * own.nodes))
    if not own.silent:
        return None
    if len(own.silent) > most:
        named = ", ".join(sorted(own.silent)[:_NAMED])
        more = len(own.silent) - _NAMED
        names = f"{named} and {more} more" if more > 0 else named
        return _blocked(f"{len(own.silent)} of {own.nodes} nodes fell silent together", names, own, most)
    fell = len(everywhere.silent)
    if fell >= FEWEST_OF_ALL and fell >= SHARE_OF_ALL * everywhere.nodes:
        what = f"{fell} of all {everywhere.nodes} nodes of this operator fell silent together"
        return _blocked(what, "", everywhere, max(FEWEST_OF_ALL, int(SHARE_OF_ALL * everywhere.nodes)) - 1)
    return None


def _blocked(what: str, names: str, losses: Losses, most: int) -> Hindrance:
    message = (
        f"{what}, at most {most} of them would be replaced{f': {names}' if names else ''}. They are kept until they answer "
        f"again; if they are lost, annotate the pool with {RECONCILE_REQUESTED} and the current time to have them replaced"
    )
    inputs = (("silent", len(losses.silent)), ("nodes", losses.nodes), ("most", most))
    return Hindrance("loss-breaker", Reason.REMEDIATION_BLOCKED, message, inputs)


def _agent_away_since(observed: ObservedNode, patience: Patience, now: float) -> float | None:
    if not is_true(observed.node.status.conditions, NodeCondition.REGISTERED):
        return None  # it has never called home: what comes up is judged by its deadlines
    session = observed.session
    if session is None:
        return patience.started_at if now >= patience.started_at + patience.lease_s else None
    return session.since if now >= session.since + patience.grace_s else None


def _given_up_at(node: Node, now: float) -> float | None:
    if _told(node) is None:
        return None
    deleted = node.metadata.deletion_timestamp
    at = float(int(now)) if deleted is None else deleted.timestamp()
    return at if at > now - WINDOW_S else None


def _told(node: Node) -> Condition | None:
    """The condition that says since when it is silent, also across restarts of the operator."""
    healthy = find(node.status.conditions, NodeCondition.HEALTHY)
    is_silent = healthy is not None and healthy.status is not Status.TRUE and healthy.reason in _SILENT
    return healthy if is_silent else None
