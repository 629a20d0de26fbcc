"""A pool's plan is committed as a whole, and only for the pool that it was made for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from skyward.api import FINALIZER, POOL_LABEL, Event, Node, Pool, Reason, template_hash, to_time
from skyward.contracts import Store
from skyward.controllers.pool.records import PoolWriter, is_stale
from skyward.controllers.records import write_status
from skyward.facts import Decision, DecisionKind
from skyward.kit.decisions import Entry
from skyward.planner import CreateNode, RetireNode
from skyward.store import memory_store
from tests.builders import NOW, make_node, make_pool
from tests.fakes.ids import FakeIds
from tests.fakes.time import FakeClock, run_virtual

CREATE = (CreateNode(0, Reason.TOO_FEW_NODES, "too few"), CreateNode(1, Reason.TOO_FEW_NODES, "too few"))


def nothing(pool: Pool) -> Entry:
    """No decision but those of the actions."""
    return Entry(pool, NOW, {}, (), ())


def with_store(main: Callable[[Store], Awaitable[None]]) -> None:
    async def run() -> None:
        store = memory_store(clock, FakeIds())
        await main(store)
        await store.close()

    clock = FakeClock()
    run_virtual(run(), clock)


async def stored(store: Store, pool: Pool) -> Pool:
    return await store.run(lambda tx: tx.put(pool))


def test_new_nodes_carry_what_they_are_made_from() -> None:
    async def main(store: Store) -> None:
        pool = await stored(store, make_pool(env={"A": "1"}, connection="tunnel"))

        assert await store.run(
            lambda tx: PoolWriter(FakeIds()).apply(tx, pool, CREATE, pool.status, nothing(pool), NOW)
        )

        nodes = await store.read(lambda tx: tx.list(Node))
        assert sorted(node.spec.slot for node in nodes) == [0, 1]
        for node in nodes:
            assert node.metadata.name.startswith(f"hello-{node.spec.slot}-")
            assert node.metadata.labels == {POOL_LABEL: "hello"}
            assert node.metadata.finalizers == (FINALIZER,)
            assert node.spec.pool_uid == pool.metadata.uid
            assert node.spec.template == pool.spec.template()
            assert node.spec.template_hash == template_hash(pool.spec)
        [event] = await store.read(lambda tx: tx.list(Event))
        assert event.note == "making nodes for slots 0, 1: too few"

    with_store(main)


def test_a_plan_for_a_pool_that_changed_since_is_dropped_whole() -> None:
    async def main(store: Store) -> None:
        pool = await stored(store, make_pool(nodes=2))
        await stored(store, make_pool(nodes=0, generation=2))

        assert not await store.run(
            lambda tx: PoolWriter(FakeIds()).apply(tx, pool, CREATE, pool.status, nothing(pool), NOW)
        )

        assert await store.read(lambda tx: tx.list(Node)) == ()

    with_store(main)


def test_a_plan_never_makes_nodes_for_a_pool_that_is_being_deleted_or_another_of_its_name() -> None:
    async def main(store: Store) -> None:
        pool = await stored(store, make_pool())
        for later in (make_pool(deleted_at=NOW), make_pool(uid="another")):
            await stored(store, later)
            assert not await store.run(
                lambda tx: PoolWriter(FakeIds()).apply(tx, pool, CREATE, pool.status, nothing(pool), NOW)
            )

        assert await store.read(lambda tx: tx.list(Node)) == ()

    with_store(main)


def test_a_node_that_leaves_already_keeps_its_time_and_reason() -> None:
    async def main(store: Store) -> None:
        pool = await stored(store, make_pool())
        node = make_node(pool, 0, deleted_at=NOW - 100, retire_reason="a user deleted it")
        await store.run(lambda tx: tx.put(node))
        retire = (RetireNode(node.key, Reason.TOO_MANY_NODES, "too many"),)

        await store.run(lambda tx: PoolWriter(FakeIds()).apply(tx, pool, retire, pool.status, nothing(pool), NOW))

        found = await store.read(lambda tx: tx.get(Node, node.key))
        assert found is not None
        assert found.metadata.deletion_timestamp == to_time(NOW - 100)
        assert found.status.retire_reason == "a user deleted it"

    with_store(main)


def test_a_decision_is_written_although_the_status_stays() -> None:
    async def main(store: Store) -> None:
        pool = await stored(store, make_pool())
        node = await store.run(lambda tx: tx.put(make_node(pool)))
        hold = Decision(DecisionKind.HOLD, "do-not-disrupt", Reason.DO_NOT_DISRUPT, "it is kept")
        held = Entry(node, NOW, {}, [hold], ())
        assert await write_status(store, node, node.status, NOW, entry=held)
        assert await write_status(store, node, node.status, NOW, entry=Entry(node, NOW, held.standing, [hold], ()))

        [record] = await store.read(lambda tx: tx.decisions(node.metadata.uid))
        assert (record.decision, record.until) == (hold, None)
        assert await store.read(lambda tx: tx.get(Node, node.key)) == node

    with_store(main)


def test_a_plan_that_acts_on_a_node_which_changed_meanwhile_is_stale() -> None:
    async def main(store: Store) -> None:
        pool = await stored(store, make_pool())
        kept, other = make_node(pool, 0), make_node(pool, 1)
        seen = [await store.run(lambda tx, node=node: tx.put(node)) for node in (kept, other)]  # type: ignore[misc]
        changed = other.replace(status=other.status.replace(restarts=1))
        await store.run(lambda tx: tx.put(changed))
        retire_kept = RetireNode(kept.key, Reason.TOO_MANY_NODES, "too many")
        retire_changed = RetireNode(other.key, Reason.TOO_MANY_NODES, "too many")

        assert not await store.read(lambda tx: is_stale(tx, seen, (*CREATE, retire_kept)))
        assert await store.read(lambda tx: is_stale(tx, seen, (retire_kept, retire_changed)))
        await store.run(lambda tx: tx.delete(seen[0]))
        assert await store.read(lambda tx: is_stale(tx, seen, (retire_kept,)))

    with_store(main)
