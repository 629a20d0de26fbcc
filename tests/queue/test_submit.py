"""What a client asks for: accepted once, or refused with what to do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from skyward.api import Pool, TaskPhase
from skyward.contracts import Submission
from skyward.errors import (
    Conflict,
    Invalid,
    NotFound,
    PayloadTooLarge,
    PoolAtZero,
    PoolNotFound,
    PoolNotReady,
    PythonMismatch,
    SkyError,
)
from skyward.queue import DurableQueue
from skyward.store import memory_store
from tests.queue.world import DIGEST, FUNCTION, POOL, QueueWorld, done, facts, holder, settle, submission
from tests.store.world import CountingIds, StillClock


def run(scenario: Callable[[QueueWorld, DurableQueue], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        world = QueueWorld(memory_store(StillClock(), CountingIds()))
        await scenario(world, await world.queue())

    asyncio.run(main())


def test_a_submission_becomes_a_task_that_says_what_it_is() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue) -> None:
        asked = submission("k", b"1", name="Main.<locals>.Train_Model", timeout_s=90.5, priority=3, env={"A": "1"})

        accepted = await queue.submit(asked)

        task = await queue.task("default", accepted.name)
        assert task is not None
        assert task.metadata.name.startswith("main-locals-train-model-")
        assert task.metadata.uid == accepted.task
        assert (task.spec.pool, task.spec.mode, task.spec.function) == ("hello", "run", DIGEST)
        assert (task.spec.timeout, task.spec.priority, task.spec.env) == ("90.5s", 3, {"A": "1"})
        assert (task.status.phase, task.status.items.queued) == (TaskPhase.QUEUED, 1)
        assert await queue.tasks("default") == (task,)
        assert await queue.tasks("elsewhere") == ()
        assert queue.counts(POOL) == (1, 0)
        assert world.ear.work == [(POOL, None)]

    run(scenario)


def test_the_same_key_answers_with_the_same_task() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue) -> None:
        answers = await asyncio.gather(*(queue.submit(submission("k", b"1")) for _ in range(5)))

        assert len(set(answers)) == 1
        assert len(await queue.tasks()) == 1
        assert queue.counts(POOL) == (1, 0)

    run(scenario)


def test_a_repeat_is_answered_even_when_its_pool_is_gone_and_its_task_finished() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue) -> None:
        accepted = await queue.submit(submission("k", b"1"))
        (lease,) = await queue.lease(holder(0), 1)
        await queue.report(holder(0), [done(lease.id)])
        world.pools.clear()

        assert await queue.submit(submission("k", b"1")) == accepted

    run(scenario)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(submission("k", b"2"), id="other arguments"),
        pytest.param(submission("k", b"1", mode="map"), id="other mode"),
        pytest.param(submission("k", b"1", pool="default/other"), id="other pool"),
    ],
)
def test_the_same_key_with_another_call_is_a_conflict(other: Submission) -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue) -> None:
        world.pools["default/other"] = facts("default/other")
        await queue.submit(submission("k", b"1"))

        with pytest.raises(Conflict, match="use a new key"):
            await queue.submit(other)
        await queue.submit(submission("k", b"2", submitter="bob"))

    run(scenario)


@pytest.mark.parametrize(
    ("asked", "pool", "error", "remedy"),
    [
        (submission("k", pool="default/nope"), facts(), PoolNotFound, "there is no pool default/nope"),
        (submission("k"), facts(deleting=True), PoolNotFound, "is being deleted"),
        (submission("k"), facts(nodes=0), PoolAtZero, "set spec.nodes to 1 or more"),
        (
            submission("k", python="3.12"),
            facts(),
            PythonMismatch,
            "set spec.image.python: '3.12' or run the caller with 3.11",
        ),
        (submission("k", mode="broadcast"), facts(ready=0), PoolNotReady, "wait for it"),
        (submission("k", mode="race"), facts(), Invalid, "use run, map or broadcast"),
        (submission("k", b"1", b"2"), facts(), Invalid, "takes one item, not 2"),
        (submission("k", b"1", open=True), facts(), Invalid, "only a map may be open"),
        (submission("k", mode="map", items=()), facts(), Invalid, "at least one item"),
        (submission("k", function="unknown"), facts(), Invalid, "send it before the call"),
        (submission("k", max_attempts=0), facts(), Invalid, "from 1 to 100"),
        (submission("k", priority=1001), facts(), Invalid, "from -1000 to 1000"),
        (submission("k", timeout_s=0.0), facts(), Invalid, "positive number of seconds"),
        (submission("", b"1"), facts(), Invalid, "needs a key"),
        (submission("k", bytes(64 * 1024 * 1024 + 1)), facts(), PayloadTooLarge, "pass a path"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_refusal_says_what_to_do_and_stores_nothing(
    asked: Submission, pool: Any, error: type[SkyError], remedy: str
) -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue) -> None:
        world.pools[POOL] = pool

        with pytest.raises(error, match=remedy):
            await queue.submit(asked)

        assert await queue.tasks() == ()
        assert queue.counts(POOL) == (0, 0)

    run(scenario)


def test_a_function_must_be_what_its_digest_says() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue) -> None:
        with pytest.raises(Invalid, match="digest"):
            await queue.put_function("0" * 64, FUNCTION)
        assert await queue.function("0" * 64) is None
        assert await queue.function(DIGEST) == FUNCTION

    run(scenario)


def test_an_open_map_grows_without_gaps_and_repeats_are_no_ops() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue) -> None:
        accepted = await queue.submit(submission("k", b"0", b"1", mode="map", open=True))
        uid = accepted.task

        assert await queue.extend(uid, 2, [b"2", b"3"], last=False) == 4
        assert await queue.extend(uid, 2, [b"2", b"3"], last=False) == 4
        assert await queue.extend(uid, 3, [b"3", b"4"], last=True) == 5
        assert await queue.extend(uid, 3, [b"3", b"4"], last=True) == 5
        with pytest.raises(Conflict, match="no more items"):
            await queue.extend(uid, 5, [b"5"], last=False)
        with pytest.raises(Conflict, match="missing"):
            await queue.extend(uid, 9, [b"9"], last=False)
        with pytest.raises(NotFound):
            await queue.extend("nobody", 0, [b"9"], last=False)

        leases = await queue.lease(holder(0), 10)
        assert [lease.arguments for lease in leases] == [b"0", b"1", b"2", b"3", b"4"]
        assert (await queue.accepted(uid)).items == 5

    run(scenario)


def test_a_map_that_is_closed_after_its_items_ended_finishes() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue) -> None:
        accepted = await queue.submit(submission("k", b"0", mode="map", open=True))
        (lease,) = await queue.lease(holder(0), 1)
        await queue.report(holder(0), [done(lease.id)])
        task = await queue.task("default", accepted.name)
        assert task is not None
        assert task.status.phase is TaskPhase.RUNNING

        await queue.extend(accepted.task, 1, [], last=True)

        task = await queue.task("default", accepted.name)
        assert task is not None
        assert task.status.phase is TaskPhase.SUCCEEDED
        assert task.status.finished_at is not None

    run(scenario)


def test_an_empty_open_map_can_be_closed_empty() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue) -> None:
        accepted = await queue.submit(submission("k", mode="map", items=(), open=True))
        assert world.ear.work == []

        assert await queue.extend(accepted.task, 0, [], last=True) == 0

        task = await queue.task("default", accepted.name)
        assert task is not None
        assert task.status.phase is TaskPhase.SUCCEEDED

    run(scenario)


def test_finished_tasks_go_after_an_hour_and_functions_after_a_day() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue) -> None:
        finished = await queue.submit(submission("finished"))
        (lease,) = await queue.lease(holder(0), 1)
        await queue.report(holder(0), [done(lease.id)])
        await queue.submit(submission("waits"))
        assert await queue.collect(world.clock.now() + 3500) == 0

        assert await queue.collect(world.clock.now() + 3601) == 1

        with pytest.raises(NotFound):
            await queue.accepted(finished.task)
        assert await queue.collect(world.clock.now() + 90_000) == 0
        assert await queue.function(DIGEST) == FUNCTION, "a task names it"
        await queue.drop_pool(POOL)
        await queue.collect(world.clock.now() + 90_000)
        assert await queue.function(DIGEST) is None
        with pytest.raises(Invalid, match="send it before"):
            await queue.submit(submission("later"))

    run(scenario)


def test_dropping_a_pool_cancels_its_tasks_alone() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue) -> None:
        world.pools["default/other"] = facts("default/other")
        mine = await queue.submit(submission("a", b"1", b"2", mode="map"))
        other = await queue.submit(submission("b", pool="default/other"))
        leases = await queue.lease(holder(0), 1)

        await queue.drop_pool(POOL)

        assert {(result.task, result.item, result.outcome) for result in world.ear.results} == {
            (mine.task, 0, "Cancelled"),
            (mine.task, 1, "Cancelled"),
        }
        assert world.ear.abandoned == [lease.id for lease in leases]
        assert queue.counts(POOL) == (0, 0)
        assert queue.counts("default/other") == (1, 0)
        assert (await queue.accepted(other.task)).items == 1

    run(scenario)


def test_a_pool_that_goes_while_a_task_is_submitted_takes_the_task_along() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue) -> None:
        asked = [True, False]
        known = facts()
        queue = DurableQueue(
            world.store, clock=world.clock, ids=world.ids, pools=lambda key: known if asked.pop(0) else None
        )

        accepted = await queue.submit(submission("k"))

        task = await queue.task("default", accepted.name)
        assert task is not None
        assert task.status.phase is TaskPhase.CANCELLED

    run(scenario)


def test_tasks_are_no_objects_of_the_store() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue) -> None:
        await queue.submit(submission("k"))

        assert await world.store.changes(0) == []
        assert await world.store.read(lambda tx: tx.list(Pool)) == ()

    run(scenario)


def test_who_submits_to_a_full_pool_waits_and_one_that_gave_up_takes_nobodys_turn() -> None:
    async def main() -> None:
        world = QueueWorld(memory_store(StillClock(), CountingIds()))
        queue = DurableQueue(world.store, clock=world.clock, ids=world.ids, pools=world.pools.get, most_tasks=2)
        await queue.put_function(DIGEST, FUNCTION)
        for key in "ab":
            await queue.submit(submission(key))
        waiting = [asyncio.ensure_future(queue.submit(submission(key))) for key in "cd"]
        await settle()
        assert not any(one.done() for one in waiting)
        waiting[0].cancel()
        await settle()

        (lease,) = await queue.lease(holder(0), 1)
        await queue.report(holder(0), [done(lease.id)])

        assert (await waiting[1]).items == 1
        assert queue.counts(POOL) == (2, 0)

    asyncio.run(main())
