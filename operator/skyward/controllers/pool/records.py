"""A pool's plan as rows, in one transaction that holds only for the pool as it was planned."""

from __future__ import annotations

from collections import defaultdict
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
    Reason,
    Status,
    find,
    template_hash,
    to_time,
)
from skyward.contracts import Ids, Transaction
from skyward.controllers.records import same_version
from skyward.kit.recorder import record_event
from skyward.planner import CreateNode, ForgetNode, PoolAction, RetireNode


class PoolWriter:
    def __init__(self, ids: Ids) -> None:
        self._ids = ids

    def apply(self, tx: Transaction, pool: Pool, actions: Iterable[PoolAction], status: PoolStatus, now: float) -> bool:
        """False, and nothing written, when the pool changed since it was planned for."""
        current = tx.get(Pool, pool.key)
        if current is None or not same_version(current, pool):
            return False
        todo = tuple(actions)
        for action in todo:
            if isinstance(action, CreateNode):
                tx.put(self._new_node(tx, pool, action, now))
            elif isinstance(action, RetireNode):
                retire(tx, pool, action, now)
            else:
                _forget(tx, pool, action)
        _tell(tx, pool, todo, status, now)
        tx.put(current.replace(status=status))
        return True

    def _new_node(self, tx: Transaction, pool: Pool, action: CreateNode, now: float) -> Node:
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


def retire(tx: Transaction, pool: Pool, action: RetireNode, now: float) -> None:
    """Mark the node as leaving; its own reconciler does the rest. A node that leaves already stays as it is."""
    node = tx.get(Node, action.node)
    if node is None or node.spec.pool_uid != pool.metadata.uid or node.metadata.deletion_timestamp is not None:
        return
    record_event(tx, node, action.reason, action.message, now=now)
    metadata = node.metadata.replace(deletion_timestamp=to_time(now))
    tx.put(
        node.replace(metadata=metadata, status=node.status.replace(retire_reason=f"{action.reason}: {action.message}"))
    )


def _forget(tx: Transaction, pool: Pool, action: ForgetNode) -> None:
    node = tx.get(Node, action.node)
    if node is not None and node.spec.pool_uid == pool.metadata.uid:
        tx.delete(node)


def _tell(tx: Transaction, pool: Pool, actions: tuple[PoolAction, ...], status: PoolStatus, now: float) -> None:
    grouped: dict[tuple[str, Reason, str], list[str]] = defaultdict(list)
    for action in actions:
        if isinstance(action, CreateNode):
            grouped["making nodes for slots", action.reason, action.message].append(str(action.slot))
        elif isinstance(action, RetireNode):
            grouped["retiring", action.reason, action.message].append(action.node.rpartition("/")[2])
    for (verb, reason, message), names in grouped.items():
        record_event(tx, pool, reason, f"{verb} {', '.join(names)}: {message}", now=now)
    for type_, warning in ((PoolCondition.READY, False), (PoolCondition.STALLED, True)):
        before, after = find(pool.status.conditions, type_), find(status.conditions, type_)
        if after is not None and after.status is Status.TRUE and (before is None or before.status is not Status.TRUE):
            record_event(tx, pool, after.reason, after.message or f"{type_} is True", now=now, warning=warning)
