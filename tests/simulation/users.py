"""People: they declare pools, change their minds, approve what they want, and look after what stopped itself."""

from __future__ import annotations

import asyncio
from datetime import datetime

from skyward.api import PoolCondition, is_true, to_time
from tests.simulation.desire import Wish
from tests.simulation.world import World

_PATIENCE_S = 300.0
"""How long somebody waits after asking before they ask again."""


async def use(world: World) -> None:
    """Declare the pools, then change one's mind now and then."""
    stream = world.chance.stream("users")
    scenario = world.scenario
    each = max(1, scenario.most_nodes // scenario.pools)
    for number in range(scenario.pools):
        surge = stream.choice((0, 0, 1, 2))
        world.desire.put(Wish(f"pool-{number}", stream.randrange(each + 1), surge=surge))
    while world.faults.on:
        await asyncio.sleep(stream.expovariate(12 / 3600.0))
        if not world.faults.on:
            return
        approve(world)
        name = f"pool-{stream.randrange(scenario.pools)}"
        if name not in world.desire.wishes:
            world.tell("user", f"declares {name} again")
            world.desire.put(Wish(name, stream.randrange(each + 1), stream.randrange(1, 4)))
            continue
        match stream.choice(("scale", "scale", "roll", "roll", "remove", "touch", "ask")):
            case "scale":
                nodes = stream.randrange(each + 1)
                world.tell("user", f"wants {nodes} nodes in {name}")
                world.desire.change(name, nodes=nodes)
            case "roll":
                version = world.desire.wishes[name].version + 1
                world.tell("user", f"wants version {version} of {name}")
                world.desire.change(name, version=version)
            case "remove":
                world.tell("user", f"removes {name}")
                world.desire.remove(name)
            case "ask":
                ask(world, name)
            case _:
                world.desire.change(name)


def ask(world: World, name: str) -> None:
    """A human wants another try."""
    world.tell("user", f"asks for another try of {name}")
    world.desire.change(name, asked_at=to_time(_time(world)).isoformat())


def _time(world: World) -> float:
    """As the operator has it: its host may have lived for hours with a clock that somebody set wrong, and so do its records."""
    operator = world.operator
    return world.now if operator is None else operator.clock.now()


def care(world: World) -> None:
    """What people do when all is quiet: they approve what they want, and ask for another try where something stopped itself."""
    approve(world)
    for pool in tuple(world.records.pools.values()):
        wish = world.desire.wishes.get(pool.metadata.name)
        if wish is None or not is_true(pool.status.conditions, PoolCondition.STALLED) or pool.status.held is not None:
            continue
        asked_at = datetime.fromisoformat(wish.asked_at).timestamp() if wish.asked_at else 0.0
        if _time(world) > asked_at + _PATIENCE_S:
            ask(world, wish.name)


def approve(world: World) -> None:
    """What is held is looked at, and approved if it is what users want."""
    if not world.desire.is_as_wished:
        return
    for hash_ in sorted(
        {pool.status.held.hash for pool in world.records.pools.values() if pool.status.held is not None}
    ):
        if hash_ not in world.desire.approved:
            world.tell("user", f"approves {hash_}")
            world.desire.approve(hash_)
            world.coverage.reach("deletion approved")
