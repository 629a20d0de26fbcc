"""People who roll out with care, or without: every strategy and budget, templates that cannot work and are taken back, pauses,
restarts and protection."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

from skyward.api import to_time
from skyward.api.meta import DO_NOT_DISRUPT, KEEP_ON_FAILURE, RESTARTED
from tests.simulation.desire import Wish
from tests.simulation.world import World

_PER_HOUR = 14.0
_RESTART = RESTARTED.removeprefix("skyward.dev/")
_KEEP = KEEP_ON_FAILURE.removeprefix("skyward.dev/")
_PROTECT = DO_NOT_DISRUPT.removeprefix("skyward.dev/")


async def roll_out(world: World) -> None:
    stream = world.chance.stream("strategies")
    while world.faults.on:
        await asyncio.sleep(stream.expovariate(_PER_HOUR / 3600.0))
        if not world.faults.on:
            return
        names = sorted(world.desire.wishes)
        if not names:
            continue
        wish = world.desire.wishes[stream.choice(names)]
        act = stream.choice(("style", "style", "roll", "roll", "roll", "break", "back", "pause", "restart", "protect"))
        changed = _changed(world, stream, wish, act)
        if changed != wish:
            world.tell(
                "user", f"{act} of {wish.name}: {changed.version} {changed.rollout} {changed.more} {changed.marks}"
            )
            world.desire.put(changed)


def tidy(world: World) -> None:
    """Before all is to come true: nothing is left that keeps a pool from it, and nothing that time alone would set in motion."""
    for wish in tuple(world.desire.wishes.values()):
        good = _taken_back(world, wish) if _is_broken(world, wish) else wish
        timed = "notBefore" in good.rollout
        good = replace(good, more=(), marks=(), rollout="" if timed else good.rollout)
        if good != wish:
            world.tell("user", f"leaves nothing half done in {wish.name}")
            world.desire.put(good)


def _changed(world: World, stream: random.Random, wish: Wish, act: str) -> Wish:
    match act:
        case "style":
            return _styled(world, stream, wish)
        case "roll":
            return replace(wish, version=wish.version + 1)
        case "break":
            world.desire.broken.add((wish.name, str(wish.version + 1)))
            return replace(wish, version=wish.version + 1)
        case "back":
            return _taken_back(world, wish)
        case "pause":
            return wish.with_pause(not wish.is_paused)
        case "restart":
            return _marked(wish, _RESTART, to_time(world.now).isoformat())
        case _:
            mark = stream.choice((_PROTECT, _KEEP))
            is_on = any(name == mark for name, _ in wish.marks)
            return _marked(wish, mark, "" if is_on else "true")


def _styled(world: World, stream: random.Random, wish: Wish) -> Wish:
    at = to_time(world.now + stream.uniform(60.0, 900.0)).isoformat().replace("+00:00", "Z")
    rollout = stream.choice(
        (
            "",
            "strategy: OnDelete",
            "strategy: Recreate",
            "minReady: 30s",
            "canary: 1, minReady: 20s",
            "canary: 2",
            f'notBefore: "{at}"',
        )
    )
    budget = stream.choice(
        (
            "",
            "",
            "{nodes: 1}",
            "{nodes: 2, reasons: [Drifted]}",
            f'{{nodes: 0, schedule: "{stream.randrange(60)} * * * *", duration: 10m}}',
        )
    )
    more = tuple(line for line in wish.more if not line.startswith("disruption:"))
    surge = 0 if "Recreate" in rollout else stream.choice((0, 0, 1, 2))
    return replace(
        wish,
        rollout=rollout,
        surge=surge,
        unavailable=1 if "Recreate" in rollout else stream.choice((1, 2)) if not surge else stream.choice((0, 1)),
        more=(*more, f"disruption: {{budgets: [{budget}]}}") if budget else more,
    )


def _taken_back(world: World, wish: Wish) -> Wish:
    """The newest of its earlier templates that works; a new one where there is none."""
    written = {one.version for one in world.desire.history[wish.name]}
    good = [one for one in written if one < wish.version and (wish.name, str(one)) not in world.desire.broken]
    if _is_broken(world, wish):
        world.coverage.reach("broken template taken back")
    return replace(wish, version=max(good) if good else max(written) + 1)


def _is_broken(world: World, wish: Wish) -> bool:
    return (wish.name, str(wish.version)) in world.desire.broken


def _marked(wish: Wish, name: str, value: str) -> Wish:
    kept = tuple(mark for mark in wish.marks if mark[0] != name)
    return replace(wish, marks=(*kept, (name, value)) if value else kept)
