"""The stored pools as they were last seen: five hundred of them are not read and parsed again for each file that is saved.

It tells which pools need a closer look. Whatever is then written is decided anew from the row inside the transaction,
so that a view that lags behind delays at most, until the next look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from skyward.api import Pool
from skyward.contracts import Change, Store, Transaction, Verb


class PoolView:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._pools: dict[str, Pool] | None = None
        self._meanwhile: list[Change] | None = None
        """What is heard while they are read."""
        self._stop: Callable[[], None] | None = None

    async def pools(self) -> Mapping[str, Pool]:
        """By key; a copy of its own."""
        if self._pools is None:
            await self.load()
        assert self._pools is not None, "it was just loaded"
        return dict(self._pools)

    async def load(self) -> None:
        """Read all of them anew, whatever was heard."""
        if self._stop is None:
            self._stop = self._store.subscribe(self._follow)
        heard: list[Change] = []
        self._meanwhile = heard
        version, pools = await self._store.read(_read)
        self._pools = {pool.key: pool for pool in pools}
        self._take(change for change in heard if change.resource_version > version)
        self._meanwhile = None

    def close(self) -> None:
        if self._stop is not None:
            self._stop()
        self._stop, self._pools = None, None

    def _follow(self, changes: Sequence[Change]) -> None:
        if self._meanwhile is not None:
            self._meanwhile += changes
        self._take(changes)

    def _take(self, changes: Iterable[Change]) -> None:
        if self._pools is None:
            return
        for change in changes:
            pool = change.object
            if not isinstance(pool, Pool):
                continue
            if change.verb is Verb.DELETED:
                self._pools.pop(pool.key, None)
            else:
                self._pools[pool.key] = pool


def _read(tx: Transaction) -> tuple[int, tuple[Pool, ...]]:
    return tx.version(), tx.list(Pool)
