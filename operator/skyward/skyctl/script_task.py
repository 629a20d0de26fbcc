"""One task that is a script: followed to its end, its output written here as it comes."""

from __future__ import annotations

import asyncio
import pickle
import sys
from collections.abc import Sequence

from skyward.client.config import ClientConfig
from skyward.client.tasks import FollowedTask, TaskConnection, TaskRequest
from skyward.errors import SkyError, TaskCancelled
from skyward.skyctl.reconnecting import FOUND, LOST
from skyward.skyctl.session import complain, remark
from skyward_agent.wire.messages import CANCELLED, SUCCEEDED, Output, Result

_CANCEL_S = 5.0
_LOOK_S = 0.5


def follow(config: ClientConfig, request: TaskRequest) -> int:
    """The script's exit status. Ctrl-C cancels the task. Raises TaskCancelled and what the queue refuses."""
    return asyncio.run(_run(config, request))


class _Follower:
    """Writes what the script writes, and keeps how it ended."""

    def __init__(self) -> None:
        self.ended: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self.task: FollowedTask | None = None

    def accepted(self, task: FollowedTask) -> None:
        self.task = task

    def results(self, results: Sequence[Result]) -> None:
        if not self.ended.done():
            self.ended.set_result(results[0])

    def output(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            stream = sys.stderr if output.stream == "stderr" else sys.stdout
            stream.buffer.write(output.data)
            stream.flush()

    def failed(self, error: SkyError) -> None:
        if not self.ended.done():
            self.ended.set_exception(error)


async def _run(config: ClientConfig, request: TaskRequest) -> int:
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    async with TaskConnection(config, python=python) as connection:
        follower = _Follower()
        connection.submit(request, follower)
        try:
            return _status(await _until(follower.ended, connection))
        except asyncio.CancelledError:
            if follower.task is not None:
                connection.cancel(follower.task)
                await connection.settle(_CANCEL_S)
            raise


async def _until(ended: asyncio.Future[Result], connection: TaskConnection) -> Result:
    """The result; meanwhile say once when the connection breaks, and once when it is there again."""
    was_connected = True
    while not ended.done():
        await asyncio.wait((ended,), timeout=_LOOK_S)
        is_connected = connection.is_connected
        if is_connected is not was_connected and not ended.done():
            remark(FOUND if is_connected else LOST)
        was_connected = is_connected
    return ended.result()


def _status(result: Result) -> int:
    if result.outcome == SUCCEEDED:
        status = pickle.loads(result.value)  # noqa: S301 - an int that our own function returned on our own node
        return status if isinstance(status, int) else 1
    failure = result.failure
    where = f" on node {result.node}" if result.node else ""
    why = f": {failure.message}" if failure is not None and failure.message else ""
    if result.outcome == CANCELLED:
        raise TaskCancelled(f"the script was cancelled{where}")
    complain(f"the script did not finish{where} ({result.outcome}){why}")
    return 1
