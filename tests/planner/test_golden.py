"""Histories of roll-outs and failures, to be read by people. `SKYWARD_REGENERATE=1` writes them anew; review the change."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from skyward.api import Condition
from skyward.planner import CreateNode, Place, PoolAction, RetireNode, classify
from tests.builders import make_pool
from tests.planner.tiny_world import TinyWorld, hash_of

GOLDEN = Path(__file__).parent / "golden"


def test_a_roll_out_without_surge_goes_one_by_one() -> None:
    world = TinyWorld(make_pool(nodes=3))
    world.run_until_settled(10)
    world.edit(image={"env": {"VERSION": "2"}})

    _compare("rollout_one_by_one", _history(world, 40))


def test_a_roll_out_with_surge_proves_the_template_first() -> None:
    world = TinyWorld(make_pool(nodes=3, max_unavailable=0, max_surge=1))
    world.run_until_settled(10)
    world.edit(image={"env": {"VERSION": "2"}})

    _compare("rollout_with_surge", _history(world, 40))


def test_a_failing_template_is_tried_three_times_and_then_stops() -> None:
    world = TinyWorld(make_pool(nodes=3))
    world.run_until_settled(10)
    world.edit(image={"pip": ["no-such-package"]})
    world.broken.add(hash_of(world.pool))

    _compare("failing_template", _history(world, 60))


def test_a_lost_node_is_replaced_while_the_others_serve() -> None:
    world = TinyWorld(make_pool(nodes=3))
    world.run_until_settled(10)
    world.kill(sorted(world.nodes)[1])

    _compare("lost_node", _history(world, 12))


def _history(world: TinyWorld, passes: int) -> str:
    """One line for each pass in which something changed: who stands where, and what the pool's plan did about it."""
    lines = ["each slot: the node's place, with ' for the old template; then what the pool's plan decided", ""]
    before = ""
    for number in range(passes):
        picture, done = _picture(world), len(world.actions)
        world.one_pass()
        actions = [_told(action, world) for action in world.actions[done:]]
        if actions or picture != before:
            lines.append(f"pass {number:>2}  {picture:<52}{'; '.join(actions)}".rstrip())
        before = picture
    lines += ["", *(f"{one.type}={one.status} {one.reason}: {one.message}".rstrip(": ") for one in _true(world))]
    return "\n".join(lines) + "\n"


def _picture(world: TinyWorld) -> str:
    standing = [member for member in classify(world.observe()) if member.place is not Place.GONE]
    return "  ".join(f"{member.slot} {member.place}{chr(39) if member.outdated else ''}" for member in standing)


def _told(action: PoolAction, world: TinyWorld) -> str:
    if isinstance(action, CreateNode):
        return f"create slot {action.slot} ({action.reason})"
    verb: Callable[[str], str] = "retire {}".format if isinstance(action, RetireNode) else "forget {}".format
    return f"{verb(action.node.removeprefix('default/hello-'))} ({action.reason})"


def _true(world: TinyWorld) -> list[Condition]:
    return [condition for condition in world.pool.status.conditions if condition.message]


def _compare(name: str, history: str) -> None:
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("SKYWARD_REGENERATE"):
        path.write_text(history)
    if not path.exists():
        pytest.fail(f"{path} is missing; run with SKYWARD_REGENERATE=1 and review it")

    assert history == path.read_text()
