"""Pool and nodes together, pass by pass, in the tiny world: how many passes it takes, and what never happens meanwhile.

`TinyWorld` itself asserts in every pass that no two nodes share a slot, that no more than `nodes + maxSurge` stand,
that our own choice never leaves fewer than `nodes - maxUnavailable` available, that nothing is retired twice, that no
node gets a second instance and that the same world planned again asks for nothing.
"""

from __future__ import annotations

from math import ceil
from random import Random

import pytest

from skyward.api import PoolCondition, Status
from skyward.facts import InstanceState
from skyward.planner import CreateNode
from skyward.planner.bounds import bounds
from tests.builders import make_pool
from tests.planner.tiny_world import TinyWorld, hash_of

COMING_UP = 4
"""Passes from an empty slot to a ready node: recorded and launched, bootstrapped, agent started, ready."""
GOING = 3
"""Passes from retirement to no record: cordon, delete, proved gone."""

ROLLOUTS: list[tuple[int | str, int]] = [(1, 0), (0, 1), (2, 1), ("50%", 0)]


def bound(nodes: int, unavailable: int, surge: int) -> int:
    """The stated number of passes: every batch of a roll-out comes up once, the first surge batch proves the template."""
    batches = 1 + ceil(nodes / max(unavailable, surge, 1))
    return COMING_UP * batches + GOING


@pytest.mark.parametrize("nodes", [0, 1, 2, 20])
def test_a_new_pool_is_ready_after_the_passes_of_one_node(nodes: int) -> None:
    world = TinyWorld(make_pool(nodes=nodes))

    passes = world.run_until_settled(COMING_UP)

    assert passes <= COMING_UP
    assert world.creates == nodes


@pytest.mark.parametrize(("before", "after"), [(2, 5), (5, 2), (3, 0), (0, 3)])
def test_a_scaled_pool_settles_in_one_coming_and_going(before: int, after: int) -> None:
    world = TinyWorld(make_pool(nodes=before))
    world.run_until_settled(COMING_UP)
    world.edit(nodes=after)

    world.run_until_settled(COMING_UP + GOING)

    assert world.creates == max(before, after)


@pytest.mark.parametrize(
    ("unavailable", "surge"), [(1, 0), (2, 0), (0, 1), (1, 1), (0, 3), ("50%", "25%"), ("10%", "10%")]
)
@pytest.mark.parametrize("nodes", [1, 2, 5])
def test_a_rolling_update_settles_within_the_stated_passes(
    nodes: int, unavailable: int | str, surge: int | str
) -> None:
    world = TinyWorld(make_pool(nodes=nodes, max_unavailable=unavailable, max_surge=surge))
    world.run_until_settled(COMING_UP)
    limits = bounds(world.pool.spec)
    world.edit(image={"env": {"VERSION": "2"}})

    world.run_until_settled(bound(nodes, nodes - limits.floor, limits.ceiling - nodes))

    assert world.creates == 2 * nodes
    assert all(node.spec.template_hash == hash_of(world.pool) for node in world.nodes.values())


def test_a_deleted_pool_is_empty_after_the_passes_of_one_node() -> None:
    world = TinyWorld(make_pool(nodes=5))
    world.run_until_settled(COMING_UP)
    world.delete_pool()

    world.run_until_settled(GOING)

    assert not world.nodes
    assert not world.machines


@pytest.mark.parametrize("age", range(COMING_UP))
def test_a_pool_deleted_at_any_moment_leaves_nothing(age: int) -> None:
    world = TinyWorld(make_pool(nodes=3))
    world.run(age)
    world.delete_pool()

    world.run_until_settled(GOING + 1)


@pytest.mark.parametrize("state", [InstanceState.FAILED, InstanceState.PREEMPTED, InstanceState.GONE])
def test_a_lost_node_is_replaced_in_its_slot(state: InstanceState) -> None:
    world = TinyWorld(make_pool(nodes=3))
    world.run_until_settled(COMING_UP)
    victim = sorted(world.nodes)[1]
    world.kill(victim, state)

    world.run(1)
    world.run_until_settled(COMING_UP + GOING)

    assert world.creates == 4
    assert sorted(node.spec.slot for node in world.nodes.values()) == [0, 1, 2]


def test_a_template_that_never_works_stops_itself_and_the_old_one_goes_on_serving() -> None:
    world = TinyWorld(make_pool(nodes=3))
    world.run_until_settled(COMING_UP)
    world.edit(image={"pip": ["no-such-package"]})
    world.broken.add(hash_of(world.pool))

    world.run(400)

    created = sum(isinstance(action, CreateNode) for action in world.actions)
    assert created == 3 + 3
    assert world.places()["ready"] == 2
    assert world.condition(PoolCondition.STALLED) is Status.TRUE
    assert world.condition(PoolCondition.AVAILABLE) is Status.TRUE


def test_a_stopped_pool_recovers_when_its_template_is_edited() -> None:
    world = TinyWorld(make_pool(nodes=2))
    world.broken.add(hash_of(world.pool))
    world.run(100)
    assert world.condition(PoolCondition.STALLED) is Status.TRUE
    world.edit(image={"env": {"FIXED": "yes"}})

    world.run(2 * COMING_UP + GOING)

    assert world.places() == {"ready": 2}
    assert world.condition(PoolCondition.STALLED) is None
    assert world.condition(PoolCondition.READY) is Status.TRUE


def test_an_operator_restart_changes_no_machine() -> None:
    world = TinyWorld(make_pool(nodes=3))
    world.run_until_settled(COMING_UP)
    machines = {key: machine.instance.id for key, machine in world.machines.items()}
    world.restart_operator()

    world.run_until_settled(COMING_UP)
    world.run(40)

    assert {key: machine.instance.id for key, machine in world.machines.items()} == machines
    assert all(node.status.restarts == 0 for node in world.nodes.values())


def test_a_silent_agent_is_started_again_and_the_node_stays() -> None:
    world = TinyWorld(make_pool(nodes=2))
    world.run_until_settled(COMING_UP)
    quiet = min(world.nodes)
    world.silence(quiet)

    world.run(30)

    assert world.is_settled
    assert world.creates == 2
    assert world.nodes[quiet].status.restarts == 1


def test_an_agent_that_does_not_come_back_costs_its_node() -> None:
    world = TinyWorld(make_pool(nodes=2))
    world.run_until_settled(COMING_UP)
    world.silence(min(world.nodes), for_good=True)

    world.run(400)

    assert world.creates == 3
    assert world.places()["ready"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(60))
def test_after_any_trouble_a_pool_comes_to_rest(seed: int) -> None:
    random = Random(seed)
    unavailable, surge = random.choice(ROLLOUTS)
    world = TinyWorld(make_pool(nodes=random.randint(1, 5), max_unavailable=unavailable, max_surge=surge))

    for _ in range(60):
        world.one_pass()
        _trouble(world, random)
    world.broken.clear()
    world.edit(nodes=random.randint(0, 5), image={"env": {"SEED": "calm"}})

    world.run_until_settled(600, step_s=5.0)


def _trouble(world: TinyWorld, random: Random) -> None:
    """About one fault or edit in three passes."""
    what = random.randrange(18)
    live = sorted(world.machines)
    if what == 0:
        world.edit(nodes=random.randint(0, 5))
    elif what == 1:
        world.edit(image={"env": {"VERSION": str(random.randrange(4))}})
    elif what == 2 and live:
        world.kill(random.choice(live), random.choice([InstanceState.FAILED, InstanceState.PREEMPTED]))
    elif what == 3:
        connected = [key for key in live if world.machines[key].session is not None]
        if connected:
            world.silence(random.choice(connected), for_good=random.random() < 0.5)
    elif what == 4:
        world.restart_operator()
    elif what == 5:
        world.broken ^= {hash_of(world.pool)}
