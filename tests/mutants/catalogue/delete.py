"""Deleting: only ours, until it is proved, and never forgotten."""

from tests.mutants.mutant import Edit, Mutant
from tests.mutants.trials import Laws, Simulated

_LEAVING = "skyward.planner.leaving"
_GARBAGE = "skyward.controllers.garbage.reconciler"
_TOMBSTONES = "skyward.controllers.garbage.tombstones"
_POOL_END = "skyward.controllers.pool.deletion"

MUTANTS = (
    Mutant(
        "deletes-given-up",
        "S11",
        (
            Edit(
                _LEAVING,
                "    if listed_at is None:\n        return _waiting(",
                "    is_tired = asked_at is not None and case.now > asked_at + 4.0\n"
                "    if listed_at is None or (is_tired and absence(case) is not Absence.PROVED):\n"
                "        return _waiting(",
            ),
        ),
        (Simulated("token", 0.5, ("lazy-delete", "not-yet"), ("users", "cloud"), hint=1),),
        "a machine whose deletion was lost is paid for until somebody looks at the bill",
    ),
    Mutant(
        "gone-when-asked",
        "S6",
        (
            Edit(
                _LEAVING,
                "    known = absence(case)\n    if known is Absence.PROVED:",
                "    known = absence(case)\n    if True:",
            ),
        ),
        (Simulated("token", 0.2, ("lazy-delete", "not-yet"), ("users", "cloud")),),
        "the record is dropped when deletion was asked for, whether or not the machine ever goes",
    ),
    Mutant(
        "orphan-deleted-at-first-sight",
        "L3",
        (
            Edit(
                _GARBAGE,
                "            self._marked[key] = listing.started_at\n",
                "            self._marked[key] = listing.started_at\n            return True\n",
            ),
        ),
        (Simulated("token", 0.5, ("orphan",), ("users", "cloud", "chaos")),),
        "a machine that somebody binds a moment later is deleted",
    ),
    Mutant(
        "orphans-stay",
        "L3",
        (
            Edit(
                _GARBAGE,
                "        if launch is None:\n            return True\n",
                "        if launch is None:\n            return False\n",
            ),
        ),
        (Simulated("token", 0.5, ("orphan",), ("users", "cloud", "chaos")),),
        "what nobody knows is never deleted",
    ),
    Mutant(
        "surplus-stays",
        "L3",
        (
            Edit(
                _GARBAGE,
                "return launch.state not in UNRESOLVED and not self._is_awaited(launch.id)",
                "return False",
            ),
        ),
        (Simulated("token", 0.3, ("surplus",), ("users", "cloud"), 40.0),),
        "a provider that made one more than it was asked for is paid for it for ever",
    ),
    Mutant(
        "sweeps-what-is-not-ours",
        "S9",
        (
            Edit(
                "skyward.kit.listings",
                "return await self._driver.list(self._owner)",
                'return await self._driver.list("")',
            ),
        ),
        (Simulated("token", 0.5, ("foreign",), ("users", "cloud", "chaos")),),
        "a listing without the owner's mark sweeps away what other people run in the same account",
    ),
    Mutant(
        "tombstones-dropped-at-once",
        "S10",
        (Edit(_TOMBSTONES, "age_now - one.gone_at >= KEPT_S", "age_now - one.gone_at >= 0.0"),),
        (Simulated("token", 0.3, ("fail-after",), ("users", "cloud")),),
        "what appears late is no longer known as ours",
    ),
    Mutant(
        "pool-goes-before-its-nodes",
        "S22",
        (
            Edit("skyward.controllers.pool.reconciler", "if deleting and not observed.nodes:", "if deleting:"),
            Edit(
                _POOL_END,
                "any(node.spec.pool_uid == pool.metadata.uid for node in tx.list(Node, pool.metadata.namespace))",
                "False",
            ),
        ),
        (Simulated("token", 0.3, ("slow",), ("users", "cloud")),),
        "the pool is gone, and its machines still run under records that nobody looks after",
    ),
    Mutant(
        "pool-goes-before-a-listing-proves-it",
        "S10",
        (
            Edit(
                _POOL_END,
                "        if reason is not None:\n            deps.listings.poke(provider)",
                "        if reason == 0:\n            deps.listings.poke(provider)",
            ),
        ),
        (Laws("ending", 5),),
        "a deleted pool leaves machines behind that no node was ever bound to",
    ),
)
