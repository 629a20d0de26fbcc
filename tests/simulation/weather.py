"""What happens to machines at the provider without anybody asking for it."""

from __future__ import annotations

from collections.abc import Callable

from skyward.facts import InstanceState
from tests.simulation.cloud import FOREIGN, Machine
from tests.simulation.world import World


def weather(world: World) -> dict[str, Callable[[], bool]]:
    """What happens to machines without anybody asking."""
    cloud = world.cloud
    stream = world.chance.stream("weather")

    def some(kind: str) -> Machine | None:
        alive = [one for one in cloud.alive.values() if one.owner != FOREIGN and one.lost is None]
        return alive[world.faults.pick(kind, len(alive))] if alive else None

    def lose(kind: str, state: InstanceState) -> Callable[[], bool]:
        def act() -> bool:
            machine = some(kind)
            if machine is not None:
                cloud.lose(machine, state)
            return machine is not None

        return act

    def terminate() -> bool:
        machine = some("console-terminate")
        if machine is not None:
            cloud.vanish(machine)
        return machine is not None

    def foreign() -> bool:
        cloud.add(f"f-{len(cloud.machines):05d}", FOREIGN, "their-launch", "their-pool")
        return True

    def orphan() -> bool:
        if not any(launch.request.epoch > 1 for launch in world.records.launches.values()):
            return False  # before the first operator has ended it would look like another operator's
        cloud.add(f"o-{len(cloud.machines):05d}", world.installation, "lost-launch", "lost-pool")
        return True

    def price() -> bool:
        name = stream.choice(sorted(cloud.prices))
        cloud.prices[name] = round(stream.uniform(0.05, 1.0), 3)
        return True

    def brown_out() -> bool:
        world.network.brown_out = True
        world.tell("cloud", "answers nobody")
        world.network.after(world.faults.between("brown-out", 10.0, 1200.0), clear_up)
        return True

    def clear_up() -> None:
        world.network.brown_out = False
        world.tell("cloud", "answers again")

    return {
        "spot-loss": lose("spot-loss", InstanceState.PREEMPTED),
        "console-stop": lose("console-stop", InstanceState.HALTED),
        "console-terminate": terminate,
        "foreign": foreign,
        "orphan": orphan,
        "price": price,
        "brown-out": brown_out,
    }
