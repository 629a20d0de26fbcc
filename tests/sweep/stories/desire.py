"""Manifests that are edited, moved, broken and removed."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

from skyward.contracts import Manifest
from skyward.errors import NotFound
from tests.simulation.operator import MANIFESTS, Operator
from tests.simulation.phases import is_drained
from tests.simulation.users import approve
from tests.sweep.stage import POOL, Stage
from tests.sweep.story import Book

DESIRE = Book()
_GONE_S = 450.0


async def _begin(stage: Stage, nodes: int = 1, *names: str) -> None:
    for name in names or (POOL,):
        stage.apply(nodes, name)
    await stage.settled()


async def gone(stage: Stage) -> None:
    """In time, although some providers show for long what is no more."""
    await stage.until(lambda: is_drained(stage), _GONE_S, what="nothing is left")


@DESIRE.story()
@DESIRE.story(profile="token")
async def a_pool_is_deleted(stage: Stage) -> None:
    await _begin(stage, 2)
    stage.remove()
    await gone(stage)


@DESIRE.story()
async def a_pool_is_deleted_before_it_is_ready(stage: Stage) -> None:
    stage.apply(2)
    await asyncio.sleep(3)
    stage.remove()
    await asyncio.sleep(20)
    await gone(stage)


@DESIRE.story()
async def a_pool_is_deleted_through_the_api(stage: Stage) -> None:
    await _begin(stage)
    stage.desire.deleted.add(POOL)
    stage.desire.wishes.pop(POOL)

    async def call(operator: Operator) -> None:
        assert operator.source is not None
        with suppress(NotFound):  # it was done, and the answer did not come
            await operator.source.remove("default", POOL)

    await stage.ask(call)
    await gone(stage)


@DESIRE.story()
async def a_pool_is_applied_through_the_api(stage: Stage) -> None:
    await _begin(stage)
    wish = stage.desire.wishes[POOL]
    grown = replace(wish, nodes=2)
    stage.desire.wishes[POOL] = grown
    stage.desire.history[POOL].append(grown)
    spec = {"nodes": 2, "provider": "local", "drainTimeout": "1m", "image": {"env": {"VERSION": "1"}}}

    async def call(operator: Operator) -> None:
        assert operator.source is not None
        await operator.source.write(Manifest("default", POOL, spec), create=False)

    await stage.ask(call)
    await stage.settled()


@DESIRE.story(profile="token")
async def a_pool_is_declared_again_while_the_old_one_goes(stage: Stage) -> None:
    await _begin(stage)
    first = {pool.metadata.uid for pool in stage.records.pools.values()}
    stage.remove()
    await stage.until(lambda: (pool := stage.pool()) is None or pool.metadata.deletion_timestamp is not None)
    stage.apply(1)
    await stage.until(lambda: (pool := stage.pool()) is not None and pool.metadata.uid not in first)
    await stage.settled()


@DESIRE.story()
async def a_file_gets_another_name(stage: Stage) -> None:
    await _begin(stage)
    stage.desire.move(POOL, "renamed")
    await asyncio.sleep(40)
    stage.change(nodes=2)
    await stage.settled()


@DESIRE.story()
async def a_manifest_is_broken_and_mended(stage: Stage) -> None:
    await _begin(stage)
    stage.desire.spoil(POOL, 0.9)
    await asyncio.sleep(15)
    stage.change(nodes=2)
    await stage.settled()


@DESIRE.story()
async def a_manifest_stays_broken(stage: Stage) -> None:
    await _begin(stage)
    stage.desire.spoil(POOL, 0.9)
    await asyncio.sleep(15)


@DESIRE.story()
async def two_files_declare_the_same_pool(stage: Stage) -> None:
    await _begin(stage)
    stage.files.put(
        f"{MANIFESTS}/copy.yaml", stage.desire.wishes[POOL].text(stage.desire.where).replace("nodes: 1", "nodes: 0")
    )
    await asyncio.sleep(25)


@DESIRE.story()
async def a_mass_deletion_waits(stage: Stage) -> None:
    await _begin(stage, 1, "a", "b", "c")
    stage.remove("a", "b")
    await stage.stalled("DeletionHeld", "a")
    await asyncio.sleep(15)


@DESIRE.story()
async def a_mass_deletion_is_approved(stage: Stage) -> None:
    await _begin(stage, 1, "a", "b", "c")
    stage.remove("a", "b")
    await stage.stalled("DeletionHeld", "a")
    approve(stage)
    await stage.until(lambda: len(stage.records.pools) == 1)
    await stage.settled()


@DESIRE.story()
async def git_is_in_the_middle_of_something(stage: Stage) -> None:
    await _begin(stage)
    stage.files.put(f"{MANIFESTS}/.git/index.lock", "")
    stage.remove()
    await asyncio.sleep(30)
    stage.apply(2)
    stage.files.take_away(f"{MANIFESTS}/.git/index.lock")
    await stage.settled()


@DESIRE.story()
async def the_directory_is_not_there_for_a_while(stage: Stage) -> None:
    await _begin(stage)
    kept = dict(stage.files.entries)
    stage.files.take_away(str(MANIFESTS))
    await asyncio.sleep(30)
    for path, data in kept.items():
        stage.files.put(path, data)
    stage.change(nodes=2)
    await stage.settled()
