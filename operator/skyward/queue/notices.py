"""Telling listeners what changed, after the commit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ParamSpec

import structlog

from skyward.contracts import QueueListener
from skyward.queue.live import Held, LiveTask
from skyward_agent.wire.messages import REPLACE_RANK, AttemptId, Result

log = structlog.get_logger()
P = ParamSpec("P")


class Notices:
    def __init__(self) -> None:
        self._listeners: list[QueueListener] = []

    def add(self, listener: QueueListener) -> None:
        self._listeners.append(listener)

    def work_available(self, task: LiveTask, items: Sequence[int]) -> None:
        """These items of the task wait again, or for the first time."""
        nodes: dict[str | None, None] = {None: None}
        if task.ranks and task.row.policy.on_node_loss != REPLACE_RANK:
            nodes = {task.ranks[item].node_uid: None for item in items}
        for node in nodes:
            for listener in self._listeners:
                _call(listener.work_available, task.row.pool, node)

    def pool_opened(self, pool: str) -> None:
        for listener in self._listeners:
            _call(listener.work_available, pool, None)

    def items_finished(self, results: Sequence[Result]) -> None:
        if results:
            for listener in self._listeners:
                _call(listener.items_finished, results)

    def closed(self, task: LiveTask) -> None:
        """Who follows an open map waits for more items, and otherwise never hears that none come."""
        if task.open:
            for listener in self._listeners:
                _call(listener.task_closed, task.row.uid, task.items)

    def abandon(self, held: Sequence[Held], reason: str) -> None:
        by_node: dict[str, list[AttemptId]] = {}
        for one in held:
            by_node.setdefault(one.node_uid, []).append(one.id)
        for node, attempts in by_node.items():
            for listener in self._listeners:
                _call(listener.abandon, node, attempts, reason)


def _call(notice: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
    try:
        notice(*args, **kwargs)
    except Exception:  # what is committed is committed: a listener's mistake must not look like a failed write
        log.exception("queue listener failed")
