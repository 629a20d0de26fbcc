"""What the queue must do, said as simply as possible: one dictionary, no fences, no batches, no memory of its own.

Each item is a sequential object: submit, lease, start, report, give back, lose, cancel, and time, one after another.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from skyward_agent.wire.messages import AT_MOST_ONCE, CANCELLED, FAIL, FAILED, REPLACE_RANK, AttemptId, Failure, Policy

RETRIED = {"ChildDied", "OutOfMemory", "NodeLost"}
CHANCE = 0.75
"""What the ids of these tests leave of each pause."""


@dataclass
class ModelItem:
    max_attempts: int
    priority: int
    age: tuple[int, int]
    policy: Policy
    deadline_at: float | None = None
    pinned: str = ""
    is_vacant: bool = False
    """Broadcast: the node of its rank is lost, and another one may take it."""
    ready_at: float = 0.0
    attempt: int = 0
    counted: int = 0
    holder: str = ""
    incarnation: str = ""
    secret: str = ""
    started: bool = False
    outcome: str = ""
    commits: int = 0

    @property
    def is_queued(self) -> bool:
        return not self.outcome and not self.holder

    @property
    def is_running(self) -> bool:
        return not self.outcome and bool(self.holder)

    @property
    def is_once(self) -> bool:
        return self.policy.delivery == AT_MOST_ONCE

    def end(self, outcome: str) -> None:
        self.holder = ""
        self.outcome = outcome
        self.commits += 1

    def wait(self) -> None:
        self.holder = ""
        self.started = False

    def fail(self, outcome: str, *, counts: bool) -> None:
        """An infrastructure outcome: tried again while it may."""
        self.counted += counts
        if counts and outcome not in self.policy.retry_causes:
            self.end(outcome)
        elif self.counted < self.max_attempts:
            self.wait()
        else:
            self.end("DeadLetter" if self.max_attempts > 1 else outcome)

    def lose(self, *, gone: bool) -> None:
        """Its rank's node is lost, and it waits for that node."""
        if self.policy.on_node_loss == REPLACE_RANK:
            self.is_vacant = True
        elif gone or self.policy.on_node_loss == FAIL:
            self.end("NodeLost")


@dataclass
class Model:
    now: float
    items: dict[tuple[str, int], ModelItem] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)

    def add(
        self,
        task: str,
        age: int,
        count: int,
        *,
        max_attempts: int,
        priority: int,
        nodes: tuple[str, ...],
        policy: Policy,
    ) -> None:
        deadline_at = None if policy.deadline_s is None else self.now + policy.deadline_s
        for index in range(count):
            pinned = nodes[index] if nodes else ""
            item = ModelItem(max_attempts, priority, (age, index), policy, deadline_at, pinned)
            self.items[task, index] = item
            if pinned in self.lost:
                item.lose(gone=False)

    def extend(self, task: str, start: int, count: int) -> None:
        first = self.items[task, 0]
        for index in range(start, start + count):
            self.items[task, index] = ModelItem(
                first.max_attempts, first.priority, (first.age[0], index), first.policy, first.deadline_at
            )

    def waiting_for(self, node: str) -> list[ModelItem]:
        """Those that this node could be given, one at a time."""
        ready = [(task, item) for (task, _), item in self.items.items() if item.is_queued and item.ready_at <= self.now]
        return [
            item
            for task, item in ready
            if (not self._has_rank(task, node) if item.is_vacant else item.pinned in ("", node))
        ]

    def _has_rank(self, task: str, node: str) -> bool:
        return any(of == task and item.pinned == node and not item.is_vacant for (of, _), item in self.items.items())

    def lease(self, attempt: AttemptId, node: str, incarnation: str, *, ages: bool) -> None:
        """Checks that this was a lease to give: the item waits, for this node, and nothing more urgent does."""
        item = self.items[attempt.task, attempt.item]
        waiting = self.waiting_for(node)
        assert any(item is one for one in waiting)
        assert attempt.attempt == item.attempt + 1
        same_kind = [one for one in waiting if (bool(one.pinned), one.is_vacant) == (bool(item.pinned), item.is_vacant)]
        assert ages or item.priority == max(other.priority for other in same_kind)
        if item.is_vacant:
            item.pinned, item.is_vacant = node, False
        item.attempt, item.holder, item.secret, item.started = attempt.attempt, node, attempt.secret, item.is_once
        item.incarnation = incarnation

    def current(self, attempt: AttemptId, node: str) -> ModelItem | None:
        item = self.items.get((attempt.task, attempt.item))
        is_current = (
            item is not None
            and item.is_running
            and (item.attempt, item.holder, item.secret) == (attempt.attempt, node, attempt.secret)
        )
        return item if is_current else None

    def start(self, attempt: AttemptId, node: str) -> None:
        item = self.current(attempt, node)
        if item is not None:
            item.started = True

    def report(self, attempt: AttemptId, node: str, outcome: str, failure: Failure | None = None) -> None:
        item = self.current(attempt, node)
        if item is None:
            return
        if outcome in RETRIED:
            item.fail(outcome, counts=True)
            return
        item.counted += outcome != "Succeeded"
        names = {failure.type, *failure.bases} if outcome == FAILED and failure is not None else {outcome}
        is_asked = outcome != CANCELLED and not names.isdisjoint(item.policy.retry_on)
        if is_asked and item.counted <= item.policy.max_retries and item.counted < item.max_attempts:
            item.wait()
            item.ready_at = self.now + item.policy.backoff_s * 2 ** (item.counted - 1) * CHANCE
        else:
            item.end(outcome)

    def give_back(self, attempt: AttemptId, node: str) -> None:
        item = self.current(attempt, node)
        if item is not None:
            item.wait()

    def resume(self, node: str, incarnation: str, running: set[AttemptId]) -> None:
        self.lost.discard(node)
        kept = {(attempt.task, attempt.item) for attempt in running if self.current(attempt, node) is not None}
        for key, item in self.items.items():
            if not item.is_running or item.holder != node or key in kept:
                continue
            if item.is_once and item.incarnation == incarnation:
                item.wait()  # it never came there
            else:
                item.fail("ChildDied", counts=item.started)

    def release(self, node: str, outcome: str, *, gone: bool) -> None:
        if outcome == "NodeLost":
            self.lost.add(node)
        for item in self.items.values():
            if item.is_running and item.holder == node:
                if outcome == "NodeLost" and item.pinned and self._ends_with_its_node(item, gone=gone):
                    item.end("NodeLost")
                else:
                    item.fail(outcome, counts=item.started)
            is_waiting = item.is_queued and item.ready_at <= self.now and not item.is_vacant
            if outcome == "NodeLost" and item.pinned == node and is_waiting:
                item.lose(gone=gone)

    def _ends_with_its_node(self, item: ModelItem, *, gone: bool) -> bool:
        wish = item.policy.on_node_loss
        return wish == FAIL or (wish != REPLACE_RANK and gone)

    def cancel(self, task: str) -> None:
        for (of, _), item in self.items.items():
            if of == task and not item.outcome:
                item.end("Cancelled")

    def advance(self, now: float) -> None:
        before, self.now = self.now, now
        for item in self.items.values():
            if item.deadline_at is not None and item.deadline_at <= now and not item.outcome:
                item.end("TimedOut")
            elif item.is_queued and before < item.ready_at <= now and item.pinned in self.lost:
                item.lose(gone=False)

    def restart(self) -> None:
        """The operator forgets what only its memory had."""
        self.lost.clear()
        for item in self.items.values():
            item.incarnation = ""
            item.is_vacant = False

    def counts(self) -> tuple[int, int]:
        items = self.items.values()
        return sum(item.is_queued for item in items), sum(item.is_running for item in items)

    def held(self, node: str) -> int:
        return sum(item.is_running and item.holder == node for item in self.items.values())


def ordinary(**changes: object) -> Policy:
    return replace(Policy(), **changes)  # type: ignore[arg-type]
