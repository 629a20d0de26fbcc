"""Looking: what a listing says, and what its silence does not say."""

from tests.mutants.mutant import Edit, Mutant
from tests.mutants.trials import Simulated

_LISTINGS = "skyward.kit.listings"
_PROOF = "skyward.planner.proof"
_AMBIGUOUS = ("fail-after", "hang", "slow")

MUTANTS = (
    Mutant(
        "only-the-first-page",
        "S6",
        (
            Edit(
                _LISTINGS,
                "                return await self._driver.list(self._owner)\n",
                "                whole = await self._driver.list(self._owner)\n"
                "                return Listing(whole.provider, whole.instances[:2], whole.started_at, whole.ended_at)\n",
            ),
        ),
        (Simulated("listed", 0.5, _AMBIGUOUS, ("users", "cloud")),),
        "whatever is on page two counts as missing: it is launched again, and never deleted",
    ),
    Mutant(
        "failed-reading-is-an-empty-listing",
        "S7",
        (
            Edit(
                _LISTINGS,
                "                return await self._driver.list(self._owner)\n",
                "                at = self._clock.now()\n"
                "                try:\n"
                "                    return await self._driver.list(self._owner)\n"
                "                except ProviderError:\n"
                "                    return Listing(self._name, (), at, self._clock.now())\n",
            ),
        ),
        (Simulated("listed", 0.5, ("fail-after", "hang", "fail-before", "lost-request"), ("users", "cloud")),),
        "an outage of the provider looks as if everything were gone",
    ),
    Mutant(
        "stale-listing-counts-as-fresh",
        "S7",
        (
            Edit(
                _LISTINGS,
                "now - self.shown.listing.started_at <= _STALE_RESYNCS * self._resync_s",
                "now - self.shown.listing.started_at <= 1e9",
            ),
        ),
        (Simulated("token", 1.0, ("brown-out",), ("users", "cloud")),),
        "machines are made and deleted from a picture that may be hours old",
    ),
    Mutant(
        "gone-after-one-listing",
        "S6",
        (
            Edit(
                _PROOF,
                "proved_at = observed.missing_since + case.rules.visibility_s",
                "proved_at = observed.missing_since",
            ),
            Edit(_PROOF, "return Absence.UNASKED if", "return Absence.PROVED if"),
            Edit("skyward.controllers.observe", "        after = max(", "        after = 0.0 * max("),
        ),
        (Simulated("token", 1.0, ("stale-read",), ("users",)),),
        "a machine that one stale reading does not show is given up, and runs on",
    ),
    Mutant(
        "not-found-is-gone",
        "S6",
        (
            Edit(_PROOF, "proved_at = observed.missing_since + case.rules.visibility_s", "proved_at = 0.0"),
            Edit("skyward.controllers.observe", "        after = max(", "        after = 0.0 * max("),
        ),
        (Simulated("token", 1.0, ("stale-read",), ("users",)),),
        "a provider that does not know an id yet is believed that there is no such machine",
    ),
    Mutant(
        "launches-what-is-launched",
        "S14",
        (
            Edit(
                "skyward.controllers.node.launch",
                "if node is not None and _may_join(tx, node, asker):",
                "if node is not None:",
            ),
        ),
        (Simulated("token", 0.3, ("slow-commit",), ("users",), nodes=12),),
        "two nodes that look at the same moment launch for each other",
    ),
    Mutant(
        "loses-updates",
        "S14",
        (
            Edit(
                "skyward.controllers.records",
                "    return (\n        current.metadata.uid == read.metadata.uid\n"
                "        and current.metadata.resource_version == read.metadata.resource_version\n    )",
                "    return current.metadata.uid == read.metadata.uid",
            ),
        ),
        (Simulated("token", 1.0, ("slow-commit",), ("users", "cloud"), 10.0, hint=5),),
        "a plan made from what was true before the last write undoes that write",
    ),
    Mutant(
        "pool-plan-of-an-older-pool",
        "S24",
        (
            Edit(
                "skyward.controllers.pool.records",
                "if current is None or not same_version(current, pool):",
                "if current is None:",
            ),
            Edit(
                "skyward.controllers.pool.records",
                "        tx.put(current.replace(status=status))\n        return True",
                "        tx.put(pool.replace(status=status))\n        return True",
            ),
        ),
        (Simulated("token", 1.0, ("slow-commit",), ("users", "cloud"), 10.0, hint=3),),
        "what was planned for yesterday's pool is done to today's",
    ),
)
