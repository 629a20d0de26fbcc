"""Health: checks that users ask for, nodes that fail them for a while or for good, and hosts on which nothing comes up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from skyward_agent.wire.messages import CHECK_FAILING, CHECK_PASSING

if TYPE_CHECKING:
    from tests.simulation.world import World

_HOSTS = 6
_CHECK = 'healthCheck: {command: "true", startupTimeout: 2m, maxInFlight: 2}'
_PER_HOUR = 4.0


class Health:
    def __init__(self, world: World) -> None:
        self._world = world
        self._stream = world.chance.stream("hosts")
        self._failing: set[str] = set()
        """Instances whose check fails."""
        self._bad: set[str] = set()
        """Hosts on which no bootstrap works."""
        if "health" in world.scenario.actors:
            world.cloud.choose_host = self._choose

    # --- what the world asks -----------------------------------------------------------------------------------------

    def said_on(self, instance_id: str) -> dict[str, Any]:
        """What the agent there adds to its heartbeats."""
        if "health" not in self._world.scenario.actors:
            return {}
        if instance_id in self._failing:
            return {"check": CHECK_FAILING, "check_message": "exit status 1"}
        return {"check": CHECK_PASSING}

    def is_on_bad_host(self, instance_id: str) -> bool:
        return bool(self._bad) and self._world.cloud.machines[instance_id].host in self._bad

    def recover(self) -> None:
        """All hosts are good again, and all checks pass."""
        self._bad.clear()
        self._failing.clear()

    # --- what happens ------------------------------------------------------------------------------------------------

    async def ask_for_checks(self) -> None:
        """Users want a check, or none any more."""
        desire = self._world.desire
        while self._world.faults.on:
            await asyncio.sleep(self._stream.expovariate(_PER_HOUR / 3600.0))
            names = sorted(desire.wishes)
            if not (names and self._world.faults.on):
                continue
            wish = desire.wishes[self._stream.choice(names)]
            has_check = _CHECK in wish.more and self._stream.random() < 0.3
            self._world.tell("user", f"wants {'no' if has_check else 'a'} health check of {wish.name}")
            kept = tuple(line for line in wish.more if line != _CHECK)
            desire.put(replace(wish, more=kept if has_check else (*kept, _CHECK)))

    def troubles(self) -> dict[str, Callable[[], bool]]:
        world, faults = self._world, self._world.faults

        def fail() -> bool:
            running = world.hosts.running()
            if not running:
                return False
            chosen = running[faults.pick("check-fails", len(running))].instance_id
            seconds = faults.between("check-fails", 5.0, 3600.0)
            world.tell("mishap", f"the check fails on {chosen} for {seconds:.0f} s")
            self._failing.add(chosen)
            world.network.after(seconds, lambda: self._failing.discard(chosen))
            return True

        def spoil() -> bool:
            host = f"h-{faults.pick('bad-host', _HOSTS)}"
            seconds = faults.between("bad-host", 300.0, 7200.0)
            world.tell("mishap", f"host {host} is bad for {seconds:.0f} s")
            self._bad.add(host)
            world.network.after(seconds, lambda: self._bad.discard(host))
            return True

        return {"check-fails": fail, "bad-host": spoil}

    def _choose(self, avoided: Sequence[str]) -> str:
        """A provider that lets us choose as long as there is a choice; the fullest host first, as one that packs does."""
        free = [f"h-{number}" for number in range(_HOSTS) if f"h-{number}" not in avoided]
        return self._stream.choice((free or ["h-0"])[:3])
