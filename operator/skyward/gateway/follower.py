"""One connected client: its requests, the tasks it follows, and how fast it reads."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog

from skyward.contracts import ORDINARY, Submission, TaskQueue
from skyward.errors import SkyError
from skyward.gateway.functions import FunctionCache
from skyward.gateway.kept import KeptOutput
from skyward.gateway.payloads import Payloads
from skyward.gateway.streams import Streams
from skyward.gateway.uploads import Uploads
from skyward_agent.wire.connection import FrameConnection
from skyward_agent.wire.frames import FrameError
from skyward_agent.wire.messages import (
    Attach,
    Attached,
    Cancel,
    Cancelled,
    Chunk,
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
from skyward_agent.wire.transfers import BlobReceiver, BlobSender, Source

log = structlog.get_logger()

_REQUESTS_AT_ONCE = 4000
_REQUEST_BYTES = 64 * 1024 * 1024
"""Payloads of requests not yet answered: beyond this, or that many requests, the client is not read."""
_PAGE = 500
_RESULTS_BYTES = 4 * 1024 * 1024
"""Results travel in messages of about this size."""


class ClientHub(Protocol):
    """What a peer needs of the room that holds it."""

    queue: TaskQueue
    functions: FunctionCache
    payloads: Payloads
    streams: Streams

    def follow(self, task: str, peer: ClientPeer) -> bool: ...

    def unfollow(self, task: str, peer: ClientPeer) -> None: ...

    def grown(self, task: str, items: int, *, open: bool, by: ClientPeer) -> None: ...


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
        self._kept_output = KeptOutput()
        self._waiting = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None
        self._blobs = BlobReceiver(connection.send)
        self._uploads = Uploads(hub.queue, hub.payloads, self._blobs)
        self._sender = BlobSender(connection, self._find, self._spawn)

    async def run(self) -> None:
        """Serve until the connection is gone. Submits in flight go on: their keys make a repeat harmless."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            catching_up = group.create_task(self._catch_up())
            try:
                await self.connection.closed.wait()
            finally:
                self._group = None
                self._blobs.lost()
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
            case Cancel():
                self._begin(message.request, self._cancel(message), 0)
            case Demand(task=task):
                if task in self._follows:
                    self._hub.streams.demanded(message)
            case Chunk() | Placed() | Unavailable():
                self._blobs.handle(message)
            case Fetch() | More():
                self._sender.handle(message)
            case Delivered(tasks=tasks):
                self._begin(0, self._hub.queue.delivered(tasks), 0)
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
        submission = Submission(
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
            policy=message.policy or ORDINARY,
        )
        accepted = await self._uploads.submit(submission)
        follow = _Follow(accepted.task, accepted.items, accepted.open, message.stream)
        missed = self._follow(follow)
        answer = Submitted(message.request, accepted.task, accepted.name, accepted.items)
        if message.mode == "run":  # nothing more of it is to come: its caller waits for the result
            self.connection.send_later(answer)
        else:
            self.connection.send(answer)
        if missed:
            await self._page(follow)

    async def _extend(self, message: Extend) -> None:
        items = await self._uploads.extend(message)
        follow = self._follows.get(message.task)
        if follow is not None:
            follow.items = max(follow.items, items)
            follow.is_open = follow.is_open and not message.last
            self._finish_if_complete(follow)
        self.connection.send(Extended(request=message.request, items=items))
        self._hub.grown(message.task, items, open=not message.last, by=self)

    def grown(self, task: str, items: int, *, open: bool) -> None:
        """Another client fed or closed an open map that this one follows, or it was cancelled or came too late."""
        follow = self._follows.get(task)
        if follow is not None:
            follow.items = max(follow.items, items)
            follow.is_open = follow.is_open and open
            self.connection.send(Attached(0, task, follow.items, follow.is_open))
            self._finish_if_complete(follow)

    async def _attach(self, message: Attach) -> None:
        accepted = await self._hub.queue.accepted(message.task)
        follow = self._follows.get(message.task)
        if follow is None:
            follow = _Follow(accepted.task, accepted.items, accepted.open, message.stream)
        follow.items = max(follow.items, accepted.items)
        follow.is_open = accepted.open
        follow.seen.update(message.have)
        self._follow(follow)
        self.connection.send(
            Attached(message.request, accepted.task, accepted.items, accepted.open, accepted.mode, accepted.name)
        )
        await self._page(follow)

    async def _cancel(self, message: Cancel) -> None:
        task = message.task
        await self._hub.queue.cancel(task, waiting_only=message.waiting_only)
        follow = self._follows.get(task)
        if follow is not None and not message.waiting_only:
            follow.is_open = False
            self._finish_if_complete(follow)
        self.connection.send(Cancelled(request=message.request, task=task))

    # --- large payloads ------------------------------------------------------------------------------------------------

    async def _find(self, asked: Fetch) -> Source:
        return self._hub.payloads.find(asked.digest)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        if self._group is None:
            work.close()
        else:
            self._group.create_task(work)

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

    def yielded(self, made: Yield) -> None:
        """What the function printed before it comes before it. Never more than the client gave credit for."""
        if made.task in self._follows:
            self._send_kept_output()
            self.connection.send(Yields((made,)))

    # --- output and reading speed ------------------------------------------------------------------------------------------

    def output_came(self, outputs: Sequence[Output]) -> None:
        mine = [output for output in outputs if self._streams(output.task)]
        if not mine:
            return
        if not self.connection.is_congested and not self._kept_output:
            self.connection.send(Outputs(outputs=tuple(mine)))
            return
        for output in mine:
            self._kept_output.keep(output)
        self._waiting.set()

    def _streams(self, task: str) -> bool:
        follow = self._follows.get(task)
        return follow is not None and follow.stream

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
        outputs = self._kept_output.take()
        if outputs:
            self.connection.send(Outputs(outputs=outputs))
