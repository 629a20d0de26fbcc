"""Guards on desire: what may be concluded from files that are missing, broken or half there."""

from tests.mutants.mutant import Edit, Mutant
from tests.mutants.trials import Simulated

_APPLYING = "skyward.intake.applying"
_FILES = ("users", "files")

MUTANTS = (
    Mutant(
        "one-absence-is-enough",
        "S18",
        (Edit("skyward.intake.absence", "if now - since >= self._absence_s)", "if now - since >= 0.0)"),),
        (Simulated("local", 0.3, ("other-branch",), _FILES),),
        "a checkout that takes a moment tears the fleet down",
    ),
    Mutant(
        "evidence-outlives-an-outage",
        "S18",
        (Edit("skyward.intake.taking", "        self.absences.forget()\n        is_long", "        is_long"),),
        (Simulated("local", 1.0, ("source-unreadable",), _FILES, 40.0, hint=1),),
        "two looks prove an absence although nobody could look in between",
    ),
    Mutant(
        "marker-ignored",
        "S18",
        (Edit("skyward.intake.reporting", "    if marker is None:\n", '    if marker is None:\n        return ""\n'),),
        (Simulated("local", 0.5, ("source-replaced",), _FILES, 10.0, hint=3),),
        "an empty directory in place of the right one deletes every pool",
    ),
    Mutant(
        "git-at-work-ignored",
        "S20",
        (
            Edit(
                "skyward.intake.snapshot",
                "if operation is not None and operation.sign != despite:",
                "if operation == despite:",
            ),
        ),
        (Simulated("local", 0.5, ("git-busy",), _FILES, hint=2),),
        "half of a checkout is taken for what its author wants",
    ),
    Mutant(
        "broken-document-is-absent",
        "S17",
        (
            Edit(
                "skyward.intake.declared",
                "return not (self.claims.get(pool.key) or self.nameless_of(pool) or self.emptied(pool))",
                "return document_of(self.claims.get(pool.key, ())) is None",
            ),
        ),
        (Simulated("local", 0.5, ("broken-manifest",), _FILES),),
        "a typo in a manifest deletes its pool",
    ),
    Mutant(
        "hold-ignored",
        "S19",
        (
            Edit(
                "skyward.intake.holding",
                "held = losses if _exceeds(losses, living, limits) else [loss for loss in losses if loss.pool.status.held]",
                "held = []",
            ),
        ),
        (Simulated("local", 0.5, ("other-branch",), _FILES),),
        "a wrong branch deletes most pools at once",
    ),
    Mutant(
        "any-approval-will-do",
        "S19",
        (
            Edit(
                _APPLYING,
                "if hold is None or hold.hash not in rules.approved:",
                "if hold is None or not rules.approved:",
            ),
        ),
        (Simulated("local", 1.0, ("other-branch",), _FILES, 10.0),),
        "what was approved once lets every later accident through",
    ),
    Mutant(
        "approval-without-proof",
        "S18",
        (
            Edit(
                _APPLYING,
                "return None if not removed or (rules.counts_absence and removed <= rules.proved) else hold",
                "return None",
            ),
            Edit(
                _APPLYING,
                "elif rules.counts_absence and pool.metadata.uid in rules.proved:",
                "elif rules.counts_absence:",
            ),
        ),
        (Simulated("local", 0.3, ("other-branch",), _FILES),),
        "one look at a directory proves that a pool is gone from it",
    ),
    Mutant(
        "uid-used-again",
        "S22",
        (Edit(_APPLYING, "rules.new_uid(), to_time(rules.now)", 'f"uid-{document.pool.key}", to_time(rules.now)'),),
        (Simulated("local", 0.5, ("slow",), ("users",)),),
        "a pool that is declared again is mixed up with the one that is still leaving",
    ),
    Mutant(
        "generation-stays",
        "S24",
        (Edit(_APPLYING, "pool.metadata.generation + (wanted.spec != pool.spec)", "pool.metadata.generation"),),
        (Simulated("local", 0.3, ("slow",), ("users",)),),
        "nobody can tell whether a change was taken up",
    ),
    Mutant(
        "observed-generation-goes-back",
        "S24",
        (
            Edit(
                "skyward.controllers.pool.status",
                "observed_generation=generation,",
                "observed_generation=0 if plan.actions else generation,",
            ),
        ),
        (Simulated("local", 0.3, ("slow",), ("users",)),),
        "a change that was taken up looks as if it were not",
    ),
    Mutant(
        "node-added-to-a-leaving-pool",
        "S22",
        (
            Edit(
                "skyward.planner.pool",
                "    if pool.metadata.deletion_timestamp is not None:\n        moves = Moves(_retire_all(members), ())",
                "    if now < 0.0:\n        moves = Moves(_retire_all(members), ())",
            ),
        ),
        (Simulated("local", 0.5, ("slow",), ("users",)),),
        "a pool that is being deleted goes on buying machines",
    ),
)
