"""A pool's plan as rows, in one transaction that holds only for the pool as it was planned."""

from __future__ import annotations

from collections.abc import Iterable

from skyward.api import (
    FINALIZER,
    POOL_LABEL,
    Node,
    NodeSpec,
    ObjectMeta,
    Pool,
    PoolCondition,
    PoolStatus,
    Status,
    find,
    template_hash,
    to_time,
)
from skyward.contracts import Ids, Transaction
from skyward.controllers.records import failed, same_version
from skyward.kit.decisions import Entry, record_decision
from skyward.kit.recorder import record_event
from skyward.planner import (
    CreateNode,
    ForgetNode,
    KeepNode,
    PoolAction,
    RetireNode,
    action_decision,
    pool_decisions,
    sentence,
)


class PoolWriter:
    def __init__(self, ids: Ids) -> None:
        self._ids = ids

    def apply(
        self, tx: Transaction, pool: Pool, actions: Iterable[PoolAction], status: PoolStatus, entry: Entry, now: float
    ) -> bool:
        """False, and nothing written, when the pool changed since it was planned for."""
        current = tx.get(Pool, pool.key)
        if current is None or not same_version(current, pool):
            return False
        todo = tuple(actions)
        for action in todo:
            if isinstance(action, CreateNode):
                node = tx.put(self.new_node(tx, pool, action, now))
                record_decision(tx, node, action_decision(action), now=now)
            elif isinstance(action, RetireNode):
                retire(tx, pool, action, now)
            elif isinstance(action, KeepNode):
                _give_up(tx, pool, action, now)
            else:
                _forget(tx, pool, action, now)
        _tell(tx, pool, todo, status, now)
        entry.write(tx)
        tx.put(current.replace(status=status))
        return True

    def new_node(self, tx: Transaction, pool: Pool, action: CreateNode, now: float) -> Node:
        """Not stored yet; its name is free."""
        name = f"{pool.metadata.name}-{action.slot}-{self._ids.suffix()}"
        while tx.get(Node, f"{pool.metadata.namespace}/{name}") is not None:
            name = f"{pool.metadata.name}-{action.slot}-{self._ids.suffix()}"
        return Node(
            metadata=ObjectMeta(
                name=name,
                namespace=pool.metadata.namespace,
                uid=self._ids.uid(),
                creation_timestamp=to_time(now),
                labels={POOL_LABEL: pool.metadata.name},
                finalizers=(FINALIZER,),
            ),
            spec=NodeSpec(
                pool=pool.metadata.name,
                pool_uid=pool.metadata.uid,
                slot=action.slot,
                template_hash=template_hash(pool.spec),
                template=pool.spec.template(),
            ),
        )


def is_stale(tx: Transaction, seen: Iterable[Node], actions: Iterable[PoolAction]) -> bool:
    """A node that the plan acts on changed since it was looked at: what was true of it then may not be any more."""
    aims = {action.node for action in actions if not isinstance(action, CreateNode)}
    return any(not _is_unchanged(tx, node) for node in seen if node.key in aims)


def _is_unchanged(tx: Transaction, seen: Node) -> bool:
    current = tx.get(Node, seen.key)
    return current is not None and same_version(current, seen)


def retire(tx: Transaction, pool: Pool, action: RetireNode, now: float) -> None:
    """Mark the node as leaving; its own reconciler does the rest. A node that leaves already stays as it is."""
    node = tx.get(Node, action.node)
    if node is None or node.spec.pool_uid != pool.metadata.uid or node.metadata.deletion_timestamp is not None:
        return
    record_event(tx, node, action.reason, action.message, now=now)
    record_decision(tx, node, action_decision(action, ""), now=now)
    metadata = node.metadata.replace(deletion_timestamp=to_time(now))
    tx.put(
        node.replace(metadata=metadata, status=node.status.replace(retire_reason=f"{action.reason}: {action.message}"))
    )


def _give_up(tx: Transaction, pool: Pool, action: KeepNode, now: float) -> None:
    """It failed, and its instance stays; its own reconciler takes it out of service."""
    node = tx.get(Node, action.node)
    if node is None or node.spec.pool_uid != pool.metadata.uid or node.metadata.deletion_timestamp is not None:
        return
    record_event(tx, node, action.reason, action.message, now=now, warning=True)
    record_decision(tx, node, action_decision(action, ""), now=now)
    tx.put(node.replace(status=failed(node.status, action.message, now)))


def _forget(tx: Transaction, pool: Pool, action: ForgetNode, now: float) -> None:
    node = tx.get(Node, action.node)
    if node is not None and node.spec.pool_uid == pool.metadata.uid:
        record_decision(tx, node, action_decision(action, ""), now=now)
        tx.delete(node)


def _tell(tx: Transaction, pool: Pool, actions: tuple[PoolAction, ...], status: PoolStatus, now: float) -> None:
    for decision in pool_decisions(action for action in actions if not isinstance(action, ForgetNode)):
        record_event(tx, pool, decision.reason, sentence(pool.kind, decision), now=now)
    for type_, warning in ((PoolCondition.READY, False), (PoolCondition.STALLED, True)):
        before, after = find(pool.status.conditions, type_), find(status.conditions, type_)
        if after is not None and after.status is Status.TRUE and (before is None or before.status is not Status.TRUE):
            record_event(tx, pool, after.reason, after.message or f"{type_} is True", now=now, warning=warning)
