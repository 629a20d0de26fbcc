"""The queue against its model: random histories with restarts, stale reports, lost nodes and cancellations."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from skyward.contracts import Holder, Store
from skyward.queue import DurableQueue
from skyward.store import memory_store, open_store
from skyward_agent.wire.messages import (
    AT_MOST_ONCE,
    FAIL,
    REPLACE_RANK,
    RETRY,
    AttemptId,
    Failure,
    Report,
    Result,
)
from tests.queue.model import Model, ordinary
from tests.queue.world import POOL, HandClock, QueueWorld, done, facts, holder, settle, submission
from tests.store.world import CountingIds, StillClock

NODES = 4
"""The last of them joined late: no broadcast has a rank for it."""
OUTCOMES = ("Succeeded", "Failed", "Failed", "TimedOut", "ChildDied", "OutOfMemory", "NodeLost", "Cancelled")
STEPS = 120
OPTIONS: tuple[dict[str, object], ...] = (
    {},
    {},
    {},
    {"delivery": AT_MOST_ONCE},
    {"retry_on": ("OSError",), "max_retries": 1, "backoff_s": 8.0},
    {"retry_causes": ("NodeLost",)},
    {"deadline_s": 40.0},
    {"on_node_loss": RETRY},
    {"on_node_loss": REPLACE_RANK},
)


class History:
    """One random history: every step is done to the queue and to the model, and then they must agree."""

    def __init__(self, world: QueueWorld, queue: DurableQueue, clock: HandClock, chance: random.Random) -> None:
        self.random = chance
        self.world = world
        self.queue = queue
        self.clock = clock
        self.model = Model(clock.now())
        self.tasks: list[str] = []
        self.open: dict[str, int] = {}
        self.attempts: list[tuple[AttemptId, int]] = []
        """Every attempt that any node ever got: what a stale agent may still talk about."""
        self.incarnations = dict.fromkeys(range(NODES), 0)

    def holder(self, node: int) -> Holder:
        return holder(node, f"incarnation {self.incarnations[node]}")

    async def step(self) -> None:
        steps = (
            self.submit,
            self.extend,
            self.lease,
            self.lease,
            self.lease,
            self.start,
            self.report,
            self.report,
            self.report,
            self.give_back,
            self.resume,
            self.release,
            self.cancel,
            self.pass_time,
            self.restart,
        )
        await self.random.choice(steps)()
        self.check()

    async def submit(self) -> None:
        mode = self.random.choice(("run", "map", "map", "broadcast"))
        items = [b"%d" % n for n in range(self.random.randint(1, 8) if mode == "map" else 1)]
        is_open = mode == "map" and self.random.random() < 0.5
        max_attempts, priority = self.random.randint(1, 3), self.random.randint(-1, 1)
        policy = ordinary(**self.random.choice(OPTIONS))
        if policy.delivery == AT_MOST_ONCE:
            max_attempts = 1
        if policy.max_retries:
            max_attempts = max(max_attempts, 2)
        if mode != "broadcast":
            policy = replace(policy, on_node_loss=FAIL)
        asked = submission(
            f"key-{len(self.tasks)}",
            *items,
            mode=mode,
            open=is_open,
            max_attempts=max_attempts,
            priority=priority,
            policy=policy,
        )
        accepted = await self.queue.submit(asked)
        assert await self.queue.submit(asked) == accepted
        nodes = tuple(rank.node_uid for rank in facts().ready) if mode == "broadcast" else ()
        self.model.add(
            accepted.task,
            len(self.tasks),
            accepted.items,
            max_attempts=max_attempts,
            priority=priority,
            nodes=nodes,
            policy=policy,
        )
        self.tasks.append(accepted.task)
        if is_open:
            self.open[accepted.task] = accepted.items

    async def extend(self) -> None:
        if not self.open:
            return
        task = self.random.choice(sorted(self.open))
        count, last = self.random.randint(0, 4), self.random.random() < 0.4
        start = self.open[task]
        assert await self.queue.extend(task, start, [b"%d" % n for n in range(count)], last=last) == start + count
        self.model.extend(task, start, count)
        self.open[task] += count
        if last:
            del self.open[task]

    async def lease(self) -> None:
        node, capacity = self.random.randrange(NODES), self.random.randint(1, 6)
        leases = await self.queue.lease(self.holder(node), capacity)
        if f"uid-{node}" in self.model.lost:
            assert leases == ()
        ages = self.clock.now() > HandClock().now()
        for lease in leases:
            self.model.lease(lease.id, f"uid-{node}", self.holder(node).incarnation, ages=ages)
            self.attempts.append((lease.id, node))
        left = [] if f"uid-{node}" in self.model.lost else self.model.waiting_for(f"uid-{node}")
        assert len(leases) == capacity or not left

    async def start(self) -> None:
        for attempt, node in self.some():
            await self.queue.started(self.holder(node), [attempt])
            self.model.start(attempt, f"uid-{node}")

    async def report(self) -> None:
        for attempt, node in self.some():
            sender = node if self.random.random() < 0.9 else self.random.randrange(NODES)
            outcome = self.random.choice(OUTCOMES)
            if self.random.random() < 0.1:
                attempt = replace(attempt, secret="guessed")
            failure = Failure("ConnectionError", "", bases=("OSError",)) if outcome == "Failed" else None
            report = Report(attempt, outcome, failure=failure)
            assert await self.queue.report(self.holder(sender), [report]) == (attempt,)
            self.model.report(attempt, f"uid-{sender}", outcome, failure)

    async def give_back(self) -> None:
        for attempt, node in self.some():
            giver = node if self.random.random() < 0.9 else self.random.randrange(NODES)
            await self.queue.give_back(self.holder(giver), [attempt, attempt])
            self.model.give_back(attempt, f"uid-{giver}")

    async def resume(self) -> None:
        node = self.random.randrange(NODES)
        running = {attempt for attempt, of in self.some() if of == node}
        self.incarnations[node] += self.random.random() < 0.5
        refused = await self.queue.resume(self.holder(node), sorted(running, key=repr))
        self.model.resume(f"uid-{node}", self.holder(node).incarnation, running)
        assert set(refused) == {a for a in running if self.model.current(a, f"uid-{node}") is None}

    async def release(self) -> None:
        node, outcome = self.random.randrange(NODES), self.random.choice(("NodeLost", "ChildDied"))
        gone = outcome == "NodeLost" and self.random.random() < 0.5
        await self.queue.release(f"uid-{node}", outcome, "lost", gone=gone)
        self.model.release(f"uid-{node}", outcome, gone=gone)

    async def cancel(self) -> None:
        if self.tasks and self.random.random() < 0.5:
            task = self.random.choice(self.tasks)
            await self.queue.cancel(task)
            self.model.cancel(task)
            self.open.pop(task, None)

    async def pass_time(self, seconds: float | None = None) -> None:
        """Less than a priority's worth of ageing; deadlines and pauses come to an end."""
        await self.clock.advance(self.random.choice((1.0, 5.0, 20.0)) if seconds is None else seconds)
        for _ in range(3):
            await self.world.store.run(lambda _: None)
            await settle()
        self.model.advance(self.clock.now())
        for task in [task for task in self.open if (await self.queue.accepted(task)).open is False]:
            del self.open[task]

    async def restart(self) -> None:
        self.queue = await self.world.queue()
        self.model.restart()

    def some(self) -> list[tuple[AttemptId, int]]:
        """A few attempts, mostly recent ones."""
        recent = self.attempts[-12:] if self.random.random() < 0.8 else self.attempts
        return self.random.sample(recent, min(len(recent), 3))

    def check(self) -> None:
        assert self.queue.counts(POOL) == self.model.counts()
        for node in range(NODES):
            assert self.queue.held(f"uid-{node}") == self.model.held(f"uid-{node}")
        told: dict[tuple[str, int], int] = {}
        for result in self.world.ear.results:
            told[result.task, result.item] = told.get((result.task, result.item), 0) + 1
        assert told == {key: item.commits for key, item in self.model.items.items() if item.commits}
        assert set(told.values()) <= {1}

    async def finish(self) -> None:
        """Close and run everything that is left; then nothing may be missing."""
        for task, count in self.open.items():
            await self.queue.extend(task, count, [], last=True)
        for node in range(NODES):
            self.incarnations[node] += 1
            await self.queue.resume(self.holder(node), [])
            self.model.resume(f"uid-{node}", self.holder(node).incarnation, set())
        self.open.clear()
        await self.pass_time(20.0)
        while any(self.model.counts()):
            before = sum(self.model.counts())
            for node in range(NODES):
                for lease in await self.queue.lease(self.holder(node), 4):
                    self.model.lease(lease.id, f"uid-{node}", "", ages=True)
                    await self.queue.report(self.holder(node), [done(lease.id)])
                    self.model.report(lease.id, f"uid-{node}", "Succeeded")
            assert sum(self.model.counts()) < before, "what waits is given to nobody"
        for task in self.tasks:
            results = await self.queue.results(task, limit=1000)
            assert {result.item: (result.outcome, result.attempt) for result in results} == {
                index: (item.outcome, item.attempt) for (of, index), item in self.model.items.items() if of == task
            }
        assert all(task.status.finished_at is not None for task in await self.queue.tasks())


async def begin_history(chance: random.Random, store_of: Callable[[HandClock], Store] | None = None) -> History:
    clock = HandClock()
    store = memory_store(clock, CountingIds()) if store_of is None else store_of(clock)
    world = QueueWorld(store, clock)
    return History(world, await world.queue(), clock, chance)


async def run_history(seed: int) -> None:
    """The task queue does what its model does, step by step, and loses nothing."""
    history = await begin_history(random.Random(seed))
    for _ in range(STEPS):
        await history.step()
    await history.finish()


@pytest.mark.parametrize("seed", range(30))
def test_the_queue_does_what_its_model_does(seed: int) -> None:
    asyncio.run(run_history(seed))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_with_everything_at_once_nothing_is_lost_doubled_or_mixed_up(tmp_path: Path, seed: int) -> None:
    """Agents, clients and trouble run concurrently on a real store, so that every write may overtake every other."""
    chance = random.Random(seed)
    arguments: dict[tuple[str, int], bytes] = {}

    async def client(queue: DurableQueue, number: int) -> None:
        for count in range(15):
            items = [b"%d-%d-%d" % (number, count, index) for index in range(chance.randint(1, 20))]
            accepted = await queue.submit(submission(f"{number}-{count}", *items, mode="map", max_attempts=3))
            arguments.update({(accepted.task, index): item for index, item in enumerate(items)})
            broadcast = await queue.submit(submission(f"b-{number}-{count}", b"all", mode="broadcast"))
            arguments.update({(broadcast.task, index): b"all" for index in range(broadcast.items)})
            if chance.random() < 0.2:
                await asyncio.gather(queue.cancel(accepted.task), queue.cancel(accepted.task))

    async def agent(queue: DurableQueue, node: int, stop: asyncio.Event) -> None:
        old: list[Report] = []
        while not stop.is_set() or any(queue.counts(POOL)):
            leases = await queue.lease(holder(node), chance.randint(1, 8))
            await queue.started(holder(node), [lease.id for lease in leases if chance.random() < 0.5])
            reports = [
                Report(lease.id, chance.choice(("Succeeded", "Succeeded", "ChildDied")), b"of " + lease.arguments)
                for lease in leases
                if chance.random() < 0.9
            ]
            again = chance.sample(old, min(len(old), 2))
            await asyncio.gather(queue.report(holder(node), reports), queue.report(holder(node), [*reports, *again]))
            old.extend(reports)
            if chance.random() < 0.2 or not leases:
                await queue.resume(holder(node), [])

    async def trouble(queue: DurableQueue, stop: asyncio.Event) -> None:
        while not stop.is_set():
            node = chance.randrange(NODES)
            await queue.release(f"uid-{node}", chance.choice(("NodeLost", "ChildDied")), "lost")
            for _ in range(chance.randint(1, 5)):
                await queue.started(holder(node), [])
                await asyncio.sleep(0)

    async def main() -> None:
        store = open_store(tmp_path / "state", clock=StillClock(), ids=CountingIds())
        world = QueueWorld(store)
        queue = await world.queue()
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for node in range(NODES):
                group.create_task(agent(queue, node, stop))
            group.create_task(trouble(queue, stop))
            clients = [group.create_task(client(queue, number)) for number in range(3)]
            await asyncio.wait(clients)
            stop.set()
        check(world.ear.results, arguments)
        restarted = await world.queue()
        assert restarted.counts(POOL) == queue.counts(POOL) == (0, 0)
        assert restarted.holders() == queue.holders() == frozenset()
        await store.close()

    asyncio.run(main())


def check(results: list[Result], arguments: dict[tuple[str, int], bytes]) -> None:
    assert sorted((result.task, result.item) for result in results) == sorted(arguments)
    for result in results:
        if result.outcome == "Succeeded":
            assert result.value == b"of " + arguments[result.task, result.item]
