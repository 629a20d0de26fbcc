"""A run: faults on (safety alone), faults off (everything must come true in time), everything deleted (nothing may be left)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from skyward.api import NodeCondition, PoolCondition, is_true
from skyward.facts import Ceilings
from skyward.planner import is_gone
from tests.simulation.accidents import accidents, heal
from tests.simulation.deaths import deaths, supervise
from tests.simulation.hands import let_go, use_api
from tests.simulation.lies import lies, tight_ceilings
from tests.simulation.mishaps import mishaps
from tests.simulation.notices import notices
from tests.simulation.restores import adopt, lose_records
from tests.simulation.strangers import look_around
from tests.simulation.strategies import roll_out, tidy
from tests.simulation.users import care, use
from tests.simulation.weather import weather
from tests.simulation.world import World

SETTLE_S = 3600.0
DRAIN_S = 600.0
_LOOK_S = 5.0
_CALM_S = 120.0
_REST_S = 900.0


async def play(world: World) -> None:
    async with asyncio.TaskGroup() as stage:
        actors = [stage.create_task(actor) for actor in _actors(world)]
        supervisor = stage.create_task(supervise(world))
        await asyncio.sleep(world.scenario.horizon_s)
        await _be_quiet(world)
        for actor in actors:
            actor.cancel()
        await _settle(world)
        await _rest(world)
        await _drain(world)
        supervisor.cancel()


def _actors(world: World) -> list[Coroutine[Any, Any, None]]:
    actors = world.scenario.actors
    parts: list[Coroutine[Any, Any, None]] = []
    if "users" in actors:
        parts.append(use(world))
    faults: dict[str, Callable[[], bool]] = {}
    if "strategies" in actors:
        parts.append(roll_out(world))
    if "hands" in actors:
        parts.append(use_api(world))
    if "notices" in actors:
        faults |= notices(world)
    if "lies" in actors:
        faults |= lies(world)
    if "ceilings" in actors:
        world.ceilings = tight_ceilings(world)
    if "restores" in actors:
        parts.append(lose_records(world))
    if "health" in actors:
        parts.append(world.health.ask_for_checks())
        faults |= world.health.troubles()
    if "cloud" in actors:
        faults |= weather(world)
    if "work" in actors:
        parts.append(world.work.run())
    if {"work", "strangers"} <= actors:
        parts.append(look_around(world))
    if "nodes" in actors:
        faults |= mishaps(world)
    if "files" in actors:
        faults |= accidents(world)
    if "chaos" in actors:
        faults |= deaths(world)
    return parts + [_now_and_then(world, kind, act) for kind, act in faults.items()]


async def _now_and_then(world: World, kind: str, act: Callable[[], bool]) -> None:
    """A fault that happens by itself. `act` says whether there was anything for it to happen to."""
    while True:
        wait_s = world.faults.next_s(kind)
        if wait_s is None:
            return
        await asyncio.sleep(wait_s)
        if world.faults.on and act():
            world.faults.struck(kind)


async def _be_quiet(world: World) -> None:
    world.tell("phase", "quiet")
    world.faults.on = False
    world.network.brown_out = False
    world.disk_is_full = False
    world.come_back()
    for operator in world.operators:
        operator.process.crash_at = None
        # A clock that is set right is a jump once more, and one back is approached for hours: it agrees from here on instead.
        operator.wall.wall_error_s -= operator.clock.off_s
        world.loop.thaw(operator.process)
    world.hosts.heal()
    world.health.recover()
    _raise_ceilings(world)
    heal(world)


def _raise_ceilings(world: World) -> None:
    """A setting: it takes a new start."""
    if "ceilings" in world.scenario.actors:
        world.ceilings = Ceilings()
        for operator in tuple(world.operators):
            operator.process.die("killed")


async def _settle(world: World) -> None:
    tidy(world)
    began = world.now
    deadline = began + SETTLE_S
    while not (is_settled(world) and all(checker.is_done() for checker in world.checkers)):
        if world.now > deadline:
            world.violate("L1", "world", f"not as desired after {SETTLE_S:.0f} quiet seconds\n{describe(world)}")
            break
        care(world)
        await let_go(world)
        await adopt(world)
        await asyncio.sleep(_LOOK_S)
    else:
        world.tell("phase", "settled")
        world.settled_s = world.now - began
    for checker in world.checkers:
        checker.settled()


async def _rest(world: World) -> None:
    """As desired, and nothing happens: nothing is written and nobody is called but for the listings."""
    if world.violations:
        return
    await asyncio.sleep(_CALM_S)
    for is_quiet in (True, False):
        for checker in world.checkers:
            checker.quiet(is_quiet)
        await asyncio.sleep(_REST_S if is_quiet else 0.0)


async def _drain(world: World) -> None:
    world.tell("phase", "drain")
    for name in tuple(world.desire.wishes):
        world.desire.remove(name)
    began = world.now
    deadline = began + DRAIN_S
    while not is_drained(world):
        if world.now > deadline:
            world.violate(
                "L2", "world", f"something is left {DRAIN_S:.0f} s after everything was deleted\n{describe(world)}"
            )
            break
        care(world)
        await asyncio.sleep(_LOOK_S)
    else:
        world.tell("phase", "drained")
        world.drained_s = world.now - began
    for checker in world.checkers:
        checker.drained()


def is_settled(world: World) -> bool:
    records = world.records
    if {pool.metadata.name for pool in records.pools.values()} != world.desire.wishes.keys():
        return False
    for pool in records.pools.values():
        wish = world.desire.wishes[pool.metadata.name]
        live = [node for node in records.nodes_of(pool.metadata.uid) if not node.status.failure]
        if pool.metadata.deletion_timestamp is not None or pool.spec.nodes != wish.nodes or len(live) != wish.nodes:
            return False
        if pool.status.observed_generation != pool.metadata.generation:
            return False
        if pool.spec.rollout.strategy != "OnDelete" and pool.status.up_to_date != wish.nodes:
            return False
        if not is_true(pool.status.conditions, PoolCondition.READY):
            return False
        if not all(is_true(node.status.conditions, NodeCondition.READY) for node in live):
            return False
        if any(node.metadata.deletion_timestamp and not is_gone(node) for node in records.nodes_of(pool.metadata.uid)):
            return False
    machines = ours(world)
    wanted = sum(wish.nodes for wish in world.desire.wishes.values())
    return len(machines) == wanted and all(world.hosts.host(machine).serves for machine in machines)


def is_drained(world: World) -> bool:
    return not (world.records.pools or world.records.nodes or ours(world))


def ours(world: World) -> list[str]:
    return [key for key, machine in world.cloud.alive.items() if machine.owner == world.installation]


def describe(world: World) -> str:
    lines = [
        f"{len(world.desire.wishes)} wishes: {', '.join(f'{w.name}={w.nodes}' for w in world.desire.wishes.values())}"
    ]
    for pool in world.records.pools.values():
        lines.append(f"{pool.key} wants {pool.spec.nodes}, generation {pool.metadata.generation}")
        lines += [f"    {c.type}={c.status} {c.reason} {c.message}" for c in pool.status.conditions]
    for node in world.records.nodes.values():
        status = node.status
        lines.append(f"{node.key} launch={status.launch[:8]} id={status.provider_id} failure={status.failure[:80]!r}")
        lines.append(f"    leaving={node.metadata.deletion_timestamp}")
        lines += [f"    {c.type}={c.status} {c.reason} {c.message}" for c in status.conditions]
    lines += [
        f"launch {one.id[:8]} {one.state} {one.attempts} {one.message}" for one in world.records.launches.values()
    ]
    lines += [f"{m.id} {m.state(world.now)} {m.launch[:8]} {m.owner[:8]}" for m in world.cloud.alive.values()]
    return "\n".join(lines)
