"""One key per provider. An orphan is deleted only when two complete listings, the second at least the provider's
visibility time after the first, both show it; until then it is only marked. What a listing shows is ours: the driver
reads the owner mark of this installation and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from skyward.api import Pool, Reason
from skyward.contracts import Driver, Transaction
from skyward.controllers.deps import Deps
from skyward.controllers.garbage.tombstones import plan_burial, write_burial
from skyward.controllers.launches import UNRESOLVED, LaunchBook
from skyward.errors import NotYet, ProviderError
from skyward.facts import Instance, InstanceState, Launch, Listing
from skyward.kit.controller import DONE, After, Next
from skyward.kit.recorder import record_event
from skyward.kit.steady import steady
from skyward.planner import is_gone

_log = structlog.get_logger()


class GarbageReconciler:
    def __init__(self, deps: Deps, launches: LaunchBook) -> None:
        self._deps = deps
        self._launches = launches
        self._clock = steady(deps.clock)
        self._marked: dict[tuple[str, str], float] = {}
        """Orphans seen, with the beginning of the first listing that showed them."""

    async def reconcile(self, key: str) -> Next:
        """The key is a provider's name."""
        now = self._deps.clock.now()
        listing = self._deps.listings.newest(key)
        if listing is None or not self._deps.listings.fresh(key, now):
            return DONE
        by_launch, driver = self._deps.listings.by_launch(key), self._deps.drivers[key]
        orphans = [one for one in listing.instances if self._is_orphan(one)]
        self._forget_marks(key, {one.id for one in orphans})
        proved = [orphan for orphan in orphans if self._is_proved(orphan, listing, driver.facts.visibility_s)]
        errors = [error for orphan in proved if (error := await self._delete(driver, orphan)) is not None]
        await self._bury_launches(listing, by_launch)
        if errors:
            raise errors[0]  # after everything else: one that cannot be deleted hinders no other
        if orphans:
            self._deps.listings.poke(key)
            return After(driver.facts.resync_s, f"{len(orphans)} instances without a node are marked")
        return DONE

    # --- instances ---

    def _is_orphan(self, instance: Instance) -> bool:
        """Nothing on record will ever bind or delete it."""
        if instance.state is InstanceState.GONE or self._is_bound(instance):
            return False
        launch = self._launches.get(instance.launch) if instance.launch else None
        if launch is None:
            return True
        # A node that still names the launch will bind it, or has: then its row in the cache is older than the launch's.
        return launch.state not in UNRESOLVED and not self._is_awaited(launch.id)

    def _is_bound(self, instance: Instance) -> bool:
        said = (node.status for node in self._deps.cache.nodes_naming(instance.id) if not is_gone(node))
        return any(one.provider == instance.provider and one.provider_id == instance.id for one in said)

    def _is_awaited(self, launch_id: str) -> bool:
        said = (node.status for node in self._deps.cache.nodes_naming(launch_id) if not is_gone(node))
        return any(one.launch == launch_id and not one.provider_id for one in said)

    def _is_proved(self, orphan: Instance, listing: Listing, grace_s: float) -> bool:
        key = (orphan.provider, orphan.id)
        first = self._marked.get(key)
        if first is None:
            self._marked[key] = listing.started_at
            _log.warning("orphan instance found", provider=orphan.provider, instance=orphan.id, launch=orphan.launch)
            return False
        first = max(first, self._clock.began)  # a clock that jumped proves nothing
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

    async def _bury_launches(self, listing: Listing, by_launch: Mapping[str | None, Sequence[Instance]]) -> None:
        """What nothing needs any more becomes a tombstone, and old tombstones go."""
        shown = frozenset(
            id_ for id_, made in by_launch.items() if id_ and any(one.state is not InstanceState.GONE for one in made)
        )
        own = [launch for launch in self._launches.all() if launch.request.offering.provider == listing.provider]
        over = frozenset(
            one.id for one in own if one.id not in shown and not self._is_needed(one.id) and self._is_over(one, listing)
        )
        burial = plan_burial(own, over=over, shown=shown, age_now=self._clock.age_now)
        if not burial:
            return
        now = self._clock.age_now
        await self._launches.replace(lambda tx: write_burial(tx, burial, now))
        self._launches.forget(burial.drop)

    def _is_needed(self, launch_id: str) -> bool:
        named = self._deps.cache.nodes_naming(launch_id)
        return any(node.status.launch == launch_id and not is_gone(node) for node in named)

    def _is_over(self, launch: Launch, listing: Listing) -> bool:
        """Its outcome is known, and anything it made would show by now."""
        if launch.state in UNRESOLVED:
            return False
        facts = self._deps.drivers[listing.provider].facts
        return listing.started_at >= launch.sent_at + max(facts.visibility_s, facts.absence_s)
