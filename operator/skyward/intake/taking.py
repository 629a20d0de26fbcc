"""Taking the directory in: snapshot, documents, one transaction. The loop and the API's writes share it, so that a user's
edit and an edit through the API take effect by the same path."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ParamSpec, TypeVar

import structlog

from skyward.api import Reason
from skyward.contracts import Clock, Files, Ids, Store, Transaction
from skyward.documents import ParsedFile
from skyward.intake.absence import Absences
from skyward.intake.applying import Applied, Rules, apply, says_all
from skyward.intake.approvals import approved, read_despite
from skyward.intake.declared import Declared, declare
from skyward.intake.holding import HoldLimits
from skyward.intake.reporting import (
    Reading,
    doubt_about,
    find_source,
    report_read,
    report_unavailable,
    report_waiting,
)
from skyward.intake.settled import Settled
from skyward.intake.snapshot import MARKER, Reader, Snapshot, SourceUnavailable
from skyward.intake.view import PoolView

P = ParamSpec("P")
T = TypeVar("T")
Parse = Callable[[str, bytes], ParsedFile]
"""From a file's name and its bytes."""

_log = structlog.get_logger()
_MARKER_MODE = 0o644
BUSY_ALERT_S = 600.0
"""A Git operation that lasts longer than this has probably been forgotten, or was killed."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long intake waits before it believes."""

    quiet_s: float
    """Nothing may have moved for so long."""
    git_quiet_s: float
    """The same in a Git working tree, where one command may be followed by the next."""
    latency_s: float
    """But after so long it is read whatever moves."""
    absence_s: float
    """Between the two looks that prove that something is gone."""

    def quiet(self, snapshot: Snapshot) -> float:
        return self.git_quiet_s if snapshot.is_versioned else self.quiet_s


class Taker:
    """Not to be entered twice at once: `lock` is held by whoever reads or writes the directory."""

    def __init__(
        self,
        root: Path,
        *,
        store: Store,
        files: Files,
        clock: Clock,
        ids: Ids,
        limits: HoldLimits,
        patience: Patience,
        threaded: bool,
        parse: Parse,
    ) -> None:
        self.root = root
        self.lock = asyncio.Lock()
        self.files = files
        self.store = store
        self.clock = clock
        self.ids = ids
        self.absences = Absences(patience.absence_s)
        self._limits = limits
        self._reader = Reader(files, root)
        self._view = PoolView(store)
        self._patience = patience
        self._threaded = threaded
        self._parse = parse
        self._settled = Settled(says_all)
        self._parsed: dict[tuple[str, str], ParsedFile] = {}
        """By path and digest, for the files of the newest snapshot: what did not change is not parsed again."""
        self._revision: str | None = None
        """Of the snapshot that was taken in last."""
        self._problems: frozenset[str] = frozenset()
        self._unavailable = ""
        self._busy_since: float | None = None
        self._busy_told = False
        self._held = ""

    async def offload(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """File access and parsing block: a hung mount or a huge file must not stop the whole operator."""
        if self._threaded:
            return await asyncio.to_thread(call, *args, **kwargs)
        return call(*args, **kwargs)

    async def refresh(self) -> None:
        """Doubt what is remembered of the store: now and then, like everything that only hears of changes."""
        await self._view.load()

    def close(self) -> None:
        self._view.close()

    async def sweep(self) -> None:
        """Before anything is written: what a killed operator left half written goes."""
        try:
            left = await self.offload(self.files.sweep, self.root)
        except OSError as err:
            _log.debug("source not swept", path=str(self.root), error=err.strerror)
            return
        for path in left:
            _log.info("half-written file removed", path=str(path))

    async def snapshot(self) -> Snapshot:
        """The directory as it is, marked if that may be done. Raises SourceUnavailable."""
        snapshot = await self._read()
        if snapshot.marker == self.store.installation or await self._has_pools():
            return snapshot
        # With no pool declared there is nothing that a wrong directory could remove: from here on it is ours.
        try:
            marker = f"{self.store.installation}\n".encode()
            await self.offload(self.files.write, self.root / MARKER, marker, _MARKER_MODE)
        except OSError as err:
            _log.debug("source cannot be marked", path=str(self.root), error=err.strerror)
            return snapshot
        _log.info("source marked", path=str(self.root))
        return replace(snapshot, marker=self.store.installation)

    async def _has_pools(self) -> bool:
        return any(pool.metadata.deletion_timestamp is None for pool in (await self._view.pools()).values())

    async def _read(self) -> Snapshot:
        try:
            return await self.offload(self._reader.take, self.clock.monotonic())
        except SourceUnavailable as err:
            despite = await self.store.read(lambda tx: read_despite(find_source(tx))) if err.unfinished else ""
            if despite != err.unfinished or not despite:
                raise
        return await self.offload(self._reader.take, self.clock.monotonic(), despite)

    async def settled_snapshot(self) -> Snapshot:
        """Like `snapshot`, for when nobody waited until all was quiet: what changed since the last time is taken only once it
        held still for a while, but not for ever: somebody may write without pause."""
        deadline = self.clock.monotonic() + self._patience.latency_s
        snapshot = await self.snapshot()
        while snapshot.revision != self._revision and (left_s := deadline - self.clock.monotonic()) > 0:
            await self.clock.sleep(min(self._patience.quiet(snapshot), left_s))
            before, snapshot = snapshot, await self.snapshot()
            if snapshot == before:
                break
        return snapshot

    async def declare(self, snapshot: Snapshot) -> Declared:
        parsed: dict[tuple[str, str], ParsedFile] = {}
        for file in snapshot.files:
            key = (file.path, file.digest)
            known = self._parsed.get(key)
            parsed[key] = known if known is not None else await self.offload(self._parse, file.path, file.data)
        self._parsed = parsed
        return declare(snapshot, {path: content for (path, _), content in parsed.items()})

    async def take_in(self, snapshot: Snapshot, declared: Declared, asked: str = "") -> Applied:
        """Commit what it declares; logs what that changed. `asked` is the key of a pool that the API changes just now."""
        doubt = doubt_about(snapshot.marker, self.store.installation, declared)
        monotonic = self.clock.monotonic()
        proved = self.absences.proved(monotonic)

        stored = await self._view.pools()

        def work(tx: Transaction) -> Applied:
            rules = Rules(
                now=self.clock.now(),
                new_uid=self.ids.uid,
                counts_absence=not doubt,
                proved=proved,
                limits=self._limits,
                approved=approved(find_source(tx), snapshot.approval),
                asked=asked,
            )
            applied = apply(tx, stored, declared, rules, self._settled)
            held = applied.held.summary if applied.held is not None else None
            report_read(tx, str(self.root), declared, rules, Reading(doubt, held, snapshot.unfinished))
            return applied

        applied = await self.store.run(work, power_safe=bool(proved))
        if doubt:
            self.absences.forget()
        else:
            self.absences.saw(applied.absent, monotonic)
        self._settled.only(stored)
        self._revision = snapshot.revision
        self._unavailable = ""
        self._busy_since = None
        self._tell(applied, declared)
        return applied

    async def unavailable(self, err: SourceUnavailable) -> None:
        """Nothing could be read: say so, change nothing, and start collecting evidence anew."""
        self.absences.forget()
        is_long = self._waits_too_long(err)
        if err.message == self._unavailable and not is_long:
            return
        rules = Rules(self.clock.now(), self.ids.uid, counts_absence=False, proved=frozenset())

        def work(tx: Transaction) -> None:
            report_unavailable(tx, str(self.root), err, rules)
            if is_long:
                report_waiting(tx, str(self.root), err, rules, int(BUSY_ALERT_S // 60))

        await self.store.run(work)
        if err.message != self._unavailable:
            self._unavailable = err.message
            level = _log.info if err.reason is Reason.SOURCE_BUSY else _log.warning
            level("source not readable", path=str(self.root), reason=err.reason, error=err.message)

    def _waits_too_long(self, err: SourceUnavailable) -> bool:
        """True once for each time that the source is busy for long."""
        now = self.clock.monotonic()
        if err.reason is not Reason.SOURCE_BUSY:
            self._busy_since = None
        elif self._busy_since is None:
            self._busy_since, self._busy_told = now, False
        elif now - self._busy_since >= BUSY_ALERT_S and not self._busy_told:
            self._busy_told = True
            return True
        return False

    def _tell(self, applied: Applied, declared: Declared) -> None:
        for event, keys in (
            ("pool declared", applied.created),
            ("pool changed", applied.changed),
            ("pool manifest refused", applied.refused),
            ("pool removed from files", applied.removed),
        ):
            for key in keys:
                _log.info(event, pool=key, revision=declared.revision)
        held = applied.held.hash if applied.held is not None else ""
        if applied.held is not None and held != self._held:
            _log.warning("deletion held", approval=held, pools=[loss.pool.key for loss in applied.held.losses])
        self._held = held
        problems = frozenset(str(problem) for problem in declared.problems)
        for problem in sorted(problems - self._problems):
            _log.warning("manifest rejected", error=problem)
        self._problems = problems
