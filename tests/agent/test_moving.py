"""Two real agents, a real gateway and the durable queue: a slow item holds up no other."""

from __future__ import annotations

import asyncio
import hashlib
import pickle
from pathlib import Path

import pytest

from skyward.contracts import PoolFacts, Submission
from skyward.facts import NodeConfig
from skyward.gateway.gateway import Gateway
from skyward.gateway.output import MemoryOutputLog
from skyward.queue import DurableQueue
from skyward.store import memory_store
from tests.agent.conftest import AgentHome
from tests.agent.gateway import Authority
from tests.agent.payloads import pickled_arguments, pickled_function
from tests.gateway.stand_ins import KnownCredentials
from tests.gateway.world import POOL, RealClock, until
from tests.store.world import CountingIds

PYTHON = "3.11"


def await_file(path: str) -> int:
    """0 stands for a quick item; otherwise it runs until the file is there."""
    import pathlib
    import time

    while path and not pathlib.Path(path).exists():
        time.sleep(0.005)
    return 1


async def submit(queue: DurableQueue, key: str, *items: bytes) -> str:
    digest, data = pickled_function(await_file)
    assert hashlib.sha256(data).hexdigest() == digest
    await queue.put_function(digest, data)
    accepted = await queue.submit(Submission(key, "tester", POOL, "map", digest, "fn", items, PYTHON, max_attempts=1))
    return accepted.task


async def ended(queue: DurableQueue, task: str) -> list[int]:
    return [result.item for result in await queue.results(task) if pickle.loads(result.value) == 1]


@pytest.mark.slow
def test_a_slow_item_in_front_of_quick_ones_delays_none_while_an_agent_idles(
    tmp_path: Path, authority: Authority
) -> None:
    homes = {f"uid-{name}": AgentHome(tmp_path / name, authority) for name in ("a", "b")}
    clock = RealClock()
    facts = PoolFacts(POOL, "uid", 2, PYTHON, False, ())

    async def main() -> None:
        queue = DurableQueue(memory_store(clock, CountingIds()), clock=clock, ids=CountingIds(9), pools=lambda _: facts)
        gateway = Gateway(
            queue=queue,
            credentials=KnownCredentials(),
            output=MemoryOutputLog(),
            clock=clock,
            host="127.0.0.1",
            port=0,
            ssl_context=authority.context,
            node_name=lambda uid: (uid.removeprefix("uid-"), POOL),
        )
        ready = asyncio.Event()
        serving = asyncio.create_task(gateway.run(ready.set))
        await ready.wait()
        for uid, home in homes.items():
            gateway.configure(uid, NodeConfig(POOL, 1, (), None, None, True, 0, ()))
            home.identify(gateway.address[1], uid, f"join-{uid}")
            home.start()
        await until(lambda: sum(session.ready for session in gateway.sessions().values()) == 2, "two ready agents")
        quick = pickled_arguments("")
        paced = await submit(queue, "pace", *[quick] * 400)  # so that both hold much ahead
        await until(lambda: queue.counts(POOL) == (0, 0))

        gate = tmp_path / "gate"
        task = await submit(queue, "slow", pickled_arguments(str(gate)), *[quick] * 60)
        await until(lambda: queue.counts(POOL) == (0, 1), "all but the slow one to end")
        while_it_runs = await ended(queue, task)
        gate.touch()
        await until(lambda: queue.counts(POOL) == (0, 0))

        assert while_it_runs == list(range(1, 61))
        assert await ended(queue, task) == list(range(61))
        assert len(await ended(queue, paced)) == 400
        serving.cancel()
        await asyncio.wait({serving})

    try:
        asyncio.run(main())
    finally:
        for home in homes.values():
            home.end()
