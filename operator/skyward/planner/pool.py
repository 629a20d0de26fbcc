"""`plan_pool`: from a pool and its nodes to the rows that must be added, marked or removed. It never leads to a cloud call:
nodes do that, each proving for itself what it needs."""

from __future__ import annotations

from collections.abc import Sequence

from skyward.api import Reason
from skyward.facts import ObservedPool
from skyward.planner.failures import Failures, forget, judge
from skyward.planner.places import Member, Place, classify
from skyward.planner.plans import ForgetNode, PoolAction, PoolPlan, RetireNode
from skyward.planner.pool_conditions import NodeCounts, Situation, count_members, pool_conditions
from skyward.planner.rollout import Moves, plan_moves

NOTHING = Moves((), ())


def plan_pool(observed: ObservedPool, now: float) -> PoolPlan:
    """What to change, and the pool's conditions. The same world planned again after the actions asks for none.

    Without a complete listing of every provider nothing is concluded: only a deleted pool still marks its nodes as
    leaving, because each node proves what it needs before it acts on that. A paused pool is only reported.
    """
    pool = observed.pool
    members = classify(observed)
    failures = judge(pool, members, now)
    forgotten: tuple[ForgetNode, ...] = ()
    if pool.metadata.deletion_timestamp is not None:
        moves = Moves(_retire_all(members), ())
        forgotten = _forget_all(members) if observed.synced else ()
    elif pool.spec.paused or not observed.synced:
        moves = NOTHING
    else:
        moves = plan_moves(pool.spec, members, failures, now)
        forgotten = forget(pool, members, now)
    actions: tuple[PoolAction, ...] = (*moves.retire, *moves.create, *forgotten)
    situation = Situation(
        pool=pool,
        members=members,
        counts=count_members(members),
        failures=failures,
        moves=moves,
        unsynced=observed.unsynced,
    )
    return PoolPlan(actions, pool_conditions(situation), _requeue(failures, now))


def count_nodes(observed: ObservedPool) -> NodeCounts:
    """The numbers of the pool's status."""
    return count_members(classify(observed))


def _retire_all(members: Sequence[Member]) -> tuple[RetireNode, ...]:
    staying = (Place.GONE, Place.LEAVING)
    return tuple(
        RetireNode(member.key, Reason.POOL_DELETED, "its pool is being deleted")
        for member in members
        if member.place not in staying
    )


def _forget_all(members: Sequence[Member]) -> tuple[ForgetNode, ...]:
    return tuple(
        ForgetNode(member.key, Reason.POOL_DELETED, "its pool is being deleted")
        for member in members
        if member.place is Place.GONE
    )


def _requeue(failures: Failures, now: float) -> float | None:
    """When time alone changes the plan: a delay after failures ends, or the user's request comes to count."""
    times = [failures.asks_at] if failures.stopped else [failures.asks_at, failures.hold_until]
    ahead = [time - now for time in times if time is not None and time > now]
    return min(ahead, default=None)
