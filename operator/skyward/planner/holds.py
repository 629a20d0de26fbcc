"""What intake holds back from a pool, said in its conditions and put on record like any other decision."""

from __future__ import annotations

from skyward.api import Pool, Reason
from skyward.facts import Decision, DecisionKind

MASS_DELETION = "mass-deletion"


def holds_of(pool: Pool) -> tuple[Decision, ...]:
    """Nothing when the pool goes anyhow."""
    held = pool.status.held
    if held is None or pool.metadata.deletion_timestamp is not None:
        return ()
    decision = Decision(
        kind=DecisionKind.HOLD,
        rule=MASS_DELETION,
        reason=Reason.DELETION_HELD,
        message=str(held),
        inputs=(("change", "; ".join(held.changes)), ("pools", held.pools), ("nodes", held.nodes), ("hash", held.hash)),
    )
    return (decision,)
