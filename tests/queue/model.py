"""What the queue must do, said as simply as possible: one dictionary, no fences, no batches, no memory of its own."""

from __future__ import annotations

from dataclasses import dataclass, field

from skyward_agent.wire.messages import AttemptId

RETRIED = {"ChildDied", "OutOfMemory", "NodeLost"}


@dataclass
class ModelItem:
    max_attempts: int
    priority: int
    age: tuple[int, int]
    pinned: str = ""
    attempt: int = 0
    counted: int = 0
    holder: str = ""
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

    def end(self, outcome: str) -> None:
        self.holder = ""
        self.outcome = outcome
        self.commits += 1

    def fail(self, outcome: str, *, counts: bool) -> None:
        """An infrastructure outcome: tried again while it may."""
        self.counted += counts
        if self.counted < self.max_attempts:
            self.holder = ""
            self.started = False
        else:
            self.end("DeadLetter" if self.max_attempts > 1 else outcome)


@dataclass
class Model:
    items: dict[tuple[str, int], ModelItem] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)

    def add(self, task: str, age: int, count: int, *, max_attempts: int, priority: int, nodes: tuple[str, ...]) -> None:
        for index in range(count):
            pinned = nodes[index] if nodes else ""
            item = ModelItem(max_attempts, priority, (age, index), pinned)
            self.items[task, index] = item
            if pinned in self.lost:
                item.end("NodeLost")

    def extend(self, task: str, start: int, count: int) -> None:
        first = self.items[task, 0]
        for index in range(start, start + count):
            self.items[task, index] = ModelItem(first.max_attempts, first.priority, (first.age[0], index))

    def waiting_for(self, node: str) -> list[ModelItem]:
        return [item for item in self.items.values() if item.is_queued and item.pinned in ("", node)]

    def lease(self, attempt: AttemptId, node: str) -> None:
        """Checks that this was a lease to give: the item waits, for this node, and nothing more urgent does."""
        item = self.items[attempt.task, attempt.item]
        assert item in self.waiting_for(node)
        assert attempt.attempt == item.attempt + 1
        same_kind = [other for other in self.waiting_for(node) if bool(other.pinned) == bool(item.pinned)]
        assert item.priority == max(other.priority for other in same_kind)
        item.attempt, item.holder, item.secret, item.started = attempt.attempt, node, attempt.secret, False

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

    def report(self, attempt: AttemptId, node: str, outcome: str) -> None:
        item = self.current(attempt, node)
        if item is None:
            return
        if outcome in RETRIED:
            item.fail(outcome, counts=True)
        else:
            item.end(outcome)

    def give_back(self, attempt: AttemptId, node: str) -> None:
        item = self.current(attempt, node)
        if item is not None:
            item.holder = ""
            item.started = False

    def resume(self, node: str, running: set[AttemptId]) -> None:
        self.lost.discard(node)
        kept = {(attempt.task, attempt.item) for attempt in running if self.current(attempt, node) is not None}
        for key, item in self.items.items():
            if item.is_running and item.holder == node and key not in kept:
                item.fail("ChildDied", counts=item.started)

    def release(self, node: str, outcome: str) -> None:
        if outcome == "NodeLost":
            self.lost.add(node)
        for item in self.items.values():
            if outcome == "NodeLost" and item.pinned == node and not item.outcome:
                item.end("NodeLost")
            elif item.is_running and item.holder == node:
                item.fail(outcome, counts=item.started)

    def cancel(self, task: str) -> None:
        for (of, _), item in self.items.items():
            if of == task and not item.outcome:
                item.end("Cancelled")

    def counts(self) -> tuple[int, int]:
        items = self.items.values()
        return sum(item.is_queued for item in items), sum(item.is_running for item in items)

    def held(self, node: str) -> int:
        return sum(item.is_running and item.holder == node for item in self.items.values())
