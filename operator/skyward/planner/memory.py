"""What the record of a node that is gone is still good for: repairs are counted from it, and hosts are judged by it."""

from __future__ import annotations

from skyward.api import Node
from skyward.planner.endings import repaired_at
from skyward.planner.hosts import MEMORY_S, host_failure

REPAIR_MEMORY_S = 3600.0
"""An hour without a repair, and none counts any more."""


def remembered_until(node: Node) -> float:
    """Until when the record of a node that is gone must be kept; 0 when there is nothing to remember."""
    repaired = repaired_at(node)
    failure = host_failure(node)
    return max(
        repaired + REPAIR_MEMORY_S if repaired is not None else 0.0,
        failure.at + MEMORY_S if failure is not None else 0.0,
    )
