"""Interruption notices: the provider says that it will take an instance away, to us or to the node itself.

A notice is a proof of a coming loss. The node takes no new work from then on, what runs may finish until shortly before
the end, and its replacement is begun at once: no budget holds it, since nobody here chose the loss.
"""

from __future__ import annotations

from skyward.api import Reason, to_time
from skyward.facts import Notice, ObservedNode
from skyward.planner.plans import RetireNode

SPARE_S = 5.0
"""What runs is stopped this long before the announced end, so that its attempts are free to begin elsewhere."""
RULE = "interruption-notice"


def notice_of(observed: ObservedNode) -> Notice | None:
    """The earliest of what the provider's listing and the node's agent were told."""
    heard = (
        observed.instance.notice if observed.instance is not None and observed.node.status.provider_id else None,
        observed.session.notice if observed.session is not None else None,
    )
    return min((notice for notice in heard if notice is not None), key=lambda notice: notice.at, default=None)


def announcement(observed: ObservedNode, notice: Notice) -> str:
    status = observed.node.status
    because = f": {notice.message}" if notice.message else ""
    return f"{status.provider} takes instance {status.provider_id} away at {to_time(notice.at).isoformat()}{because}"


def plan_departure(observed: ObservedNode, notice: Notice) -> RetireNode:
    """The node leaves before it is taken; its slot is free for another at once."""
    at = to_time(notice.at).isoformat()
    return RetireNode(
        observed.node.key,
        Reason.INTERRUPTED,
        announcement(observed, notice),
        rule=RULE,
        inputs=(("instance", observed.node.status.provider_id), ("taken_at", at)),
    )
