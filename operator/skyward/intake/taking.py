"""Taking the directory in: snapshot, documents, one transaction. The loop and the API's writes share it, so that a user's
edit and an edit through the API take effect by the same path."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ParamSpec, TypeVar

import structlog

from skyward.api import Pool, Reason
from skyward.contracts import Clock, Files, Ids, Store, Transaction
from skyward.documents import ParsedFile, parse_file
from skyward.intake.absence import Absences
from skyward.intake.applying import Applied, Rules, apply
from skyward.intake.declared import Declared, declare
from skyward.intake.reporting import doubt_about, report_read, report_unavailable
from skyward.intake.snapshot import MARKER, Snapshot, SourceUnavailable, take_snapshot

P = ParamSpec("P")
T = TypeVar("T")

_log = structlog.get_logger()
_MARKER_MODE = 0o644


class Taker:
    """Not to be entered twice at once: `lock` is held by whoever reads or writes the directory."""

    def __init__(
        self, root: Path, *, store: Store, files: Files, clock: Clock, ids: Ids, absence_s: float, threaded: bool
    ) -> None:
        self.root = root
        self.lock = asyncio.Lock()
        self.files = files
        self.store = store
        self.clock = clock
        self.ids = ids
        self.absences = Absences(absence_s)
        self._threaded = threaded
        self._parsed: dict[tuple[str, str], ParsedFile] = {}
        """By path and digest, for the files of the newest snapshot: what did not change is not parsed again."""
        self._problems: frozenset[str] = frozenset()
        self._unavailable = ""

    async def offload(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """File access and parsing block: a hung mount or a huge file must not stop the whole operator."""
        if self._threaded:
            return await asyncio.to_thread(call, *args, **kwargs)
        return call(*args, **kwargs)

    async def snapshot(self) -> Snapshot:
        """The directory as it is, marked if that may be done. Raises SourceUnavailable."""
        snapshot = await self.offload(take_snapshot, self.files, self.root)
        if snapshot.marker == self.store.installation or await self.store.read(_has_pools):
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

    async def declare(self, snapshot: Snapshot) -> Declared:
        parsed: dict[tuple[str, str], ParsedFile] = {}
        for file in snapshot.files:
            key = (file.path, file.digest)
            known = self._parsed.get(key)
            parsed[key] = known if known is not None else await self.offload(parse_file, file.path, file.data)
        self._parsed = parsed
        return declare(snapshot, {path: content for (path, _), content in parsed.items()})

    async def take_in(self, snapshot: Snapshot, declared: Declared) -> Applied:
        """Commit what it declares; logs what that changed."""
        doubt = doubt_about(snapshot.marker, self.store.installation, declared)
        monotonic = self.clock.monotonic()
        proved = self.absences.proved(monotonic)
        rules = Rules(self.clock.now(), self.ids.uid, counts_absence=not doubt, proved=proved)

        def work(tx: Transaction) -> Applied:
            applied = apply(tx, declared, rules)
            report_read(tx, str(self.root), declared, rules, doubt)
            return applied

        applied = await self.store.run(work, power_safe=bool(proved))
        if doubt:
            self.absences.forget()
        else:
            self.absences.saw(applied.absent, monotonic)
        self._unavailable = ""
        self._tell(applied, declared)
        return applied

    async def unavailable(self, err: SourceUnavailable) -> None:
        """Nothing could be read: say so, change nothing, and start collecting evidence anew."""
        self.absences.forget()
        rules = Rules(self.clock.now(), self.ids.uid, counts_absence=False, proved=frozenset())
        await self.store.run(lambda tx: report_unavailable(tx, str(self.root), err.reason, err.message, rules))
        if err.message != self._unavailable:
            self._unavailable = err.message
            level = _log.info if err.reason is Reason.SOURCE_BUSY else _log.warning
            level("source not readable", path=str(self.root), reason=err.reason, error=err.message)

    def _tell(self, applied: Applied, declared: Declared) -> None:
        for event, keys in (
            ("pool declared", applied.created),
            ("pool changed", applied.changed),
            ("pool manifest refused", applied.refused),
            ("pool removed from files", applied.removed),
        ):
            for key in keys:
                _log.info(event, pool=key, revision=declared.revision)
        problems = frozenset(str(problem) for problem in declared.problems)
        for problem in sorted(problems - self._problems):
            _log.warning("manifest rejected", error=problem)
        self._problems = problems


def _has_pools(tx: Transaction) -> bool:
    return any(pool.metadata.deletion_timestamp is None for pool in tx.list(Pool))
