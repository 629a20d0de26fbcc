"""What a task may ask for: at most once, retries of exceptions, deadlines, selectors, held queues, ranks that move."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from skyward.api import Reason, Task, TaskPhase
from skyward.contracts import NodeFacts
from skyward.errors import Invalid, PoolNotReady
from skyward.queue import DurableQueue
from skyward.store import memory_store
from skyward_agent.wire.messages import AT_MOST_ONCE, REPLACE_RANK, RETRY, AttemptId, Failure, Policy, Report
from tests.queue.world import POOL, HandClock, QueueWorld, done, ended, facts, holder, settle, submission
from tests.store.world import CountingIds

Scenario = Callable[[QueueWorld, DurableQueue, HandClock], Coroutine[Any, Any, None]]


def run(scenario: Scenario) -> None:
    async def main() -> None:
        clock = HandClock()
        world = QueueWorld(memory_store(clock, CountingIds()), clock)
        await scenario(world, await world.queue(), clock)

    asyncio.run(main())


async def the_task(queue: DurableQueue) -> Task:
    (task,) = await queue.tasks()
    return task


def raised(attempt: AttemptId, type_: str, *bases: str) -> Report:
    return Report(attempt, "Failed", failure=Failure(type_, "refused", bases=bases), seconds=2.0)


# --- at most once ------------------------------------------------------------------------------------------------

ONCE = {"max_attempts": 1, "policy": Policy(delivery=AT_MOST_ONCE)}


def test_at_most_once_a_lost_node_ends_the_item_though_nothing_was_heard_of_its_start() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue, clock: HandClock) -> None:
        await queue.submit(submission("k", **ONCE))
        await queue.lease(holder(0), 1)

        await queue.release("uid-0", "NodeLost", "gone")

        assert [(result.outcome, result.attempt) for result in world.ear.results] == [("NodeLost", 1)]
        assert await queue.lease(holder(1), 1) == ()

    run(scenario)


def test_at_most_once_the_lease_is_the_start_marker_also_after_a_restart_of_the_operator() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue, clock: HandClock) -> None:
        await queue.submit(submission("k", **ONCE))
        await queue.lease(holder(0), 1)
        restarted = await world.queue()

        await restarted.resume(holder(0, "second"), [])

        assert [result.outcome for result in world.ear.results] == ["ChildDied"]
        assert await restarted.lease(holder(1), 1) == ()

    run(scenario)


def test_at_most_once_what_never_reached_the_same_agent_is_given_again() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue, clock: HandClock) -> None:
        await queue.submit(submission("k", **ONCE))
        await queue.lease(holder(0, "first"), 1)

        await queue.resume(holder(0, "first"), [])

        (again,) = await queue.lease(holder(1), 1)
        assert again.id.attempt == 2
        assert again.alone
        await queue.give_back(holder(1), [again.id])
        assert len(await queue.lease(holder(2), 1)) == 1

    run(scenario)


def test_at_most_once_another_incarnation_may_have_begun_it() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue, clock: HandClock) -> None:
        await queue.submit(submission("k", **ONCE))
        await queue.lease(holder(0, "first"), 1)

        await queue.resume(holder(0, "second"), [])

        assert [result.outcome for result in world.ear.results] == ["ChildDied"]

    run(scenario)


# --- retries -----------------------------------------------------------------------------------------------------


def test_an_exception_is_retried_by_its_class_or_a_base_of_it_after_a_growing_pause() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue, clock: HandClock) -> None:
        policy = Policy(retry_on=("OSError",), max_retries=2, backoff_s=10.0)
        await queue.submit(submission("k", policy=policy))
        (first,) = await queue.lease(holder(0), 1)
        await queue.report(holder(0), [raised(first.id, "ConnectionError", "OSError", "Exception")])
        assert await queue.lease(holder(0), 1) == ()
        assert queue.counts(POOL) == (1, 0)
        world.ear.work.clear()

        await clock.advance(7.4)  # half of the jitter of 10 s is taken off by chance: 7.5 s
        assert await queue.lease(holder(0), 1) == ()
        await clock.advance(0.2)
        assert world.ear.work == [(POOL, None)]
        (second,) = await queue.lease(holder(0), 1)
        await queue.report(holder(0), [raised(second.id, "OSError")])
        await clock.advance(15.1)
        (third,) = await queue.lease(holder(0), 1)
        await queue.report(holder(0), [raised(third.id, "OSError")])

        (result,) = world.ear.results
        assert (result.outcome, result.attempt) == ("Failed", 3)
        assert result.failure is not None
        assert result.failure.type == "OSError"
        assert [failure.outcome for failure in (await the_task(queue)).status.failures] == ["Failed"] * 3

    run(scenario)


def test_an_exception_that_was_not_named_ends_its_item() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue, clock: HandClock) -> None:
        await queue.submit(submission("k", policy=Policy(retry_on=("OSError",), max_retries=2)))
        (lease,) = await queue.lease(holder(0), 1)

        await queue.report(holder(0), [raised(lease.id, "ValueError", "Exception")])

        assert [result.outcome for result in world.ear.results] == ["Failed"]

    run(scenario)


def test_lost_nodes_use_up_the_tries_that_exceptions_have() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue, clock: HandClock) -> None:
        await queue.submit(submission("k", policy=Policy(retry_on=("OSError",), max_retries=1, backoff_s=0.0)))
        for number in range(2):
            (lease,) = await queue.lease(holder(number), 1)
            await queue.report(holder(number), [ended(lease.id, "ChildDied")])
        (lease,) = await queue.lease(holder(2), 1)

        await queue.report(holder(2), [raised(lease.id, "OSError")])

        assert [(result.outcome, result.attempt) for result in world.ear.results] == [("Failed", 3)]

    run(scenario)


def test_a_timeout_is_retried_only_where_it_is_named() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue, clock: HandClock) -> None:
        policy = Policy(retry_on=("TimedOut",), max_retries=1, backoff_s=0.0)
        await queue.submit(submission("k", policy=policy))
        (lease,) = await queue.lease(holder(0), 1)

        await queue.report(holder(0), [ended(lease.id, "TimedOut")])

        (again,) = await queue.lease(holder(0), 1)
        assert again.id.attempt == 2

    run(scenario)


def test_an_infrastructure_cause_that_was_left_out_ends_the_item() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue, clock: HandClock) -> None:
        await queue.submit(submission("k", b"0", b"1", mode="map", policy=Policy(retry_causes=("NodeLost",))))
        first, second = await queue.lease(holder(0), 2)
        await queue.started(holder(0), [second.id])

        await queue.report(holder(0), [ended(first.id, "OutOfMemory")])
        await queue.release("uid-0", "NodeLost", "gone")

        assert [(result.item, result.outcome) for result in world.ear.results] == [(0, "OutOfMemory")]
        assert queue.counts(POOL) == (1, 0)

    run(scenario)


def test_a_pause_outlives_the_operator() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue, clock: HandClock) -> None:
        await queue.submit(submission("k", policy=Policy(retry_on=("OSError",), max_retries=1, backoff_s=100.0)))
        (lease,) = await queue.lease(holder(0), 1)
        await queue.report(holder(0), [raised(lease.id, "OSError")])
        restarted = await world.queue()

        assert await restarted.lease(holder(0), 1) == ()
        assert restarted.counts(POOL) == (1, 0)
        await clock.advance(101.0)

        assert [one.id.attempt for one in await restarted.lease(holder(0), 1)] == [2]

    run(scenario)


# --- deadlines ---------------------------------------------------------------------------------------------------


def test_what_is_not_done_by_its_deadline_ends_and_what_runs_is_abandoned() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue, clock: HandClock) -> None:
        await queue.submit(
            submission("k", b"0", b"1", b"2", mode="map", policy=Policy(deadline_s=60.0), timeout_s=90.0)
        )
        finished, running = await queue.lease(holder(0), 2)
        await queue.report(holder(0), [done(finished.id)])
        assert running.timeout_s == 60.0, "an agent that is cut off ends it by itself"

        await clock.advance(59.0)
        assert len(world.ear.results) == 1
        await clock.advance(2.0)

        assert [(result.item, result.outcome) for result in world.ear.results[1:]] == [(1, "TimedOut"), (2, "TimedOut")]
        assert world.ear.abandoned == [running.id]
        assert await queue.report(holder(0), [done(running.id)]) == (running.id,)
        task = await the_task(queue)
        assert (task.status.phase, task.status.items.succeeded) == (TaskPhase.FAILED, 1)
        results = await queue.results(task.metadata.uid)
        assert [result.failure.message for result in results[1:] if result.failure] == [
            "its deadline, 2023-11-14 22:14:20 UTC, has passed"
        ] * 2

    run(scenario)


def test_a_deadline_outlives_the_operator_and_a_finished_task_has_none() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue, clock: HandClock) -> None:
        await queue.submit(submission("a", policy=Policy(deadline_s=60.0)))
        await queue.submit(submission("b", policy=Policy(deadline_at=clock.now() + 60.0, deadline_s=90.0)))
        (lease,) = await queue.lease(holder(0), 1)
        await queue.report(holder(0), [done(lease.id)])
        await world.queue()

        await clock.advance(61.0)

        assert [result.outcome for result in world.ear.results].count("TimedOut") == 1

    run(scenario)


# --- selectors and held queues -----------------------------------------------------------------------------------


def test_a_task_with_a_selector_goes_to_matching_nodes_alone_and_holds_up_no_other() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue, clock: HandClock) -> None:
        world.nodes.facts = {"uid-0": NodeFacts(labels={"zone": "a"}), "uid-1": NodeFacts(labels={"zone": "b"})}
        await queue.submit(submission("b", priority=9, policy=Policy(selector={"zone": "b"})))
        anywhere = await queue.submit(submission("any"))

        assert [lease.id.task for lease in await queue.lease(holder(0), 9)] == [anywhere.task]
        assert len(await queue.lease(holder(1), 9)) == 1

    run(scenario)


def test_a_selector_that_no_node_has_shows_as_a_condition_and_one_that_none_can_have_is_refused() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue, clock: HandClock) -> None:
        world.pools[POOL] = facts(fixed={"provider": frozenset({"aws", "local"})})
        world.nodes.facts = {"uid-0": NodeFacts(labels={"provider": "aws"})}
        with pytest.raises(Invalid, match=r"no node of pool default/hello can ever have provider=gcp: .* aws or local"):
            await queue.submit(submission("never", policy=Policy(selector={"provider": "gcp"})))

        await queue.submit(submission("not yet", policy=Policy(selector={"provider": "local"})))

        (condition,) = (await the_task(queue)).status.conditions
        assert (condition.type, condition.reason) == ("Schedulable", Reason.NO_MATCHING_NODE)
        assert "no node of pool default/hello has provider=local" in condition.message
        world.nodes.facts["uid-1"] = NodeFacts(labels={"provider": "local"})
        assert (await the_task(queue)).status.conditions == ()

    run(scenario)


def test_the_time_of_a_block_is_that_at_which_it_began() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue, clock: HandClock) -> None:
        began = clock.now()
        await queue.submit(submission("k", policy=Policy(selector={"zone": "b"})))
        times = []
        for held, zone in ((False, "a"), (False, "b"), (False, "a"), (True, "b"), (True, "b")):
            await clock.advance(10.0)
            world.nodes.facts = {"uid-0": NodeFacts(labels={"zone": zone})}
            world.nodes.held = {POOL} if held else set()
            queue.look_again(POOL)
            times.append(
                [one.last_transition_time.timestamp() - began for one in (await the_task(queue)).status.conditions]
            )

        assert times == [[0.0], [], [30.0], [30.0], [30.0]], "a new reason leaves the time"

    run(scenario)


def test_a_vacant_rank_without_a_spare_node_shows_as_a_condition() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue, clock: HandClock) -> None:
        world.nodes.facts = {f"uid-{n}": NodeFacts(labels={"node": f"hello-{n}"}) for n in range(3)}
        await queue.submit(submission("k", mode="broadcast", policy=Policy(on_node_loss=REPLACE_RANK)))
        for n in (0, 2):
            (lease,) = await queue.lease(holder(n), 9)
            await queue.report(holder(n), [done(lease.id)])
        assert (await the_task(queue)).status.conditions == ()
        await clock.advance(60.0)
        del world.nodes.facts["uid-1"]

        await queue.release("uid-1", "NodeLost", "gone", gone=True)

        for _ in range(2):
            (condition,) = (await the_task(queue)).status.conditions
            assert (condition.reason, condition.last_transition_time.timestamp()) == (Reason.NO_SPARE_NODE, clock.now())
        assert condition.message.startswith("rank 1 lost its node, and each node of pool default/hello has a rank")
        world.nodes.facts["uid-7"] = NodeFacts(labels={"node": "hello-7"})
        assert (await the_task(queue)).status.conditions == ()

    run(scenario)


def test_who_follows_an_open_map_is_told_that_it_takes_no_more_items() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue, clock: HandClock) -> None:
        late = await queue.submit(submission("late", mode="map", open=True, policy=Policy(deadline_s=5.0)))
        unwanted = await queue.submit(submission("unwanted", b"0", b"1", mode="map", open=True))
        whole = await queue.submit(submission("whole", mode="map", open=True))
        await queue.extend(whole.task, 1, [], last=True)
        for lease in await queue.lease(holder(0), 9):
            await queue.report(holder(0), [done(lease.id)])

        await queue.cancel(unwanted.task)
        await clock.advance(6.0)

        assert world.ear.closed == [(unwanted.task, 2), (late.task, 1)]

    run(scenario)


def test_a_held_queue_gives_nothing_out_and_what_runs_ends() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue, clock: HandClock) -> None:
        await queue.submit(submission("k", b"0", b"1", mode="map"))
        await queue.submit(submission("all", mode="broadcast"))
        (lease,) = await queue.lease(holder(7), 1)
        world.nodes.held.add(POOL)

        assert await queue.lease(holder(0), 9) == ()
        await queue.report(holder(7), [done(lease.id)])
        assert len(world.ear.results) == 1
        assert {task.status.conditions[0].reason for task in await queue.tasks()} == {Reason.QUEUE_HELD}
        world.ear.work.clear()
        queue.look_again(POOL)
        assert world.ear.work == []

        world.nodes.held.clear()
        queue.look_again(POOL)
        assert world.ear.work == [(POOL, None)]
        assert len(await queue.lease(holder(0), 9)) == 2

    run(scenario)


# --- broadcasts --------------------------------------------------------------------------------------------------


def test_a_broadcast_that_retries_waits_for_its_own_node_and_fails_when_that_is_gone() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue, clock: HandClock) -> None:
        await queue.submit(submission("k", mode="broadcast", policy=Policy(on_node_loss=RETRY)))
        (lost,) = await queue.lease(holder(0), 1)
        await queue.started(holder(0), [lost.id])

        await queue.release("uid-0", "NodeLost", "silent")
        await queue.release("uid-1", "NodeLost", "silent")
        assert world.ear.results == []
        assert await queue.lease(holder(7), 9) == ()
        await queue.resume(holder(0, "second"), [])
        (again,) = await queue.lease(holder(0, "second"), 9)
        assert (again.rank, again.id.attempt) == (0, 2)
        await queue.release("uid-0", "NodeLost", "its node is gone", gone=True)
        await queue.release("uid-1", "NodeLost", "its node is gone", gone=True)

        assert [(result.item, result.outcome) for result in world.ear.results] == [(0, "NodeLost"), (1, "NodeLost")]

    run(scenario)


def test_another_node_takes_a_lost_rank_where_that_is_asked_for() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue, clock: HandClock) -> None:
        world.nodes.facts = {"uid-7": NodeFacts(address="127.0.0.8")}
        await queue.submit(submission("k", mode="broadcast", policy=Policy(on_node_loss=REPLACE_RANK)))
        (lost,) = await queue.lease(holder(1), 9)
        await queue.started(holder(1), [lost.id])
        assert await queue.lease(holder(7), 9) == (), "ranks are frozen: a late joiner has none"

        await queue.release("uid-1", "NodeLost", "spot loss")

        assert len(await queue.lease(holder(0), 9)) == 1, "a node that has a rank takes no second one"
        (taken,) = await queue.lease(holder(7), 9)
        assert (taken.rank, taken.id.attempt, taken.arguments) == (1, 2, b"arguments")
        assert [(peer.name, peer.address) for peer in taken.world] == [
            ("hello-0", "127.0.0.1"),
            ("hello-7", "127.0.0.8"),
            ("hello-2", "127.0.0.3"),
        ]
        restarted = await world.queue()
        await restarted.resume(holder(7, "second"), [])
        assert restarted.holders() == {"uid-0", "uid-2", "uid-7"}, "the new place of the rank is on record"

    run(scenario)


def test_a_vacant_rank_waits_for_a_node_and_dies_with_its_tries() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue, clock: HandClock) -> None:
        policy = Policy(on_node_loss=REPLACE_RANK)
        await queue.submit(submission("k", mode="broadcast", max_attempts=2, policy=policy))
        for number in (0, 7):
            (lease,) = await queue.lease(holder(number), 1)
            await queue.started(holder(number), [lease.id])
            await queue.release(f"uid-{number}", "NodeLost", "spot loss")

        assert [(result.item, result.outcome) for result in world.ear.results] == [(0, "DeadLetter")]

    run(scenario)


def test_a_broadcast_reaches_the_nodes_that_its_selector_names() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue, clock: HandClock) -> None:
        world.nodes.facts = {"uid-2": NodeFacts(labels={"gpu": "yes"})}

        accepted = await queue.submit(submission("k", mode="broadcast", policy=Policy(selector={"gpu": "yes"})))

        assert accepted.items == 1
        (lease,) = await queue.lease(holder(2), 1)
        assert (lease.rank, [peer.name for peer in lease.world]) == (0, ["hello-2"])
        with pytest.raises(PoolNotReady, match="no ready node of pool default/hello has gpu=no"):
            await queue.submit(submission("none", mode="broadcast", policy=Policy(selector={"gpu": "no"})))

    run(scenario)


# --- what is kept ------------------------------------------------------------------------------------------------


def test_a_task_shows_what_it_was_made_with_and_what_it_cost() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue, clock: HandClock) -> None:
        world.pools[POOL] = facts(generation=4, template_hash="abc")
        world.nodes.facts = {"uid-0": NodeFacts(usd_per_lane_second=0.001)}
        await queue.submit(submission("k", b"0", b"1", mode="map", policy=Policy(retry_on=("OSError",), max_retries=1)))
        first, second = await queue.lease(holder(0), 2)
        await queue.started(holder(0), [second.id])
        await queue.report(holder(0), [raised(first.id, "OSError")])
        await clock.advance(3.0)
        await queue.release("uid-0", "NodeLost", "gone")
        for lease in await queue.lease(holder(1), 2):
            await queue.report(holder(1), [Report(lease.id, "Succeeded", b"", seconds=5.0)])

        task = await the_task(queue)

        assert task.status.provenance is not None
        assert (task.status.provenance.pool_generation, task.status.provenance.template_hash) == (4, "abc")
        assert (task.status.seconds, task.status.cost) == (15.0, "0.005")
        items = await queue.items("default", task.metadata.name, 0, 10)
        assert items is not None
        assert [(item.outcome, item.node, item.attempt, item.seconds) for item in items] == [
            ("Succeeded", "hello-1", 2, 5.0)
        ] * 2
        assert [(one.outcome, one.node, one.type, one.seconds) for item in items for one in item.attempts] == [
            ("Failed", "hello-0", "OSError", 2.0),
            ("NodeLost", "hello-0", "NodeLost", 3.0),
        ]
        assert await queue.items("default", task.metadata.name, 1, 10) == items[1:]
        assert await queue.items("default", "nobody", 0, 10) is None

    run(scenario)


def test_what_ran_when_the_operator_was_restarted_costs_what_it_ran_in_all() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue, clock: HandClock) -> None:
        world.nodes.facts = {"uid-0": NodeFacts(usd_per_lane_second=0.001)}
        await queue.submit(submission("k", b"0", b"1", mode="map"))
        first, second = await queue.lease(holder(0), 2)
        await queue.started(holder(0), [first.id, second.id])
        await clock.advance(30.0)
        restarted = await world.queue()
        await clock.advance(10.0)

        await restarted.report(holder(0), [Report(first.id, "Succeeded", b"", seconds=35.0)])
        await restarted.release("uid-0", "NodeLost", "gone")

        task = await the_task(restarted)
        assert (task.status.seconds, task.status.cost) == (75.0, "0.075")

    run(scenario)


def test_results_go_after_their_own_time_or_as_soon_as_they_are_delivered() -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue, clock: HandClock) -> None:
        tasks = {}
        for key, ttl_s in (("short", 10.0), ("hour", 3600.0), ("delivered", 0.0), ("unheard", 0.0), ("open", 0.0)):
            tasks[key] = (await queue.submit(submission(key, policy=Policy(ttl_s=ttl_s)))).task
        for lease in await queue.lease(holder(0), 4):
            await queue.report(holder(0), [done(lease.id)])

        await queue.delivered([tasks["delivered"], tasks["hour"], tasks["open"], "nobody"])

        left = {task.metadata.uid for task in await queue.tasks()}
        assert left == {tasks[key] for key in ("short", "hour", "unheard", "open")}
        assert await queue.collect(clock.now() + 11.0) == 1
        assert await queue.collect(clock.now() + 3601.0) == 2
        assert {task.metadata.uid for task in await queue.tasks()} == {tasks["open"]}

    run(scenario)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"policy": Policy(delivery="twice")}, "use at-least-once or at-most-once"),
        ({"policy": Policy(delivery=AT_MOST_ONCE)}, "set max_attempts to 1"),
        ({"policy": Policy(retry_on=("OSError",))}, "give both"),
        ({"policy": Policy(retry_on=("OSError",), max_retries=3)}, "max_retries 3 needs max_attempts 4 or more"),
        ({"policy": Policy(retry_on=("NodeLost",), max_retries=1)}, "name it in retry_causes"),
        ({"policy": Policy(retry_causes=("Failed",))}, "the causes are NodeLost, ChildDied, OutOfMemory"),
        ({"policy": Policy(on_node_loss=RETRY)}, "on_node_loss is for broadcasts"),
        ({"mode": "broadcast", "policy": Policy(on_node_loss="never")}, "use retry, fail, replaceRank"),
        ({"policy": Policy(deadline_s=-1.0)}, "more than 0 seconds"),
        ({"policy": Policy(ttl_s=-1.0)}, "from 0 to a year"),
        ({"policy": Policy(fairness_key="x" * 300)}, "more than 253"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused_with_what_to_do(changes: dict[str, Any], says: str) -> None:
    async def scenario(world: QueueWorld, queue: DurableQueue, clock: HandClock) -> None:
        with pytest.raises(Invalid, match=says):
            await queue.submit(submission("k", **changes))
        await settle()
        assert await queue.tasks() == ()

    run(scenario)
