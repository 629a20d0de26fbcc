"""One key per provider. An orphan is deleted only when two complete listings, the second at least the provider's
visibility time after the first, both show it; until then it is only marked. What a listing shows is ours: the driver
reads the owner mark of this installation and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

import structlog

from skyward.api import Node, Pool, Reason
from skyward.contracts import Driver, Transaction
from skyward.controllers.deps import Deps
from skyward.controllers.launches import UNRESOLVED, LaunchBook
from skyward.errors import NotYet, ProviderError
from skyward.facts import Instance, InstanceState, Launch, LaunchState, Listing
from skyward.kit.controller import DONE, After, Next
from skyward.kit.recorder import record_event
from skyward.planner import is_gone

_log = structlog.get_logger()


class GarbageReconciler:
    def __init__(self, deps: Deps, launches: LaunchBook) -> None:
        self._deps = deps
        self._launches = launches
        self._marked: dict[tuple[str, str], float] = {}
        """Orphans seen, with the beginning of the first listing that showed them."""

    async def reconcile(self, key: str) -> Next:
        """The key is a provider's name."""
        now = self._deps.clock.now()
        listing = self._deps.listings.newest(key)
        if listing is None or not self._deps.listings.fresh(key, now):
            return DONE
        driver = self._deps.drivers[key]
        records = _Records.of(self._deps.cache.list(Node))
        orphans = [one for one in listing.instances if self._is_orphan(one, records)]
        self._forget_marks(key, {one.id for one in orphans})
        proved = [orphan for orphan in orphans if self._is_proved(orphan, listing, driver.facts.visibility_s)]
        errors = [error for orphan in proved if (error := await self._delete(driver, orphan)) is not None]
        await self._drop_launches(key, listing)
        if errors:
            raise errors[0]  # after everything else: one that cannot be deleted hinders no other
        if orphans:
            self._deps.listings.poke(key)
            return After(driver.facts.resync_s, f"{len(orphans)} instances without a node are marked")
        return DONE

    # --- instances ---

    def _is_orphan(self, instance: Instance, records: _Records) -> bool:
        """Nothing on record will ever bind or delete it."""
        if instance.state is InstanceState.GONE or (instance.provider, instance.id) in records.bound:
            return False
        launch = self._launches.get(instance.launch) if instance.launch else None
        if launch is None:
            return True
        if launch.state in UNRESOLVED:
            return False
        return not (launch.state is LaunchState.ABSENT and launch.id in records.awaited)

    def _is_proved(self, orphan: Instance, listing: Listing, grace_s: float) -> bool:
        key = (orphan.provider, orphan.id)
        first = self._marked.get(key)
        if first is None:
            self._marked[key] = listing.started_at
            _log.warning("orphan instance found", provider=orphan.provider, instance=orphan.id, launch=orphan.launch)
            return False
        return listing.started_at > first and listing.started_at - first >= grace_s

    def _forget_marks(self, provider: str, orphans: set[str]) -> None:
        for marked in [key for key in self._marked if key[0] == provider and key[1] not in orphans]:
            del self._marked[marked]

    async def _delete(self, driver: Driver, orphan: Instance) -> ProviderError | None:
        """What hindered; a provider that says that it is too early is asked again with the next listing."""
        if orphan.state is InstanceState.LEAVING:
            return None  # it is on its way; the next listings tell
        _log.info("deleting orphan instance", provider=orphan.provider, instance=orphan.id, launch=orphan.launch)
        try:
            async with asyncio.timeout(self._deps.durations.call_timeout_s):
                await driver.delete(orphan.id)
        except NotYet:
            return None
        except ProviderError as error:
            return error
        except TimeoutError:
            return ProviderError(f"deleting orphan {orphan.id}: no answer in time; it is tried again")
        await self._deps.store.run(lambda tx: self._tell(tx, orphan))
        return None

    def _tell(self, tx: Transaction, orphan: Instance) -> None:
        launch = self._launches.get(orphan.launch) if orphan.launch else None
        pool = tx.get(Pool, launch.request.pool) if launch is not None else None
        if pool is not None:
            note = f"instance {orphan.id} at {orphan.provider} belonged to no node and was deleted"
            record_event(tx, pool, Reason.ORPHAN_DELETED, note, now=self._deps.clock.now(), warning=True)

    # --- launches ---

    async def _drop_launches(self, provider: str, listing: Listing) -> None:
        shown = {instance.launch for instance in listing.instances}
        needed = _Records.of(self._deps.cache.list(Node)).needed
        done = [
            launch.id
            for launch in self._launches.all()
            if launch.request.offering.provider == provider
            and launch.id not in shown
            and launch.id not in needed
            and self._is_over(launch, listing)
        ]
        if not done:
            return

        def work(tx: Transaction) -> None:
            for launch_id in done:
                tx.drop_launch(launch_id)

        await self._deps.store.run(work, power_safe=True)
        self._launches.forget(done)

    def _is_over(self, launch: Launch, listing: Listing) -> bool:
        """Its outcome is known, and anything it made would show by now."""
        if launch.state in UNRESOLVED:
            return False
        facts = self._deps.drivers[listing.provider].facts
        return listing.started_at >= launch.sent_at + max(facts.visibility_s, facts.absence_s)


@dataclass(frozen=True, slots=True)
class _Records:
    """What the rows of all living nodes say, in sets."""

    bound: frozenset[tuple[str, str]]
    """(provider, instance id)."""
    awaited: frozenset[str]
    """Launches that a node without an instance still names."""
    needed: frozenset[str]
    """Launches that any node names."""

    @staticmethod
    def of(nodes: Iterable[Node]) -> _Records:
        live = [node for node in nodes if not is_gone(node)]
        return _Records(
            bound=frozenset(
                (node.status.provider, node.status.provider_id) for node in live if node.status.provider_id
            ),
            awaited=frozenset(node.status.launch for node in live if not node.status.provider_id),
            needed=frozenset(node.status.launch for node in live),
        )
