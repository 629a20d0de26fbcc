"""The API over the store that operators really have."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest

from skyward.api import Pool
from skyward.apiserver import ApiServer
from skyward.client.config import ClientConfig
from skyward.client.objects import ObjectClient
from skyward.contracts import Store
from skyward.errors import HistoryExpired
from skyward.gateway.output import MemoryOutputLog
from skyward.store.store import memory_store
from skyward.system.clock import SystemClock, SystemIds
from skyward.system.keys import Keys
from tests.apiserver.standins import TOKEN, KnownTokens, MemoryQueue, MemoryWriter
from tests.builders import make_node, make_pool

Talk = Callable[[ObjectClient, Callable[[Pool], Pool]], None]


def talk_to_server(keys: Keys, path: Path, talk: Talk) -> None:
    """Run `talk` on a thread of its own; it may put pools into the store as a controller would."""

    async def main() -> None:
        clock = SystemClock()
        store: Store = memory_store(clock, SystemIds())
        server = ApiServer(
            store=store,
            writer=MemoryWriter(store),  # type: ignore[arg-type]
            queue=MemoryQueue(),  # type: ignore[arg-type]
            output=MemoryOutputLog(),
            credentials=KnownTokens(),  # type: ignore[arg-type]
            clock=clock,
            host="127.0.0.1",
            port=0,
            ssl_context=keys.server_context(),
        )
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        serving = asyncio.ensure_future(server.run(ready.set))
        await asyncio.wait_for(ready.wait(), 10)
        host, port = server.address
        config = ClientConfig(f"https://{host}:{port}", "", keys.ca_pem, TOKEN, "default", path)

        def put(pool: Pool) -> Pool:
            return asyncio.run_coroutine_threadsafe(store.run(lambda tx: tx.put(pool)), loop).result(10)

        def run() -> None:
            with ObjectClient(config) as client:
                talk(client, put)

        try:
            await asyncio.to_thread(run)
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            await store.close()

    asyncio.run(main())


def numbered(number: int) -> Pool:
    pool = make_pool()
    return pool.replace(metadata=pool.metadata.replace(labels={"n": str(number)}))


def test_reconnecting_watches_show_every_change_once(keys: Keys, tmp_path: Path) -> None:
    seen: list[int] = []

    def talk(client: ObjectClient, put: Callable[[Pool], Pool]) -> None:
        put(make_pool())
        version = client.list("pools")["metadata"]["resourceVersion"]
        for number in range(30):
            put(numbered(number))
        while len(seen) < 30:
            for _, obj in islice(client.watch("pools", "default", resource_version=version), 3):
                seen.append(int(obj["metadata"]["labels"]["n"]))
                version = obj["metadata"]["resourceVersion"]

    talk_to_server(keys, tmp_path, talk)

    assert seen == list(range(30))


def test_nodes_are_cordoned_and_pools_scaled(keys: Keys, tmp_path: Path) -> None:
    def talk(client: ObjectClient, put: Callable[[Pool], Pool]) -> None:
        node = put(make_node(put(make_pool())))  # type: ignore[arg-type]
        client.patch("nodes", "default", node.metadata.name, {"spec": {"unschedulable": True}})
        client.scale("default", "hello", 4)
        client.delete("nodes", "default", node.metadata.name)

        assert client.get("pools", "default", "hello")["spec"]["nodes"] == 4
        stored = client.get("nodes", "default", node.metadata.name)
        assert (stored["spec"]["unschedulable"], stored["status"]["retireReason"]) == (True, "DeleteRequested")
        with pytest.raises(HistoryExpired):
            list(client.watch("pools", "default", resource_version="100000"))

    talk_to_server(keys, tmp_path, talk)


def test_the_story_of_a_node_outlives_it(keys: Keys, tmp_path: Path) -> None:
    def talk(client: ObjectClient, put: Callable[[Pool], Pool]) -> None:
        node = put(make_node(put(make_pool())))  # type: ignore[arg-type]
        name = node.metadata.name
        client.delete("nodes", "default", name)
        alive = client.why("nodes", "default", name)

        assert alive["summary"] == f"node {name} is leaving: a user asked for it"
        assert [line["sentence"] for chapter in alive["chapters"] for line in chapter["lines"]][-1] == (
            "Deletion asked for by admin."
        )

    talk_to_server(keys, tmp_path, talk)
