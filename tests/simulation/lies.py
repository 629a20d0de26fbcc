"""Providers that answer 200 OK and do not say all: an empty listing for a while, or one without its last page. Asked for a single
machine they tell the truth. And operators with ceilings that their users' wishes run into, until somebody raises them."""

from __future__ import annotations

from collections.abc import Callable

from skyward.facts import Ceilings, Instance
from tests.simulation.world import World

_TIGHT = (
    Ceilings(pool_instances=2, instances=3),
    Ceilings(pool_creates=4, creates=6),
    Ceilings(pool_usd_per_hour=0.6, usd_per_hour=1.0),
)


def lies(world: World) -> dict[str, Callable[[], bool]]:
    cloud, faults, network = world.cloud, world.faults, world.network

    def tell(instances: tuple[Instance, ...]) -> tuple[Instance, ...]:
        if not faults.on:
            return instances
        told = instances
        if world.now < cloud.silent_until:
            told = ()
        elif len(instances) > 1 and faults.strikes("missing-page"):
            told = instances[: faults.pick("missing-page", len(instances))]
        if len(told) < len(instances):
            network.faulted += 1
            cloud.lied_at = world.now
            world.coverage.reach("machine left out of a listing")
        return told

    def fall_silent() -> bool:
        seconds = faults.between("empty-listing", 5.0, 1200.0)
        world.tell("cloud", f"lists nothing, and says that this is all, for {seconds:.0f} s")
        cloud.silent_until = world.now + seconds
        return True

    cloud.told = tell
    return {"empty-listing": fall_silent}


def tight_ceilings(world: World) -> Ceilings:
    """Of the operators of this seed, as long as things go wrong."""
    return _TIGHT[world.chance.stream("ceilings").randrange(len(_TIGHT))]
