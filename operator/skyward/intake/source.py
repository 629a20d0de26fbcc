"""The watched directory as a room: reads it at start, after every change, and now and then although nobody says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from skyward.api import Pool, Source
from skyward.contracts import Change, Clock, Files, Ids, Manifest, Store, Verb
from skyward.documents import parse_file
from skyward.errors import UserError
from skyward.intake.approvals import has_approval
from skyward.intake.holding import HoldLimits
from skyward.intake.snapshot import Snapshot, SourceUnavailable
from skyward.intake.taking import Parse, Patience, Taker
from skyward.intake.writing import Writer
from skyward.kit.waiting import wait_for

_log = structlog.get_logger()
REFRESH_S = 60.0
"""What is remembered of the store is read anew this often."""


class DirectorySource:
    """Implements `skyward.contracts.ManifestWriter` and the life cycle of a component.

    The watcher's word is a hint: a change is read once nothing moved for `quiet_s` (`git_quiet_s` in a Git working tree),
    at most `latency_s` after the first hint, and in any case every `poll_s`. A pool counts as removed when it was absent
    twice, `absence_s` apart; what goes beyond the `limits` waits for an approval. With `threaded`, files are read and
    parsed off the event loop; without, inline, which is for files that are not real. `parse` may remember what it parsed.
    """

    name = "intake"

    def __init__(
        self,
        path: Path,
        *,
        store: Store,
        files: Files,
        clock: Clock,
        ids: Ids,
        poll_s: float = 10.0,
        quiet_s: float = 0.02,
        git_quiet_s: float = 1.0,
        latency_s: float = 2.0,
        absence_s: float = 10.0,
        limits: HoldLimits | None = None,
        threaded: bool = True,
        parse: Parse = parse_file,
    ) -> None:
        self._taker = Taker(
            path,
            store=store,
            files=files,
            clock=clock,
            ids=ids,
            limits=limits or HoldLimits(),
            patience=Patience(quiet_s, git_quiet_s, latency_s, absence_s),
            threaded=threaded,
            parse=parse,
        )
        self._writer = Writer(self._taker)
        self._root = path
        self._store = store
        self._files = files
        self._clock = clock
        self._poll_s = poll_s
        self._quiet_s = quiet_s
        self._git_quiet_s = git_quiet_s
        self._latency_s = latency_s
        self._hint = asyncio.Event()
        self._replaced = asyncio.Event()
        self._identity: tuple[int, int] | None = None
        self._is_versioned = False
        self._refreshed_at = clock.monotonic()

    async def run(self, ready: Callable[[], None]) -> None:
        """Ready once the directory was read for the first time, or was found unreadable."""
        stop = self._store.subscribe(self._on_changes)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch())
                await self._taker.sweep()
                next_s = await self._pass()
                ready()
                while True:
                    is_hinted = await wait_for(self._hint, next_s)
                    if is_hinted:
                        await self._settle()
                    next_s = await self._pass(is_settled=is_hinted)
        finally:
            stop()
            self._taker.close()

    async def write(
        self, manifest: Manifest, *, create: bool, expect: str | None = None, dry_run: bool = False
    ) -> Pool:
        return await self._writer.write(manifest, create=create, expect=expect, dry_run=dry_run)

    async def remove(self, namespace: str, name: str, *, uid: str | None = None, dry_run: bool = False) -> Pool:
        return await self._writer.remove(namespace, name, uid=uid, dry_run=dry_run)

    # --- the loop ---

    async def _pass(self, *, is_settled: bool = False) -> float:
        """Read once and take in. Returns how long to wait, without a hint, until the next time."""
        try:
            async with self._taker.lock:
                return await self._read(is_settled=is_settled)
        except Exception as err:
            _log.error("reading the source failed", path=str(self._root), error=str(err), exc_info=err)
            return self._poll_s

    async def _refresh(self) -> None:
        """Between the hints, and not at each poll: it is what a change of the store costs that nobody heard of."""
        now = self._clock.monotonic()
        if now - self._refreshed_at >= REFRESH_S:
            self._refreshed_at = now
            await self._taker.refresh()

    async def _read(self, *, is_settled: bool) -> float:
        if not is_settled:
            await self._refresh()
        try:
            snapshot = await (self._taker.snapshot() if is_settled else self._taker.settled_snapshot())
        except SourceUnavailable as err:
            await self._taker.unavailable(err)
            return min(self._git_quiet_s, self._poll_s)
        self._is_versioned = snapshot.is_versioned
        if self._identity not in (None, snapshot.identity):
            _log.info("source directory replaced", path=str(self._root))
            self._taker.absences.forget()
            self._replaced.set()
        self._identity = snapshot.identity
        applied = await self._taker.take_in(snapshot, await self._taker.declare(snapshot))
        for key in applied.undeclared:
            await self._finish_removal(key, snapshot)
        ripe_s = self._taker.absences.next_in(self._clock.monotonic())
        return self._poll_s if ripe_s is None else min(ripe_s, self._poll_s)

    async def _finish_removal(self, key: str, snapshot: Snapshot) -> None:
        """The operator died between a deletion through the API and the edit of the file."""
        try:
            await self._writer.finish_removal(key, snapshot)
        except UserError as err:
            _log.warning("document of deleted pool not removed", pool=key, error=str(err))

    async def _settle(self) -> None:
        """Wait until nothing moves any more, but not for ever: somebody may write without pause."""
        deadline = self._clock.monotonic() + self._latency_s
        quiet_s = self._git_quiet_s if self._is_versioned else self._quiet_s
        while (left_s := deadline - self._clock.monotonic()) > 0:
            self._hint.clear()
            if not await wait_for(self._hint, min(quiet_s, left_s)):
                return
        self._hint.clear()

    def _on_changes(self, changes: Sequence[Change]) -> None:
        if any(_matters(change) for change in changes):
            self._hint.set()

    # --- the watcher ---

    async def _watch(self) -> None:
        """A directory that was replaced needs a new watcher: the old one still looks at what is no longer there."""
        while True:
            self._replaced.clear()
            async with asyncio.TaskGroup() as group:
                following = group.create_task(self._follow())
                await wait_for(self._replaced, None)
                following.cancel()

    async def _follow(self) -> None:
        while True:
            try:
                async for _ in self._files.watch(self._root):
                    self._hint.set()
                _log.debug("watcher ended", path=str(self._root))
            except Exception as err:
                _log.debug("watcher failed", path=str(self._root), error=str(err))
            await self._clock.sleep(self._poll_s)
            self._hint.set()  # whatever happened while nobody watched


def _matters(change: Change) -> bool:
    """A document of that name may wait for the old pool to be gone; an approval may have been given."""
    if isinstance(change.object, Source):
        return change.verb is not Verb.DELETED and has_approval(change.object)
    return change.verb is Verb.DELETED and isinstance(change.object, Pool)
