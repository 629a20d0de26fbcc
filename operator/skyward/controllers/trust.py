"""Up to which leadership these records are known to be whole, provider by provider; kept over restarts.

A listing is judged by what was on record when this operator began: whatever a later leadership asked for must be known.
The number of the newest leadership alone would not do: records that were restored count on from their own number with
every start, and soon have passed the one that they lack. So the measure is the leadership that last saw listings
without anything strange in them, for as long as one may leave out what is there; while something is doubted it stands
still.
"""

from __future__ import annotations

from skyward.contracts import Lease
from skyward.controllers.deps import Deps
from skyward.controllers.launches import LaunchBook
from skyward.facts import Listing
from skyward.kit.lineage import Doubt, find_doubt


class Trust:
    def __init__(self, deps: Deps, launches: LaunchBook) -> None:
        self._deps = deps
        self._launches = launches
        self._before: dict[str, int] = {}
        """By provider: the leadership that had last found nothing strange there when this operator began."""
        self._noted: dict[str, int] = {}
        """The same, as it is on record now."""
        self._clean_since: dict[str, float] = {}
        """By provider: when the first of the listings began that have all been without doubt."""

    async def judge(self, listing: Listing) -> Doubt | None:
        """What of this complete listing these records ought to know and do not."""
        provider = listing.provider
        before = await self._epoch_before(provider)
        doubt = find_doubt(listing, await self._launches.ids(), has_made=self._launches.has_made, epoch_before=before)
        if doubt is not None:
            self._clean_since.pop(provider, None)
        elif self._is_clean(listing):
            await self._note(provider)
        return doubt

    def _is_clean(self, listing: Listing) -> bool:
        facts = self._deps.drivers[listing.provider].facts
        since = self._clean_since.setdefault(listing.provider, listing.started_at)
        return listing.started_at - since >= max(facts.visibility_s, facts.absence_s)

    async def _epoch_before(self, provider: str) -> int | None:
        leadership = self._deps.leadership
        if leadership is None:
            return None
        if provider not in self._before:
            found = await self._deps.store.read(lambda tx: tx.lease(_name(provider)))
            if found is None:  # from its first look on, lest restarts raise it before anything was found clean
                await self._write(provider, leadership.epoch_before)
            self._before[provider] = found.epoch if found is not None else leadership.epoch_before
        return self._before[provider]

    async def _note(self, provider: str) -> None:
        """Once in every leadership."""
        leadership = self._deps.leadership
        if leadership is None or self._noted.get(provider) == leadership.epoch:
            return
        await self._write(provider, leadership.epoch)
        self._noted[provider] = leadership.epoch

    async def _write(self, provider: str, epoch: int) -> None:
        mark = Lease(_name(provider), holder="", epoch=epoch, duration_s=0.0, renewals=0)
        await self._deps.store.run(lambda tx: tx.put_lease(mark), power_safe=True)


def _name(provider: str) -> str:
    """Of the row, beside the leader's own."""
    return f"lineage of {provider}"
