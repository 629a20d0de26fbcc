"""How many nodes stand, which of them go and how many come: scale-down, roll-out and creation, in that order.

All are decided in one plan, so that the same world planned again asks for nothing more. What bounds them:
never more than `nodes + maxSurge` nodes that are not leaving, and never fewer than `nodes - maxUnavailable` available
ones by our own choice. A node lost without our doing lowers what is available and so what we may still take away.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from skyward.api import PoolSpec, Reason
from skyward.facts import Decision, Inputs
from skyward.planner.failures import Failures, first_line
from skyward.planner.places import Member, Place, was_ready
from skyward.planner.plans import CreateNode, RetireNode
from skyward.planner.replacing import Rollout, count_new
from skyward.planner.waits import rollout_waits

SCALE_DOWN = "scale-down"
ROLL_OUT = "roll-out"
REPLICAS = "replicas"
REPLACE_BROKEN = "replace-broken"


@dataclass(frozen=True, slots=True)
class Moves:
    retire: tuple[RetireNode, ...]
    create: tuple[CreateNode, ...]
    decisions: tuple[Decision, ...] = ()
    """What is held back or waited for."""
    wake_at: float | None = None
    """When time alone changes these moves."""


def plan_moves(spec: PoolSpec, members: Sequence[Member], failures: Failures, now: float) -> Moves:
    retire = [_retire_broken(member) for member in members if _is_broken(member)]
    standing = [member for member in members if member.place.stands and not _is_broken(member)]
    leaving = sum(member.outdated and _goes(member) for member in members)
    rollout = Rollout.of(spec, failures, leaving, now, rolling=any(member.outdated for member in standing))
    cause = next((member for member in standing if rollout.rolling and rollout.moves(member)), None)
    for choose in (_excess, _outdated, _excess):  # a roll-out that ends takes the surge with it
        chosen = {member.key: action for member, action in choose(standing, rollout)}
        standing = [member for member in standing if member.key not in chosen]
        retire.extend(chosen.values())
    create = tuple(_creates(standing, rollout, cause))
    times = (rollout.begins_at, rollout.budget.changes_at)
    return Moves(
        tuple(retire),
        create,
        rollout_waits(rollout, standing),
        min((time for time in times if time is not None), default=None),
    )


# --- what is broken ----------------------------------------------------------------------------------------------


def _goes(member: Member) -> bool:
    return member.place is Place.LEAVING or _is_broken(member)


def _is_broken(member: Member) -> bool:
    """A lost node that was never ready is left to its own plan first: that writes the failure which counts against the
    template. One that was ready can go at once."""
    return member.place is Place.FAILED or (member.place is Place.LOST and was_ready(member.node))


def _retire_broken(member: Member) -> RetireNode:
    if member.place is Place.FAILED:
        return RetireNode(member.key, Reason.NODE_FAILED, first_line(member.node.status.failure), REPLACE_BROKEN)
    because = f": {member.provider_says}" if member.provider_says else ""
    if member.interrupted:
        message = f"its provider took the instance away{because}"
        return RetireNode(member.key, Reason.INTERRUPTED, message, REPLACE_BROKEN)
    instance = member.node.status.provider_id
    message = f"its instance {instance} stopped for good{because}"
    return RetireNode(member.key, Reason.NODE_LOST, message, REPLACE_BROKEN)


# --- scale-down --------------------------------------------------------------------------------------------------

Choice = tuple[Member, RetireNode]


def _excess(standing: Sequence[Member], rollout: Rollout) -> list[Choice]:
    """What serves least goes first; among equals the highest slot, and last those that a user protects."""
    if len(standing) <= rollout.most(standing):
        return []
    rest = sorted(standing, key=_usefulness, reverse=True)
    message = f"more nodes than wanted: {len(standing)}, wanted {rollout.limits.nodes}"
    inputs: Inputs = (("standing", len(standing)), ("nodes", rollout.limits.nodes))
    chosen: list[Choice] = []
    while len(rest) > rollout.most(rest):
        member = rest.pop()
        chosen.append((member, RetireNode(member.key, Reason.TOO_MANY_NODES, message, SCALE_DOWN, inputs)))
    return chosen


def _usefulness(member: Member) -> tuple[int, bool, bool, int, str]:
    order = (Place.LOST, Place.PENDING, Place.UNSURE, Place.READY)
    return (order.index(member.place), member.is_protected, not member.outdated, -member.slot, member.key)


# --- roll-out ----------------------------------------------------------------------------------------------------


def _outdated(standing: Sequence[Member], rollout: Rollout) -> list[Choice]:
    inputs: Inputs = (
        ("nodes", rollout.limits.nodes),
        ("available", rollout.available(standing)),
        ("floor", rollout.floor),
    )
    return [
        (member, RetireNode(member.key, member.drift.reason, member.drift.message, ROLL_OUT, inputs))
        for member in rollout.leaves_now(standing)
        if member.drift is not None
    ]


# --- creation ----------------------------------------------------------------------------------------------------


def _creates(standing: Sequence[Member], rollout: Rollout, cause: Member | None) -> Iterable[CreateNode]:
    """The lowest free slots are filled; a surge node gets one above `nodes` because the others are taken. `cause` is the first
    of the nodes that a roll-out began with."""
    room = _room(standing, rollout)
    nodes = rollout.limits.nodes
    up_to_date = sum(not member.outdated for member in standing)
    free = _free_slots(standing)
    reason, rule = Reason.TOO_FEW_NODES, REPLICAS
    if cause is not None and cause.drift is not None:
        reason, rule = cause.drift.reason, ROLL_OUT
    message = f"{up_to_date} of {nodes} wanted nodes {'are up to date' if cause is not None else 'stand'}"
    inputs: Inputs = (("nodes", nodes), ("standing", len(standing)), ("upToDate", up_to_date))
    for _, slot in zip(range(room), free, strict=False):
        yield CreateNode(slot, reason, message, rule, inputs)


def _room(standing: Sequence[Member], rollout: Rollout) -> int:
    """How many nodes may be made now."""
    if rollout.recreates and (rollout.leaving or rollout.rolling):
        return 0
    staying = sum(not rollout.moves(member) for member in standing) if rollout.rolling else len(standing)
    fill = max(0, rollout.limits.nodes - len(standing))
    extra = min(rollout.limits.nodes - staying, rollout.most(standing) - len(standing)) - fill
    room = fill + int(min(extra, rollout.surge_room(standing, fill)))
    allowance = rollout.failures.allowance(count_new(standing), rollout.now)
    return room if allowance is None else min(room, allowance)


def _free_slots(standing: Sequence[Member]) -> Iterator[int]:
    taken = {member.slot for member in standing}
    slot = 0
    while True:
        if slot not in taken:
            yield slot
        slot += 1
