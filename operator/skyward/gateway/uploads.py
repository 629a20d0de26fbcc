"""Calls whose arguments are yet to come: durable at once, so that an agent may begin, and answered when all of it is here."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from skyward.contracts import Accepted, Submission, TaskQueue
from skyward.errors import OperatorUnreachable, SkyError
from skyward.gateway.payloads import Payloads, Stalled, references_of
from skyward_agent.wire.messages import Extend
from skyward_agent.wire.payload import BlobRef
from skyward_agent.wire.transfers import BlobReceiver


class Uploads:
    """Of one client."""

    def __init__(self, queue: TaskQueue, payloads: Payloads, source: BlobReceiver) -> None:
        self._queue = queue
        self._payloads = payloads
        self._source = source
        self._turns: dict[str, asyncio.Lock] = {}

    async def submit(self, submission: Submission) -> Accepted:
        """Errors as of the queue and of `Payloads`."""
        named = references_of(submission.items)
        with self._payloads.pinned(named):
            await self._payloads.expect(named, self._source)
            accepted = await self._queue.submit(submission)
            await self._whole(accepted.task, named)
        return accepted

    async def extend(self, message: Extend) -> int:
        """Likewise. How many items the task has now."""
        named = references_of(message.items)
        with self._payloads.pinned(named):
            items = await self._extend_in_turn(message, named)
            await self._whole(message.task, named)
        return items

    async def _extend_in_turn(self, message: Extend, named: Sequence[BlobRef]) -> int:
        """From the first large items of a map on none may overtake those before, which wait for room."""
        if named:
            self._turns.setdefault(message.task, asyncio.Lock())
        turn = self._turns.get(message.task)
        if message.last:
            self._turns.pop(message.task, None)
        async with turn or contextlib.nullcontext():
            await self._payloads.expect(named, self._source)
            return await self._queue.extend(message.task, message.start, message.items, last=message.last)

    async def _whole(self, task: str, named: Sequence[BlobRef]) -> None:
        """Of a task whose payloads are not what they should be nothing goes on."""
        try:
            await self._payloads.arrived(named, self._source)
        except Stalled:
            raise OperatorUnreachable("the connection was lost before the arguments had come") from None
        except SkyError:
            await self._queue.cancel(task)
            raise
