"""Which task names which blob: kept in step with the rows that hold the payloads."""

from __future__ import annotations

import asyncio
import hashlib

from skyward.contracts import Holder, PoolFacts, Submission
from skyward.queue import DurableQueue
from skyward.store import memory_store
from skyward_agent.wire.messages import SUCCEEDED, Report
from skyward_agent.wire.payload import BlobRef, Envelope
from tests.store.world import CountingIds, StillClock

POOL = "default/hello"
ARGUMENT, FILE, MORE, RESULT, OTHER = (letter * 64 for letter in "abcde")


def named(*digests: str) -> bytes:
    blob, *files = (BlobRef(digest, 10) for digest in digests)
    return Envelope(blob, (), tuple(("", ref) for ref in files)).encode()


def test_a_blob_is_named_from_the_submission_to_the_end_of_the_task() -> None:
    async def main() -> None:
        facts = PoolFacts(POOL, "uid", 1, "3.11", False, ())
        clock = StillClock()
        queue = DurableQueue(memory_store(clock, CountingIds()), clock=clock, ids=CountingIds(9), pools=lambda _: facts)
        function = b"function"
        digest = hashlib.sha256(function).hexdigest()
        await queue.put_function(digest, function)
        items = (named(ARGUMENT, FILE), b"small")
        accepted = await queue.submit(Submission("key", "tester", POOL, "map", digest, "fn", items, "3.11", open=True))
        await queue.extend(accepted.task, 2, (named(MORE, FILE),), last=True)
        everything = (ARGUMENT, FILE, MORE, RESULT, OTHER)

        assert await queue.named_blobs(everything) == {ARGUMENT, FILE, MORE}
        assert await queue.names_blob([accepted.task], FILE)
        assert not await queue.names_blob(["another"], FILE)
        assert not await queue.names_blob([accepted.task], OTHER)
        holder = Holder("node", "hello-0", POOL, "i1")
        leases = await queue.lease(holder, 3)
        await queue.report(holder, [Report(lease.id, SUCCEEDED, named(RESULT)) for lease in leases])
        assert await queue.named_blobs(everything) == {ARGUMENT, FILE, MORE, RESULT}

        await queue.collect(clock.now() + 10**9)

        assert await queue.named_blobs(everything) == frozenset()

    asyncio.run(main())
