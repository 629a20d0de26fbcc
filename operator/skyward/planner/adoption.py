"""Adoption: which node each instance becomes that is ours by its mark and unknown to the records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from skyward.api import Node, Pool
from skyward.facts import Instance, InstanceState
from skyward.planner.places import is_gone

_SERVES = (InstanceState.STARTING, InstanceState.UP, InstanceState.UNKNOWN)


@dataclass(frozen=True, slots=True)
class AdoptInstance:
    """Add a node record for this slot, bound to the instance; it is bootstrapped anew. What is too many then leaves by the
    pool's ordinary plan."""

    pool: str
    """Key."""
    slot: int
    instance: Instance


def plan_adoption(
    instances: Iterable[Instance], pools: Mapping[str, Pool], nodes: Iterable[Node]
) -> tuple[AdoptInstance, ...]:
    """By pool and slot. What is left out belongs to no pool that wants it, and is garbage by the ordinary rules."""
    free = _free_slots(nodes)
    adopted = []
    for instance in sorted(instances, key=lambda one: (one.pool, one.created_at, one.id)):
        pool = pools.get(instance.pool)
        if pool is None or pool.metadata.deletion_timestamp is not None or instance.state not in _SERVES:
            continue
        slots = free.setdefault(pool.metadata.uid, _beyond(frozenset()))
        adopted.append(AdoptInstance(pool.key, next(slots), instance))
    return tuple(adopted)


def _free_slots(nodes: Iterable[Node]) -> dict[str, Iterator[int]]:
    taken: dict[str, set[int]] = {}
    for node in nodes:
        if not is_gone(node):
            taken.setdefault(node.spec.pool_uid, set()).add(node.spec.slot)
    return {pool_uid: _beyond(frozenset(slots)) for pool_uid, slots in taken.items()}


def _beyond(taken: frozenset[int]) -> Iterator[int]:
    """The slots that nobody has, lowest first, without end."""
    slot = 0
    while True:
        if slot not in taken:
            yield slot
        slot += 1
