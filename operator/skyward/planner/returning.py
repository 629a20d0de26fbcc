"""Back to spot: a node that was made on demand for lack of spot machines, once there are some again."""

from __future__ import annotations

from skyward.api import Node, NodeCondition, Pool, Status, find
from skyward.api.quantities import OFF, parse_duration
from skyward.facts import ON_DEMAND, SPOT, ObservedMarket
from skyward.planner.shopping import shopping_of, terms_of, uses_spot_first
from skyward.planner.sifting import Candidate, sift


def return_due_at(node: Node, pool: Pool | None, started_at: float = 0.0) -> float | None:
    """From when on spot machines are looked for again; None for a node that stays where it is."""
    if pool is None or pool.spec.spot.return_after == OFF or node.status.capacity_type != ON_DEMAND:
        return None
    launched = find(node.status.conditions, NodeCondition.LAUNCHED)
    leaves = node.metadata.deletion_timestamp is not None or node.status.failure
    if leaves or launched is None or launched.status is not Status.TRUE:
        return None
    terms = terms_of(pool, node, 0.0)
    if terms.on_demand or not any(uses_spot_first(want, terms) for want in shopping_of(node.spec.template).wants):
        return None
    began = max(launched.last_transition_time.timestamp(), started_at)
    return began + parse_duration(pool.spec.spot.return_after)


def spot_again(node: Node, pool: Pool, market: ObservedMarket, now: float) -> str:
    """Why it should give way to a spot machine, for a node that is due; empty while none is free. What was refused within the
    same time does not count as free: else one node after the other would be replaced for nothing."""
    after_s = parse_duration(pool.spec.spot.return_after)
    refused = {name for name, at in market.refusals if at > now - after_s}
    terms = terms_of(pool, node, now)
    sifted = sift(shopping_of(node.spec.template), market.offerings, market.cool_downs, terms, now)
    free = [one for one in sifted.candidates if _is_spot(one) and one.is_free and not refused & _names(one)]
    if not free:
        return ""
    best = min(free, key=lambda one: one.rank)
    return f"it is on demand for lack of spot machines, and {best.offering.id} is free again"


def _is_spot(candidate: Candidate) -> bool:
    return candidate.offering.capacity_type == SPOT


def _names(candidate: Candidate) -> set[str]:
    return {candidate.offering.id, candidate.offering.provider}
