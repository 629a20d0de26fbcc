"""Control: who writes, whose clock counts, and whether these are the newest records."""

from tests.mutants.mutant import Edit, Mutant
from tests.mutants.trials import Laws, Simulated

_LEADERSHIP = "skyward.kit.leadership"
_LINEAGE = "skyward.kit.lineage"
_FREEZES = ("freeze", "slow", "slow-commit")

MUTANTS = (
    Mutant(
        "no-epoch-check",
        "S25",
        (Edit("skyward.store.writer", "if row != (self._fence.holder, self._fence.epoch):", "if row is None:"),),
        (Simulated("token", 1.0, _FREEZES, operators=2),),
        "an operator that slept through the loss of its lease goes on writing",
    ),
    Mutant(
        "lease-not-asked-before-calls",
        "S25",
        (Edit("skyward.kit.guarded", "        await self._confirm()\n", ""),),
        (
            Simulated(
                "token", 1.0, ("freeze", "fail-before"), ("users", "cloud", "chaos"), 8.0, operators=2, nodes=8, hint=7
            ),
        ),
        "an operator that slept through the loss of its lease makes and deletes machines",
    ),
    Mutant(
        "epoch-not-raised",
        "S25",
        (Edit(_LEADERSHIP, "return self._put(tx, fresh, before + 1) if", "return self._put(tx, fresh, before) if"),),
        (Simulated("local", 0.3, ("slow",), ("users", "chaos"), operators=2),),
        "two leaders have one fencing number",
    ),
    Mutant(
        "lease-taken-from-a-living-holder",
        "S29",
        (
            Edit(
                _LEADERSHIP,
                "return self._clock.monotonic() - since >= lease.duration_s",
                "return self._clock.monotonic() >= since",
            ),
        ),
        (Simulated("local", 0.3, ("slow",), ("users", "chaos"), operators=2),),
        "two operators throw each other out for ever",
    ),
    Mutant(
        "clock-jumps-are-believed",
        "S29",
        (
            Edit(
                "skyward.kit.steady",
                "return self._base + (self._clock.monotonic() - self._since)",
                "return self._clock.now()",
            ),
        ),
        (
            Simulated(
                "listed", 1.0, ("clock-jump", "fail-after", "hang", "stale-read"), ("users", "cloud", "chaos", "nodes")
            ),
        ),
        "a laptop that slept takes everything for overdue",
    ),
    Mutant(
        "lineage-ignored",
        "S28",
        (
            Edit(
                _LINEAGE,
                "return instance.epoch is not None and epoch_before is not None and instance.epoch >= epoch_before",
                "return False",
            ),
        ),
        (Laws("guards", 1),),
        "an operator with a restored backup deletes what was made since",
    ),
    Mutant(
        "empty-records-trusted",
        "S28",
        (
            Edit(_LINEAGE, "    if not has_launches:\n        return True\n", ""),
            Edit(_LINEAGE, "instance.epoch >= epoch_before", "instance.epoch > epoch_before + 1"),
        ),
        (Laws("guards", 1),),
        "an operator that lost its database sweeps away everything it ever made",
    ),
)
