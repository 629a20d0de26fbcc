"""Writing nodes: a user may label, annotate, cordon and delete them; all else is the operator's."""

from __future__ import annotations

from dataclasses import replace

from skyward.api import POOL_LABEL, Json, Node, Pool, Reason, to_time
from skyward.apiserver.asking import Edit, member
from skyward.apiserver.pools import stale, texts
from skyward.contracts import Clock, Store, Transaction
from skyward.errors import Conflict, Invalid, NotFound
from skyward.facts import Decision, DecisionKind
from skyward.kit.decisions import record_decision
from skyward.kit.recorder import record_event


class NodeWrites:
    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def update(self, namespace: str, name: str, edit: Edit, *, dry_run: bool, user: str) -> Node:
        now = self._clock.now()

        def work(tx: Transaction) -> Node:
            node = _get(tx, namespace, name)
            if edit.pinned not in (None, node.metadata.resource_version):
                raise Conflict(stale("nodes.skyward.dev", name))
            changed = _changed(node, edit.apply(node.to_json()))
            if changed == node or dry_run:
                return changed
            if changed.spec.unschedulable is not node.spec.unschedulable:
                reason = Reason.CORDONED if changed.spec.unschedulable else Reason.UNCORDONED
                record_event(tx, node, reason, f"{reason} by {user}.", now=now)
            return tx.put(changed)

        return await (self._store.read(work) if dry_run else self._store.run(work))

    async def delete(self, namespace: str, name: str, *, uid: str | None, dry_run: bool, user: str) -> Node:
        """Ask for the node's end; its pool makes another in its place."""
        now = self._clock.now()

        def work(tx: Transaction) -> Node:
            node = _get(tx, namespace, name)
            if uid not in (None, node.metadata.uid):
                raise Conflict(f"node {node.key} is another one now: its uid is {node.metadata.uid}, not {uid}")
            if node.metadata.deletion_timestamp is not None:
                return node
            leaving = node.replace(
                metadata=node.metadata.replace(
                    deletion_timestamp=to_time(now), generation=node.metadata.generation + 1
                ),
                status=node.status.replace(retire_reason=str(Reason.DELETE_REQUESTED)),
            )
            if dry_run:
                return leaving
            _tell_deletion(tx, node, f"Deletion asked for by {user}.", now)
            return tx.put(leaving)

        return await (self._store.read(work) if dry_run else self._store.run(work, power_safe=True))


def _get(tx: Transaction, namespace: str, name: str) -> Node:
    node = tx.get(Node, f"{namespace}/{name}")
    if node is None:
        raise NotFound(f'nodes.skyward.dev "{name}" not found')
    return node


def _tell_deletion(tx: Transaction, node: Node, asked: str, now: float) -> None:
    """To the node, and to its pool, which loses one without having decided it."""
    record_event(tx, node, Reason.DELETE_REQUESTED, asked, now=now)
    decision = Decision(DecisionKind.RETIRE, "user", Reason.DELETE_REQUESTED, asked)
    record_decision(tx, node, decision, now=now)
    pool = tx.get(Pool, f"{node.metadata.namespace}/{node.spec.pool}")
    if pool is not None and pool.metadata.uid == node.spec.pool_uid:
        record_decision(tx, pool, replace(decision, target=node.metadata.name), now=now)


def _changed(node: Node, wanted: Json) -> Node:
    """The node with what a user may decide; raises Invalid for anything else that differs in its spec."""
    meta = member(wanted, "metadata")
    spec = member(wanted, "spec")
    unschedulable = spec.get("unschedulable", False)
    if not isinstance(unschedulable, bool):
        raise _refused("spec.unschedulable", "must be true or false")
    for field, value in node.spec.to_json().items():
        if field != "unschedulable" and spec.get(field, value) != value:
            raise _refused(f"spec.{field}", "is set by the operator; only spec.unschedulable may be changed")
    if unknown := spec.keys() - node.spec.to_json().keys():
        raise _refused(f"spec.{min(unknown)}", "unknown field")
    labels = texts(meta, "labels")
    if labels.get(POOL_LABEL) != node.metadata.labels.get(POOL_LABEL):
        raise _refused(f"metadata.labels.{POOL_LABEL}", "is set by the operator")
    is_new_spec = unschedulable is not node.spec.unschedulable
    return node.replace(
        metadata=node.metadata.replace(
            labels=labels,
            annotations=texts(meta, "annotations"),
            generation=node.metadata.generation + is_new_spec,
        ),
        spec=node.spec.replace(unschedulable=unschedulable),
    )


def _refused(field: str, message: str) -> Invalid:
    return Invalid(f"{field}: {message}", ((field, message),))
