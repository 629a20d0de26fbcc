"""Where objects of one kind are read and followed: the store, or a list that is compared with itself once a second.

A feed's versions only grow, and `follow(v)` after a listing at `v` shows every later change once, in order.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from skyward.api import Object
from skyward.contracts import Change, Clock, Store, Verb
from skyward.errors import HistoryExpired

_PAGE = 1000
_BUFFERED = 5000
"""Changes kept for one slow follower; beyond that it reads the log again."""
_KEPT = 5000
"""Changes a compared list remembers."""
_COMPARE_S = 1.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    items: tuple[Object, ...]
    version: int


class Cursor(Protocol):
    """One follower's place in a feed."""

    @property
    def version(self) -> int:
        """Everything up to here was shown."""
        ...

    async def next(self, wait_s: float) -> Sequence[Change]:
        """What is new; empty when nothing was for `wait_s`. Raises HistoryExpired when changes may have been missed."""
        ...

    def close(self) -> None: ...


class Feed(Protocol):
    async def get(self, key: str) -> Object | None: ...

    async def list(self, namespace: str | None = None) -> Snapshot: ...

    async def follow(self, since: int) -> Cursor:
        """Raises HistoryExpired when changes after `since` are no longer known, or `since` was never given out."""
        ...


class StoreFeed:
    def __init__(self, store: Store, word: type[Object]) -> None:
        self._store = store
        self._word = word

    async def get(self, key: str) -> Object | None:
        return await self._store.read(lambda tx: tx.get(self._word, key))

    async def list(self, namespace: str | None = None) -> Snapshot:
        return await self._store.read(lambda tx: Snapshot(tx.list(self._word, namespace), tx.version()))

    async def follow(self, since: int) -> Cursor:
        if since > await self._store.read(lambda tx: tx.version()):
            raise HistoryExpired(f"resource version {since} was never given out: list again")
        await self._store.changes(since, 1)  # raises HistoryExpired while an answer can still say so
        return _StoreCursor(self._store, self._word, since)


class _StoreCursor:
    """Reads the log until it has caught up, then lives from the store's own calls."""

    def __init__(self, store: Store, word: type[Object], since: int) -> None:
        self._store = store
        self._word = word
        self.version = since
        self._newest = since
        self._buffer: deque[Change] = deque()
        self._is_behind = True
        self._wake = asyncio.Event()
        self._unsubscribe = store.subscribe(self._take)

    def _take(self, changes: Sequence[Change]) -> None:
        if len(self._buffer) >= _BUFFERED:
            self._buffer.clear()
            self._is_behind = True
        if not self._is_behind:
            self._buffer.extend(change for change in changes if isinstance(change.object, self._word))
        self._newest = changes[-1].resource_version
        self._wake.set()

    async def next(self, wait_s: float) -> Sequence[Change]:
        if not self._is_behind and not self._buffer:
            self.version = max(self.version, self._newest)
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), wait_s)
            except TimeoutError:
                return ()
        return await self._catch_up() if self._is_behind else self._drain()

    async def _catch_up(self) -> Sequence[Change]:
        self._is_behind = False  # from here on the buffer has what the log may not show yet
        page = await self._store.changes(self.version, _PAGE)
        if len(page) >= _PAGE:
            self._buffer.clear()
            self._is_behind = True
        if page:
            self.version = page[-1].resource_version
        return [change for change in page if isinstance(change.object, self._word)]

    def _drain(self) -> Sequence[Change]:
        fresh = [change for change in self._buffer if change.resource_version > self.version]
        self._buffer.clear()
        if fresh:
            self.version = fresh[-1].resource_version
        return fresh

    def close(self) -> None:
        self._unsubscribe()


class ComparedFeed:
    """Objects that have no change log of their own. Versions are given here as differences are noticed; they go on from the
    wall clock, so a client of an earlier operator is told to list again."""

    def __init__(self, load: Callable[[], Awaitable[Sequence[Object]]], clock: Clock) -> None:
        self._load = load
        self._clock = clock
        self._floor = self._version = int(clock.now() * 1000)
        self._loaded: dict[str, Object] = {}
        self._stamped: dict[str, Object] = {}
        self._log: deque[Change] = deque()
        self._compared_at = float("-inf")
        self._lock = asyncio.Lock()

    async def get(self, key: str) -> Object | None:
        await self.compare()
        return self._stamped.get(key)

    async def list(self, namespace: str | None = None) -> Snapshot:
        await self.compare()
        items = (obj for obj in self._stamped.values() if namespace in (None, obj.metadata.namespace))
        return Snapshot(tuple(sorted(items, key=lambda obj: obj.key)), self._version)

    async def follow(self, since: int) -> Cursor:
        self.since(since)
        return _ComparedCursor(self, since)

    async def compare(self, max_age_s: float = 0.0) -> None:
        """Load, unless that was done less than `max_age_s` ago, and log what differs."""
        async with self._lock:
            if self._clock.monotonic() - self._compared_at < max_age_s:
                return
            loaded = {obj.key: obj for obj in await self._load()}
            for key in self._loaded.keys() - loaded.keys():
                self._note(Verb.DELETED, self._stamped.pop(key))
            for key, obj in loaded.items():
                old = self._loaded.get(key)
                if old != obj:
                    self._stamped[key] = self._note(Verb.ADDED if old is None else Verb.MODIFIED, obj)
            self._loaded = loaded
            self._compared_at = self._clock.monotonic()

    def since(self, version: int) -> Sequence[Change]:
        if not self._floor <= version <= self._version:
            raise HistoryExpired(f"changes after resource version {version} are not known: list again")
        return [change for change in self._log if change.resource_version > version]

    def _note(self, verb: Verb, obj: Object) -> Object:
        self._version += 1
        stamped = obj.replace(metadata=obj.metadata.replace(resource_version=str(self._version)))
        self._log.append(Change(self._version, verb, stamped))
        if len(self._log) > _KEPT:
            self._floor = self._log.popleft().resource_version
        return stamped


class _ComparedCursor:
    def __init__(self, feed: ComparedFeed, since: int) -> None:
        self._feed = feed
        self.version = since

    async def next(self, wait_s: float) -> Sequence[Change]:
        await self._feed.compare(max_age_s=_COMPARE_S)
        found = self._feed.since(self.version)
        if not found:
            await asyncio.sleep(min(wait_s, _COMPARE_S))
            await self._feed.compare(max_age_s=_COMPARE_S)
            found = self._feed.since(self.version)
        if found:
            self.version = found[-1].resource_version
        return found

    def close(self) -> None:
        """Nothing is held."""
