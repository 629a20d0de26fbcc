"""Writing what was found: the end of every reconcile is one conditional write, and none when nothing changed."""

from __future__ import annotations

from collections.abc import Iterable

from skyward.api import Condition, Node, NodeCondition, NodeStatus, Object, Reason, Status, find, to_time
from skyward.contracts import Store, Transaction
from skyward.kit.decisions import Entry
from skyward.kit.recorder import record_event
from skyward.planner import ConditionUpdate, apply_updates

TOLD = {
    NodeCondition.LAUNCHED: "the node has an instance",
    NodeCondition.BOOTSTRAPPED: "the bootstrap is done",
    NodeCondition.REGISTERED: "the agent has called home",
    NodeCondition.READY: "the node is ready for work",
}
"""Users get an event when one of these turns true, and a warning when it stops being true."""


def with_conditions(node: Node, updates: Iterable[ConditionUpdate], now: float) -> NodeStatus:
    conditions = apply_updates(node.status.conditions, updates, now)
    return node.status if conditions == node.status.conditions else node.status.replace(conditions=conditions)


def failed(status: NodeStatus, failure: str, now: float) -> NodeStatus:
    """From now on it counts as failed."""
    return status.replace(failure=failure, failed_at=to_time(float(int(now))))


async def write_status(
    store: Store, node: Node, status: NodeStatus, now: float, *, entry: Entry, power_safe: bool = False
) -> bool:
    """Store this status of the node as it was read, with the events its changes deserve and what was decided. False, and
    nothing written, when the node changed meanwhile or is no more: the change wakes its reconciler again."""
    if status == node.status and not entry:
        return True

    def work(tx: Transaction) -> bool:
        current = tx.get(Node, node.key)
        if current is None or not same_version(current, node):
            return False
        tell_transitions(tx, node, status, now)
        entry.write(tx)
        tx.put(current.replace(status=status))
        return True

    return await store.run(work, power_safe=power_safe)


def same_version(current: Object, read: Object) -> bool:
    """Nothing was written to the object since it was read; another object of the same name is never the same."""
    return (
        current.metadata.uid == read.metadata.uid
        and current.metadata.resource_version == read.metadata.resource_version
    )


def tell_transitions(tx: Transaction, node: Node, status: NodeStatus, now: float) -> None:
    for type_, good_news in TOLD.items():
        before, after = find(node.status.conditions, type_), find(status.conditions, type_)
        if after is not None and _deserves_event(before, after):
            good = after.status is Status.TRUE
            note = after.message or (good_news if good else f"{type_} is {after.status}")
            record_event(tx, node, after.reason, note, now=now, warning=not good and _is_unwanted(node))
    before, after = (find(one.conditions, NodeCondition.TERMINATING) for one in (node.status, status))
    if (
        after is not None
        and after.reason is Reason.DELETION_OVERDUE
        and (before is None or before.reason != after.reason)
    ):
        record_event(tx, node, after.reason, after.message, now=now, warning=True)
    if status.failure and not node.status.failure:
        record_event(tx, node, Reason.NODE_FAILED, status.failure.splitlines()[0], now=now, warning=True)


def _deserves_event(before: Condition | None, after: Condition) -> bool:
    """Waiting for agents after a restart of the operator is no news: neither its beginning nor its good end."""
    if after.reason is Reason.KEPT_ON_FAILURE:
        return before is None or before.reason is not after.reason
    was_true = before is not None and _is_as_good_as_true(before)
    return was_true is not _is_as_good_as_true(after)


def _is_as_good_as_true(condition: Condition) -> bool:
    return condition.status is Status.TRUE or condition.reason is Reason.AGENT_AWAITED


def _is_unwanted(node: Node) -> bool:
    return node.metadata.deletion_timestamp is None
