"""What is to happen at a time: items that are tried again after a pause, and deadlines of tasks."""

from __future__ import annotations

import heapq

from skyward.queue.live import LiveTask

WHOLE = -1
"""Instead of an item: the task's deadline."""
_FEW = 1024

Entry = tuple[float, int, int, LiveTask]


class Agenda:
    """By time. What has become void (the task ended, the item was woken) is passed over, and forgotten in time."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._swept = 0

    def add(self, at: float, task: LiveTask, item: int = WHOLE) -> None:
        if len(self._entries) > max(_FEW, 2 * self._swept):
            self._entries = [entry for entry in self._entries if _is_valid(entry)]
            heapq.heapify(self._entries)
            self._swept = len(self._entries)
        heapq.heappush(self._entries, (at, task.row.seq, item, task))

    def next_at(self) -> float | None:
        while self._entries and not _is_valid(self._entries[0]):
            heapq.heappop(self._entries)
        return self._entries[0][0] if self._entries else None

    def due(self, now: float) -> list[tuple[LiveTask, int]]:
        """What is due, no longer on the agenda."""
        found = []
        while (at := self.next_at()) is not None and at <= now:
            _, _, item, task = heapq.heappop(self._entries)
            found.append((task, item))
        return found


def _is_valid(entry: Entry) -> bool:
    at, _, item, task = entry
    if item == WHOLE:
        return not task.is_retired
    return task.delayed.get(item) == at
