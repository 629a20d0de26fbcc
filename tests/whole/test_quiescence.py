"""L11: an operator that has nothing to do writes nothing but its heartbeats, and calls nobody but for its listings."""

from __future__ import annotations

import asyncio

import pytest

from skyward.api import Event, Node, Object, Pool
from skyward.contracts import Transaction
from tests.whole.world import World, run_world

_DAY_S = 86_400.0


def _read(tx: Transaction) -> tuple[Object, ...]:
    """All that users see, as it is but for the heartbeats that are stored in batches."""
    nodes = (
        node.replace(
            metadata=node.metadata.replace(resource_version=""), status=node.status.replace(last_heartbeat=None)
        )
        for node in tx.list(Node)
    )
    return (*tx.list(Pool), *tx.list(Event), *nodes)


def _calls(world: World) -> dict[str, int]:
    return {name: count for name, count in world.cloud.calls.items() if name != "list"}


@pytest.mark.ci
def test_a_settled_world_changes_nothing_and_asks_for_nothing_but_listings_for_a_day() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=12)
        await world.settled()
        await world.apply("other", nodes=1)
        await world.settled("other")
        await asyncio.sleep(3_700)
        before, calls, commits = await world.store.read(_read), _calls(world), world.commits

        await asyncio.sleep(_DAY_S)

        assert await world.store.read(_read) == before
        assert _calls(world) == calls
        assert world.commits - commits <= _DAY_S / 60 + 1  # one batch of heartbeats a minute

    run_world(story)
