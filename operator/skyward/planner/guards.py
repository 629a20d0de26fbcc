"""What the guards on reality hold back in a pool, as decisions that stand until the cause is gone."""

from __future__ import annotations

from collections.abc import Iterator

from skyward.api import Reason, to_time
from skyward.facts import Decision, DecisionKind, Hindrance, ObservedPool
from skyward.planner.failures import Failures


def guards_of(observed: ObservedPool, failures: Failures, limit: Hindrance | None, now: float) -> tuple[Decision, ...]:
    return tuple(_guards(observed, failures, limit, now))


def hold(hindrance: Hindrance) -> Decision:
    return Decision(DecisionKind.HOLD, hindrance.rule, hindrance.reason, hindrance.message, hindrance.inputs)


def _guards(observed: ObservedPool, failures: Failures, limit: Hindrance | None, now: float) -> Iterator[Decision]:
    if observed.unsynced:
        names = ", ".join(sorted(observed.unsynced))
        message = f"there is no complete, fresh listing of {names}; nothing is made or removed until there is"
        yield Decision(DecisionKind.WAIT, "unsynced", Reason.NOT_SYNCED, message)
    if observed.blocked is not None:
        yield hold(observed.blocked)
    if limit is not None:
        yield hold(limit)
    if failures.successes:
        message = "after a failure no more nodes come up at once than became ready since, and one"
        yield Decision(DecisionKind.WAIT, "slow-start", Reason.SLOW_START, message, (("ready", failures.successes),))
    pool = observed.pool
    if observed.unsynced or pool.spec.paused or pool.metadata.deletion_timestamp is not None or not pool.spec.nodes:
        return  # nothing is tried now; and a failure that is not on record yet has no time of its own
    if failures.consecutive and not failures.stopped and failures.hold_until is not None and failures.hold_until > now:
        message = f"after {failures.consecutive} failed nodes in a row the next is tried later: {failures.message}"
        inputs = (("failures", failures.consecutive), ("until", to_time(failures.hold_until).isoformat()))
        yield Decision(DecisionKind.WAIT, "failure-backoff", Reason.BACKING_OFF, message, inputs)
