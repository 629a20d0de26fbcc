"""Histories of the tiny world as text for people: who stands where, of which template, and what the pool's plan did."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from skyward.api import Pool
from skyward.api.quantities import parse_duration
from skyward.planner import CreateNode, Place, PoolAction, RetireNode, classify
from skyward.planner.bounds import Availability
from tests.planner.tiny_world import TinyWorld, hash_of

LEGEND = (
    "Slot, template, place; ... ready for too short, ' to be replaced, ! protected. Then the plan; in [] what waits."
)
Deed = tuple[str, Callable[[TinyWorld], None]]


@dataclass(frozen=True)
class Scenario:
    name: str
    title: str
    pool: Pool
    deeds: Mapping[int, Deed]
    """What happens before which tick of a settled pool."""
    ticks: int = 40
    comes_to_rest: bool = True
    """At the end the pool is as desired; else it waits for a human or for a later time."""
    step_s: float = 1.0
    ends_with: tuple[str, ...] = field(default=("NodesReady", "RollingOut", "Stalled", "Ready"))


def run(scenario: Scenario, world: TinyWorld) -> str:
    """The story told line by line: one for each deed, and one for each tick in which something changed."""
    world.run_until_settled(40, scenario.step_s)
    world.run(int(parse_duration(world.pool.spec.rollout.min_ready)) + 1)
    letters = _Letters()
    letters.of(hash_of(world.pool))
    lines = [scenario.title, LEGEND, ""]
    before = "", ""
    for tick in range(scenario.ticks):
        if tick in scenario.deeds:
            words, deed = scenario.deeds[tick]
            deed(world)
            lines.append(f"         -- {words}")
        picture, done = _picture(world, letters), len(world.actions)
        world.one_pass(scenario.step_s)
        told = _told(world.actions[done:], letters.of(hash_of(world.pool)))
        waits = f"[{', '.join(one.rule for one in world.decisions)}]" if world.decisions else ""
        line = f"tick {tick:>2}  {picture:<62}  {f'{told} {waits}'.strip()}".rstrip()
        if told or (picture, waits) != before:
            lines.append(line)
        before = picture, waits
    return "\n".join([*lines, "", *_conditions(world, scenario.ends_with)]) + "\n"


class _Letters:
    """Templates by the order in which they were first seen: A, B, C."""

    def __init__(self) -> None:
        self._letters: dict[str, str] = {}

    def of(self, hash_: str) -> str:
        return self._letters.setdefault(hash_, chr(ord("A") + len(self._letters)))


def _picture(world: TinyWorld, letters: _Letters) -> str:
    letters.of(hash_of(world.pool))
    available = Availability.of(world.pool.spec, world.now)
    parts: list[str] = []
    for member in classify(world.observe()):
        if member.place is Place.GONE:
            continue
        young = "..." if member.place is Place.READY and not available.holds(member) else ""
        marks = f"{young}{chr(39) if member.outdated else ''}{'!' if member.is_protected else ''}"
        parts.append(f"{member.slot}{letters.of(member.node.spec.template_hash)} {member.place}{marks}")
    return "  ".join(parts)


def _told(actions: list[PoolAction], letter: str) -> str:
    words: list[str] = []
    for action in actions:
        if isinstance(action, CreateNode):
            words.append(f"create {action.slot}{letter} ({action.reason})")
        else:
            verb = "retire" if isinstance(action, RetireNode) else "forget"
            words.append(f"{verb} {action.node.split('-')[1]} ({action.reason})")
    return "; ".join(words)


def _conditions(world: TinyWorld, types: tuple[str, ...]) -> list[str]:
    found = [one for one in world.pool.status.conditions if one.type in types]
    return [f"{one.type}={one.status} {one.reason}: {one.message}".rstrip(": ") for one in found]
