"""Items of broadcasts: each waits for the node that has its rank, or, when that is lost, for one that takes its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from skyward.contracts import Holder, NodeFacts, Rank
from skyward.queue.live import LiveTask
from skyward.queue.turns import selects
from skyward_agent.wire.messages import Peer

Entry = tuple[int, int, int, LiveTask]
"""In the order in which they are given out: by priority, then age."""


class Ranks:
    """`task.waiting` of each task is kept in step. Ranks are frozen when the task is accepted; only a lost node's moves on."""

    def __init__(self) -> None:
        self._pinned: dict[str, set[Entry]] = {}
        """By node uid."""
        self._vacant: dict[str, set[Entry]] = {}
        """By pool."""

    def pin(self, task: LiveTask, items: Iterable[int]) -> None:
        for item in items:
            task.waiting.add(item)
            self._pinned.setdefault(task.ranks[item].node_uid, set()).add(_entry(task, item))

    def unpin(self, task: LiveTask, items: Iterable[int]) -> None:
        for item in items:
            task.waiting.discard(item)
            for entries, key in ((self._pinned, task.ranks[item].node_uid), (self._vacant, task.row.pool)):
                if key in entries:
                    entries[key].discard(_entry(task, item))
                    if not entries[key]:
                        del entries[key]

    def vacate(self, task: LiveTask, item: int) -> None:
        self.unpin(task, (item,))
        task.waiting.add(item)
        self._vacant.setdefault(task.row.pool, set()).add(_entry(task, item))

    def vacant(self, task: LiveTask) -> tuple[int, ...]:
        of_pool = self._vacant.get(task.row.pool, ()) if task.ranks else ()
        return tuple(item for item in sorted(task.waiting) if _entry(task, item) in of_pool) if of_pool else ()

    def of_node(self, node_uid: str) -> Iterator[tuple[LiveTask, int]]:
        for _, _, item, task in sorted(self._pinned.get(node_uid, ())):
            yield task, item

    def nodes(self) -> Iterable[str]:
        return self._pinned

    def take(self, holder: Holder, count: int, node: NodeFacts) -> list[tuple[LiveTask, int]]:
        """Its own items, then vacant ranks of broadcasts in which it has none: one of each, and from now on they are its."""
        taken = list(self.of_node(holder.node_uid))[:count] if holder.node_uid in self._pinned else []
        for task, item in taken:
            self.unpin(task, (item,))
        if holder.pool in self._vacant:
            taken += self._take_over(holder, count - len(taken), node)
        return taken

    def _take_over(self, holder: Holder, count: int, node: NodeFacts) -> list[tuple[LiveTask, int]]:
        taken: list[tuple[LiveTask, int]] = []
        vacant = self._vacant[holder.pool]
        for _, _, item, task in sorted(vacant):
            if len(taken) == count:
                break
            has_rank = any(
                rank.node_uid == holder.node_uid and _entry(task, index) not in vacant
                for index, rank in enumerate(task.ranks)
            )
            if has_rank or not selects(task.row.policy.selector, node.labels):
                continue
            self.unpin(task, (item,))
            taken_by = Rank(holder.node_uid, holder.node, node.address)
            task.ranks = (*task.ranks[:item], taken_by, *task.ranks[item + 1 :])
            task.world = tuple(Peer(rank.node, rank.address) for rank in task.ranks)
            taken.append((task, item))
        return taken


def _entry(task: LiveTask, item: int) -> Entry:
    return -task.row.priority, task.row.seq, item, task
