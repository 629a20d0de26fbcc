"""A simulated world in which nothing happens by chance: operators that are started again when they die, and the hands of users."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import traceback
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from skyward.api import Node, NodeCondition, Pool, PoolCondition, Source, find, is_true, to_time
from skyward.api.meta import ADOPTED
from skyward.contracts import Submission, Transaction
from skyward.errors import LeadershipLost, SkyError
from skyward.facts import BootstrapRequest
from skyward.store.database import open_memory
from skyward_agent.wire.messages import Lease
from tests.simulation.chance import Chance
from tests.simulation.checkers.sights import Sights
from tests.simulation.clock import SimClock
from tests.simulation.cloud import FOREIGN, Machine
from tests.simulation.loop import SimLoop
from tests.simulation.operator import Operator
from tests.simulation.phases import describe, is_settled
from tests.simulation.process import CrashPoint, Process
from tests.simulation.records import Records
from tests.simulation.scenario import Scenario
from tests.simulation.work import Order
from tests.simulation.world import World
from tests.sweep.files import SeamFiles
from tests.sweep.fixpoint import Notes, fixpoint
from tests.sweep.script import Script
from tests.sweep.wishes import StagedDesire, Written

T = TypeVar("T")
POOL = "hello"
REVIVED_S = 1.0
"""So soon does somebody start an operator anew."""
_LOOK_S = 1.0
_ANSWER_S = 10.0
_PATIENCE_S = 600.0
_FUNCTION = b"function"
_DIGEST = hashlib.sha256(_FUNCTION).hexdigest()


@dataclass(frozen=True, slots=True)
class Backup:
    rows: bytes
    records: Records


class Stage(World):
    desire: StagedDesire

    def __init__(self, scenario: Scenario, loop: SimLoop, points: dict[int, CrashPoint], *, story: bool) -> None:
        """`points` are the deaths to come, by the number of the process."""
        super().__init__(scenario, loop, story=story, faults=Script(Chance(scenario.seed)))
        self.desire = StagedDesire(self.files, self.clock)
        self.notes = Notes(self)
        self.checkers = (*(one for one in self.checkers if not isinstance(one, Sights)), self.notes)
        self.wanted = scenario.operators
        """How many operators somebody keeps running."""
        self.processes: list[Process] = []
        self.work_s = 1.0
        """How long an item takes."""
        self.wall_error_s = 0.0
        """How wrong the clock of the operators' host is."""
        self.broken_versions: set[str] = set()
        """Templates whose bootstrap fails."""
        self.says: dict[str, Any] = {}
        """What agents add to their heartbeats, all of them or (`says_there`) one."""
        self.says_there: dict[str, dict[str, Any]] = {}
        self._points = points

    @property
    def script(self) -> Script:
        assert isinstance(self.faults, Script)
        return self.faults

    # --- operators ---------------------------------------------------------------------------------------------------

    def start(self, crash_at: CrashPoint | None = None) -> Process:
        process = super().start(crash_at or self._points.get(len(self.processes) + 1))
        process.moments = {}
        self.processes.append(process)
        assert process.task is not None
        process.task.add_done_callback(lambda task: self._ended(process, task), context=self.context)
        return process

    def kill(self) -> None:
        """The one that leads, or else any."""
        operator = self.operator or next(iter(self.operators), None)
        if operator is not None:
            operator.process.die("killed")

    def set_wall_clock(self, ahead_s: float) -> None:
        self.wall_error_s = ahead_s
        for operator in self.operators:
            operator.wall.wall_error_s = ahead_s

    def stop(self) -> None:
        """Tell whoever leads to end in good order."""
        process = self.operator.process if self.operator is not None else None
        if process is not None and process.task is not None:
            process.is_stopping = True
            process.task.cancel()

    def _ended(self, process: Process, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if not process.is_stopping and not isinstance(error, LeadershipLost):
            text = "".join(traceback.format_exception(error)) if error is not None else ""
            self.violate("S31", "operator", f"it ended by itself: {error!r}\n{text}")
        process.die("ended")

    def _died(self, process: Process, cause: str) -> None:
        super()._died(process, cause)
        self.loop.call_later(REVIVED_S, self.revive, context=self.context)

    def revive(self) -> None:
        while len(self.operators) < self.wanted:
            self.start()

    # --- records -----------------------------------------------------------------------------------------------------

    def copied_records(self) -> Backup:
        """The store as it is now, and what those who listened know of it."""
        return Backup(self.database.raw.serialize(), copy.deepcopy(self.records))

    def restore(self, backup: Backup) -> None:
        """While nobody runs. Checkers that compare with what was before begin anew."""
        self.tell("user", "restores older records")
        self.database.close()
        self.database = open_memory()
        self.database.raw.deserialize(backup.rows)
        self.records = copy.deepcopy(backup.records)
        self.checkers = (*(type(one)(self) for one in self.checkers if one is not self.notes), self.notes)

    async def adopt(self) -> None:
        """Accept the machines that the records do not know."""
        await self.until(lambda: bool(self.notes.adoptable()), what="something to adopt")

        def work(tx: Transaction) -> None:
            for source in tx.list(Source):
                for hash_ in source.status.adoptable:
                    tx.put(source.replace(metadata=source.metadata.replace(annotations={ADOPTED: hash_})))

        await self.write(work)

    # --- what the world asks the story ---------------------------------------------------------------------------------

    def wall_clock(self) -> SimClock:
        clock = super().wall_clock()
        clock.wall_error_s = self.wall_error_s
        return clock

    def files_of(self, process: Process) -> Any:
        return SeamFiles(super().files_of(process), process)

    def is_broken(self, request: BootstrapRequest) -> bool:
        node = self.records.nodes.get(request.node_uid)
        return node is not None and version_of(node) in self.broken_versions

    def said_on(self, instance_id: str) -> dict[str, Any]:
        return {**self.says, **self.says_there.get(instance_id, {})}

    def executes(self, lease: Lease, node_uid: str, instance_id: str) -> float:
        super().executes(lease, node_uid, instance_id)
        return self.work_s

    # --- waiting -----------------------------------------------------------------------------------------------------

    async def until(self, holds: Callable[[], bool], within_s: float = 1800.0, what: str = "") -> None:
        """Look again and again. That it never comes is a violation, and the story goes on."""
        deadline = self.now + within_s
        while not holds():
            if self.now > deadline:
                self.violate(
                    "L1", "story", f"did not come within {within_s:.0f} s: {what or 'as desired'}\n{describe(self)}"
                )
                return
            await asyncio.sleep(_LOOK_S)

    async def settled(self) -> None:
        await self.until(lambda: is_settled(self))

    async def stalled(self, reason: str, name: str = POOL) -> None:
        def holds() -> bool:
            pool = self.records.pools.get(f"default/{name}")
            found = find(pool.status.conditions, PoolCondition.STALLED) if pool is not None else None
            return found is not None and found.reason == reason

        await self.until(holds, what=f"{name} stalled with {reason}")

    def fixpoint(self) -> tuple[str, ...]:
        return fixpoint(self, self.notes)

    # --- looking -----------------------------------------------------------------------------------------------------

    def pool(self, name: str = POOL) -> Pool | None:
        return self.records.pools.get(f"default/{name}")

    def nodes(self, name: str = POOL) -> list[Node]:
        """Those that stand, by slot."""
        pool = self.pool(name)
        found = self.records.nodes_of(pool.metadata.uid) if pool is not None else ()
        standing = [one for one in found if one.metadata.deletion_timestamp is None and not one.status.failure]
        return sorted(standing, key=lambda one: (one.spec.slot, one.metadata.name))

    def ready(self, version: int | None = None, name: str = POOL) -> list[Node]:
        return [
            node
            for node in self.nodes(name)
            if is_true(node.status.conditions, NodeCondition.READY) and version in (None, int(version_of(node)))
        ]

    def machine(self, place: int = 0) -> Machine:
        """Ours, oldest first."""
        return self.ours()[place]

    def ours(self) -> list[Machine]:
        return [machine for machine in self.cloud.alive.values() if machine.owner != FOREIGN]

    # --- users at the files ------------------------------------------------------------------------------------------

    def apply(self, nodes: int, name: str = POOL, **more: Any) -> None:
        self.tell("user", f"wants {nodes} nodes in {name} {more or ''}")
        self.desire.put(Written(name, nodes, **more))

    def change(self, name: str = POOL, **changes: Any) -> None:
        self.tell("user", f"changes {name}: {changes}")
        self.desire.change(name, **changes)

    def remove(self, *names: str) -> None:
        for name in names or (POOL,):
            self.tell("user", f"removes {name}")
            self.desire.remove(name)

    # --- users at the API --------------------------------------------------------------------------------------------

    async def ask(self, call: Callable[[Operator], Awaitable[T]]) -> T | None:
        """Ask whoever leads, and again until there is an answer; what is asked for must bear repeating."""
        deadline = self.now + _PATIENCE_S
        while self.now < deadline:
            operator = self.operator
            if operator is not None and operator.source is not None:
                try:
                    answered, answer = await operator.process.ask(_bound(call, operator), _ANSWER_S)
                except SkyError as error:
                    self.tell("user", f"is told: {error}")
                else:
                    if answered:
                        return answer
            await asyncio.sleep(_LOOK_S)
        self.violate("L7", "story", f"nobody answered for {_PATIENCE_S:.0f} s")
        return None

    async def write(self, work: Callable[[Transaction], object]) -> None:
        """What the API does with objects that are rows."""
        await self.ask(lambda operator: operator.store.run(work))

    async def annotate(self, node: Node, name: str, value: str | None) -> None:
        def work(tx: Transaction) -> None:
            found = tx.get(Node, node.key)
            if found is None or found.metadata.uid != node.metadata.uid:
                return
            kept = {key: text for key, text in found.metadata.annotations.items() if key != name}
            annotations = kept if value is None else {**kept, name: value}
            tx.put(found.replace(metadata=found.metadata.replace(annotations=annotations)))

        await self.write(work)

    async def delete(self, node: Node) -> None:
        def work(tx: Transaction) -> None:
            found = tx.get(Node, node.key)
            if found is not None and found.metadata.deletion_timestamp is None:
                metadata = found.metadata.replace(deletion_timestamp=to_time(self.now))
                tx.put(found.replace(metadata=metadata, status=found.status.replace(retire_reason="asked for")))

        await self.write(work)

    async def cordon(self, node: Node, is_cordoned: bool) -> None:
        def work(tx: Transaction) -> None:
            found = tx.get(Node, node.key)
            if found is not None and found.metadata.uid == node.metadata.uid:
                tx.put(found.replace(spec=found.spec.replace(unschedulable=is_cordoned)))

        await self.write(work)

    # --- users with tasks --------------------------------------------------------------------------------------------

    async def submit(self, key: str, payloads: Iterable[bytes], *, mode: str = "map", attempts: int = 3) -> None:
        order = self.work.orders.get(key) or Order(key, f"default/{POOL}", mode, tuple(payloads), attempts)
        self.work.orders[key] = order
        submission = Submission(
            key=key,
            submitter="client",
            pool=order.pool,
            mode=mode,
            function=_DIGEST,
            name="fn",
            items=order.payloads,
            python="3.11",
            max_attempts=attempts,
        )

        async def call(operator: Operator) -> str:
            assert operator.queue is not None
            await operator.queue.put_function(_DIGEST, _FUNCTION)
            return (await operator.queue.submit(submission)).task

        before, order.uid = order.uid, await self.ask(call) or ""
        if before and order.uid != before:
            self.violate("S36", key, f"the same key was accepted as {before} and as {order.uid}")

    async def cancel(self, key: str) -> None:
        order = self.work.orders[key]

        async def call(operator: Operator) -> None:
            assert operator.queue is not None
            await operator.queue.cancel(order.uid)

        await self.ask(call)
        order.cancelled = True

    async def done(self, key: str) -> None:
        await self.until(lambda: self.notes.has_ended(key), what=f"the end of task {key}")


def _bound(call: Callable[[Operator], Awaitable[T]], operator: Operator) -> Callable[[], Awaitable[T]]:
    return lambda: call(operator)


def version_of(node: Node) -> str:
    return str(node.spec.template.get("image", {}).get("env", {}).get("VERSION", "0"))
