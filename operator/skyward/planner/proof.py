"""Proved gone: what must be known before an instance counts as not there any more.

Either its provider says so of this very id, or all of this holds: the instance is old enough to show, two complete
listings as far apart as one may hide it both lack it, and the provider, asked for its id after that, does not know it.
"""

from __future__ import annotations

from enum import Enum, auto

from skyward.api import Node, NodeCondition, is_true
from skyward.facts import InstanceState, Launch, LookUp
from skyward.planner.case import Case
from skyward.planner.places import since


class Absence(Enum):
    NONE = auto()
    """Listings show it, or nothing can be said."""
    MISSING = auto()
    """Listings lack it, not for long enough yet."""
    UNASKED = auto()
    """Listings lack it for long enough: its provider is to be asked for its id."""
    PROVED = auto()


def absence(case: Case) -> Absence:
    """How far the proof has come that a bound node's instance is gone."""
    observed = case.observed
    if observed.listed_at is None:
        return Absence.NONE
    if case.instance is not None:
        return Absence.PROVED if case.instance.state is InstanceState.GONE else Absence.NONE
    if observed.missing_since is None:
        return Absence.NONE
    proved_at = observed.missing_since + case.rules.visibility_s
    if _says_gone(observed.looked_up, proved_at):
        return Absence.PROVED
    return Absence.UNASKED if observed.listed_at >= proved_at else Absence.MISSING


def must_show_at(node: Node, launch: Launch | None, visibility_s: float) -> float:
    """From when on every listing must show the node's instance. Times of conditions are whole seconds, so that what they
    tell may have been up to one second later; a leaving node was bound at the latest when its deletion was asked for."""
    known = NodeCondition.LAUNCHED if is_true(node.status.conditions, NodeCondition.LAUNCHED) else None
    if known is None and is_true(node.status.conditions, NodeCondition.TERMINATING):
        known = NodeCondition.TERMINATING
    bound_at = (since(node, known) or 0.0) + 1.0 if known is not None else 0.0
    created = node.metadata.creation_timestamp
    made_at = 0.0 if created is None else created.timestamp()
    return max(made_at, launch.sent_at if launch is not None else 0.0, bound_at) + visibility_s


def shown_at(looked_up: LookUp | None) -> float:
    """When a direct question last found the instance: listings that lacked it before then prove nothing. 0 for never."""
    if looked_up is None or looked_up.instance is None or looked_up.instance.state is InstanceState.GONE:
        return 0.0
    return looked_up.asked_at


def _says_gone(looked_up: LookUp | None, proved_at: float) -> bool:
    if looked_up is None:
        return False
    if looked_up.instance is not None:
        return looked_up.instance.state is InstanceState.GONE
    return looked_up.asked_at >= proved_at
