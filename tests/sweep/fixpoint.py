"""What a story comes to: desire as it is on record, nodes, machines, launches and tasks; ids, times and history aside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from skyward.api import NodeCondition, Pool, Source, is_true
from skyward.contracts import TaskRow, Verb
from skyward.facts import LaunchState
from skyward.planner import is_gone
from skyward.store import decision_rows
from tests.simulation.checkers.base import Checker
from tests.simulation.cloud import FOREIGN, Machine
from tests.simulation.storing import Commit

if TYPE_CHECKING:
    from tests.simulation.world import World

_OPEN = (LaunchState.PREPARED, LaunchState.SENT, LaunchState.UNKNOWN)


def fixpoint(world: World, notes: Notes) -> tuple[str, ...]:
    """One line for each fact, sorted: two worlds that come to the same have the same lines."""
    return tuple(sorted([*_pools(world), *_machines(world), *_launches(world), *_decisions(world), *notes.lines()]))


def _pools(world: World) -> Iterator[str]:
    for pool in world.records.pools.values():
        name, spec, status = pool.metadata.name, pool.spec, pool.status
        state = "leaving" if pool.metadata.deletion_timestamp is not None else "stands"
        yield f"{name}: {state}, wants {spec.nodes} of version {spec.image.env.get('VERSION')}"
        yield f"{name}: observed {status.observed_generation == pool.metadata.generation}, held {status.held is not None}"
        for condition in status.conditions:
            yield f"{name}: {condition.type}={condition.status} {condition.reason}"
        nodes = [node for node in world.records.nodes_of(pool.metadata.uid) if not is_gone(node)]
        counted = Counter(
            (
                str(node.spec.template.get("image", {}).get("env", {}).get("VERSION")),
                "leaving" if node.metadata.deletion_timestamp is not None else "stands",
                "ready" if is_true(node.status.conditions, NodeCondition.READY) else "not ready",
                "cordoned" if node.spec.unschedulable else "open",
                "failed" if node.status.failure else "well",
            )
            for node in nodes
        )
        for kind, count in counted.items():
            yield f"{name}: {count} nodes {' '.join(kind)}"


def _machines(world: World) -> Iterator[str]:
    counted = Counter(_owner(world, machine) for machine in world.cloud.alive.values())
    for (pool, state), count in counted.items():
        yield f"{count} machines of {pool} are {state}"


def _owner(world: World, machine: Machine) -> tuple[str, str]:
    if machine.owner == FOREIGN:
        return "somebody else", str(machine.state(world.now))
    pools = (pool.metadata.name for pool in world.records.pools.values() if pool.metadata.uid == machine.pool_uid)
    return next(pools, "no pool"), str(machine.state(world.now))


def _launches(world: World) -> Iterator[str]:
    still = sum(launch.state in _OPEN for launch in world.records.launches.values())
    yield f"{still} launches are open"


def _decisions(world: World) -> Iterator[str]:
    """Those that stand: what `why` would say now."""
    raw = world.database.raw
    counted = Counter((one.kind, str(one.decision.kind), one.decision.rule) for one in decision_rows.standing(raw))
    for (about, kind, rule), count in counted.items():
        yield f"{count} decisions stand for a {about}: {kind} {rule}"


class Notes(Checker):
    """Hears what the simulator keeps nowhere else: sources, and how the items of tasks ended."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.said: dict[str, str] = {}
        """What the story itself found worth noting, by what it is about."""
        self._sources: dict[str, Source] = {}
        self._tasks: dict[int, TaskRow] = {}
        self._outcomes: dict[tuple[int, int], str] = {}
        self._uids: dict[str, set[str]] = {}

    def committed(self, commit: Commit) -> None:
        self._tasks.update((task.seq, task) for task in commit.tasks)
        self._outcomes.update(((end.seq, end.item), end.outcome) for end in commit.ends if end.outcome)
        for seq, items in commit.cancels:
            self._outcomes.update(((seq, item), "Cancelled") for item in items)
        for change in commit.changes:
            if isinstance(change.object, Source):
                self._sources[change.object.key] = change.object
            elif isinstance(change.object, Pool) and change.verb is Verb.ADDED:
                self._uids.setdefault(change.object.metadata.name, set()).add(change.object.metadata.uid)

    def adoptable(self) -> set[str]:
        return {hash_ for source in self._sources.values() for hash_ in source.status.adoptable}

    def has_ended(self, key: str) -> bool:
        """Every item of this task has ended."""
        tasks = [task for task in self._tasks.values() if task.key == key]
        return bool(tasks) and all((task.seq, item) in self._outcomes for task in tasks for item in range(task.items))

    def lines(self) -> Iterator[str]:
        for source in self._sources.values():
            for condition in source.status.conditions:
                yield f"{source.key}: {condition.type}={condition.status} {condition.reason}"
            yield f"{source.key}: {len(source.status.rejected)} documents rejected"
        for seq, task in self._tasks.items():
            ends = Counter(self._outcomes.get((seq, item), "open") for item in range(task.items))
            if task.mode == "broadcast":  # for whoever was ready then
                ends = Counter(ends.keys())
            yield f"task {task.key}: {', '.join(f'{count} {outcome}' for outcome, count in sorted(ends.items()))}"
        for name, uids in self._uids.items():
            yield f"{name}: {len(uids)} pools of that name so far"
        for about, said in self.said.items():
            yield f"{about}: {said}"
