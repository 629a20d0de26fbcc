"""`keep-on-failure`: the instance of a failed node stays for a look, as the annotation of its pool or of itself asks.

Such a node has no work, takes none and holds no slot; its replacement is made at once. It still costs money, which is said
where users look, and ends when the annotation goes or the node or its pool is deleted.
"""

from __future__ import annotations

from collections.abc import Iterable

from skyward.api import Node, Pool, Reason
from skyward.api.meta import KEEP_ON_FAILURE
from skyward.facts import InstanceState, ObservedNode
from skyward.planner.annotations import is_asked
from skyward.planner.plans import KeepNode

MOST_KEPT = 3
"""Of one pool: a check that fails for ever must not fill the account with kept nodes."""
_NOTHING_LEFT = (InstanceState.PREEMPTED, InstanceState.GONE)


def asks_to_keep(pool: Pool, node: Node) -> bool:
    """The node's own annotation decides, and the pool's where it has none."""
    own = node.metadata.annotations
    return is_asked(own if KEEP_ON_FAILURE in own else pool.metadata.annotations, KEEP_ON_FAILURE)


def has_instance(observed: ObservedNode) -> bool:
    """It is there and stays there, as far as is known: that listings leave it out proves nothing until its provider, asked
    for it after that, does not know it either."""
    instance = observed.instance
    if instance is not None:
        return bool(observed.node.status.provider_id) and instance.state not in _NOTHING_LEFT
    return bool(observed.node.status.provider_id) and not _is_disowned(observed)


def _is_disowned(observed: ObservedNode) -> bool:
    answer, missing_since = observed.looked_up, observed.missing_since
    if answer is None or missing_since is None or answer.asked_at < missing_since:
        return False
    return answer.instance is None or answer.instance.state in _NOTHING_LEFT


def is_kept(observed: ObservedNode, pool: Pool) -> bool:
    """A failed node whose instance is there and stays there."""
    return (
        bool(observed.node.status.failure)
        and observed.node.metadata.deletion_timestamp is None
        and has_instance(observed)
        and asks_to_keep(pool, observed.node)
    )


def first_kept(kept: Iterable[Node]) -> frozenset[str]:
    """Keys of those that stay: the ones made first, so that what somebody looks at is not taken from under them."""
    by_age = sorted(kept, key=lambda node: (str(node.metadata.creation_timestamp or ""), node.key))
    return frozenset(node.key for node in by_age[:MOST_KEPT])


def keep(node: Node, message: str) -> KeepNode:
    """Instead of its repair."""
    return KeepNode(node.key, Reason.KEPT_ON_FAILURE, message)
