"""Tasks over the wire, for the SDK and skyctl: submit, extend, follow, cancel; and none is lost when the line breaks.

Every request is kept until it is answered and sent again on the next connection, under the key or index that makes a
repeat harmless; every followed task is attached again with the results it has. So an operator may restart under a
running program.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from skyward.client.config import ClientConfig
from skyward.client.following import FollowedTask, Follower, TaskRequest
from skyward.client.payloads import ClientPayloads
from skyward.client.wire import dial, refusal, unreachable
from skyward.errors import NotFound, SkyError, TaskError, UserError
from skyward_agent.wire.connection import FrameConnection
from skyward_agent.wire.frames import FrameError
from skyward_agent.wire.messages import (
    Attach,
    Attached,
    Cancel,
    Cancelled,
    Chunk,
    ClientWelcome,
    Delivered,
    Demand,
    Extend,
    Extended,
    Fetch,
    More,
    Output,
    Outputs,
    Ping,
    Placed,
    Pong,
    PutFunction,
    Refused,
    Result,
    Results,
    Submit,
    Submitted,
    Unavailable,
    Yield,
    Yields,
)

__all__ = ["RECONNECT_S", "FollowedTask", "Follower", "TaskConnection", "TaskRequest"]

RECONNECT_S = 600.0
_PING_S = 10.0
_SILENT_S = 30.0
_BACKOFF_S = (0.1, 5.0)
_FUNCTION_KNOWN_S = 600.0
"""The operator forgets functions that no task names any more; before that, one connection sends each only once."""


def _new_key() -> str:
    """Of no other submit. Later ones sort later: the operator's index of them grows at its end."""
    return f"{time.time_ns():016x}{secrets.token_hex(8)}"


@dataclass(slots=True)
class _Request:
    message: Submit | Extend | Attach | Cancel
    follower: Follower | None = None
    function: PutFunction | None = None
    may_repeat: bool = False
    """Another process may have made this task before."""
    sent: int = 0


class TaskConnection:
    """A standing connection that repairs itself. Use as an async context manager, on one event loop.

    Entering raises OperatorUnreachable at once when nobody answers. A connection that is lost later is tried again for
    `reconnect_s`; then every task followed here fails with OperatorUnreachable, though the operator may still run it.
    """

    def __init__(self, config: ClientConfig, *, python: str, reconnect_s: float = RECONNECT_S) -> None:
        self._config = config
        self._python = python
        self._reconnect_s = reconnect_s
        self._connection: FrameConnection | None = None
        self._requests: dict[int, _Request] = {}
        self._tasks: dict[str, FollowedTask] = {}
        self._known_functions: dict[str, float] = {}
        self._next = 1
        self._gave_up = False
        self._wanted = asyncio.Event()
        self._answered = asyncio.Event()
        self._group = asyncio.TaskGroup()
        self._payloads = ClientPayloads(self._group.create_task)
        self._keeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._open()
        await self._group.__aenter__()
        self._keeper = self._group.create_task(self._keep())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
        if self._connection is not None:
            await self._connection.hang_up()
        # What the body raised is its own affair: given to the group, it would come out wrapped in an ExceptionGroup.
        await self._group.__aexit__(None, None, None)

    @property
    def shared(self) -> Path | None:
        """The operator's shared directory, where this process sees it."""
        return self._payloads.shared

    @property
    def is_connected(self) -> bool:
        """False while a lost connection is being repaired."""
        return self._connection is not None

    # --- what callers ask ----------------------------------------------------------------------------------------------

    def submit(self, request: TaskRequest, follower: Follower) -> None:
        """Make a task and follow it. Returns at once; the follower hears what comes of it."""
        message = Submit(
            request=self._number(),
            key=request.key or _new_key(),
            namespace=request.namespace,
            pool=request.pool,
            mode=request.mode,
            function=request.digest,
            name=request.name,
            items=request.items,
            open=request.open,
            max_attempts=request.max_attempts,
            timeout_s=request.timeout_s,
            priority=request.priority,
            env=request.env,
            stream=request.stream,
            policy=request.policy,
        )
        function = PutFunction(digest=request.digest, data=request.function)
        self._ask(_Request(message, follower, function, may_repeat=bool(request.key)))

    def extend(self, task: FollowedTask, start: int, items: tuple[bytes, ...], *, last: bool) -> None:
        """Add items to an open map; `start` is the index of the first of them."""
        task.is_open = not last
        task.items = start + len(items)
        self._ask(_Request(Extend(request=self._number(), task=task.uid, start=start, items=items, last=last)))

    def attach(self, uid: str, follower: Follower, *, stream: bool = True) -> None:
        """Follow a task that was made elsewhere: all its results come, those from before included."""
        if uid in self._tasks:
            follower.failed(UserError(f"this session follows task {uid} already: wait for the future that it has"))
            return
        self._ask(_Request(Attach(request=self._number(), task=uid, stream=stream), follower))

    def cancel(self, task: FollowedTask, *, waiting_only: bool = False) -> None:
        """Cancel what has not ended; those items end with outcome Cancelled, which the follower still hears. With `waiting_only`
        the operator leaves the task alone when a node runs it."""
        if not waiting_only:
            task.is_open = False
        self._ask(_Request(Cancel(request=self._number(), task=task.uid, waiting_only=waiting_only)))

    def forget(self, task: FollowedTask) -> None:
        """Stop listening; the task goes on."""
        self._tasks.pop(task.uid, None)

    async def settle(self, seconds: float) -> None:
        """Wait until every request so far was answered, or that long."""
        try:
            async with asyncio.timeout(seconds):
                while self._requests and self._connection is not None:
                    self._answered.clear()
                    await self._answered.wait()
        except TimeoutError:
            return

    # --- sending ---------------------------------------------------------------------------------------------------------

    def _number(self) -> int:
        self._next += 1
        return self._next - 1

    def _ask(self, request: _Request) -> None:
        if isinstance(request.message, Submit | Extend):
            self._payloads.offer(request.message.items)
        self._requests[request.message.request] = request
        if self._connection is not None:
            self._send(self._connection, request)
        elif self._gave_up:
            self._wanted.set()

    def _send(self, connection: FrameConnection, request: _Request) -> None:
        if request.function is not None:
            now = asyncio.get_running_loop().time()
            known_at = self._known_functions.get(request.function.digest)
            if known_at is None or now - known_at > _FUNCTION_KNOWN_S:
                self._known_functions[request.function.digest] = now
                self._send_one(connection, request, request.function)
        request.sent += 1
        self._send_one(connection, request, request.message)

    def _send_one(self, connection: FrameConnection, request: _Request, message: Any) -> None:
        try:
            connection.send(message)
        except FrameError as error:
            self._requests.pop(request.message.request, None)
            if request.follower is not None:
                request.follower.failed(TaskError(str(error)))

    # --- receiving -------------------------------------------------------------------------------------------------------

    def _handle(self, message: Any) -> None:
        match message:
            case Results(results=results):
                self._take_results(self._payloads.fetched(results, self._take_results))
            case Yields(yields=yields):
                for made in yields:
                    self._take_yield(made)
            case Chunk() | Placed() | Unavailable() | Fetch() | More():
                self._payloads.handle(message)
            case Outputs(outputs=outputs):
                self._take_output(outputs)
            case Submitted():
                self._submitted(message)
            case Refused():
                self._refused(message)
            case Extended(request=request) | Cancelled(request=request):
                self._done(request)
            case Attached():
                self._attached(message)
            case Ping(request=request):
                if self._connection is not None:
                    self._connection.send(Pong(request=request))

    def _done(self, number: int) -> _Request | None:
        request = self._requests.pop(number, None)
        if not self._requests:
            self._answered.set()
        return request

    def _submitted(self, message: Submitted) -> None:
        request = self._done(message.request)
        if request is None or request.follower is None or not isinstance(request.message, Submit):
            return
        policy = request.message.policy
        task = FollowedTask(
            message.task,
            message.name,
            message.items,
            request.follower,
            request.message.stream,
            request.message.open,
            goes_when_had=policy is not None and policy.ttl_s == 0,
        )
        self._tasks[task.uid] = task
        if request.sent > 1 or request.may_repeat:
            # An earlier connection may have made this task: some of its results may be older than this one.
            self._ask(_Request(self._attach(task)))
        task.follower.accepted(task)

    def _attached(self, message: Attached) -> None:
        request = self._done(message.request)
        task = self._tasks.get(message.task)
        if task is not None:
            if task.demand is not None and self._connection is not None:
                self._connection.send(replace(task.demand, again=True))
            task.items = max(task.items, message.items)
            task.is_open = task.is_open and message.open
            if self._is_over(task):
                del self._tasks[task.uid]
                task.follower.results(())
        elif request is not None and request.follower is not None and isinstance(request.message, Attach):
            task = FollowedTask(
                message.task,
                message.name,
                message.items,
                request.follower,
                request.message.stream,
                message.open,
                mode=message.mode,
            )
            self._tasks[task.uid] = task
            task.follower.accepted(task)

    def _refused(self, message: Refused) -> None:
        request = self._done(message.request)
        if request is None:
            return
        error = refusal(message)
        if request.follower is not None:
            request.follower.failed(error)
            return
        if isinstance(request.message, Submit) or (isinstance(request.message, Cancel) and isinstance(error, NotFound)):
            return
        task = self._tasks.pop(request.message.task, None)
        if task is not None:
            task.follower.failed(error)

    def _take_results(self, results: Sequence[Result]) -> None:
        by_task: dict[str, list[Result]] = {}
        had: list[str] = []
        for result in results:
            task = self._tasks.get(result.task)
            if task is not None and result.item not in task.have:
                task.have.add(result.item)
                by_task.setdefault(result.task, []).append(result)
        for uid, fresh in by_task.items():
            task = self._tasks[uid]
            if self._is_over(task):
                del self._tasks[uid]
                if task.goes_when_had:
                    had.append(uid)
            task.follower.results(fresh)
        if had and self._connection is not None:
            self._connection.send(Delivered(tasks=tuple(had)))

    def _is_over(self, task: FollowedTask) -> bool:
        return not task.is_open and len(task.have) >= task.items

    def demand(self, task: FollowedTask, received: int, until: int) -> None:
        """Of what its function yields so many values were taken, and there is room for those before `until`."""
        task.demand = Demand(task.uid, 0, received, until)
        if self._connection is not None:
            self._connection.send(task.demand)

    def _take_yield(self, made: Yield) -> None:
        task = self._tasks.get(made.task)
        if task is None or task.yielded is None:
            return
        yielded = task.yielded
        whole = self._payloads.fetched_yield(made, yielded)
        if whole is not None:
            yielded(whole)

    def _take_output(self, outputs: Sequence[Output]) -> None:
        by_task: dict[str, list[Output]] = {}
        for output in outputs:
            by_task.setdefault(output.task, []).append(output)
        for uid, pieces in by_task.items():
            task = self._tasks.get(uid)
            if task is not None:
                task.follower.output(pieces)

    # --- keeping the line up -----------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        """Dial, and say again everything that is not answered. Raises when that fails."""
        welcomes: list[ClientWelcome] = []
        connection = await dial(self._config, python=self._python, on_message=self._handle, welcomed=welcomes.append)
        self._known_functions.clear()
        self._payloads.connected(connection, welcomes[0])
        self._connection = connection
        pending = [
            request
            for request in self._requests.values()
            if not isinstance(request.message, Attach) or request.follower is not None
        ]
        attaches = [_Request(self._attach(task)) for task in self._tasks.values()]
        self._requests = {request.message.request: request for request in (*attaches, *pending)}
        for request in tuple(self._requests.values()):
            self._send(connection, request)

    def _attach(self, task: FollowedTask) -> Attach:
        return Attach(request=self._number(), task=task.uid, have=tuple(task.have), stream=task.stream)

    async def _keep(self) -> None:
        while True:
            if self._connection is not None:
                await self._watch(self._connection)
                self._connection = None
                self._payloads.disconnected()
            try:
                await self._reopen(0.0 if self._gave_up else self._reconnect_s)
                self._gave_up = False
            except SkyError as error:
                self._give_up(error)
                # Only when somebody asks again is the operator looked for again, once.
                await self._wanted.wait()
                self._wanted.clear()

    async def _watch(self, connection: FrameConnection) -> None:
        """Until this connection is gone, or nothing was heard on it for too long."""
        while not connection.closed.is_set():
            try:
                async with asyncio.timeout(_PING_S):
                    await connection.closed.wait()
            except TimeoutError:
                if connection.silent_s() > _SILENT_S:
                    connection.abort()
                    return
                if not connection.is_congested:
                    connection.send(Ping())

    async def _reopen(self, seconds: float) -> None:
        """Try for that long, once at least. Raises the last failure, or at once what trying again cannot cure."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        pause_s, longest_s = _BACKOFF_S
        while True:
            try:
                await self._open()
                return
            except TaskError:
                if loop.time() + pause_s > deadline:
                    raise unreachable(self._config) from None
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
            pause_s = min(longest_s, pause_s * 2)

    def _give_up(self, error: SkyError) -> None:
        self._gave_up = True
        requests, self._requests = tuple(self._requests.values()), {}
        tasks, self._tasks = tuple(self._tasks.values()), {}
        self._answered.set()
        for request in requests:
            if request.follower is not None:
                request.follower.failed(error)
        for task in tasks:
            task.follower.failed(error)
