"""Tasks, and what must come of them: clients that submit and submit again, and a ledger of what was really run."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from skyward.contracts import ORDINARY, Submission
from skyward.errors import SkyError, TaskError, UserError
from skyward_agent.wire.messages import AT_MOST_ONCE, FAILED, REPLACE_RANK, RETRY, SUCCEEDED, Lease, Policy

if TYPE_CHECKING:
    from tests.simulation.world import World

_FUNCTION = b"function"
_DIGEST = hashlib.sha256(_FUNCTION).hexdigest()
_CALL_S = 30.0


@dataclass(slots=True)
class Order:
    """One task that a client wants done."""

    key: str
    pool: str
    mode: str
    payloads: tuple[bytes, ...]
    max_attempts: int
    policy: Policy = ORDINARY
    uid: str = ""
    """Once it was accepted."""
    seq: int = 0
    cancelled: bool = False


@dataclass(slots=True)
class Ledger:
    """What was really run, written by the functions themselves."""

    runs: Counter[tuple[str, int]] = field(default_factory=Counter)
    """By task uid and item."""
    attempts: Counter[tuple[str, int, int]] = field(default_factory=Counter)
    ended: set[tuple[str, int, int]] = field(default_factory=set)
    """Attempts whose end was committed."""


class Work:
    def __init__(self, world: World) -> None:
        self.orders: dict[str, Order] = {}
        """By client key."""
        self.ledger = Ledger()
        self._world = world
        self._stream = world.chance.stream("work")
        self._policies = world.chance.stream("policies")
        self._count = 0

    @property
    def holds_any(self) -> bool:
        """An agent holds something now."""
        return any(agent.holds_any for host in self._world.hosts.running() for agent in host.agents)

    # --- on machines -------------------------------------------------------------------------------------------------

    def executes(self, lease: Lease) -> float:
        attempt = lease.id
        self.ledger.runs[attempt.task, attempt.item] += 1
        self.ledger.attempts[attempt.task, attempt.item, attempt.attempt] += 1
        return self._stream.choice((0.01, 0.1, 1.0, 5.0, 40.0))

    def result_of(self, lease: Lease) -> tuple[str, bytes]:
        if lease.arguments.startswith(b"bad "):
            return FAILED, b""
        return SUCCEEDED, answer(lease.arguments)

    def is_poison(self, lease: Lease) -> bool:
        return lease.arguments.startswith(b"poison ")

    # --- clients -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Order something now and then, and see it through."""
        async with asyncio.TaskGroup() as clients:
            while True:
                await asyncio.sleep(self._stream.expovariate(20 / 3600.0))
                if not self._world.faults.on:
                    return
                clients.create_task(self._see_through(self._new_order()))

    def _new_order(self) -> Order:
        self._count += 1
        key = f"key-{self._count}"
        mode = self._stream.choice(("run", "map", "map", "broadcast"))
        count = self._stream.choice((2, 5, 20)) if mode == "map" else 1
        kinds = (b"good", b"good", b"good", b"good", b"bad", b"poison")
        payloads = tuple(b"%s %s %d" % (self._stream.choice(kinds), key.encode(), item) for item in range(count))
        order = Order(
            key=key,
            pool=f"default/pool-{self._stream.randrange(self._world.scenario.pools)}",
            mode=mode,
            payloads=payloads,
            max_attempts=self._stream.choice((1, 3, 3)),
        )
        self._ask_for_more(order)
        self.orders[key] = order
        return order

    def _ask_for_more(self, order: Order) -> None:
        """Now and then the client wants more than an ordinary call."""
        wish = self._policies.choice(("", "", "", "once", "deadline", "retry", "rank"))
        if wish == "once":
            order.policy, order.max_attempts = Policy(delivery=AT_MOST_ONCE), 1
        elif wish == "deadline":
            order.policy = Policy(deadline_s=self._policies.choice((30.0, 600.0)))
        elif wish == "retry":
            order.policy, order.max_attempts = Policy(retry_on=("ValueError",), max_retries=1, backoff_s=5.0), 3
        elif wish == "rank" and order.mode == "broadcast":
            order.policy = Policy(on_node_loss=self._policies.choice((RETRY, REPLACE_RANK)))

    async def _see_through(self, order: Order) -> None:
        """Until it was accepted, refused for good, or its patience ends; sometimes changes its mind later."""
        for _ in range(200):
            if not self._world.faults.on:
                return
            try:
                if await self._submit(order):
                    break
            except (UserError, TaskError):
                return  # no such pool, no node: the client is told so
            except SkyError:
                pass  # the operator could not commit: try again
            await asyncio.sleep(self._stream.uniform(0.5, 5.0))
        if self._stream.random() < 0.15:
            await asyncio.sleep(self._stream.expovariate(1 / 60.0))
            await self._cancel(order)

    async def _submit(self, order: Order) -> bool:
        operator = self._world.operator
        if operator is None or operator.queue is None:
            return False
        queue = operator.queue
        submission = Submission(
            key=order.key,
            submitter="client",
            pool=order.pool,
            mode=order.mode,
            function=_DIGEST,
            name="fn",
            items=order.payloads,
            python="3.11",
            max_attempts=order.max_attempts,
            policy=order.policy,
        )

        async def call() -> str:
            await queue.put_function(_DIGEST, _FUNCTION)
            return (await queue.submit(submission)).task

        answered, uid = await operator.process.ask(call, _CALL_S)
        if not answered or uid is None:
            return False
        if order.uid and order.uid != uid:
            self._world.violate("S36", order.key, f"the same key was accepted as {order.uid} and as {uid}")
        order.uid = uid
        if self._stream.random() < 0.1:  # the answer was lost: the client asks again, with the same key
            self._world.coverage.reach("submit repeated")
            return False
        return True

    async def _cancel(self, order: Order) -> None:
        operator = self._world.operator
        if operator is None or operator.queue is None or not order.uid:
            return
        queue, uid = operator.queue, order.uid
        try:
            answered, _ = await operator.process.ask(lambda: queue.cancel(uid), _CALL_S)
        except SkyError:
            return
        order.cancelled = order.cancelled or answered


def answer(arguments: bytes) -> bytes:
    """What the function makes of its arguments: nobody else's result looks like it."""
    return b"answer to " + arguments
