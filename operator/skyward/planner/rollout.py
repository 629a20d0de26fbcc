"""How many nodes stand, which of them go and how many come: scale-down, rolling update and creation, in that order.

All are decided in one plan, so that the same world planned again asks for nothing more. What bounds them:
never more than `nodes + maxSurge` nodes that are not leaving, and never fewer than `nodes - maxUnavailable` available
ones by our own choice. A node lost without our doing lowers what is available and so what we may still take away.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from skyward.api import PoolSpec, Reason
from skyward.api.quantities import resolve_share
from skyward.planner.failures import Failures, first_line
from skyward.planner.places import TEMPLATE_CHANGED, Member, Place, wants_replacement, was_ready
from skyward.planner.plans import CreateNode, RetireNode


@dataclass(frozen=True, slots=True)
class Bounds:
    nodes: int
    floor: int
    """Least number of available nodes that our own choice may leave."""
    ceiling: int
    """Most nodes that may stand while a roll-out goes on."""

    def most(self, standing: Iterable[Member]) -> int:
        return self.ceiling if any(member.outdated for member in standing) else self.nodes


def bounds(spec: PoolSpec) -> Bounds:
    """Shares of a small pool may both come to 0; then one node at a time may be unavailable."""
    surge = resolve_share(spec.rollout.max_surge, spec.nodes, round_up=True)
    unavailable = resolve_share(spec.rollout.max_unavailable, spec.nodes, round_up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return Bounds(nodes=spec.nodes, floor=max(0, spec.nodes - unavailable), ceiling=spec.nodes + surge)


@dataclass(frozen=True, slots=True)
class Moves:
    retire: tuple[RetireNode, ...]
    create: tuple[CreateNode, ...]


def plan_moves(spec: PoolSpec, members: Sequence[Member], failures: Failures, now: float) -> Moves:
    limits = bounds(spec)
    retire = [_retire_broken(member) for member in members if _is_broken(member)]
    standing = [member for member in members if member.place.stands and not _is_broken(member)]
    rolling = any(member.outdated for member in standing)
    for choose in (_excess, _outdated, _excess):  # a roll-out that ends takes the surge with it
        for member, action in choose(standing, limits, failures, now):
            standing.remove(member)
            retire.append(action)
    return Moves(tuple(retire), tuple(_creates(standing, limits, failures, now, rolling)))


# --- what is broken ----------------------------------------------------------------------------------------------


def _is_broken(member: Member) -> bool:
    """A lost node that was never ready is left to its own plan first: that writes the failure which counts against the
    template. One that was ready can go at once."""
    return member.place is Place.FAILED or (member.place is Place.LOST and was_ready(member.node))


def _retire_broken(member: Member) -> RetireNode:
    if member.place is Place.FAILED:
        return RetireNode(member.key, Reason.NODE_FAILED, first_line(member.node.status.failure))
    because = f": {member.provider_says}" if member.provider_says else ""
    if member.interrupted:
        return RetireNode(member.key, Reason.INTERRUPTED, f"its provider took the instance away{because}")
    instance = member.node.status.provider_id
    return RetireNode(member.key, Reason.NODE_LOST, f"its instance {instance} stopped for good{because}")


# --- scale-down --------------------------------------------------------------------------------------------------

Choice = tuple[Member, RetireNode]


def _excess(standing: Sequence[Member], limits: Bounds, failures: Failures, now: float) -> list[Choice]:
    """What serves least goes first; among equals the highest slot."""
    rest = sorted(standing, key=_usefulness, reverse=True)
    chosen: list[Choice] = []
    while len(rest) > limits.most(rest):
        member = rest.pop()
        message = f"more nodes than wanted: {len(standing)}, wanted {limits.nodes}"
        chosen.append((member, RetireNode(member.key, Reason.TOO_MANY_NODES, message)))
    return chosen


def _usefulness(member: Member) -> tuple[int, bool, int, str]:
    order = (Place.LOST, Place.PENDING, Place.UNSURE, Place.READY)
    return (order.index(member.place), not member.outdated, -member.slot, member.key)


# --- rolling update ----------------------------------------------------------------------------------------------


def _outdated(standing: Sequence[Member], limits: Bounds, failures: Failures, now: float) -> list[Choice]:
    """Outdated nodes that never served go freely, working ones within the budget, highest slot first."""
    old = sorted((member for member in standing if member.outdated), key=_usefulness)
    idle = [member for member in old if member.place is Place.PENDING and not failures.stopped]
    working = [member for member in old if member.place is Place.READY]
    return [
        (member, _retire_outdated(member)) for member in (*idle, *working[: _budget(standing, limits, failures, now)])
    ]


def _budget(standing: Sequence[Member], limits: Bounds, failures: Failures, now: float) -> int:
    """Working nodes that may be taken away now. With surge, the first new node must be ready before any working one goes
    below what is wanted: it proves the template. While the template fails, no more go than may be made anew."""
    available = sum(member.place is Place.READY for member in standing)
    proven = any(member.place is Place.READY and not member.outdated for member in standing)
    floor = limits.nodes if limits.ceiling > limits.nodes and not proven else limits.floor
    allowance = failures.allowance(count_new(standing), now)
    spare = max(0, available - floor)
    return spare if allowance is None else min(spare, allowance)


def _retire_outdated(member: Member) -> RetireNode:
    if wants_replacement(member.node):
        return RetireNode(member.key, Reason.REPLACE_REQUESTED, "a user asked for its replacement")
    if member.drift:
        return RetireNode(member.key, Reason.INSTANCE_DRIFTED, f"its instance changed: {member.drift}")
    return RetireNode(member.key, Reason.TEMPLATE_CHANGED, TEMPLATE_CHANGED)


# --- creation ----------------------------------------------------------------------------------------------------


def count_new(standing: Iterable[Member]) -> int:
    """Nodes of the current template that are still coming up."""
    return sum(not member.outdated and member.place in (Place.PENDING, Place.LOST) for member in standing)


def _creates(
    standing: Sequence[Member], limits: Bounds, failures: Failures, now: float, rolling: bool
) -> Iterable[CreateNode]:
    """The lowest free slots are filled; a surge node gets one above `nodes` because the others are taken."""
    up_to_date = sum(not member.outdated for member in standing)
    wanted = min(limits.nodes - up_to_date, limits.most(standing) - len(standing))
    allowance = failures.allowance(count_new(standing), now)
    room = wanted if allowance is None else min(wanted, allowance)
    taken = {member.slot for member in standing}
    free = (slot for slot in range(limits.nodes + len(standing) + 1) if slot not in taken)
    reason = Reason.TEMPLATE_CHANGED if rolling else Reason.TOO_FEW_NODES
    message = f"{up_to_date} of {limits.nodes} wanted nodes {'are of the current template' if rolling else 'stand'}"
    for _, slot in zip(range(room), free, strict=False):
        yield CreateNode(slot, reason, message)
