"""People who never open a file: everything through the API's own rooms, asked of whoever leads, with answers that may be lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

from skyward.api import Json, Node, Object, Pool, PoolSpec, Source
from skyward.api.meta import APPROVED, DO_NOT_DISRUPT, KEEP_ON_FAILURE, REPLACE
from skyward.apiserver.asking import Edit
from skyward.apiserver.feeds import StoreFeed
from skyward.apiserver.nodes import NodeWrites
from skyward.apiserver.pools import PoolWrites
from skyward.apiserver.scales import rescaled
from skyward.apiserver.sources import SourceWrites
from skyward.errors import SkyError
from tests.simulation.desire import Wish
from tests.simulation.operator import Operator
from tests.simulation.world import World

_PER_HOUR = 20.0
_ANSWER_S = 30.0
_USER = "somebody"
_MARKS = (DO_NOT_DISRUPT, REPLACE, KEEP_ON_FAILURE, KEEP_ON_FAILURE)
_AT_NODES = ("cordon", "cordon", "uncordon", "delete", "mark", "mark", "unmark")
_AT_POOLS = ("scale", "scale", "roll", "pause", "create", "remove")


async def use_api(world: World) -> None:
    stream = world.chance.stream("hands")
    while world.faults.on:
        await asyncio.sleep(stream.expovariate(_PER_HOUR / 3600.0))
        if not world.faults.on:
            return
        if stream.random() < 0.6:
            await _at_a_node(world, stream)
        else:
            await _at_a_pool(world, stream)


async def let_go(world: World) -> None:
    """Nothing stays cordoned or marked that would keep its pool from being as desired. Who gets no answer asks again later."""
    for node in tuple(world.records.nodes.values()):
        if node.metadata.deletion_timestamp is None and (node.spec.unschedulable or _marked(node)):
            await _ask(world, "let go", node, partial(_change, node=node, edit=_freed))


# --- at nodes --------------------------------------------------------------------------------------------------------


async def _at_a_node(world: World, stream: random.Random) -> None:
    act, mark = stream.choice(_AT_NODES), stream.choice(_MARKS)
    nodes = sorted(world.records.nodes.values(), key=lambda one: one.key)
    chosen = nodes[stream.randrange(len(nodes))] if nodes else None
    if chosen is None or (act == "unmark" and not _marked(chosen)):
        return
    edits: dict[str, Callable[[Json], Json]] = {
        "cordon": lambda body: _with(body, "spec", unschedulable=True),
        "uncordon": lambda body: _with(body, "spec", unschedulable=False),
        "mark": lambda body: _with_mark(body, mark, "true"),
        "unmark": lambda body: _without_marks(body),
    }

    def call(operator: Operator) -> Awaitable[Any]:
        if act == "delete":
            uid = chosen.metadata.uid
            return _nodes(operator).delete(*_place(chosen), uid=uid, dry_run=False, user=_USER)
        return _change(operator, chosen, edits[act])

    answer = await _ask(world, f"{act} {mark if act == 'mark' else ''}", chosen, call)
    if isinstance(answer, Node):
        world.coverage.reach("node deleted by its user" if act == "delete" else "node changed by its user")


def _change(operator: Operator, node: Node, edit: Callable[[Json], Json]) -> Awaitable[Node]:
    return _nodes(operator).update(*_place(node), Edit(edit), dry_run=False, user=_USER)


def _marked(node: Node) -> list[str]:
    return [name for name in node.metadata.annotations if name in _MARKS]


def _freed(body: Json) -> Json:
    return _with(_without_marks(body), "spec", unschedulable=False)


def _with_mark(body: Json, name: str, value: str) -> Json:
    return _with(body, "metadata", annotations={**body["metadata"].get("annotations", {}), name: value})


def _without_marks(body: Json) -> Json:
    kept = {name: text for name, text in body["metadata"].get("annotations", {}).items() if name not in _MARKS}
    return _with(body, "metadata", annotations=kept)


def _with(body: Json, part: str, **changes: Any) -> Json:
    return {**body, part: {**body.get(part, {}), **changes}}


# --- at pools --------------------------------------------------------------------------------------------------------


async def _at_a_pool(world: World, stream: random.Random) -> None:
    scenario = world.scenario
    act, nodes = stream.choice(_AT_POOLS), stream.randrange(1 + max(1, scenario.most_nodes // scenario.pools))
    name = f"pool-{stream.randrange(scenario.pools)}"
    wish = world.desire.wishes.get(name)
    if await _approve(world):
        return
    if wish is None:
        if act == "create":
            await _write(world, Wish(name, nodes), None, lambda spec: spec.nodes == nodes)
    elif act == "scale":
        edit = rescaled(Edit(lambda body: _with(body, "spec", replicas=nodes)))
        await _write(world, replace(wish, nodes=nodes), edit, lambda spec: spec.nodes == nodes)
    elif act == "roll":
        version = 1 + max(one.version for one in world.desire.history[name])
        env = {"VERSION": str(version)}
        edit = Edit(lambda body: _with(body, "spec", image={"env": env}))
        await _write(world, replace(wish, version=version), edit, lambda spec: spec.image.env == env)
    elif act == "pause":
        paused = not wish.is_paused
        edit = Edit(lambda body: _with(body, "spec", paused=paused))
        await _write(world, wish.with_pause(paused), edit, lambda spec: spec.paused is paused)
    elif act == "remove":
        await _remove(world, name)


async def _write(world: World, wish: Wish, edit: Edit | None, says: Callable[[PoolSpec], bool]) -> None:
    """With an edit of what is there, or anew without. What was answered is what was asked for."""
    world.desire.ask(wish)

    def call(operator: Operator) -> Awaitable[Pool]:
        if edit is None:
            body = {"metadata": {"name": wish.name}, "spec": wish.spec(world.desire.where)}
            return _pools(operator).create("default", body, dry_run=False)
        return _pools(operator).update("default", wish.name, edit, dry_run=False, user=_USER)

    answer = await _ask(world, f"{'create' if edit is None else 'edit'} {wish.name}", wish, call)
    if isinstance(answer, Pool):
        world.coverage.reach("manifest written for a user")
        if not says(answer.spec):
            world.violate("S23", answer.key, "a write was answered with a spec that does not say what was asked for")


async def _remove(world: World, name: str) -> None:
    """Once the answer is missing nobody knows whether it is done: then it may be, for ever."""
    before = name in world.desire.deleted
    world.desire.deleted.add(name)
    pools = world.records.pools

    def call(operator: Operator) -> Awaitable[Pool]:
        return _pools(operator).delete("default", name, uid=None, dry_run=False, user=_USER)

    answer = await _ask(world, f"delete {name}", name, call)
    pool = pools.get(f"default/{name}")
    if isinstance(answer, SkyError) and not before and (pool is None or pool.metadata.deletion_timestamp is None):
        world.desire.deleted.discard(name)
    if isinstance(answer, Pool):
        world.coverage.reach("pool deleted through the API")


async def _approve(world: World) -> bool:
    """What is held, if there is anything, and if it is what users want."""
    held = {pool.status.held.hash for pool in world.records.pools.values() if pool.status.held is not None}
    if not held or not world.desire.is_as_wished:
        return False
    hash_ = min(held)

    async def call(operator: Operator) -> Source:
        (source,) = await operator.store.read(lambda tx: tx.list(Source))
        edit = Edit(lambda body: _with_mark(body, APPROVED, hash_))
        return await SourceWrites(operator.store).update(*_place(source), edit, dry_run=False, user=_USER)

    world.desire.approved.add(hash_)
    answer = await _ask(world, f"approve {hash_}", hash_, call)
    if not isinstance(answer, Source):
        world.desire.approve(hash_)
    return True


# --- asking ----------------------------------------------------------------------------------------------------------


async def _ask(world: World, what: str, about: object, call: Callable[[Operator], Awaitable[Any]]) -> Any:
    """The answer, the error that was the answer, or None when there was none."""
    operator = world.operator
    if operator is None or operator.source is None or not operator.serves:
        return None
    shown = about.key if isinstance(about, Object) else ""
    world.tell("user", f"asks to {what} {shown}".rstrip())
    try:
        answered, answer = await operator.process.ask(lambda: call(operator), _ANSWER_S)
    except SkyError as error:
        world.tell("user", f"is told: {error}")
        return error
    return answer if answered else None


def _pools(operator: Operator) -> PoolWrites:
    assert operator.source is not None
    return PoolWrites(StoreFeed(operator.store, Pool), operator.source)


def _nodes(operator: Operator) -> NodeWrites:
    return NodeWrites(operator.store, operator.clock)


def _place(thing: Object) -> tuple[str, str]:
    return thing.metadata.namespace, thing.metadata.name
