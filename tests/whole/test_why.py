"""What `why` tells in the stories of an operator's life. Golden pages, to be read by people: `SKYWARD_REGENERATE=1` writes them
anew; review the change. Ages and made-up names are left out, so that a page changes only when what it says does."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from skyward.api import Node, NodeCondition, Object, Pool, PoolCondition, Task
from skyward.apiserver.nodes import NodeWrites
from skyward.apiserver.why import Why
from skyward.errors import InsufficientCapacity
from skyward.facts import InstanceState
from skyward.skyctl.why import page
from tests.whole.world import World, condition, run_world

GOLDEN = Path(__file__).parent / "golden"
Scenario = Callable[["Pages"], Awaitable[None]]


class Pages:
    """A world, and what was asked about it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.asked: list[str] = []
        self._names: dict[str, str] = {}

    async def ask(self, kind: type[Object], name: str = "hello", *, at: str) -> None:
        story = await self.read(kind, name)
        lines = list(page(story, self.world.clock.now()))
        for launch in sorted(await self.world.launches(), key=lambda launch: launch.created_at):
            for key in launch.nodes:
                name = key.rpartition("/")[2]
                slot = name.split("-")[1]
                same = sum(other.startswith(f"hello-{slot}-") for other in self._names.values())
                self._names.setdefault(name, f"hello-{slot}-{'ABCDEFGHIJ'[same]}")
        self.asked += [f"=== {at}", "", *map(self._timeless, lines), ""]

    async def read(self, kind: type[Object], name: str) -> dict[str, Any]:
        told = await Why(self.world.store, self.world.queue).story(kind, "default", name)
        assert told is not None
        return told.to_json()

    async def node(self, slot: int) -> Node:
        nodes = [node for node in await self.world.nodes() if node.spec.slot == slot]
        return max(nodes, key=lambda node: node.metadata.creation_timestamp or 0)

    def text(self) -> str:
        return self._nameless("\n".join(self.asked))

    def _timeless(self, line: str) -> str:
        """Ages, with the column that they made."""
        line = re.sub(r"^ {5,}(?=not )", " " * 11, line)
        line = re.sub(r"^ {5,}(?=\S)(?!not )", " " * 9, line)
        return re.sub(r"^  (since |until )?\d+[smhd]( ago)? +", lambda found: f"  {found[1] or 'then  '} ", line)

    def _nameless(self, text: str) -> str:
        """Nodes are called A, B, … by slot, in the order in which they were made; instances and tasks by number."""
        for name, letter in self._names.items():
            text = text.replace(name, letter)
        for pattern in (r"\bi-\d{5}\b", r"\bfn-[a-z0-9]{5}\b"):
            seen: dict[str, str] = {}
            for found in re.findall(pattern, text):
                seen.setdefault(found, f"{found[:2].rstrip('-')}-{len(seen) + 1}")
            for name, number in seen.items():
                text = text.replace(name, number)
        return text


async def a_lost_machine(pages: Pages) -> None:
    world = pages.world
    await world.apply(nodes=3)
    await world.settled()
    victim = await pages.node(1)
    world.cloud.lose(victim.status.provider_id, InstanceState.PREEMPTED)
    await asyncio.sleep(12)
    await pages.ask(Pool, at="while a new node comes up")
    await pages.ask(Node, victim.metadata.name, at="of the node that was lost")
    await world.settled()
    await pages.ask(Node, victim.metadata.name, at="of the node that was lost, when nothing is left of it")


async def refused_capacity(pages: Pages) -> None:
    world = pages.world
    world.cloud.faults.before_create.append(InsufficientCapacity("no capacity left", "local/small/on-demand"))
    await world.apply(nodes=1)
    await world.settled()
    await pages.ask(Node, (await pages.node(0)).metadata.name, at="of a node whose first choice was refused")


async def no_capacity(pages: Pages) -> None:
    world = pages.world
    world.cloud.faults.capacity = 2
    await world.apply(nodes=3)
    await asyncio.sleep(90)
    await pages.ask(Pool, at="while everything is refused")
    await pages.ask(Node, (await _unready(world)).metadata.name, at="of the node that gets no instance")
    task = await world.submit(1, mode="run")
    await asyncio.sleep(30)
    assert await world.is_done(task)


async def a_paused_pool(pages: Pages) -> None:
    world = pages.world
    await world.apply(nodes=1)
    await world.settled()
    await world.apply(nodes=3, paused=True)
    await asyncio.sleep(30)
    await pages.ask(Pool, at="while it is paused")
    await world.apply(nodes=3)
    await world.settled()
    await pages.ask(Pool, at="afterwards")


async def an_unknown_outcome(pages: Pages) -> None:
    world = pages.world
    world.cloud.faults.lost_requests = 1
    await world.apply(nodes=1)
    await asyncio.sleep(4)
    await pages.ask(Node, (await pages.node(0)).metadata.name, at="while nobody knows whether there is an instance")
    await world.settled()
    await pages.ask(Node, (await pages.node(0)).metadata.name, at="afterwards")


async def a_drained_node(pages: Pages) -> None:
    world = pages.world
    world.machines.work_s = 60.0
    await world.apply(nodes=1)
    await world.settled()
    await world.submit(1, mode="run")
    await asyncio.sleep(5)
    node = await pages.node(0)
    writes = NodeWrites(world.store, world.clock)
    await writes.delete("default", node.metadata.name, uid=None, dry_run=False, user="ada")
    await asyncio.sleep(5)
    await pages.ask(Node, node.metadata.name, at="while it drains")
    await world.until(lambda: world.lacks(node.metadata.uid))
    await pages.ask(Node, node.metadata.name, at="afterwards")


async def a_roll_out(pages: Pages) -> None:
    world = pages.world
    await world.apply(nodes=3)
    await world.settled()
    await world.apply(nodes=3, image={"env": {"A": "1"}})
    await asyncio.sleep(10)
    await pages.ask(Pool, at="in the middle of the roll-out")
    await world.settled()
    await pages.ask(Pool, at="afterwards")


async def a_broken_template(pages: Pages) -> None:
    world = pages.world
    world.machines.always_fails = lambda request: True
    await world.apply(nodes=1)
    await world.until(lambda: world.pool_is("hello", PoolCondition.STALLED, "True/TemplateFailing"))
    await asyncio.sleep(60)
    await pages.ask(Pool, at="when three nodes have failed")


async def a_waiting_task(pages: Pages) -> None:
    world = pages.world
    await world.apply(nodes=1, paused=True)
    await asyncio.sleep(20)
    task = await world.task(await world.submit(1, mode="run"))
    await pages.ask(Task, task.metadata.name, at="while its pool is paused and has no nodes")
    await world.apply(nodes=1)
    await asyncio.sleep(10)
    await pages.ask(Task, task.metadata.name, at="while its node comes up")
    world.machines.work_s = 60.0
    await world.settled()
    second = await world.task(await world.submit(1, mode="run"))
    await asyncio.sleep(5)
    await pages.ask(Task, second.metadata.name, at="of another one, while the node is busy")


async def a_task_that_lost_its_node(pages: Pages) -> None:
    world = pages.world
    world.machines.work_s = 60.0
    await world.apply(nodes=1)
    await world.settled()
    uid = await world.submit(1, mode="run")
    await asyncio.sleep(10)
    node = await pages.node(0)
    world.cloud.lose(node.status.provider_id, InstanceState.PREEMPTED)
    await asyncio.sleep(25)
    await pages.ask(Task, (await world.task(uid)).metadata.name, at="while no node is there")
    await world.settled()
    await asyncio.sleep(10)
    await pages.ask(Task, (await world.task(uid)).metadata.name, at="while it runs again")


async def a_deleted_pool(pages: Pages) -> None:
    world = pages.world
    await world.apply(nodes=2)
    await world.settled()
    node = await pages.node(0)
    await world.delete(Pool, "default/hello")
    await asyncio.sleep(2)
    await pages.ask(Pool, at="while it goes")
    await world.until(lambda: world.lacks_pool("hello"))
    await asyncio.sleep(5)
    await pages.ask(Pool, at="when it is gone")
    await pages.ask(Node, node.metadata.name, at="of a node of a pool that is gone")


LISTED = {"driver": {"has_token": False, "visibility_s": 8.0}, "cloud": {"visibility_s": 5.0}}
SCENARIOS: dict[Scenario, dict[str, Any]] = {
    a_lost_machine: {},
    refused_capacity: {},
    no_capacity: {},
    a_paused_pool: {},
    an_unknown_outcome: LISTED,
    a_drained_node: {},
    a_roll_out: {},
    a_broken_template: {},
    a_waiting_task: {},
    a_task_that_lost_its_node: {},
    a_deleted_pool: {},
}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_why_tells_the_story(scenario: Scenario) -> None:
    told: list[str] = []

    async def story(world: World) -> None:
        await world.start()
        pages = Pages(world)
        await scenario(pages)
        told.append(pages.text())

    run_world(story, **SCENARIOS[scenario])

    _compare(scenario.__name__, told[0])


async def _unready(world: World) -> Node:
    return next(node for node in await world.nodes() if not condition(node, NodeCondition.READY).startswith("True"))


def _compare(name: str, text: str) -> None:
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("SKYWARD_REGENERATE"):
        path.write_text(text)
    if not path.exists():
        pytest.fail(f"{path} is missing; run with SKYWARD_REGENERATE=1 and review it")

    assert text == path.read_text()
