"""What happens to attempts: leased once, fenced, counted, retried, ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from skyward.api import Task, TaskPhase
from skyward.errors import NotFound, StoreUnavailable
from skyward.queue import DurableQueue
from skyward.store import memory_store
from skyward_agent.wire.messages import AttemptId, Failure, Report
from tests.queue.world import DIGEST, POOL, QueueWorld, done, ended, holder, submission
from tests.store.world import CountingIds, StillClock


def run(scenario: Callable[[QueueWorld, DurableQueue], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        world = QueueWorld(memory_store(StillClock(), CountingIds()))
        await scenario(world, await world.queue())

    asyncio.run(main())


async def the_task(queue: DurableQueue) -> Task:
    (task,) = await queue.tasks()
    return task


def test_a_lease_carries_all_that_is_needed() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue) -> None:
        accepted = await queue.submit(submission("k", b"args", timeout_s=5.0, env={"A": "1"}, stream=False))

        (lease,) = await queue.lease(holder(0), 4)

        assert (lease.id.task, lease.id.item, lease.id.attempt) == (accepted.task, 0, 1)
        assert (lease.function, lease.arguments, lease.timeout_s, lease.env) == (DIGEST, b"args", 5.0, {"A": "1"})
        assert (lease.rank, lease.world, lease.stream) == (-1, (), False)
        assert (queue.counts(POOL), queue.held("uid-0")) == ((0, 1), 1)
        task = await the_task(queue)
        assert (task.status.phase, task.status.nodes, task.status.items.running) == (TaskPhase.RUNNING, ("hello-0",), 1)

    run(scenario)


def test_concurrent_leases_never_share_an_item_and_stay_in_order() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue) -> None:
        await queue.submit(submission("k", *(b"%d" % n for n in range(30)), mode="map"))

        batches = await asyncio.gather(*(queue.lease(holder(n), 4) for n in range(10)))

        items = [lease.id.item for batch in batches for lease in batch]
        assert items == list(range(30))
        assert len({lease.id.secret for batch in batches for lease in batch}) == 30

    run(scenario)


def test_higher_priority_goes_first_and_then_the_older_task() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue) -> None:
        for key, priority in (("low", -1), ("old", 0), ("young", 0), ("high", 5)):
            await queue.submit(submission(key, key.encode(), priority=priority))

        leases = await queue.lease(holder(0), 4)

        assert [lease.arguments for lease in leases] == [b"high", b"old", b"young", b"low"]

    run(scenario)


def test_nodes_of_another_pool_get_nothing() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue) -> None:
        await queue.submit(submission("k"))

        assert await queue.lease(holder(0, pool="default/other"), 4) == ()

    run(scenario)


def test_results_are_kept_by_item_and_can_be_asked_again() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue) -> None:
        accepted = await queue.submit(submission("k", b"0", b"1", b"2", mode="map"))
        leases = await queue.lease(holder(0), 3)
        failure = Failure("ValueError", "no", "Traceback ...", b"pickled", {"signal": "11"})
        reports = [done(leases[2].id, b"two"), Report(leases[0].id, "Failed", failure=failure)]

        assert set(await queue.report(holder(0), reports)) == {leases[2].id, leases[0].id}

        results = await queue.results(accepted.task)
        assert [(r.item, r.outcome, r.value, r.failure) for r in results] == [
            (0, "Failed", b"", failure),
            (2, "Succeeded", b"two", None),
        ]
        assert sorted(world.ear.results, key=lambda result: result.item) == list(results)
        assert await queue.results(accepted.task, skip=[0], limit=1) == results[1:]
        with pytest.raises(NotFound):
            await queue.results("nobody")

    run(scenario)


def test_only_the_first_report_of_an_attempt_counts() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue) -> None:
        accepted = await queue.submit(submission("k"))
        (lease,) = await queue.lease(holder(0), 1)
        twice = [done(lease.id, b"first"), done(lease.id, b"second")]

        answers = await asyncio.gather(
            queue.report(holder(0), twice), queue.report(holder(0), [done(lease.id, b"third")])
        )

        assert answers == [(lease.id, lease.id), (lease.id,)]
        assert [result.value for result in await queue.results(accepted.task)] == [b"first"]
        assert [result.value for result in world.ear.results] == [b"first"]

    run(scenario)


@pytest.mark.parametrize("how", ["wrong secret", "other node", "older attempt", "unknown task"])
def test_a_report_that_is_not_of_the_current_attempt_changes_nothing(how: str) -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue) -> None:
        await queue.submit(submission("k"))
        (old,) = await queue.lease(holder(0), 1)
        await queue.release("uid-0", "NodeLost", "gone")
        (new,) = await queue.lease(holder(1), 1)
        attempt: AttemptId = {
            "wrong secret": replace(new.id, secret=old.id.secret),
            "other node": new.id,
            "older attempt": old.id,
            "unknown task": replace(new.id, task="nobody"),
        }[how]
        sender = holder(1) if how == "wrong secret" else holder(0)

        assert await queue.report(sender, [done(attempt)]) == (attempt,)

        assert world.ear.results == []
        assert queue.counts(POOL) == (0, 1)
        await queue.report(holder(1), [done(new.id)])
        assert [result.attempt for result in world.ear.results] == [2]

    run(scenario)


@pytest.mark.parametrize("outcome", ["ChildDied", "OutOfMemory", "NodeLost"])
def test_infrastructure_failures_are_tried_again_and_end_in_a_dead_letter(outcome: str) -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue) -> None:
        await queue.submit(submission("k", max_attempts=2))
        for attempt in (1, 2):
            (lease,) = await queue.lease(holder(attempt), 1)
            assert lease.id.attempt == attempt
            failure = Failure(outcome, f"try {attempt}", evidence={"signal": "9"})
            await queue.report(holder(attempt), [Report(lease.id, outcome, failure=failure)])

        (result,) = world.ear.results
        assert (result.outcome, result.attempt, result.node) == ("DeadLetter", 2, "hello-2")
        assert result.failure is not None
        assert "2 attempts" in result.failure.message
        assert "try 2" in result.failure.message
        assert result.failure.evidence == {"signal": "9", "outcome": outcome, "attempts": "2", "node": "hello-2"}
        task = await the_task(queue)
        assert task.status.phase is TaskPhase.FAILED
        assert [(f.attempt, f.outcome, f.node) for f in task.status.failures] == [
            (1, outcome, "hello-1"),
            (2, outcome, "hello-2"),
        ]

    run(scenario)


def test_with_one_attempt_the_outcome_stays_what_it_is() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue) -> None:
        await queue.submit(submission("k", max_attempts=1))
        (lease,) = await queue.lease(holder(0), 1)

        await queue.report(holder(0), [ended(lease.id, "OutOfMemory")])

        assert [result.outcome for result in world.ear.results] == ["OutOfMemory"]

    run(scenario)


@pytest.mark.parametrize("outcome", ["Failed", "TimedOut", "NotUnpicklable", "ResultNotPicklable", "Cancelled"])
def test_what_user_code_does_is_final(outcome: str) -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue) -> None:
        await queue.submit(submission("k"))
        (lease,) = await queue.lease(holder(0), 1)

        await queue.report(holder(0), [ended(lease.id, outcome)])

        assert [result.outcome for result in world.ear.results] == [outcome]
        assert await queue.lease(holder(0), 1) == ()

    run(scenario)


@pytest.mark.parametrize("outcome", ["Nonsense", "DeadLetter"])
def test_an_outcome_that_agents_may_not_give_is_a_failure(outcome: str) -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue) -> None:
        await queue.submit(submission("k"))
        (lease,) = await queue.lease(holder(0), 1)

        await queue.report(holder(0), [ended(lease.id, outcome)])

        assert [result.outcome for result in world.ear.results] == ["Failed"]

    run(scenario)


def test_a_lease_that_never_started_does_not_count() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue) -> None:
        await queue.submit(submission("k", max_attempts=1))
        for attempt in range(1, 6):
            (lease,) = await queue.lease(holder(attempt), 1)
            assert lease.id.attempt == attempt
            await queue.release(f"uid-{attempt}", "NodeLost", "gone")
        (lease,) = await queue.lease(holder(9), 1)
        await queue.started(holder(9), [lease.id])
        await queue.release("uid-9", "NodeLost", "gone")
        await queue.release("uid-9", "NodeLost", "gone")

        assert [(result.outcome, result.attempt) for result in world.ear.results] == [("NodeLost", 6)]

    run(scenario)


def test_what_is_given_back_waits_again_uncounted_and_its_old_attempt_is_fenced() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue) -> None:
        await queue.submit(submission("k", max_attempts=1))
        (lease,) = await queue.lease(holder(0), 1)

        await queue.give_back(holder(1), [lease.id])
        not_its_own = queue.held("uid-0")
        await queue.give_back(holder(0), [lease.id])
        (again,) = await queue.lease(holder(1), 1)
        await queue.report(holder(0), [done(lease.id, b"late")])
        late = list(world.ear.results)
        await queue.report(holder(1), [done(again.id)])

        assert not_its_own == 1
        assert again.id.attempt == 2
        assert late == []
        assert [(result.outcome, result.value) for result in world.ear.results] == [("Succeeded", b"value")]
        assert (await the_task(queue)).status.failures == ()

    run(scenario)


def test_a_restarted_agent_gives_back_what_it_no_longer_has() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue) -> None:
        await queue.submit(submission("k", b"0", b"1", b"2", mode="map", max_attempts=1))
        running, fresh, kept = await queue.lease(holder(0), 3)
        await queue.started(holder(0), [running.id, kept.id])
        foreign = replace(kept.id, secret="guess")

        refused = await queue.resume(holder(0, "second"), [kept.id, foreign])

        assert refused == (foreign,)
        assert [(result.item, result.outcome) for result in world.ear.results] == [(0, "ChildDied")]
        (again,) = await queue.lease(holder(1), 3)
        assert (again.id.item, again.id.attempt, again.arguments) == (1, 2, b"1")
        await queue.report(holder(0, "second"), [done(kept.id), done(fresh.id)])
        assert [(result.item, result.outcome) for result in world.ear.results[1:]] == [(2, "Succeeded")]

    run(scenario)


def test_a_restarted_operator_knows_every_lease_again() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue) -> None:
        accepted = await queue.submit(submission("k", *(b"%d" % n for n in range(6)), mode="map", max_attempts=2))
        leases = await queue.lease(holder(0), 4)
        await queue.started(holder(0), [leases[0].id])
        await queue.report(holder(0), [done(leases[1].id)])
        await queue.report(holder(0), [ended(leases[2].id, "ChildDied")])

        restarted = await world.queue()

        assert restarted.counts(POOL) == queue.counts(POOL) == (3, 2)
        assert await restarted.tasks() == await queue.tasks()
        assert await restarted.resume(holder(0), [leases[0].id, leases[3].id]) == ()
        (again,) = await restarted.lease(holder(1), 1)
        assert (again.id.item, again.id.attempt, again.arguments) == (2, 2, b"2")
        await restarted.report(holder(1), [ended(again.id, "ChildDied")])
        await restarted.release("uid-0", "NodeLost", "gone")
        rest = await restarted.lease(holder(1), 9)
        assert [(lease.id.item, lease.id.attempt) for lease in rest] == [(0, 2), (3, 2), (4, 1), (5, 1)]
        await restarted.report(holder(1), [done(lease.id) for lease in rest])
        outcomes = [result.outcome for result in await restarted.results(accepted.task)]
        assert outcomes == ["Succeeded", "Succeeded", "DeadLetter", "Succeeded", "Succeeded", "Succeeded"]

    run(scenario)


def test_a_cancelled_task_ends_at_once_and_no_later_success_commits() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue) -> None:
        accepted = await queue.submit(submission("k", b"0", b"1", b"2", mode="map"))
        finished, running = await queue.lease(holder(0), 2)
        await queue.report(holder(0), [done(finished.id)])

        await queue.cancel(accepted.task)
        await queue.cancel(accepted.task)
        assert await queue.report(holder(0), [done(running.id)]) == (running.id,)

        outcomes = [result.outcome for result in await queue.results(accepted.task)]
        assert outcomes == ["Succeeded", "Cancelled", "Cancelled"]
        assert world.ear.abandoned == [running.id]
        assert len(world.ear.results) == 3
        assert queue.counts(POOL) == (0, 0)
        assert await queue.resume(holder(0), [running.id]) == (running.id,)
        task = await the_task(queue)
        assert (task.status.phase, task.status.items.failed) == (TaskPhase.CANCELLED, 2)
        with pytest.raises(NotFound):
            await queue.cancel("nobody")

    run(scenario)


def test_a_broadcast_gives_each_rank_its_item_and_no_other_node_any() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue) -> None:
        accepted = await queue.submit(submission("k", b"args", mode="broadcast"))

        assert accepted.items == 3
        assert world.ear.work == [(POOL, "uid-0"), (POOL, "uid-1"), (POOL, "uid-2")]
        assert await queue.lease(holder(7), 9) == ()
        (lease,) = await queue.lease(holder(1), 9)
        assert (lease.id.item, lease.rank, lease.arguments) == (1, 1, b"args")
        assert [(peer.name, peer.address) for peer in lease.world] == [
            ("hello-0", "127.0.0.1"),
            ("hello-1", "127.0.0.2"),
            ("hello-2", "127.0.0.3"),
        ]

    run(scenario)


def test_a_broadcast_fails_the_items_of_a_lost_rank_alone() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue) -> None:
        await queue.submit(submission("k", mode="broadcast"))
        await queue.lease(holder(0), 1)

        await queue.release("uid-0", "NodeLost", "spot loss")
        await queue.release("uid-1", "NodeLost", "spot loss")
        await queue.release("uid-1", "NodeLost", "spot loss")

        assert [(r.item, r.outcome, r.attempt, r.node) for r in world.ear.results] == [
            (0, "NodeLost", 1, "hello-0"),
            (1, "NodeLost", 0, "hello-1"),
        ]
        assert queue.holders() == {"uid-2"}
        (lease,) = await queue.lease(holder(2), 1)
        await queue.report(holder(2), [done(lease.id)])
        assert (await the_task(queue)).status.phase is TaskPhase.FAILED
        assert queue.holders() == frozenset()

    run(scenario)


def test_a_broadcast_may_be_tried_again_on_its_own_node() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue) -> None:
        await queue.submit(submission("k", mode="broadcast"))
        (lease,) = await queue.lease(holder(0), 1)
        await queue.started(holder(0), [lease.id])

        await queue.resume(holder(0, "second"), [])

        assert world.ear.work[-1] == (POOL, "uid-0")
        assert [one.id.item for one in await queue.lease(holder(1), 9)] == [1]
        (again,) = await queue.lease(holder(0, "second"), 9)
        assert (again.id.item, again.id.attempt) == (0, 2)

    run(scenario)


def test_a_rank_that_is_lost_while_the_broadcast_is_submitted_ends_too() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue) -> None:
        await asyncio.gather(
            queue.submit(submission("k", mode="broadcast")), queue.release("uid-1", "NodeLost", "spot loss")
        )

        assert [(result.item, result.outcome) for result in world.ear.results] == [(1, "NodeLost")]

    run(scenario)


class BrokenStore:
    """A store whose next writes fail as on a full disk."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.failures = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def run(self, work: Any, *, power_safe: bool = False, quick: bool = False) -> Any:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("the disk is full")
        return await self._store.run(work, power_safe=power_safe, quick=quick)


def test_a_failed_commit_leaves_everything_as_it_was() -> None:
    async def main() -> None:
        store = BrokenStore(memory_store(StillClock(), CountingIds()))
        world = QueueWorld(store)
        queue = await world.queue()
        await queue.submit(submission("k", b"0", b"1", mode="map"))

        store.failures = 1
        with pytest.raises(StoreUnavailable):
            await queue.lease(holder(0), 2)
        assert (queue.counts(POOL), queue.held("uid-0")) == ((2, 0), 0)

        leases = await queue.lease(holder(0), 2)
        assert [(lease.id.item, lease.id.attempt, lease.arguments) for lease in leases] == [(0, 1, b"0"), (1, 1, b"1")]
        store.failures = 1
        with pytest.raises(StoreUnavailable):
            await queue.report(holder(0), [done(lease.id) for lease in leases])
        assert (world.ear.results, queue.counts(POOL)) == ([], (0, 2))

        await queue.report(holder(0), [done(lease.id) for lease in leases])
        assert [result.outcome for result in world.ear.results] == ["Succeeded", "Succeeded"]

    asyncio.run(main())


def test_a_cancel_of_what_waits_leaves_a_task_alone_that_a_node_holds() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue) -> None:
        running = await queue.submit(submission("k1", b"0"))
        (lease,) = await queue.lease(holder(0), 1)
        waiting = await queue.submit(submission("k2", b"0"))

        for task in (running, waiting):
            await queue.cancel(task.task, waiting_only=True)
        await queue.report(holder(0), [done(lease.id)])

        assert [result.outcome for result in await queue.results(running.task)] == ["Succeeded"]
        assert [result.outcome for result in await queue.results(waiting.task)] == ["Cancelled"]
        assert world.ear.abandoned == []

    run(scenario)


class BusyStore(BrokenStore):
    """A store that always writes something else, too."""

    is_idle = False


def test_a_caller_that_is_cancelled_leaves_memory_and_rows_in_step() -> None:
    async def scenario(world: QueueWorld, _: DurableQueue) -> None:
        world.store = BusyStore(world.store)
        queue = await world.queue()
        await queue.submit(submission("k", b"0", b"1", mode="map"))

        caller = asyncio.ensure_future(queue.lease(holder(0), 1))
        await asyncio.sleep(0)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        await asyncio.sleep(0)

        assert (queue.counts(POOL), queue.held("uid-0")) == ((1, 1), 1)
        restarted = await world.queue()
        assert restarted.counts(POOL) == (1, 1)
        await queue.resume(holder(0, "second"), [])
        assert [lease.id.attempt for lease in await queue.lease(holder(0), 2)] == [2, 1]

    run(scenario)


def test_a_bad_listener_disturbs_nobody() -> None:
    class Bad:
        def work_available(self, *_: object) -> None:
            raise LookupError("on purpose")

        items_finished = abandon = task_closed = work_available

    async def scenario(world: QueueWorld, queue: DurableQueue) -> None:
        queue.listen(Bad())

        accepted = await queue.submit(submission("k"))
        (lease,) = await queue.lease(holder(0), 1)
        await queue.report(holder(0), [done(lease.id)])

        assert len(await queue.results(accepted.task)) == 1

    run(scenario)


def test_only_the_last_twenty_failures_are_shown() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue) -> None:
        await queue.submit(submission("k", *(b"" for _ in range(50)), mode="map"))
        leases = await queue.lease(holder(0), 50)
        for start in range(0, 50, 10):
            await queue.report(holder(0), [ended(lease.id, "Failed") for lease in leases[start : start + 10]])

        task = await the_task(queue)

        assert [failure.item for failure in task.status.failures] == list(range(30, 50))

    run(scenario)
