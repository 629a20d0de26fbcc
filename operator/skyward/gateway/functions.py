"""Function bytes on their way to agents: a bounded cache in front of the queue, so that a hot one costs no read."""

from __future__ import annotations

from collections import OrderedDict

from skyward.contracts import TaskQueue

CACHE_BYTES = 64 * 1024 * 1024


class FunctionCache:
    def __init__(self, queue: TaskQueue, *, limit_bytes: int = CACHE_BYTES) -> None:
        self._queue = queue
        self._limit_bytes = limit_bytes
        self._functions: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0

    async def put(self, digest: str, data: bytes) -> None:
        """Make a function durable. Raises Invalid when the digest is not that of the data. Idempotent.

        Being cached proves nothing here: the queue may have collected the function meanwhile.
        """
        await self._queue.put_function(digest, data)
        self._keep(digest, data)

    async def get(self, digest: str) -> bytes | None:
        known = self._functions.get(digest)
        if known is not None:
            self._functions.move_to_end(digest)
            return known
        data = await self._queue.function(digest)
        if data is not None:
            self._keep(digest, data)
        return data

    def _keep(self, digest: str, data: bytes) -> None:
        if digest not in self._functions:
            self._functions[digest] = data
            self._size += len(data)
        while self._size > self._limit_bytes and len(self._functions) > 1:
            _, oldest = self._functions.popitem(last=False)
            self._size -= len(oldest)
