"""What happens to hosts and to the agents on them."""

from __future__ import annotations

from collections.abc import Callable

from tests.simulation.hosts import Host
from tests.simulation.world import World


def mishaps(world: World) -> dict[str, Callable[[], bool]]:
    """What happens to hosts and agents."""
    faults = world.faults

    def some(kind: str) -> Host | None:
        running = world.hosts.running()
        return running[faults.pick(kind, len(running))] if running else None

    def on_host(kind: str, act: Callable[[Host], None]) -> Callable[[], bool]:
        def happen() -> bool:
            host = some(kind)
            if host is not None:
                world.tell("mishap", f"{kind} of {host.instance_id}")
                act(host)
            return host is not None

        return happen

    def zombie(host: Host) -> None:
        """The provider says that it is gone, and it runs on for a while."""
        machine = world.cloud.machines[host.instance_id]
        machine.zombie = True
        world.cloud.vanish(machine)

        def end() -> None:
            machine.zombie = False
            host.power_off()

        world.network.after(faults.between("zombie", 30.0, 1200.0), end)

    def lose_for_ever(host: Host) -> None:
        host.cut_off(1e9)
        world.cloud.machines[host.instance_id].unreachable = True

    return {
        "agent-crash": on_host("agent-crash", lambda host: host.agents[0].kill()),
        "agent-hang": on_host(
            "agent-hang", lambda host: host.agents[0].freeze(faults.between("agent-hang", 2.0, 300.0))
        ),
        "partition": on_host("partition", lambda host: host.cut_off(faults.between("partition", 1.0, 900.0))),
        "unreachable": on_host("unreachable", lose_for_ever),
        "reboot": on_host("reboot", lambda host: host.reboot(faults.between("reboot", 5.0, 90.0))),
        "duplicate-agent": on_host("duplicate-agent", lambda host: host.clone_agent()),
        "zombie": on_host("zombie", zombie),
    }
