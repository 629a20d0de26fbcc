"""Long stories of a directory that people, Git and failing disks change: a model says which pools may be deleted, and what
must be so in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from random import Random

import pytest

from skyward.api import Pool, Source
from skyward.api.meta import APPROVED
from skyward.contracts import Change, Manifest, Transaction
from skyward.errors import UserError
from tests.intake.actor import DirectoryActor
from tests.intake.world import ROOT, World, play

NAMES = ("a", "b", "c", "d", "e", "f")
ABSENCE_S = 10.0
REST_S = 60.0


class Judge:
    """Shares no code with the guards: it follows what the files mean, and looks at every commit."""

    def __init__(self, world: World, actor: DirectoryActor) -> None:
        self.world = world
        self.actor = actor
        self.asked: set[str] = set()
        """Pools whose end or change a user asked for through the API."""
        self.approved = False
        self.complaints: list[str] = []
        self.deleted = 0
        self.held = 0
        self._absent_since: dict[str, float] = {}
        self._pools: dict[str, Pool] = {}
        actor.on_change = self.look
        world.store.subscribe(self.commit)

    def look(self) -> None:
        now = self.world.clock.monotonic()
        missing = set(NAMES) - set(self.actor.tree)
        self._absent_since = {name: self._absent_since.get(name, now) for name in missing}

    def commit(self, changes: Sequence[Change]) -> None:
        before = dict(self._pools)
        gone: list[Pool] = []
        lowered: list[tuple[Pool, Pool]] = []
        for change in changes:
            pool = change.object
            if not isinstance(pool, Pool):
                continue
            name = pool.metadata.name
            old = before.get(name)
            if change.verb == "DELETED" or pool.metadata.deletion_timestamp is not None:
                self._pools.pop(name, None)
                if old is not None and name not in self.asked:
                    gone.append(old)
                continue
            self._pools[name] = pool
            self.held += pool.status.held is not None
            if old is not None and pool.spec.nodes < old.spec.nodes and name not in self.asked:
                lowered.append((old, pool))
            if old is None or old.spec != pool.spec:
                self._check_meant(pool)
        self._check_absence(gone)
        self._check_size(before, gone, lowered)

    def _check_meant(self, pool: Pool) -> None:
        if not self.actor.is_clean and pool.metadata.name not in self.asked:
            self._complain(f"{pool.key} was changed from a state that means nothing")

    def _check_absence(self, gone: Sequence[Pool]) -> None:
        now = self.world.clock.monotonic()
        for pool in gone:
            self.deleted += 1
            since = self._absent_since.get(pool.metadata.name)
            if since is None or now - since < ABSENCE_S:
                self._complain(f"{pool.key} was deleted, absent since {since}")
            if not self.actor.is_clean or not self.actor.is_readable:
                self._complain(f"{pool.key} was deleted while nothing could be known")

    def _check_size(self, before: dict[str, Pool], gone: Sequence[Pool], lowered: Sequence[tuple[Pool, Pool]]) -> None:
        if self.approved:
            return
        emptied = len(gone) + sum(new.spec.nodes == 0 for _, new in lowered)
        lost = sum(pool.spec.nodes for pool in gone) + sum(old.spec.nodes - new.spec.nodes for old, new in lowered)
        if emptied > max(1, len(before) / 4) or (lost > 10 and len(gone) + len(lowered) > 1):
            self._complain(f"{emptied} pools with {lost} nodes were taken away without a word")

    def _complain(self, text: str) -> None:
        self.complaints.append(f"{self.world.clock.monotonic():.1f} {text}")


async def _approve(world: World, judge: Judge) -> None:
    def work(tx: Transaction) -> None:
        source = tx.get(Source, "default/manifests")
        if source is not None and source.status.held is not None:
            judge.approved = True
            annotations = {APPROVED: source.status.held.hash}
            tx.put(source.replace(metadata=source.metadata.replace(annotations=annotations)))

    await world.store.run(work)


async def _use_api(world: World, judge: Judge, rng: Random) -> None:
    name = rng.choice(NAMES)
    judge.asked.add(name)
    tree = dict(judge.actor.tree)
    with suppress(UserError):
        if rng.random() < 0.5:
            await world.source.remove("default", name)
            tree.pop(name, None)
        else:
            nodes = rng.choice((0, 4))
            await world.source.write(Manifest("default", name, {"nodes": nodes, "provider": "local"}), create=False)
            tree[name] = nodes
        judge.actor.took(tree)
    judge.asked.discard(name)


async def _finish_deletions(world: World, rng: Random) -> None:
    """The controllers, at their own pace."""
    while True:
        await world.clock.sleep(rng.choice((1.0, 20.0)))
        for key in await world.leaving():
            pool = await world.the_pool(key)
            if len(pool.metadata.finalizers) == 1:
                await world.finish_deletion(key)


async def _story(world: World, rng: Random) -> None:
    actor = DirectoryActor(world.files, world.clock, rng, root=ROOT, names=NAMES)
    judge = Judge(world, actor)
    world.files.make_directory(f"{ROOT}/.git")
    actor.settle({name: rng.randrange(1, 6) for name in NAMES[: rng.randrange(1, len(NAMES) + 1)]})
    controllers = asyncio.create_task(_finish_deletions(world, rng))
    for _ in range(4):
        async with world.running():
            for _ in range(4):
                await actor.act()
                await world.clock.sleep(rng.choice((0.5, 5.0, 30.0)))
                if rng.random() < 0.2:
                    await _use_api(world, judge, rng)
                if rng.random() < 0.1:
                    await _approve(world, judge)
                    await world.clock.sleep(REST_S)
                    judge.approved = False
        await world.clock.sleep(rng.choice((1.0, 60.0)))
    async with world.running():
        await _come_to_rest(world, judge)
    controllers.cancel()
    await asyncio.gather(controllers, return_exceptions=True)


async def _come_to_rest(world: World, judge: Judge) -> None:
    """Liveness: once nothing goes wrong any more, the pools are what the files say, if need be after a word."""
    judge.actor.settle(judge.actor.tree)
    await world.clock.sleep(2 * REST_S)
    await _approve(world, judge)
    await world.clock.sleep(2 * REST_S)
    pools = await world.store.read(lambda tx: tx.list(Pool))
    story = "\n".join((*judge.complaints, *judge.actor.acts))
    assert judge.complaints == [], story
    assert {pool.metadata.name: pool.spec.nodes for pool in pools} == judge.actor.tree, story
    assert all(pool.status.held is None for pool in pools), story
    version = await world.version()
    await world.clock.sleep(10 * REST_S)
    assert await world.version() == version, story


@pytest.mark.slow
@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=[pytest.mark.ci] if seed >= 8 else []) for seed in range(60)]
)
def test_only_what_was_meant_to_go_goes_and_all_comes_true_in_the_end(seed: int) -> None:
    play(lambda world: _story(world, Random(seed)))
