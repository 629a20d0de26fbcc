"""The agent's children, by lane: started, given work, watched, and cleared away after their end."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from skyward_agent.runner.conversation import ChildEvents
from skyward_agent.runner.leftovers import ChildRecords
from skyward_agent.runner.process import Child, ChildPlace
from skyward_agent.runner.threads import ThreadChild, ThreadHost
from skyward_agent.states import stimuli
from skyward_agent.states.commands import SpawnChild
from skyward_agent.wire.messages import THREAD, AttemptId, Configure, Lease

_log = logging.getLogger("skyward_agent")
WATCH_PERIOD_S = 0.1
MOST_PROCESSES = 1024
"""In the tree of one child: more is a mistake that takes the node with it."""
_NO_VARIABLES = (
    "this pool runs tasks as threads of one process (executor: thread), which share their variables: set them in "
    "spec.env of the pool, or use executor: process"
)
AnyChild = Child | ThreadChild


class Children:
    """Lives on the event loop; only `clear_away` may be called elsewhere."""

    def __init__(
        self, home: Path, boot: str, place: ChildPlace, events: ChildEvents, ended: Callable[[], None]
    ) -> None:
        """`ended` is called when a process is gone: there is something to clear away."""
        self._place = place
        self._events = events
        self._ended = ended
        self._records = ChildRecords(home / "children", boot)
        self._by_lane: dict[int, AnyChild] = {}
        self._host: ThreadHost | None = None
        self._rubbish: set[Child | ThreadHost] = set()
        """Dead ones whose directories may still be there."""

    def __iter__(self) -> Iterator[AnyChild]:
        return iter(tuple(self._by_lane.values()))

    @property
    def pids(self) -> set[int]:
        found = {child.pid for child in self._by_lane.values()}
        return found if self._host is None else {*found, self._host.pid}

    def spawn(self, command: SpawnChild, memory_bytes: int | None) -> None:
        """Raises OSError when it cannot be started."""
        child = self._threaded(command) if command.executor == THREAD else self._process(command)
        child.limit_memory(memory_bytes)
        self._by_lane[command.lane] = child
        _log.info("child started lane=%d pid=%d executor=%s", command.lane, child.pid, command.executor)

    def run(self, lane: int, lease: Lease, function: bytes, env: dict[str, str], *, memory_limited: bool) -> None:
        child = self._by_lane[lane]
        refusal = _NO_VARIABLES if lease.env and isinstance(child, ThreadChild) else ""
        child.run(lease, function, env, memory_limited=memory_limited, refusal=refusal)

    def take_back(self, lane: int) -> tuple[AttemptId, ...]:
        return self._by_lane[lane].take_back()

    def stop(self, lane: int, *, kill: bool) -> None:
        if lane in self._by_lane:
            self._by_lane[lane].stop(kill=kill)

    def limit_memory(self, memory_bytes: int | None) -> None:
        for child in self:
            child.limit_memory(memory_bytes)

    def grant(self, attempt: AttemptId, received: int, until: int) -> None:
        """Let the generator of this attempt go on."""
        for child in self:
            child.grant(attempt, received, until)

    def hear(self) -> None:
        """Take in what any of them has said by now."""
        for child in self:
            child.hear()

    def remove(self, child: AnyChild) -> None:
        """It died."""
        self._by_lane.pop(child.lane, None)
        if isinstance(child, Child):
            self._buried(child)
        else:
            asyncio.get_running_loop().call_soon(self._end_idle_host)  # unless its lane gets another thread now

    def end(self) -> None:
        """The agent ends: every lane is empty."""
        self._end_idle_host()

    async def watch(self, configured: Callable[[], Configure | None], tell: Callable[[stimuli.Stimulus], None]) -> None:
        """Until cancelled: say which ones use more than they may."""
        while True:
            await asyncio.sleep(WATCH_PERIOD_S)
            configure = configured()
            limit = None if configure is None else configure.memory_bytes
            for child in self:
                if child.current is None:
                    continue
                child.hear()
                used = child.over_limit(limit) if limit is not None and child.current is not None else None
                if limit is not None and used is not None:
                    tell(stimuli.MemoryExceeded(child.lane, child.number, limit, used))
                count = child.processes() if child.current is not None else 0
                if count > MOST_PROCESSES:
                    tell(stimuli.ProcessesExceeded(child.lane, child.number, MOST_PROCESSES, count))

    def clear_away(self) -> None:
        """Remove what dead ones have left on the disk; blocks."""
        while self._rubbish:
            for directory in self._rubbish.pop().directories_left():
                shutil.rmtree(directory, ignore_errors=True)

    def _process(self, command: SpawnChild) -> Child:
        child = Child(command.lane, command.child, self._place, self._events)
        child.start()
        self._records.add(child.pid)
        return child

    def _threaded(self, command: SpawnChild) -> ThreadChild:
        if self._host is None or self._host.is_over:
            host = ThreadHost(self._place, self._host_ended)
            host.start()
            self._host = host
            self._records.add(host.pid)
        child = ThreadChild(command.lane, command.child, self._host, self._events)
        child.start()
        return child

    def _end_idle_host(self) -> None:
        if self._host is not None and not any(isinstance(child, ThreadChild) for child in self):
            self._host.kill()

    def _host_ended(self, host: ThreadHost) -> None:
        if self._host is host:
            self._host = None
        self._buried(host)

    def _buried(self, dead: Child | ThreadHost) -> None:
        self._records.remove(dead.pid)
        self._rubbish.add(dead)
        self._ended()
