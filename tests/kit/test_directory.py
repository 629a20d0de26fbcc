"""What the task queue asks about nodes with every lease."""

from __future__ import annotations

from skyward.contracts import Store
from skyward.kit.cache import ObjectCache
from skyward.kit.directory import CachedNodes
from tests.builders import NOW, make_node, make_pool
from tests.fakes.time import FakeClock
from tests.kit.test_cache import put, with_store


def test_a_node_is_known_by_its_labels_its_fields_and_what_a_lane_of_it_costs() -> None:
    async def main(store: Store, clock: FakeClock) -> None:
        pool = make_pool()
        pool = pool.replace(spec=pool.spec.replace(concurrency=4))
        node = make_node(pool, 1, launch="l", address="10.0.0.1")
        node = node.replace(
            metadata=node.metadata.replace(labels={"team": "vision"}),
            status=node.status.replace(zone="eu-1", hourly_cost="14.4"),
        )
        await put(store, pool, node, make_node(pool, 2, deleted_at=NOW))
        cache = ObjectCache(store)
        await cache.start()
        nodes = CachedNodes(cache)

        facts = nodes.node(node.metadata.uid)

        assert facts.address == "10.0.0.1"
        assert {
            "team": "vision",
            "zone": "eu-1",
            "slot": "1",
            "node": node.metadata.name,
        }.items() <= facts.labels.items()
        assert facts.usd_per_lane_second == 0.001
        assert nodes.nodes(pool.key) == (facts,), "one that leaves is given nothing"
        assert nodes.node("nobody").labels == {}

    with_store(main)


def test_a_queue_is_held_while_the_pools_spec_says_so() -> None:
    async def main(store: Store, clock: FakeClock) -> None:
        pool = make_pool()
        await put(store, pool.replace(spec=pool.spec.replace(queue="held")))
        cache = ObjectCache(store)
        await cache.start()

        assert CachedNodes(cache).is_held(pool.key)
        assert not CachedNodes(cache).is_held("default/none")

    with_store(main)
