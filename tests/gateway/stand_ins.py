"""Stand-ins with behaviour for what the gateway works with: a queue and credentials in memory."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from skyward.api import Task
from skyward.contracts import Accepted, Holder, QueueListener, Submission
from skyward.errors import Conflict, Invalid, NotFound, PoolNotFound, PoolNotReady, PythonMismatch
from skyward_agent.wire.messages import CANCELLED, NODE_LOST, AttemptId, Failure, Lease, Peer, Report, Result
from skyward_agent.wire.payload import references


@dataclass
class _Task:
    uid: str
    submission: Submission
    items: list[bytes]
    open: bool
    ranks: tuple[str, ...] = ()
    results: dict[int, Result] = field(default_factory=dict)
    attempts: dict[int, int] = field(default_factory=dict)


class MemoryQueue:
    """Behaves like the durable queue, without rows. It outlives gateways, as the rows do."""

    def __init__(self, pools: Sequence[str] = ("default/hello",), python: str | None = None) -> None:
        self.pools = set(pools)
        self.python = python
        self.ready_nodes: dict[str, str] = {}
        """By uid: the name of every node that a broadcast may count on."""
        self.tasks_by_uid: dict[str, _Task] = {}
        self.by_key: dict[tuple[str, str], str] = {}
        self.functions: dict[str, bytes] = {}
        self.waiting: deque[tuple[str, int]] = deque()
        self.held_by: dict[tuple[str, int], tuple[str, AttemptId]] = {}
        self.started_attempts: set[AttemptId] = set()
        self.commits: list[int] = []
        """How many reports each commit held."""
        self.listener: QueueListener | None = None

    def listen(self, listener: QueueListener) -> None:
        self.listener = listener

    async def recover(self) -> None: ...

    async def put_function(self, digest: str, data: bytes) -> None:
        await asyncio.sleep(0)
        if hashlib.sha256(data).hexdigest() != digest:
            raise Invalid("the digest is not that of the function")
        self.functions[digest] = data

    async def function(self, digest: str) -> bytes | None:
        return self.functions.get(digest)

    async def submit(self, submission: Submission) -> Accepted:
        await asyncio.sleep(0)
        if submission.pool not in self.pools:
            raise PoolNotFound(f"there is no pool {submission.pool}")
        if self.python is not None and submission.python != self.python:
            raise PythonMismatch(f"the pool runs Python {self.python}, you call from {submission.python}")
        if submission.function not in self.functions:
            raise Invalid("unknown function")
        known = self.by_key.get((submission.submitter, submission.key))
        if known is not None:
            return await self.accepted(known)
        task = _Task(f"task-{len(self.tasks_by_uid)}", submission, list(submission.items), submission.open)
        if submission.mode == "broadcast":
            if not self.ready_nodes:
                raise PoolNotReady("no node of the pool is ready")
            task.ranks = tuple(sorted(self.ready_nodes))
            task.items = [submission.items[0]] * len(task.ranks)
        self.tasks_by_uid[task.uid] = task
        self.by_key[submission.submitter, submission.key] = task.uid
        self._queue(task, range(len(task.items)))
        return await self.accepted(task.uid)

    async def extend(self, task: str, start: int, items: Sequence[bytes], *, last: bool) -> int:
        await asyncio.sleep(0)
        found = self._task(task)
        if start > len(found.items) or (not found.open and start + len(items) > len(found.items)):
            raise Conflict("a gap, or the map is closed")
        fresh = items[len(found.items) - start :]
        found.items += fresh
        found.open = found.open and not last
        self._queue(found, range(len(found.items) - len(fresh), len(found.items)))
        return len(found.items)

    async def lease(self, holder: Holder, capacity: int) -> tuple[Lease, ...]:
        leases = []
        for _ in range(len(self.waiting)):
            if len(leases) == capacity:
                break
            uid, item = self.waiting.popleft()
            task = self.tasks_by_uid[uid]
            pinned = task.ranks[item] if task.ranks else holder.node_uid
            if task.submission.pool != holder.pool or pinned != holder.node_uid:
                self.waiting.append((uid, item))
                continue
            attempt = task.attempts[item] = task.attempts.get(item, 0) + 1
            id_ = AttemptId(uid, item, attempt, f"secret-{uid}-{item}-{attempt}")
            self.held_by[uid, item] = (holder.node_uid, id_)
            leases.append(self._lease(task, item, id_))
        await asyncio.sleep(0)
        return tuple(leases)

    async def started(self, holder: Holder, attempts: Sequence[AttemptId]) -> None:
        self.started_attempts |= set(attempts)

    async def report(self, holder: Holder, reports: Sequence[Report]) -> tuple[AttemptId, ...]:
        self.commits.append(len(reports))
        await asyncio.sleep(0)
        ended = []
        for report in reports:
            task = self.tasks_by_uid[report.id.task]
            if self.held_by.get((task.uid, report.id.item)) != (holder.node_uid, report.id):
                continue
            ended.append(self._end(task, report, holder.node))
        self._tell(ended)
        return tuple(report.id for report in reports)

    async def give_back(self, holder: Holder, attempts: Sequence[AttemptId]) -> None:
        await asyncio.sleep(0)
        for id_ in attempts:
            if self.held_by.get((id_.task, id_.item)) == (holder.node_uid, id_):
                del self.held_by[id_.task, id_.item]
                self._queue(self.tasks_by_uid[id_.task], [id_.item])

    async def resume(self, holder: Holder, running: Sequence[AttemptId]) -> tuple[AttemptId, ...]:
        mine = {id_ for node, id_ in self.held_by.values() if node == holder.node_uid}
        for lost in mine - set(running):
            del self.held_by[lost.task, lost.item]
            self._queue(self.tasks_by_uid[lost.task], [lost.item])
        return tuple(id_ for id_ in running if id_ not in mine)

    async def release(self, node_uid: str, outcome: str, message: str) -> None:
        for (uid, item), (node, _) in tuple(self.held_by.items()):
            if node == node_uid:
                del self.held_by[uid, item]
                self._queue(self.tasks_by_uid[uid], [item])

    async def cancel(self, task: str, *, waiting_only: bool = False) -> None:
        await asyncio.sleep(0)
        found = self._task(task)
        if waiting_only and any(uid == task for uid, _ in self.held_by):
            return
        was_open, found.open = found.open, False
        ended = []
        for item in range(len(found.items)):
            if item in found.results:
                continue
            held = self.held_by.pop((task, item), None)
            if held is not None and self.listener is not None:
                self.listener.abandon(held[0], [held[1]], "cancelled")
            result = Result(
                task, item, CANCELLED, found.attempts.get(item, 0), "", failure=Failure(CANCELLED, "cancelled")
            )
            found.results[item] = result
            ended.append(result)
        self.waiting = deque(entry for entry in self.waiting if entry[0] != task)
        self._tell(ended)
        if was_open and self.listener is not None:
            self.listener.task_closed(task, len(found.items))

    async def accepted(self, task: str) -> Accepted:
        found = self._task(task)
        submission = found.submission
        name = f"{submission.name}-abcde"
        return Accepted(task, name, len(found.items), found.open, submission.stream, submission.mode)

    async def results(self, task: str, skip: Sequence[int] = (), limit: int = 500) -> tuple[Result, ...]:
        await asyncio.sleep(0)
        skipped = set(skip)
        found = self._task(task).results
        return tuple(found[item] for item in sorted(found) if item not in skipped)[:limit]

    async def tasks(self, namespace: str | None = None) -> tuple[Task, ...]:
        return ()

    async def task(self, namespace: str, name: str) -> Task | None:
        return None

    def counts(self, pool: str) -> tuple[int, int]:
        queued = sum(self.tasks_by_uid[uid].submission.pool == pool for uid, _ in self.waiting)
        return queued, len(self.held_by)

    def held(self, node_uid: str) -> int:
        return sum(node == node_uid for node, _ in self.held_by.values())

    async def drop_pool(self, pool: str) -> None: ...

    async def named_blobs(self, digests: Collection[str]) -> frozenset[str]:
        return frozenset([digest for digest in digests if await self.names_blob(self.tasks_by_uid, digest)])

    async def names_blob(self, tasks: Collection[str], digest: str) -> bool:
        known = [self.tasks_by_uid[uid] for uid in tasks if uid in self.tasks_by_uid]
        payloads = [item for task in known for item in task.items]
        payloads += [result.value for task in known for result in task.results.values()]
        return any(ref.digest == digest for payload in payloads for ref in references(payload))

    async def collect(self, now: float) -> int:
        return 0

    def lose_rank(self, task: str, item: int) -> None:
        """The node of this broadcast's rank is gone."""
        self.held_by.pop((task, item), None)
        result = Result(task, item, NODE_LOST, 1, "lost", failure=Failure(NODE_LOST, "the node went away"))
        self.tasks_by_uid[task].results[item] = result
        self._tell([result])

    def _task(self, uid: str) -> _Task:
        if uid not in self.tasks_by_uid:
            raise NotFound(f"there is no task {uid}")
        return self.tasks_by_uid[uid]

    def _queue(self, task: _Task, items: Sequence[int]) -> None:
        self.waiting.extend((task.uid, item) for item in items)
        if items and self.listener is not None:
            self.listener.work_available(task.submission.pool, None)

    def _lease(self, task: _Task, item: int, id_: AttemptId) -> Lease:
        world = tuple(Peer(self.ready_nodes[uid], "127.0.0.1") for uid in task.ranks)
        submission = task.submission
        return Lease(
            id_,
            submission.function,
            task.items[item],
            submission.timeout_s,
            submission.env,
            rank=item if world else -1,
            world=world,
        )

    def _end(self, task: _Task, report: Report, node: str) -> Result:
        del self.held_by[task.uid, report.id.item]
        result = Result(task.uid, report.id.item, report.outcome, report.id.attempt, node, report.value, report.failure)
        assert report.id.item not in task.results, "an item may end only once"
        task.results[report.id.item] = result
        return result

    def _tell(self, ended: Sequence[Result]) -> None:
        if ended and self.listener is not None:
            self.listener.items_finished(ended)


class KnownCredentials:
    """Join tokens `join-<node>`, node credentials `node-<node>`, and the user token `user-token`."""

    def __init__(self) -> None:
        self.exchanged: dict[str, str] = {}

    async def issue_join(self, node_uid: str, valid_s: float) -> str:
        return f"join-{node_uid}"

    async def exchange(self, token: str, node_uid: str, incarnation: str) -> str | None:
        if token != f"join-{node_uid}" or self.exchanged.setdefault(node_uid, incarnation) != incarnation:
            return None
        return f"node-{node_uid}"

    async def node_of(self, token: str) -> str | None:
        return token.removeprefix("node-") if token.startswith("node-") else None

    async def user_of(self, token: str) -> str | None:
        return "tester" if token == "user-token" else None

    async def revoke(self, subject: str) -> None: ...
