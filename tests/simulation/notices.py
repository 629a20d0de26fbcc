"""Spot capacity that is taken with a warning: its listing says so, or the agent there, or both, and then it happens."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from skyward.facts import InstanceState
from tests.simulation.cloud import FOREIGN, Machine

if TYPE_CHECKING:
    from tests.simulation.world import World

_KIND = "spot-notice"
_WAYS = (frozenset({"listing"}), frozenset({"agent"}), frozenset({"listing", "agent"}))


def notices(world: World) -> dict[str, Callable[[], bool]]:
    cloud, faults = world.cloud, world.faults

    def announce() -> bool:
        running = [
            one for one in cloud.alive.values() if one.owner != FOREIGN and cloud.runs(one.id) and not one.taken_at
        ]
        if not running:
            return False
        machine = running[faults.pick(_KIND, len(running))]
        lead_s = faults.between(_KIND, 20.0, 600.0)
        machine.taken_at = float(int(world.now + lead_s))
        machine.told_by = _WAYS[faults.pick(_KIND, len(_WAYS))]
        told = " and ".join(sorted(machine.told_by))
        world.tell("cloud", f"{machine.id} will be taken in {lead_s:.0f} s, by the word of its {told}")
        for checker in world.checkers:
            checker.announced(machine)
        world.network.after(machine.taken_at - world.now, lambda: take(machine))
        return True

    def take(machine: Machine) -> None:
        if cloud.is_alive(machine) and machine.lost is None:
            cloud.lose(machine, InstanceState.PREEMPTED)

    return {_KIND: announce}


def announced(machine: Machine, now: float) -> dict[str, Any]:
    """What the agent there adds to its heartbeats."""
    if "agent" not in machine.told_by or now >= machine.taken_at:
        return {}
    return {"notice_at": machine.taken_at, "notice": "spot capacity is needed"}
