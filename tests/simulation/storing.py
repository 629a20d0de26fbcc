"""The store as one operator process has it: the production store on a database that outlives the process.

One writer, first come first served, as in production: works commit in the order in which they were handed over, and their
callers wake in that order. What each commit wrote is told to whoever watches, before the caller goes on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from skyward.contracts import Change, Clock, EndRow, Ids, ItemRow, Lease, LeaseRow, TaskRow, Transaction
from skyward.errors import SkyError, StoreUnavailable
from skyward.facts import Launch
from skyward.store import Retention, SqlStore, schema
from skyward.store.database import Database, open_memory
from skyward_agent.wire.messages import CANCELLED
from tests.simulation.chance import Chance
from tests.simulation.faults import Faults
from tests.simulation.process import Process, When

T = TypeVar("T")
_TURN_S = (0.00002, 0.002)
_MOST_SLOW_S = 20.0


def open_database() -> Database:
    database = open_memory()
    schema.prepare(database, "the simulated store")
    return database


@dataclass(slots=True)
class Commit:
    """What one transaction wrote."""

    process: int
    at: float
    name: str
    asked_at: float
    """When the work was handed over: what was decided then knew nothing of later commits."""
    changes: Sequence[Change] = ()
    launches: list[tuple[Launch | None, Launch]] = field(default_factory=list)
    """Before and after."""
    dropped: list[str] = field(default_factory=list)
    tasks: list[TaskRow] = field(default_factory=list)
    leases: list[LeaseRow] = field(default_factory=list)
    ends: list[EndRow] = field(default_factory=list)
    cancels: list[tuple[int, tuple[int, ...]]] = field(default_factory=list)
    removed: list[int] = field(default_factory=list)
    lease: Lease | None = None
    starts: list[tuple[int, int, int, str]] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    """How the items of each of `cancels` end."""
    items: tuple[ItemRow, ...] | None = None
    """Every unfinished task's unfinished items as this transaction leaves them; None when it has nothing to do with tasks."""

    @property
    def is_empty(self) -> bool:
        return self.lease is None and not (
            self.changes
            or self.launches
            or self.dropped
            or self.tasks
            or self.leases
            or self.starts
            or self.ends
            or self.cancels
        )


class _Recorder:
    """A transaction that remembers what it was told to write; for everything else it is the transaction itself."""

    __slots__ = ("_commit", "_tx", "tasks")

    def __init__(self, tx: Transaction, commit: Commit) -> None:
        self._tx = tx
        self._commit = commit
        self.tasks = _TaskRecorder(tx.tasks, commit)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)

    def put_lease(self, lease: Lease) -> None:
        self._tx.put_lease(lease)
        self._commit.lease = lease

    def put_launch(self, launch: Launch) -> None:
        before = self._tx.launch(launch.id)
        self._tx.put_launch(launch)
        self._commit.launches.append((before, launch))

    def drop_launch(self, launch_id: str) -> None:
        self._tx.drop_launch(launch_id)
        self._commit.dropped.append(launch_id)


class _TaskRecorder:
    __slots__ = ("_commit", "_rows")

    def __init__(self, rows: Any, commit: Commit) -> None:
        self._rows = rows
        self._commit = commit

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rows, name)

    def add(self, tasks: Sequence[tuple[TaskRow, Sequence[bytes]]]) -> tuple[TaskRow, ...]:
        added: tuple[TaskRow, ...] = self._rows.add(tasks)
        self._commit.tasks.extend(added)
        return added

    def lease(self, rows: Sequence[LeaseRow], at: float) -> tuple[bool, ...]:
        leased: tuple[bool, ...] = self._rows.lease(rows, at)
        self._commit.leases.extend(row for row, ours in zip(rows, leased, strict=True) if ours)
        return leased

    def end(self, rows: Sequence[EndRow]) -> tuple[bool, ...]:
        ended: tuple[bool, ...] = self._rows.end(rows)
        self._commit.ends.extend(row for row, ours in zip(rows, ended, strict=True) if ours)
        return ended

    def start(self, attempts: Sequence[tuple[int, int, int, str]]) -> None:
        self._rows.start(attempts)
        self._commit.starts.extend(attempts)

    def cancel(self, seq: int, at: float, outcome: str = CANCELLED, failure: Any = None) -> tuple[int, ...]:
        items: tuple[int, ...] = self._rows.cancel(seq, at, outcome, failure)
        self._commit.cancels.append((seq, items))
        self._commit.reasons.append(outcome)
        return items

    def remove(self, seqs: Sequence[int]) -> None:
        self._rows.remove(seqs)
        self._commit.removed.extend(seqs)


@dataclass(slots=True, eq=False)
class _Job:
    work: Callable[[Transaction], Any]
    power_safe: bool
    lost: Callable[[], None] | None
    """With it the work takes the leadership."""
    answer: asyncio.Future[Any]
    dies: Callable[[When], bool]
    name: str
    asked_at: float


class SimStore:
    """Implements `contracts.FencedStore` for one process."""

    def __init__(
        self,
        database: Database,
        process: Process,
        *,
        clock: Clock,
        ids: Ids,
        faults: Faults,
        chance: Chance,
        committed: Callable[[Commit], None],
        is_full: Callable[[], bool],
        refused: Callable[[], None],
    ) -> None:
        self._store = SqlStore(database, clock=clock, ids=ids, retention=Retention(), owns=False)
        self._process = process
        self._clock = clock
        self._faults = faults
        self._stream = chance.stream("store")
        self._committed = committed
        self._jobs: deque[_Job] = deque()
        self._serving = False
        self._is_full = is_full
        self._refused = refused

    @property
    def installation(self) -> str:
        return self._store.installation

    def newest_time(self) -> float:
        return self._store.newest_time()

    @property
    def is_idle(self) -> bool:
        return False  # every write of a process is a place where it may die

    async def run(self, work: Callable[[Transaction], T], *, power_safe: bool = False, quick: bool = False) -> T:
        return await self._hand_over(work, power_safe, None)

    async def lead(self, take: Callable[[Transaction], Lease | None], lost: Callable[[], None]) -> Lease | None:
        return await self._hand_over(take, True, lost)

    async def _hand_over(
        self, work: Callable[[Transaction], T], power_safe: bool, lost: Callable[[], None] | None
    ) -> T:
        name = _name_of(work)
        dies = self._process.enter(name)
        if self._process.dead or dies(When.BEFORE):
            await self._process.halt()
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.append(_Job(work, power_safe, lost, answer, dies, name, asyncio.get_running_loop().time()))
        if not self._serving:
            self._serving = True
            self._serve_soon()
        # As in production: cancelling the caller cancels the answer, and not the work.
        try:
            result = await answer
        except SkyError:
            await self._process.hear_error(dies)
            raise
        if dies(When.AFTER):
            await self._process.halt()
        return result

    async def read(self, work: Callable[[Transaction], T]) -> T:
        await asyncio.sleep(self._turn_s())
        return await self._store.read(work)

    async def changes(self, since: int, limit: int = 1000) -> Sequence[Change]:
        await asyncio.sleep(self._turn_s())
        return await self._store.changes(since, limit)

    def subscribe(self, callback: Callable[[Sequence[Change]], None]) -> Callable[[], None]:
        return self._store.subscribe(callback)

    async def close(self) -> None:
        return None

    def _commit(self, job: _Job, commit: Commit) -> Coroutine[Any, Any, Any]:
        def work(tx: Transaction) -> Any:
            return _recorded(job.work, tx, commit)

        if job.lost is not None:
            return self._store.lead(work, job.lost)
        return self._store.run(work, power_safe=job.power_safe)

    # --- the writer --------------------------------------------------------------------------------------------------

    def _turn_s(self) -> float:
        low, high = _TURN_S
        return low + (high - low) * self._stream.random()

    def _serve_soon(self) -> None:
        delay_s = self._turn_s()
        if self._faults.strikes("slow-commit"):
            delay_s = self._faults.between("slow-commit", 0.01, _MOST_SLOW_S)
        asyncio.get_running_loop().call_later(delay_s, self._serve)

    def _serve(self) -> None:
        job = self._jobs.popleft()
        commit = Commit(self._process.number, self._clock.now(), job.name, job.asked_at)
        try:
            if self._is_full():
                self._refused()
                raise StoreUnavailable("the disk is full")
            result = run_now(self._commit(job, commit))
        except Exception as error:
            if not job.answer.done():
                job.answer.set_exception(error)
        else:
            if not commit.is_empty:
                self._committed(commit)
            if not job.dies(When.EFFECT) and not job.answer.done():
                job.answer.set_result(result)
        if self._jobs:
            self._serve_soon()
        else:
            self._serving = False


def _recorded(work: Callable[[Transaction], T], tx: Transaction, commit: Commit) -> T:
    result = work(_Recorder(tx, commit))
    commit.changes = tx.changes  # type: ignore[attr-defined]
    if commit.tasks or commit.leases or commit.starts or commit.ends or commit.cancels:
        _, commit.items = tx.tasks.unfinished()
    return result


def run_now(coroutine: Any) -> Any:
    """The result of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise AssertionError("it waited")


def _name_of(work: Callable[..., Any]) -> str:
    """What is committed, by who wrote the work: stable from run to run."""
    name = getattr(work, "__qualname__", "") or getattr(getattr(work, "func", None), "__qualname__", "")
    return f"commit {name.split('.<locals>')[0]}"
