"""One connected client: its requests, the tasks it follows, and how fast it reads."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import structlog

from skyward.contracts import Submission, TaskQueue
from skyward.errors import SkyError
from skyward.gateway.functions import FunctionCache
from skyward.gateway.output import gap_marker
from skyward_agent.wire.connection import FrameConnection
from skyward_agent.wire.frames import FrameError
from skyward_agent.wire.messages import (
    Attach,
    Attached,
    Cancel,
    Cancelled,
    Extend,
    Extended,
    Output,
    Outputs,
    Ping,
    Pong,
    PutFunction,
    Refused,
    Result,
    Results,
    Submit,
    Submitted,
)

log = structlog.get_logger()

_REQUESTS_AT_ONCE = 4000
_REQUEST_BYTES = 64 * 1024 * 1024
"""Payloads of requests not yet answered: beyond this, or that many requests, the client is not read."""
_PAGE = 500
_RESULTS_BYTES = 4 * 1024 * 1024
"""Results travel in messages of about this size."""
_OUTPUT_BYTES = 1024 * 1024
"""Output kept for a client that does not read; what is over is dropped."""


class ClientHub(Protocol):
    """What a peer needs of the room that holds it."""

    queue: TaskQueue
    functions: FunctionCache

    def follow(self, task: str, peer: ClientPeer) -> bool: ...

    def unfollow(self, task: str, peer: ClientPeer) -> None: ...


@dataclass(slots=True)
class _Follow:
    task: str
    items: int
    is_open: bool
    stream: bool
    seen: set[int] = field(default_factory=set)
    """Items whose result this client has or was sent."""
    is_paging: bool = False
    is_behind: bool = False
    """Results came that were not pushed: the pages hold them."""

    @property
    def is_complete(self) -> bool:
        return not self.is_open and len(self.seen) >= self.items


class ClientPeer:
    def __init__(self, connection: FrameConnection, user: str, python: str, hub: ClientHub) -> None:
        self.connection = connection
        self.user = user
        self._python = python
        self._hub = hub
        self._follows: dict[str, _Follow] = {}
        self._puts: dict[str, asyncio.Task[None]] = {}
        self._requests = 0
        self._request_bytes = 0
        self._kept_output: list[Output] = []
        self._kept_output_bytes = 0
        self._dropped: dict[tuple[str, int, int, str], Output] = {}
        self._dropped_bytes: dict[tuple[str, int, int, str], int] = {}
        self._waiting = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Serve until the connection is gone. Submits in flight go on: their keys make a repeat harmless."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            catching_up = group.create_task(self._catch_up())
            try:
                await self.connection.closed.wait()
            finally:
                self._group = None
            catching_up.cancel()

    def followed(self) -> Iterable[str]:
        return tuple(self._follows)

    # --- requests ------------------------------------------------------------------------------------------------------

    def handle(self, message: Any) -> None:
        match message:
            case Submit():
                self._begin(message.request, self._submit(message), sum(map(len, message.items)))
            case PutFunction(digest=digest, data=data):
                self._put(digest, data)
            case Extend():
                self._begin(message.request, self._extend(message), sum(map(len, message.items)))
            case Attach():
                self._begin(message.request, self._attach(message), 0)
            case Cancel(request=request, task=task):
                self._begin(request, self._cancel(request, task), 0)
            case Ping(request=request):
                if not self.connection.is_congested:
                    self.connection.send(Pong(request=request))
            case Pong():
                pass
            case _:
                raise FrameError(f"a client may not send {type(message).__name__}")

    def _begin(self, request: int, work: Coroutine[None, None, None], size: int) -> None:
        if self._group is None:
            work.close()
            return
        self._requests += 1
        self._request_bytes += size
        if self._requests > _REQUESTS_AT_ONCE or self._request_bytes > _REQUEST_BYTES:
            self.connection.pause_reading()
        self._group.create_task(self._answer(request, work, size))

    async def _answer(self, request: int, work: Coroutine[None, None, None], size: int) -> None:
        try:
            await work
        except SkyError as error:
            self.connection.send(Refused(request=request, error=type(error).__name__, message=str(error)))
        except Exception:
            log.exception("request failed", user=self.user)
            self.connection.send(
                Refused(
                    request=request, error="TaskError", message="the operator failed on this request; its log says why"
                )
            )
        finally:
            self._requests -= 1
            self._request_bytes -= size
            if self._requests <= _REQUESTS_AT_ONCE // 2 and self._request_bytes <= _REQUEST_BYTES // 2:
                self.connection.resume_reading()

    def _put(self, digest: str, data: bytes) -> None:
        if self._group is None:
            return
        self._request_bytes += len(data)
        self._puts[digest] = self._group.create_task(self._store_function(digest, data))

    async def _store_function(self, digest: str, data: bytes) -> None:
        """Not answered: a Submit that names a function which could not be stored is refused instead."""
        try:
            await self._hub.functions.put(digest, data)
        except SkyError as error:
            log.warning("function refused", user=self.user, error=str(error))
        except Exception:
            log.exception("function not stored", user=self.user)
        finally:
            self._puts.pop(digest, None)
            self._request_bytes -= len(data)

    async def _submit(self, message: Submit) -> None:
        put = self._puts.get(message.function)
        if put is not None:
            await put
        accepted = await self._hub.queue.submit(
            Submission(
                key=message.key,
                submitter=self.user,
                pool=f"{message.namespace}/{message.pool}",
                mode=message.mode,
                function=message.function,
                name=message.name,
                items=message.items,
                python=self._python,
                open=message.open,
                max_attempts=message.max_attempts,
                timeout_s=message.timeout_s,
                priority=message.priority,
                env=message.env,
                stream=message.stream,
            )
        )
        follow = _Follow(accepted.task, accepted.items, accepted.open, message.stream)
        missed = self._follow(follow)
        self.connection.send(Submitted(message.request, accepted.task, accepted.name, accepted.items))
        if missed:
            await self._page(follow)

    async def _extend(self, message: Extend) -> None:
        items = await self._hub.queue.extend(message.task, message.start, message.items, last=message.last)
        follow = self._follows.get(message.task)
        if follow is not None:
            follow.items = max(follow.items, items)
            follow.is_open = follow.is_open and not message.last
            self._finish_if_complete(follow)
        self.connection.send(Extended(request=message.request, items=items))

    async def _attach(self, message: Attach) -> None:
        accepted = await self._hub.queue.accepted(message.task)
        follow = self._follows.get(message.task)
        if follow is None:
            follow = _Follow(accepted.task, accepted.items, accepted.open, message.stream)
        follow.items = max(follow.items, accepted.items)
        follow.is_open = accepted.open
        follow.seen.update(message.have)
        self._follow(follow)
        self.connection.send(Attached(message.request, accepted.task, accepted.items, accepted.open))
        await self._page(follow)

    async def _cancel(self, request: int, task: str) -> None:
        await self._hub.queue.cancel(task)
        follow = self._follows.get(task)
        if follow is not None:
            follow.is_open = False
            self._finish_if_complete(follow)
        self.connection.send(Cancelled(request=request, task=task))

    # --- results -------------------------------------------------------------------------------------------------------

    def _follow(self, follow: _Follow) -> bool:
        known = self._follows.setdefault(follow.task, follow)
        missed = self._hub.follow(known.task, self)
        self._finish_if_complete(known)
        return missed

    def results_came(self, task: str, results: Sequence[Result]) -> None:
        follow = self._follows.get(task)
        if follow is None:
            return
        if follow.is_paging or self.connection.is_congested:
            follow.is_behind = True
            self._waiting.set()
            return
        self._push(follow, results)

    def _push(self, follow: _Follow, results: Sequence[Result]) -> None:
        batch: list[Result] = []
        size = 0
        for result in results:
            if result.item in follow.seen:
                continue
            follow.seen.add(result.item)
            batch.append(result)
            size += len(result.value)
            if size > _RESULTS_BYTES:
                self.connection.send(Results(results=tuple(batch)))
                batch, size = [], 0
        if batch:
            self.connection.send(Results(results=tuple(batch)))
        self._finish_if_complete(follow)

    async def _page(self, follow: _Follow) -> None:
        """Send what the queue holds and this client lacks, as fast as it reads; then results are pushed again."""
        if follow.is_paging:
            follow.is_behind = True
            return
        follow.is_paging = True
        try:
            while not self.connection.is_closed:
                await self.connection.writable()
                follow.is_behind = False
                page = await self._hub.queue.results(follow.task, skip=tuple(follow.seen), limit=_PAGE)
                self._push(follow, page)
                if not page and not follow.is_behind:
                    return
        finally:
            follow.is_paging = False

    def _finish_if_complete(self, follow: _Follow) -> None:
        if follow.is_complete:
            self._follows.pop(follow.task, None)
            self._hub.unfollow(follow.task, self)

    # --- output and reading speed ------------------------------------------------------------------------------------------

    def output_came(self, outputs: Sequence[Output]) -> None:
        mine = [output for output in outputs if self._streams(output.task)]
        if not mine:
            return
        if not self.connection.is_congested and not self._kept_output:
            self.connection.send(Outputs(outputs=tuple(mine)))
            return
        for output in mine:
            self._keep_output(output)

    def _streams(self, task: str) -> bool:
        follow = self._follows.get(task)
        return follow is not None and follow.stream

    def _keep_output(self, output: Output) -> None:
        self._waiting.set()
        if self._kept_output_bytes + len(output.data) <= _OUTPUT_BYTES:
            self._kept_output.append(output)
            self._kept_output_bytes += len(output.data)
            return
        key = (output.task, output.item, output.attempt, output.stream)
        self._dropped[key] = output
        self._dropped_bytes[key] = self._dropped_bytes.get(key, 0) + len(output.data)

    async def _catch_up(self) -> None:
        """Whenever something waits for a client that read slowly: its output, the gaps in it, and the results it lacks."""
        while True:
            await self._waiting.wait()
            await self.connection.writable()
            self._waiting.clear()
            self._send_kept_output()
            for follow in tuple(self._follows.values()):
                if not follow.is_behind or follow.is_paging:
                    continue
                try:
                    await self._page(follow)
                except Exception as error:
                    # Without its results the client must not wait for ever: it comes back and asks again.
                    log.exception("results not read", user=self.user)
                    self.connection.abort(error)
                    return

    def _send_kept_output(self) -> None:
        outputs = self._kept_output
        outputs += [replace(last, data=gap_marker(self._dropped_bytes[key])) for key, last in self._dropped.items()]
        self._kept_output, self._kept_output_bytes = [], 0
        self._dropped.clear()
        self._dropped_bytes.clear()
        if outputs:
            self.connection.send(Outputs(outputs=tuple(outputs)))
