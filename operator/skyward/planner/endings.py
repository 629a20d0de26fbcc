"""How a node came to its end, told from its record."""

from __future__ import annotations

from skyward.api import Node, Reason


def is_repaired(node: Node) -> bool:
    """It was retired because it was unhealthy."""
    return node.status.retire_reason.startswith(f"{Reason.UNHEALTHY}:")


def repaired_at(node: Node) -> float | None:
    """When this node was retired for its repair, in whole seconds; None when it was not."""
    deleted = node.metadata.deletion_timestamp
    return deleted.timestamp() if deleted is not None and is_repaired(node) else None


def epitaph(node: Node) -> str:
    """Why it failed, once it is gone; empty when no record of it is needed. A node that served and was lost tells something only
    against a host that has a name."""
    if node.status.failure:
        return node.status.failure
    reason, _, message = node.status.retire_reason.partition(": ")
    lost = reason == Reason.NODE_LOST and bool(node.status.host_id)
    return message if lost or reason == Reason.UNHEALTHY else ""
