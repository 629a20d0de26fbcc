"""Who leads: one operator at a time holds the leader lease, and only it writes and calls providers.

The holder raises `renewals` now and then. Others judge the lease by how long that number stands still on their own
monotonic clock, never by a time that somebody else wrote down. Whoever takes it over raises the epoch; from then on
every transaction of the former holder fails, because each one looks for its own epoch first. Provider calls cannot be
fenced like that: they begin only while the last renewal is young. One that is in flight when the lease is lost does no
harm, since its intent is on record and only its own identity may be used until its outcome is known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import structlog

from skyward.contracts import Clock, FencedStore, Lease, Transaction
from skyward.errors import LeadershipLost, StoreUnavailable
from skyward.kit.waiting import wait_for

_log = structlog.get_logger()
LEADER = "operator"
DURATION_S = 15.0
"""A lease that stands still for this long may be taken over."""
ACT_S = 10.0
"""So young must the last renewal be for a provider call to begin."""
_RENEW_S = 5.0
_RETRY_S = 2.0
_RELEASE_S = 1.0


class Leadership:
    """`acquire` first; then `run` as the component that starts before, and stops after, everything that writes."""

    name = "leadership"

    def __init__(self, store: FencedStore, clock: Clock, *, holder: str, is_exclusive: bool = False) -> None:
        """`holder` names this process and no other. `is_exclusive`: the store proves that no other process has it, so the
        lease is taken at once."""
        self._store = store
        self._clock = clock
        self._holder = holder
        self._is_exclusive = is_exclusive
        self._lease: Lease | None = None
        self._before = 0
        self._renewed_at = float("-inf")
        self._renewing = asyncio.Lock()
        self._lost = asyncio.Event()
        self._is_failing = False

    @property
    def epoch(self) -> int:
        """The fencing number of this leadership. 0 before it was acquired."""
        return self._lease.epoch if self._lease is not None else 0

    @property
    def epoch_before(self) -> int:
        """The newest epoch that the store knew when this operator came to it; 0 for a new store."""
        return self._before

    async def acquire(self) -> None:
        """Wait until this operator leads."""
        seen: Lease | None = None
        since = float("-inf")
        while True:
            try:
                found = await self._store.read(lambda tx: tx.lease(LEADER))
                if found != seen:
                    self._tell_waiting(seen, found)
                    seen, since = found, self._clock.monotonic()
                if self._is_free(seen, since) and await self._take(seen):
                    return
            except StoreUnavailable as error:
                _log.warning("lease not readable", error=str(error))
            await self._clock.sleep(_RETRY_S)

    async def run(self, ready: Callable[[], None]) -> None:
        """Renew until cancelled, then give the lease free. Raises LeadershipLost when another operator leads."""
        ready()
        pause_s = _RENEW_S
        try:
            while not await wait_for(self._lost, pause_s):
                pause_s = await self._keep()
            raise LeadershipLost(f"another operator took over from epoch {self.epoch}: this one ends")
        except asyncio.CancelledError:
            await self._release()
            raise

    async def confirm(self) -> None:
        """To be called right before anything that cannot be fenced: returns only while the lease is surely ours. Raises
        LeadershipLost, or StoreUnavailable while that cannot be known."""
        if self._is_young():
            return
        async with self._renewing:
            if not self._is_young():
                await self._renew()

    async def raise_above(self, epoch: int) -> None:
        """Go on in an epoch newer than this one: somebody else has used the numbers up to it."""
        if epoch >= self.epoch:
            await self._lead(lambda tx: self._put(tx, self._own(tx), epoch + 1))

    # --- taking ---

    def _is_free(self, lease: Lease | None, since: float) -> bool:
        if lease is None or not lease.holder or self._is_exclusive:
            return True
        return self._clock.monotonic() - since >= lease.duration_s

    async def _take(self, seen: Lease | None) -> bool:
        """False when somebody else was quicker."""
        before = seen.epoch if seen is not None else 0
        fresh = Lease(LEADER, self._holder, before, DURATION_S, 0)

        def work(tx: Transaction) -> Lease | None:
            return self._put(tx, fresh, before + 1) if tx.lease(LEADER) == seen else None

        if not await self._lead(work):
            return False
        self._before = before
        _log.info("leading", epoch=self.epoch, holder=self._holder)
        return True

    async def _lead(self, work: Callable[[Transaction], Lease | None]) -> bool:
        started_at = self._clock.monotonic()
        lease = await self._store.lead(work, self._lost.set)
        if lease is None:
            return False
        self._lease, self._renewed_at = lease, started_at
        return True

    def _put(self, tx: Transaction, lease: Lease, epoch: int) -> Lease:
        taken = replace(lease, epoch=epoch, renewals=lease.renewals + 1)
        tx.put_lease(taken)
        return taken

    # --- keeping ---

    def _is_young(self) -> bool:
        if self._lost.is_set():
            raise LeadershipLost(f"this operator led in epoch {self.epoch} and does no more")
        return self._clock.monotonic() - self._renewed_at < ACT_S

    async def _keep(self) -> float:
        """Renew once; how long to wait until the next time."""
        try:
            await self._renew()
        except LeadershipLost:
            self._lost.set()
        except StoreUnavailable as error:
            if not self._is_failing:
                _log.warning("lease not renewed, no provider is called meanwhile", error=str(error))
            self._is_failing = True
            return _RETRY_S
        if self._is_failing:
            _log.info("lease renewed again", epoch=self.epoch)
        self._is_failing = False
        return _RENEW_S

    async def _renew(self) -> None:
        started_at = self._clock.monotonic()

        def work(tx: Transaction) -> None:
            own = self._own(tx)
            tx.put_lease(replace(own, renewals=own.renewals + 1))

        await self._store.run(work)
        self._renewed_at = started_at

    def _own(self, tx: Transaction) -> Lease:
        found = tx.lease(LEADER)
        if found is None or (found.holder, found.epoch) != (self._holder, self.epoch):
            raise LeadershipLost(f"this operator led in epoch {self.epoch} and does no more")
        return found

    async def _release(self) -> None:
        """So that a standby need not wait. Best effort: what is not released stands still and is taken over."""

        def work(tx: Transaction) -> None:
            tx.put_lease(replace(self._own(tx), holder=""))

        with suppress(LeadershipLost, StoreUnavailable, TimeoutError):
            async with asyncio.timeout(_RELEASE_S):
                await self._store.run(work)

    def _tell_waiting(self, before: Lease | None, found: Lease | None) -> None:
        if self._is_exclusive or found is None or not found.holder:
            return
        if before is None or before.epoch != found.epoch:
            _log.info("waiting to lead", holder=found.holder, epoch=found.epoch)
