"""The laws of `plan_pool`: what must be true of the plan of any world whatsoever."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf
from random import Random

from skyward.api import Node, NodeCondition, PoolCondition, Reason, Status, is_true
from skyward.api.quantities import parse_instant, resolve_share
from skyward.facts import ObservedPool
from skyward.planner import CreateNode, ForgetNode, KeepNode, Place, PoolPlan, RetireNode, classify, plan_pool
from skyward.planner.bounds import Availability, Bounds, bounds
from skyward.planner.budgets import strictest
from skyward.planner.drift import Wanted
from skyward.planner.failures import Failures, judge
from skyward.planner.health import evidence
from skyward.planner.keeping import MOST_KEPT
from skyward.planner.places import Member
from skyward.planner.replacing import count_new
from tests.properties.worlds import applied

REPLACEMENT = {Reason.TEMPLATE_CHANGED, Reason.REPLACE_REQUESTED, Reason.RESTART_REQUESTED, Reason.INSTANCE_DRIFTED}
VOLUNTARY = {Reason.TOO_MANY_NODES, *REPLACEMENT}
ALWAYS = set(PoolCondition) - {PoolCondition.ACCEPTED}
ONLY_WHILE_TRUE = {PoolCondition.DELETING, PoolCondition.PAUSED, PoolCondition.STALLED}
REPAIR_WAITS = {"unhealthy-limit", "repair-in-flight", "repair-slow-start"}
LONGEST_LOOK_S = 2 * 86400.0


@dataclass(frozen=True)
class Judged:
    """One world, its plan, and what several laws ask of them."""

    observed: ObservedPool
    plan: PoolPlan
    now: float

    @cached_property
    def before(self) -> tuple[Member, ...]:
        return classify(self.observed, Wanted.of(self.observed.pool, self.now))

    @cached_property
    def after_world(self) -> ObservedPool:
        return applied(self.observed, self.plan, self.now)

    @cached_property
    def standing(self) -> tuple[Member, ...]:
        """What stands once the plan is carried out."""
        after = (
            classify(self.after_world, Wanted.of(self.observed.pool, self.now)) if self.plan.actions else self.before
        )
        return tuple(member for member in after if member.place.stands)

    @cached_property
    def members(self) -> Mapping[str, Member]:
        return {member.key: member for member in self.before}

    @cached_property
    def retired(self) -> tuple[RetireNode, ...]:
        return tuple(one for one in self.plan.actions if isinstance(one, RetireNode))

    @cached_property
    def created(self) -> tuple[CreateNode, ...]:
        return tuple(one for one in self.plan.actions if isinstance(one, CreateNode))

    @cached_property
    def taken(self) -> set[str]:
        """Those that hold no slot any more."""
        return {one.node for one in self.plan.actions if isinstance(one, RetireNode | KeepNode)}

    @cached_property
    def limits(self) -> Bounds:
        return bounds(self.observed.pool.spec)

    @cached_property
    def failures(self) -> Failures:
        return judge(self.observed.pool, self.before, self.now)

    @cached_property
    def available(self) -> Availability:
        return Availability.of(self.observed.pool.spec, self.now)


def check_pool(observed: ObservedPool, now: float, seed: int) -> PoolPlan:
    """Plan this world and assert every law. `seed` orders things anew."""
    pool = observed.pool
    plan = plan_pool(observed, now)
    world = Judged(observed, plan, now)
    _same_plan_in_any_order(world, seed)
    _nothing_more_at_the_same_instant(world)
    _restraint(world)
    _only_our_nodes_and_none_twice(world)
    _conditions_are_whole(plan)
    _says_each_thing_once(plan)
    _looks_again_in_time(world)
    if pool.metadata.deletion_timestamp is None and observed.synced and not pool.spec.paused:
        _within_bounds(world)
        _slow_start(world)
        _lowest_free_slots(world)
        _replaces_within_every_limit(world)
        _repairs_within_every_limit(world)
        _no_wedge(world)
    return plan


def _same_plan_in_any_order(world: Judged, seed: int) -> None:
    nodes = list(world.observed.nodes)
    Random(seed + 1).shuffle(nodes)
    assert plan_pool(replace(world.observed, nodes=tuple(nodes)), world.now) == world.plan, "order means something"


def _nothing_more_at_the_same_instant(world: Judged) -> None:
    """But a repair that others stood in the way of, which leave for another reason."""
    repair_waits = any(decision.rule in REPAIR_WAITS for decision in world.plan.decisions)
    if world.plan.actions and not repair_waits:
        again = plan_pool(world.after_world, world.now).actions
        assert again == (), f"planned again at the same instant: {again}"


def _restraint(world: Judged) -> None:
    """Nothing is concluded from an incomplete picture, and a paused pool is left alone."""
    observed, plan = world.observed, world.plan
    if observed.pool.metadata.deletion_timestamp is not None:
        allowed = (RetireNode, ForgetNode) if observed.synced else (RetireNode,)
        assert all(isinstance(action, allowed) for action in plan.actions)
        assert all(action.reason is Reason.POOL_DELETED for action in plan.actions)
        assert all(member.place in (Place.LEAVING, Place.GONE) or member.key in world.taken for member in world.before)
    elif not observed.synced or observed.pool.spec.paused:
        assert plan.actions == (), "acts without a complete picture, or in a paused pool"


def _only_our_nodes_and_none_twice(world: Judged) -> None:
    touched = [action.node for action in world.plan.actions if not isinstance(action, CreateNode)]
    assert len(touched) == len(set(touched)), "two actions for one node"
    for action in world.plan.actions:
        assert action.message
        if isinstance(action, RetireNode | KeepNode):
            place = world.members[action.node].place
            assert place not in (Place.LEAVING, Place.GONE), "retired twice"
            assert place is not Place.KEPT or action.reason is Reason.POOL_DELETED, "took what is kept for a look"
        elif isinstance(action, ForgetNode):
            assert world.members[action.node].place is Place.GONE, "forgets what is not proved gone"


def _within_bounds(world: Judged) -> None:
    slots = [member.slot for member in world.standing]
    assert len(slots) <= world.limits.ceiling, "above nodes + maxSurge"
    assert len(set(slots)) == len(slots), "two nodes stand in one slot"
    if not any(member.outdated for member in world.standing):
        assert len(slots) <= world.limits.nodes, "surge with nobody to replace"
    choice = [one for one in world.retired if one.reason in VOLUNTARY]
    if any(world.members[one.node].place is Place.READY for one in choice):
        ready = sum(member.place is Place.READY for member in world.standing)
        assert ready >= world.limits.floor, "below nodes - maxUnavailable by our own choice"


def _replaces_within_every_limit(world: Judged) -> None:
    """A working node is replaced only as far as strategy, times, budgets, canaries and protection all allow."""
    spec = world.observed.pool.spec
    gone = [one for one in world.retired if one.reason in REPLACEMENT]
    working = [world.members[one.node] for one in gone if world.members[one.node].place is Place.READY]
    assert not any(world.members[one.node].is_protected for one in gone), "took what must not be disrupted"
    not_yet = spec.rollout.not_before is not None and parse_instant(spec.rollout.not_before) > world.now
    if not_yet or spec.rollout.strategy == "OnDelete":
        assert all(one.reason is Reason.REPLACE_REQUESTED for one in gone), "rolls out what waits"
    leaving = sum(one.place is Place.LEAVING and one.outdated for one in world.before)
    budget = strictest(spec.disruption.budgets, spec.nodes, world.now).nodes if working else None
    assert budget is None or len(working) + leaving <= budget, "beyond the disruption budget"
    if spec.rollout.strategy == "Recreate":
        kept = {one.node for one in world.plan.actions if isinstance(one, KeepNode)}
        away = (Place.GONE, Place.KEPT)
        live = [one for one in world.before if one.place not in away and one.key not in kept]
        assert not (world.created and any(one.outdated for one in live)), "two templates at once"
        return
    left = sum(world.available.holds(member) for member in world.standing)
    least = world.limits.nodes if world.limits.surge else world.limits.floor
    assert not working or left >= least, "an old node was replaced with too few that serve"
    _canaries_first(world, len(gone))


def _canaries_first(world: Judged, gone: int) -> None:
    spec = world.observed.pool.spec
    if not spec.rollout.canary:
        return
    new = [one for one in world.before if one.place.stands and not one.outdated]
    canaries = min(resolve_share(spec.rollout.canary, spec.nodes, round_up=True), spec.nodes)
    if sum(world.available.holds(member) for member in new) < canaries:
        there = sum(
            one.place in (Place.READY, Place.UNSURE, Place.PENDING) and one.key not in world.taken for one in new
        )
        assert gone <= max(0, canaries - there), "more than the canaries before they are proved"


def _repairs_within_every_limit(world: Judged) -> None:
    """Unhealthy nodes go a few at a time, and none while too many are unhealthy; few are kept for a look."""
    pool = world.observed.pool
    repaired = [one for one in world.plan.actions if isinstance(one, KeepNode) or one.reason is Reason.UNHEALTHY]
    check = pool.spec.health_check
    if repaired:
        announced = {one.node for one in world.retired if one.reason is Reason.INTERRUPTED}
        ill = [one.node for one in world.observed.nodes if evidence(one, pool) and one.node.key not in announced]
        sick = sum(_is_sick(node, world) for node in ill)
        limit = resolve_share(check.unhealthy_limit if check else "40%", pool.spec.nodes, round_up=True)
        assert sick <= limit, "repairs although too many are unhealthy"
        assert len(repaired) <= (check.max_in_flight if check else 1), "too many repairs at once"
    kept = sum(member.place is Place.KEPT for member in world.before)
    assert kept + sum(isinstance(one, KeepNode) for one in repaired) <= MOST_KEPT, "too many are kept"


def _is_sick(node: Node, world: Judged) -> bool:
    return world.members[node.key].place in (Place.READY, Place.PENDING, Place.UNSURE)


def _says_each_thing_once(plan: PoolPlan) -> None:
    said = [(decision.kind, decision.rule, decision.target) for decision in plan.decisions]
    assert len(said) == len(set(said)), "one decision twice"
    for decision in plan.decisions:
        assert decision.kind.stands
        assert decision.message


def _looks_again_in_time(world: Judged) -> None:
    """Whatever time alone changes is looked at when it does: a second later, with nothing due, all is as it was."""
    due_s = world.plan.requeue_after_s
    assert due_s is None or 0 < due_s < LONGEST_LOOK_S
    if (
        world.plan.actions
        or (due_s is not None and due_s <= 1)
        or any(_is_about_to_be_kept(one) for one in world.before)
    ):
        return
    later = plan_pool(world.observed, world.now + 1)
    assert later.actions == (), "time alone asked for actions, and nobody looked"
    if (later.decisions, later.conditions) != (world.plan.decisions, world.plan.conditions):
        again = plan_pool(
            world.observed, world.now + 2
        )  # a failure that is not on record yet counts from this second on
        assert (later.decisions, later.conditions) == (again.decisions, again.conditions), "tells how time passes"


def _is_about_to_be_kept(member: Member) -> bool:
    """Its own plan cordons it at once, and from then on its failure has a time."""
    return member.place is Place.KEPT and not is_true(member.node.status.conditions, NodeCondition.CORDONED)


def _no_wedge(world: Judged) -> None:
    """Too few nodes, nothing on its way, nothing done: then a time is set, a human is asked or something is said."""
    plan, spec = world.plan, world.observed.pool.spec
    moving = any(member.place in (Place.PENDING, Place.UNSURE, Place.LEAVING, Place.LOST) for member in world.before)
    ready = sum(member.place is Place.READY for member in world.before)
    if ready < spec.nodes and not moving and not plan.actions and plan.requeue_after_s is None:
        stalled = next(update for update in plan.conditions if update.type == PoolCondition.STALLED)
        assert stalled.status is Status.TRUE or plan.decisions, "waits for nothing"


def _slow_start(world: Judged) -> None:
    failures, created = world.failures, len(world.created)
    stalled = next(update for update in world.plan.conditions if update.type == PoolCondition.STALLED)
    if failures.stopped:
        assert created == 0, "a stopped template was tried again"
        given_up = [one for one in world.retired if one.reason in REPLACEMENT]
        assert not given_up, "gives nodes up for a template that never worked"
        is_idle = not world.observed.pool.spec.nodes and not any(member.place.stands for member in world.before)
        assert stalled.status is Status.TRUE or is_idle, "does not say that a human must act"
    elif failures.consecutive:
        staying = (member for member in world.before if member.place.stands and member.key not in world.taken)
        assert created == 0 or created + count_new(staying) == 1, "more than one try after a failure"
        assert created == 0 or world.now >= (failures.hold_until or -inf), "tried again too early"


def _lowest_free_slots(world: Judged) -> None:
    taken = {member.slot for member in world.before if member.place.stands and member.key not in world.taken}
    slots = [action.slot for action in world.created]
    assert slots == [slot for slot, _ in zip(_free(taken), slots, strict=False)], "not the lowest free slots"


def _free(taken: set[int]) -> Iterator[int]:
    slot = 0
    while True:
        if slot not in taken:
            yield slot
        slot += 1


def _conditions_are_whole(plan: PoolPlan) -> None:
    types = [update.type for update in plan.conditions]
    assert set(types) == ALWAYS
    assert len(types) == len(set(types))
    for update in plan.conditions:
        assert update.status is not None or update.type in ONLY_WHILE_TRUE
        assert update.type not in ONLY_WHILE_TRUE or update.status in (None, Status.TRUE)
