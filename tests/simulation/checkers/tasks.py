"""S33 to S44: one result for each item, from the attempt that holds it, and nothing lost."""

from __future__ import annotations

from dataclasses import dataclass

from skyward.api import Node, NodeCondition, Status, find
from skyward.contracts import EndRow, LeaseRow, TaskRow, Verb
from skyward_agent.wire.messages import AT_MOST_ONCE, SUCCEEDED
from tests.simulation.checkers.base import Checker
from tests.simulation.storing import Commit
from tests.simulation.work import Order, answer


@dataclass(slots=True)
class _Item:
    lease: LeaseRow | None = None
    leases: int = 0
    outcome: str = ""


class TaskChecker(Checker):
    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self._rows: dict[int, TaskRow] = {}
        self._items: dict[tuple[int, int], _Item] = {}
        self._welcomed: set[tuple[str, str]] = set()
        self._ready: set[str] = set()

    def committed(self, commit: Commit) -> None:
        for task in commit.tasks:
            self._rows[task.seq] = task
        for lease in commit.leases:
            self._leased(lease)
        for end in commit.ends:
            self._ended(end)
        for seq, items in commit.cancels:
            for item in items:
                self._end_for_good(seq, item, "Cancelled")
        for seq in commit.removed:
            self._removed(seq)
        for change in commit.changes:
            if isinstance(change.object, Node) and change.verb is not Verb.DELETED:
                self._check_earned(change.object)

    def agent_welcomed(self, node_uid: str, instance_id: str) -> None:
        self._welcomed.add((node_uid, instance_id))

    # --- attempts ----------------------------------------------------------------------------------------------------

    def _leased(self, lease: LeaseRow) -> None:
        item = self._item(lease.seq, lease.item)
        name = f"{lease.seq}.{lease.item}"
        if item.outcome:
            self.violate("S33", name, f"leased again after it ended {item.outcome}")
        if item.lease is not None:
            self.violate("S33", name, f"leased to {lease.node} while {item.lease.node} has it")
        item.lease = lease
        item.leases += 1
        row = self._rows.get(lease.seq)
        if row is not None and row.policy.delivery == AT_MOST_ONCE:
            self.world.coverage.reach("at-most-once leased")
            if self.world.work.ledger.runs[row.uid, lease.item]:
                self.violate("S37", name, "was asked for at most once, has run, and is given out again")

    def _ended(self, end: EndRow) -> None:
        item = self._item(end.seq, end.item)
        name = f"{end.seq}.{end.item}#{end.attempt}"
        if end.queued:
            if item.lease is not None:
                self.violate("S34", name, "ended as if nobody had it")
        elif item.lease is None or (item.lease.attempt, item.lease.secret) != (end.attempt, end.secret):
            self.violate("S34", name, "an attempt ended that is not the current one")
        row = self._rows.get(end.seq)
        if row is not None:
            self.world.work.ledger.ended.add((row.uid, end.item, end.attempt))
        if end.outcome:
            self._check_value(end)
            self._end_for_good(end.seq, end.item, end.outcome)
        item.lease = None
        if row is not None and end.counted > row.max_attempts:
            self.violate("S39", name, f"{end.counted} attempts count, and {row.max_attempts} are allowed")

    def _check_value(self, end: EndRow) -> None:
        order = self._order(end.seq)
        if order is None or end.outcome != SUCCEEDED:
            return
        payload = order.payloads[0 if order.mode == "broadcast" else end.item]
        if end.value != answer(payload):
            self.violate("S38", f"{end.seq}.{end.item}", f"got {end.value!r} for {payload!r}")
        if not self.world.work.ledger.attempts[self._rows[end.seq].uid, end.item, end.attempt]:
            self.violate("S38", f"{end.seq}.{end.item}#{end.attempt}", "succeeded, and never ran")

    def _end_for_good(self, seq: int, index: int, outcome: str) -> None:
        item = self._item(seq, index)
        if item.outcome:
            self.violate("S33", f"{seq}.{index}", f"ended {outcome} after it had ended {item.outcome}")
        item.outcome = outcome
        item.lease = None
        row = self._rows.get(seq)
        if row is not None and row.mode == "broadcast" and outcome == SUCCEEDED:
            self.world.coverage.reach("broadcast done")

    def _removed(self, seq: int) -> None:
        row = self._rows.pop(seq, None)
        if row is None:
            return
        open_items = [item for item in range(row.items) if not self._item(seq, item).outcome]
        if open_items:
            self.violate("S36", row.name, f"removed while {len(open_items)} items are not done")
        for item in range(row.items):
            self._items.pop((seq, item), None)

    def _item(self, seq: int, item: int) -> _Item:
        return self._items.setdefault((seq, item), _Item())

    def _order(self, seq: int) -> Order | None:
        row = self._rows.get(seq)
        return None if row is None else self.world.work.orders.get(row.key)

    # --- nodes -------------------------------------------------------------------------------------------------------

    def _check_earned(self, node: Node) -> None:
        ready = find(node.status.conditions, NodeCondition.READY)
        uid = node.metadata.uid
        if ready is None or ready.status is not Status.TRUE or uid in self._ready:
            return
        self._ready.add(uid)
        if (uid, node.status.provider_id) not in self._welcomed:
            self.violate("S44", node.key, "ready, and its agent never came in from its machine")

    # --- in the end --------------------------------------------------------------------------------------------------

    def settled(self) -> None:
        """Whatever can run has run."""
        for row in self._rows.values():
            pool = self.world.records.pools.get(row.pool)
            order = self._order(row.seq)
            if pool is None or pool.spec.nodes == 0 or order is None:
                continue
            undone = [item for item in range(row.items) if not self._item(row.seq, item).outcome]
            if undone:
                self.violate(
                    "L6", row.name, f"{len(undone)} of {row.items} items are not done: {row.pool} {undone[:5]}"
                )
            if order.cancelled and any(self._item(row.seq, item).outcome == "" for item in range(row.items)):
                self.violate("S41", row.name, "its cancellation was acknowledged, and it goes on")

    def is_done(self) -> bool:
        """Nothing that could run waits."""
        for row in self._rows.values():
            pool = self.world.records.pools.get(row.pool)
            if pool is None or pool.spec.nodes == 0:
                continue
            if any(not self._item(row.seq, item).outcome for item in range(row.items)):
                return False
        return True
