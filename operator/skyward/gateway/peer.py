"""One connected agent: what it says is turned into queue calls, each kind batched while a commit is in flight."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog

from skyward.contracts import Clock, Holder, OutputLog, TaskQueue
from skyward.errors import SkyError
from skyward.gateway.functions import FunctionCache
from skyward.gateway.payloads import Payloads, Stalled
from skyward.gateway.streams import Streams
from skyward_agent.wire.connection import FrameConnection
from skyward_agent.wire.frames import FrameError
from skyward_agent.wire.messages import (
    FAILED,
    Abandon,
    Acknowledged,
    AttemptId,
    Chunk,
    Failure,
    Fetch,
    Function,
    Functions,
    Heartbeat,
    Lease,
    Leases,
    More,
    NeedFunctions,
    Output,
    Outputs,
    Ping,
    Placed,
    Pong,
    Recall,
    Report,
    Reports,
    Returned,
    Started,
    Unavailable,
    Want,
    Yields,
)
from skyward_agent.wire.payload import BlobRef, PayloadError, references
from skyward_agent.wire.transfers import BlobReceiver, BlobSender, Source

log = structlog.get_logger()

_BACKLOG_BYTES = 64 * 1024 * 1024
"""Reports taken in and not yet committed: beyond this the agent is no longer read."""
_RETRY_S = 0.5
_START_MARK_S = 0.01

Attempt = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class PeerPorts:
    """What a peer works with; the same for all of one gateway."""

    queue: TaskQueue
    functions: FunctionCache
    output: OutputLog
    payloads: Payloads
    streams: Callable[[], Streams]
    clock: Clock
    on_change: Callable[[AgentPeer], None]
    on_heartbeat: Callable[[AgentPeer, Heartbeat], None]


class AgentPeer:
    """Lives as long as one connection. `want` is the credit that the agent gave and that is not used up yet."""

    def __init__(self, connection: FrameConnection, holder: Holder, running: Sequence[AttemptId], ports: PeerPorts):
        self.connection = connection
        self.holder = holder
        self.want = 0
        self.is_leasing = False
        self.lanes = 1
        """As its last heartbeat said."""
        self.is_recalling = False
        """It was asked to give work back and has not answered."""
        self.recalled_at = 0.0
        self.moved_at = ports.clock.monotonic()
        """When it last got work or said that some had ended."""
        self._ports = ports
        self._held: set[Attempt] = {_attempt(attempt) for attempt in running}
        self._movable: dict[AttemptId, None] = dict.fromkeys(reversed(running))
        """Of those it holds, what another agent could run and what it did not keep when it was recalled; oldest first."""
        self._recalled: tuple[AttemptId, ...] = ()
        self._delivered = 0
        self._returned: list[AttemptId] = []
        self._returned_came = asyncio.Event()
        self._known_functions: set[str] = set()
        self._reports: list[Report] = []
        self._backlog_bytes = 0
        self._started: dict[AttemptId, None] = {}
        self._reports_came = asyncio.Event()
        self._started_came = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None
        self._blobs = BlobReceiver(connection.send)
        self._sender = BlobSender(connection, self._find, self._spawn, ports.payloads.link)

    async def run(self) -> None:
        """Serve until the connection is gone. Calls in flight are left to finish by themselves: the queue owns them."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            work = (self._commit_reports(), self._commit_started(), self._commit_returned())
            workers = [group.create_task(part) for part in work]
            try:
                await self.connection.closed.wait()
            finally:
                self._group = None
                self._blobs.lost()
            for worker in workers:
                worker.cancel()
            await self._mark_started()

    async def deliver(self, leases: Sequence[Lease]) -> None:
        """Hand over leases, with the functions that this connection has not carried yet."""
        missing = {lease.function for lease in leases} - self._known_functions
        functions = await self._load(missing) if missing else ()
        self._known_functions |= {function.digest for function in functions}
        self._held |= {_attempt(lease.id) for lease in leases}
        self._movable |= {lease.id: None for lease in leases if lease.rank < 0}
        self._delivered += len(leases)
        self.moved_at = self._ports.clock.monotonic()
        self.want = max(0, self.want - len(leases))
        self.connection.send(Leases(leases=tuple(leases), functions=functions))

    def abandon(self, attempts: Sequence[AttemptId], reason: str) -> None:
        self.connection.send(Abandon(attempts=tuple(attempts), reason=reason))

    @property
    def has_idle_lane(self) -> bool:
        return len(self._held) < self.lanes

    @property
    def spare(self) -> int:
        """How many of the attempts it holds have probably not begun, and could run elsewhere."""
        if not self._movable:
            return 0
        kept = len(self._held) - len(self._movable)
        return max(0, len(self._movable) - max(0, self.lanes - kept))

    def recall(self, count: int) -> None:
        """Ask for some of its spare attempts, the newest first. What it keeps has begun, and is not asked for again."""
        self.is_recalling = True
        self.recalled_at = self._ports.clock.monotonic()
        self._recalled = tuple(self._movable)[-count:]
        self.connection.send(Recall(self._recalled))

    def handle(self, message: Any) -> None:
        match message:
            case Want(capacity=capacity, received=received):
                under_way = max(0, self._delivered - received) if received >= 0 else 0
                self.want = max(0, capacity - under_way)
                self._ports.on_change(self)
            case Reports(reports=reports):
                self._take_reports(reports)
            case Started(attempts=attempts):
                self._started |= dict.fromkeys(attempts)
                self._started_came.set()
            case Outputs(outputs=outputs):
                self._take_outputs(outputs)
            case Returned(attempts=attempts):
                self._take_returned(attempts)
            case Heartbeat():
                if self.lanes != max(1, message.lanes):
                    self.lanes = max(1, message.lanes)
                    self._ports.on_change(self)
                self._ports.on_heartbeat(self, message)
            case NeedFunctions(digests=digests):
                if self._group is not None:
                    self._group.create_task(self._send_functions(digests))
            case Yields(yields=yields):
                held = [one for one in yields if (one.task, one.item, one.attempt) in self._held]
                self._ports.streams().came(self.connection, self._blobs, held)
            case Chunk() | Placed() | Unavailable():
                self._blobs.handle(message)
            case Fetch() | More():
                self._sender.handle(message)
            case Ping(request=request):
                if not self.connection.is_congested:
                    self.connection.send(Pong(request=request))
            case Pong():
                pass
            case _:
                raise FrameError(f"an agent may not send {type(message).__name__}")

    def _take_reports(self, reports: Sequence[Report]) -> None:
        small = [report for report in reports if not self._is_large(report)]
        self._reports += small
        self.moved_at = self._ports.clock.monotonic()
        self._let_go([report.id for report in reports])
        if self.want and self.has_idle_lane:
            self._ports.on_change(self)
        self._backlog_bytes += sum(len(report.value) for report in small)
        if self._backlog_bytes > _BACKLOG_BYTES:
            self.connection.pause_reading()
        self._reports_came.set()

    # --- large payloads ------------------------------------------------------------------------------------------

    def _is_large(self, report: Report) -> bool:
        """Its result is yet to be fetched: it is committed by itself, when all of it is here."""
        try:
            named = references(report.value)
        except PayloadError:
            return False  # the caller is told what is wrong with it
        if named:
            self._spawn(self._commit_large(report, named))
        return bool(named)

    async def _commit_large(self, report: Report, named: Sequence[BlobRef]) -> None:
        payloads = self._ports.payloads
        with payloads.pinned(named):
            try:
                await payloads.expect(named, self._blobs)
                await payloads.arrived(named, self._blobs)
            except Stalled:
                return  # the agent comes back, and says it again
            except SkyError as error:
                failure = Failure(f"skyward.errors.{type(error).__name__}", f"the result was lost: {error}")
                report = replace(report, outcome=FAILED, value=b"", failure=failure)
            self._reports.append(report)
            self._backlog_bytes += len(report.value)
            self._reports_came.set()

    async def _find(self, asked: Fetch) -> Source:
        return await self._ports.payloads.find_for(asked, {task for task, _, _ in self._held})

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        if self._group is None:
            work.close()
        else:
            self._group.create_task(work)

    def _take_returned(self, attempts: Sequence[AttemptId]) -> None:
        self._returned += attempts
        for attempt in self._recalled:
            self._movable.pop(attempt, None)
        self._recalled = ()
        self._let_go(attempts)
        self._returned_came.set()

    def _take_outputs(self, outputs: Sequence[Output]) -> None:
        """Only of attempts that this node holds: what a superseded attempt still writes belongs to nobody."""
        node = self.holder.node
        held = [
            Output(output.task, output.item, output.attempt, output.sequence, output.stream, output.data, node)
            for output in outputs
            if (output.task, output.item, output.attempt) in self._held
        ]
        self._ports.output.append(held)

    async def _commit_reports(self) -> None:
        while True:
            await self._reports_came.wait()
            self._reports_came.clear()
            batch, self._reports = self._reports, []
            if not batch:
                continue
            try:
                done = await self._ports.queue.report(self.holder, batch)
            except Exception:
                log.exception("reports not committed", node=self.holder.node, reports=len(batch))
                self._reports = batch + self._reports
                await self._ports.clock.sleep(_RETRY_S)
                self._reports_came.set()
                continue
            self._backlog_bytes -= sum(len(report.value) for report in batch)
            if self._backlog_bytes <= _BACKLOG_BYTES // 2:
                self.connection.resume_reading()
            self.connection.send_later(Acknowledged(attempts=tuple(done)))

    async def _commit_returned(self) -> None:
        while True:
            await self._returned_came.wait()
            self._returned_came.clear()
            batch, self._returned = self._returned, []
            if batch:
                try:
                    await self._ports.queue.give_back(self.holder, batch)
                except Exception:
                    log.exception("returned attempts not committed", node=self.holder.node, attempts=len(batch))
                    self._returned = batch + self._returned
                    await self._ports.clock.sleep(_RETRY_S)
                    self._returned_came.set()
                    continue
            self.is_recalling = False
            self._ports.on_change(self)

    def _let_go(self, attempts: Sequence[AttemptId]) -> None:
        for attempt in attempts:
            self._held.discard(_attempt(attempt))
            self._movable.pop(attempt, None)
            self._started.pop(attempt, None)

    async def _commit_started(self) -> None:
        """Start marks tell what a loss counts. An attempt that ends within moments needs none: its report says it all."""
        while True:
            await self._started_came.wait()
            if not self.connection.is_closed:
                await self._ports.clock.sleep(_START_MARK_S)
            self._started_came.clear()
            await self._mark_started()

    async def _mark_started(self) -> None:
        batch, self._started = tuple(self._started), {}
        if not batch:
            return
        try:
            await self._ports.queue.started(self.holder, batch)
        except Exception:
            # Only what a loss would count changes; the report that follows carries the truth.
            log.exception("start marks not committed", node=self.holder.node, attempts=len(batch))

    async def _send_functions(self, digests: Sequence[str]) -> None:
        try:
            functions = await self._load(digests)
        except Exception:
            log.exception("functions not read", node=self.holder.node, functions=len(digests))
            return
        self._known_functions |= {function.digest for function in functions}
        self.connection.send(Functions(functions=functions))

    async def _load(self, digests: Sequence[str] | set[str]) -> tuple[Function, ...]:
        found = []
        for digest in digests:
            data = await self._ports.functions.get(digest)
            if data is None:
                log.error("function of a lease is unknown", node=self.holder.node, function=digest)
                continue
            found.append(Function(digest=digest, data=data))
        return tuple(found)


def _attempt(attempt: AttemptId) -> Attempt:
    return (attempt.task, attempt.item, attempt.attempt)
