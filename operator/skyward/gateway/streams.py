"""What generator functions yield, passed on from the agent that runs one to the clients that iterate, and their demand back.

Nothing is kept here but who yields and the last demand: the agent holds what was not taken, and says it again when it must.
A large value is a blob, held until it was taken. Whoever iterates may be gone for a while; a function that nobody listens to
is cancelled in the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from skyward.contracts import Clock, TaskQueue
from skyward.errors import NotFound, SkyError
from skyward.gateway.payloads import Payloads, Spawn
from skyward_agent.wire.connection import FrameConnection
from skyward_agent.wire.messages import Demand, Yield
from skyward_agent.wire.payload import BlobRef, PayloadError, names_blobs, references
from skyward_agent.wire.transfers import BlobReceiver

log = structlog.get_logger()

UNHEARD_S = 600.0
"""As long as a client tries to come back."""


@dataclass(slots=True)
class _Stream:
    connection: FrameConnection | None = None
    """Of the agent that runs it."""
    demand: Demand | None = None
    heard_at: float = 0.0
    large: dict[int, tuple[BlobRef, ...]] = field(default_factory=dict)
    order: asyncio.Lock = field(default_factory=asyncio.Lock)
    under_way: int = 0


class Streams:
    """`pass_on` gives values of one task to whoever follows it; `is_followed` tells whether anybody does."""

    def __init__(
        self,
        queue: TaskQueue,
        payloads: Payloads,
        clock: Clock,
        spawn: Spawn,
        pass_on: Callable[[Sequence[Yield]], None],
        is_followed: Callable[[str], bool],
    ) -> None:
        self._queue = queue
        self._payloads = payloads
        self._clock = clock
        self._spawn = spawn
        self._pass_on = pass_on
        self._is_followed = is_followed
        self._streams: dict[tuple[str, int], _Stream] = {}

    def came(self, connection: FrameConnection, source: BlobReceiver, yields: Sequence[Yield]) -> None:
        """From an agent that holds the attempt."""
        for made in yields:
            stream = self._streams.setdefault((made.task, made.item), _Stream(heard_at=self._clock.monotonic()))
            if stream.connection is not connection:
                stream.connection = connection
                if stream.demand is not None:
                    connection.send(stream.demand)
            if names_blobs(made.value) or stream.under_way:
                stream.under_way += 1
                self._spawn(self._bring(stream, source, made))
            else:
                self._pass_on((made,))

    async def _bring(self, stream: _Stream, source: BlobReceiver, made: Yield) -> None:
        """Have its blob on the way before anybody hears of it; what was yielded later waits for its turn."""
        async with stream.order:
            try:
                named = references(made.value)
                if named and made.number not in stream.large:
                    await self._payloads.expect(named, source)
                    stream.large[made.number] = named
                    self._payloads.pin(named)
            except (SkyError, PayloadError) as error:
                log.warning("yielded value not passed on", task=made.task, number=made.number, error=str(error))
                await self._end(made.task)
                return
            finally:
                stream.under_way -= 1
            self._pass_on((made,))

    def demanded(self, demand: Demand) -> None:
        """From whoever iterates."""
        stream = self._streams.setdefault((demand.task, demand.item), _Stream())
        stream.demand = demand
        stream.heard_at = self._clock.monotonic()
        self._drop_large(stream, demand.received)
        if stream.connection is not None:
            stream.connection.send(demand)

    def ended(self, task: str, item: int) -> None:
        stream = self._streams.pop((task, item), None)
        if stream is not None:
            self._drop_large(stream, None)

    def check(self) -> None:
        """Called every heartbeat interval."""
        now = self._clock.monotonic()
        for (task, item), stream in tuple(self._streams.items()):
            if self._is_followed(task):
                stream.heard_at = now
            elif now - stream.heard_at > UNHEARD_S:
                log.info("nobody takes what a function yields", task=task)
                self.ended(task, item)
                self._spawn(self._end(task))

    async def _end(self, task: str) -> None:
        try:
            await self._queue.cancel(task)
        except NotFound:
            return

    def _drop_large(self, stream: _Stream, received: int | None) -> None:
        for number in [number for number in stream.large if received is None or number < received]:
            self._payloads.unpin(stream.large.pop(number))
