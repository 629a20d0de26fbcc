"""The task connection by itself: what its callers hear, and that it ends cleanly."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any

import pytest

from skyward.client.tasks import FollowedTask, TaskConnection, TaskRequest
from skyward.errors import OperatorUnreachable, PoolNotFound, SkyError, UserError
from skyward_agent.wire.messages import Output, Result
from tests.gateway.world import FakeAgent, echo, running_world, until

FUNCTION = b"the function"


def request(pool: str = "hello", items: tuple[bytes, ...] = (b"x",), **fields: Any) -> TaskRequest:
    digest = hashlib.sha256(FUNCTION).hexdigest()
    return TaskRequest("default", pool, "map", "fn", digest, FUNCTION, items, **fields)


class Listener:
    def __init__(self) -> None:
        self.task: FollowedTask | None = None
        self.ended: list[Result] = []
        self.error: SkyError | None = None

    def accepted(self, task: FollowedTask) -> None:
        self.task = task

    def results(self, results: Sequence[Result]) -> None:
        self.ended += results

    def output(self, outputs: Sequence[Output]) -> None: ...

    def failed(self, error: SkyError) -> None:
        self.error = error


def test_each_item_is_heard_once_and_the_task_is_then_forgotten() -> None:
    async def main() -> None:
        async with running_world() as world, TaskConnection(world.config(), python="3.11") as connection:
            agent = FakeAgent(world, world.add_node("n1"), echo).start()
            listener = Listener()

            connection.submit(request(items=(b"a", b"b")), listener)
            await until(lambda: len(listener.ended) == 2)

            assert sorted(result.value for result in listener.ended) == [b"a", b"b"]
            assert connection._tasks == {}
            assert connection._requests == {}
            await agent.stop()

    asyncio.run(main())


def test_a_refused_task_is_told_to_its_follower_alone() -> None:
    async def main() -> None:
        async with running_world() as world, TaskConnection(world.config(), python="3.11") as connection:
            refused, taken = Listener(), Listener()

            connection.submit(request("nowhere"), refused)
            connection.submit(request(), taken)
            await until(lambda: refused.error and taken.task)

            assert isinstance(refused.error, PoolNotFound)
            assert taken.error is None

    asyncio.run(main())


def test_requests_made_while_the_operator_is_away_reach_it_when_it_is_back() -> None:
    async def main() -> None:
        async with running_world() as world, TaskConnection(world.config(), python="3.11") as connection:
            await world.stop()
            await until(lambda: connection._connection is None)
            listener = Listener()
            connection.submit(request(open=True), listener)
            await world.start()
            await until(lambda: listener.task)
            assert listener.task is not None

            connection.extend(listener.task, 1, (b"y",), last=True)
            connection.cancel(listener.task)
            await connection.settle(10)
            await until(lambda: len(listener.ended) == 2)

            assert [result.outcome for result in listener.ended] == ["Cancelled", "Cancelled"]
            assert len(world.queue.tasks_by_uid) == 1

    asyncio.run(main())


def test_nobody_there_is_said_at_once() -> None:
    async def main() -> None:
        async with running_world() as world:
            config = world.config(port=1)
        with pytest.raises(OperatorUnreachable):
            async with TaskConnection(config, python="3.11"):
                raise AssertionError("nobody answers at this port")

    asyncio.run(main())


def test_an_error_of_the_caller_comes_out_as_itself() -> None:
    async def main() -> None:
        async with running_world() as world:
            with pytest.raises(UserError):
                async with TaskConnection(world.config(), python="3.11"):
                    raise UserError("the caller's own")

    asyncio.run(main())


def test_a_server_with_another_certificate_is_not_spoken_to() -> None:
    async def main() -> None:
        async with running_world() as world:
            config = world.config()
            stranger = type(config)(
                server=config.server,
                tasks=config.tasks,
                ca_pem=_another_authority(),
                token=config.token,
                namespace=config.namespace,
                path=config.path,
            )
            with pytest.raises(OperatorUnreachable, match="another certificate"):
                async with TaskConnection(stranger, python="3.11"):
                    raise AssertionError("it must not be trusted")

    asyncio.run(main())


def _another_authority() -> str:
    from tests.gateway.tls import make_tls

    return make_tls.__wrapped__()[0]
