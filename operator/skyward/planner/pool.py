"""`plan_pool`: from a pool and its nodes to the rows that must be added, marked or removed. It never leads to a cloud call:
nodes do that, each proving for itself what it needs."""

from __future__ import annotations

from collections.abc import Sequence

from skyward.api import Reason
from skyward.facts import ObservedPool
from skyward.planner.bounds import Availability
from skyward.planner.drift import Wanted
from skyward.planner.failures import Failures, forget, forgets_at, judge
from skyward.planner.guards import guards_of
from skyward.planner.holds import holds_of
from skyward.planner.places import Member, Place, classify
from skyward.planner.plans import ForgetNode, PoolAction, PoolPlan, RetireNode
from skyward.planner.pool_conditions import Situation, count_members, pool_conditions
from skyward.planner.repair import NO_REPAIRS, plan_repairs
from skyward.planner.rollout import Moves, plan_moves
from skyward.planner.waits import PAUSED

NOTHING = Moves((), ())
LEFT_ALONE = Moves((), (), (PAUSED,))


def plan_pool(observed: ObservedPool, now: float) -> PoolPlan:
    """What to change, and the pool's conditions. The same world planned again after the actions asks for none.

    Without a complete listing of every provider nothing is concluded: only a deleted pool still marks its nodes as
    leaving, because each node proves what it needs before it acts on that. A paused pool is only reported.
    """
    pool = observed.pool
    wanted = Wanted.of(pool, now)
    members = classify(observed, wanted)
    available = Availability.of(pool.spec, now)
    failures = judge(pool, members, now)
    forgotten: tuple[ForgetNode, ...] = ()
    repairs = NO_REPAIRS
    if pool.metadata.deletion_timestamp is not None:
        moves = Moves(_retire_all(members), ())
        forgotten = _forget_all(members) if observed.synced else ()
    elif pool.spec.paused:
        moves = LEFT_ALONE
    elif not observed.synced:
        moves = NOTHING
    else:
        repairs = plan_repairs(observed, members, failures, now)
        moves = plan_moves(pool.spec, repairs.done_to(members), failures, now)
        forgotten = forget(pool, members, failures, now)
    actions: tuple[PoolAction, ...] = (*repairs.actions, *moves.retire, *moves.create, *forgotten)
    situation = Situation(
        pool=pool,
        members=members,
        counts=count_members(members, available),
        failures=failures,
        moves=moves,
        unsynced=observed.unsynced,
        doubt=observed.doubt,
        blocked=observed.blocked,
        repairs=repairs,
    )
    times = (moves.wake_at, wanted.restarts_at, available.next_at(members), repairs.look_at, forgets_at(members, now))
    requeue_after_s = _requeue(failures, times, now)
    guards = guards_of(observed, failures, situation.limit, now)
    decisions = (*holds_of(pool), *guards, *repairs.decisions, *moves.decisions)
    return PoolPlan(actions, pool_conditions(situation), situation.counts, requeue_after_s, decisions)


def _retire_all(members: Sequence[Member]) -> tuple[RetireNode, ...]:
    staying = (Place.GONE, Place.LEAVING)
    return tuple(
        RetireNode(member.key, Reason.POOL_DELETED, "its pool is being deleted", "pool-deleted")
        for member in members
        if member.place not in staying
    )


def _forget_all(members: Sequence[Member]) -> tuple[ForgetNode, ...]:
    return tuple(
        ForgetNode(member.key, Reason.POOL_DELETED, "its pool is being deleted")
        for member in members
        if member.place is Place.GONE
    )


def _requeue(failures: Failures, others: Sequence[float | None], now: float) -> float | None:
    """When time alone changes the plan: a delay after failures ends, the user's request comes to count, and others."""
    times = [failures.asks_at] if failures.stopped else [failures.asks_at, failures.hold_until]
    ahead = [time - now for time in (*times, *others) if time is not None and time > now]
    return min(ahead, default=None)
