"""Functions by digest: their bytes are stored once and never looked into."""

from __future__ import annotations

import asyncio
import hashlib

from skyward.contracts import Clock, Store
from skyward.errors import Invalid, PayloadTooLarge
from skyward.queue.submission import LARGEST_PAYLOAD

FUNCTION_TTL_S = 86_400.0
"""How long a function is kept that no task names: clients send one once for each connection."""
_LARGE_BYTES = 1024 * 1024
"""Hashed in a thread from this size on."""
_KNOWN = 100_000


class Functions:
    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._put_at: dict[str, float] = {}

    async def put(self, digest: str, data: bytes) -> None:
        """Known ones are written again only to keep them alive."""
        if len(data) > LARGEST_PAYLOAD:
            raise PayloadTooLarge(
                f"the function has {len(data)} bytes, more than {LARGEST_PAYLOAD}: do not let it capture data, "
                "pass a path instead"
            )
        now = self._clock.now()
        if digest in self._put_at and 0 <= now - self._put_at[digest] < FUNCTION_TTL_S / 2:
            return
        if await _digest(data) != digest:
            raise Invalid("the function's digest is not that of its bytes: send it again")
        await self._store.run(lambda tx: tx.tasks.put_function(digest, data, now))
        if len(self._put_at) >= _KNOWN:
            self._put_at.clear()
        self._put_at[digest] = now

    async def get(self, digest: str) -> bytes | None:
        return await self._store.read(lambda tx: tx.tasks.function(digest))


async def _digest(data: bytes) -> str:
    if len(data) < _LARGE_BYTES:
        return hashlib.sha256(data).hexdigest()
    return await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())
