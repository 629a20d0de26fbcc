"""The agent's body: carries out what its state machine commands, and tells it what happens.

All runs on one event loop in one thread; only the spool's disk writes and the removal of directories leave it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import shutil
import signal
import socket
import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from skyward_agent import __version__
from skyward_agent.link.gateway import GatewayLink
from skyward_agent.link.spool import Spool
from skyward_agent.runner.context import attempt_environment, read_image_environment
from skyward_agent.runner.leftovers import ChildRecords
from skyward_agent.runner.messages import FunctionEnded
from skyward_agent.runner.output import OutputBuffer
from skyward_agent.runner.probe import HealthProbe
from skyward_agent.runner.process import Child, ChildEvents, ChildPlace
from skyward_agent.runner.tree import sweep_strangers
from skyward_agent.sensors.gpu import GpuSensor
from skyward_agent.sensors.host import HostSensor
from skyward_agent.states import stimuli
from skyward_agent.states.commands import (
    Command,
    Deliver,
    Exit,
    ExitReason,
    Forget,
    RunAttempt,
    Send,
    SpawnChild,
    StopChild,
    TakeBack,
)
from skyward_agent.states.commands import Spool as SpoolReport
from skyward_agent.states.machine import AgentMachine
from skyward_agent.wire import messages as wire
from skyward_agent.wire.messages import (
    AgentHello,
    AgentWelcome,
    AttemptId,
    Configure,
    Failure,
    Heartbeat,
    Lease,
    Report,
)

_log = logging.getLogger("skyward_agent")
OUTPUT_DELAY_S = 0.03
MEMORY_PERIOD_S = 0.1
_SWEEPS = 100
_SWEEP_PERIOD_S = 0.02


@dataclass(frozen=True, slots=True)
class AgentPlace:
    """The agent's home and what is known before anybody is asked."""

    home: Path
    children: ChildPlace
    boot: str
    incarnation: str
    cpus: int
    orphan_timeout_s: float | None


class Agent:
    """One incarnation. `run` returns why it ended, when no process of any task is left."""

    def __init__(self, place: AgentPlace) -> None:
        self._place = place
        self._loop = asyncio.get_running_loop()
        self._records = ChildRecords(place.home / "children", place.boot)
        self._spool = Spool(place.home / "spool")
        spooled = self._spool.load()
        self._spooled = {report.id for report in spooled}
        self._spool_changes: list[Report | AttemptId] = []
        self._spool_wake = asyncio.Event()
        self._machine = AgentMachine(
            cpus=place.cpus,
            now=self._loop.time(),
            spooled=spooled,
            orphan_timeout_s=place.orphan_timeout_s,
        )
        self._link = GatewayLink(place.home, self)
        self._children: dict[int, Child] = {}
        self._configure: Configure | None = None
        self._image: dict[str, str] = {}
        self._environments: dict[tuple[int, tuple[str, ...]], dict[str, str]] = {}
        self._host = HostSensor(place.home)
        self._gpu = GpuSensor()
        self._probe = HealthProbe(place.home.parent, self._probe_environment, self._link.beat)
        self._said_ready = False
        self._timer: asyncio.TimerHandle | None = None
        self._output_due = False
        self._events = ChildEvents(
            self._child_ready, self._child_wrote, self._child_ended, self._child_withdrew, self._child_died
        )
        self._exit: asyncio.Future[ExitReason] = self._loop.create_future()
        self._news: deque[stimuli.Stimulus] = deque()
        self._rubbish: set[Child] = set()
        """Dead children whose directories may still be there."""
        self._tidying = threading.Lock()

    async def run(self) -> ExitReason:
        """Until dismissed, superseded, told to end, or orphaned."""
        self._loop.add_signal_handler(signal.SIGTERM, self._apply, stimuli.Terminated())
        self._loop.add_signal_handler(signal.SIGINT, self._apply, stimuli.Terminated())
        self._loop.add_signal_handler(signal.SIGCHLD, self._sweep)
        self._apply(stimuli.Tick())
        async with asyncio.TaskGroup() as group:
            parts = (
                self._link.run(),
                self._gpu.run(),
                self._probe.run(),
                self._watch_memory(),
                self._keep_house(),
            )
            running = [group.create_task(part) for part in parts]
            reason = await self._exit
            await asyncio.sleep(0)  # what was said last in this turn goes out
            for task in running:
                task.cancel()
        self._tidy()
        await self._end_strangers()
        return reason

    # --- stimuli and commands ------------------------------------------------------------------------------------

    def _apply(self, stimulus: stimuli.Stimulus) -> None:
        """What happens while commands are carried out is told afterwards, in order."""
        self._news.append(stimulus)
        if len(self._news) > 1:
            return
        while self._news:
            for command in self._machine.handle(self._news[0], self._loop.time()):
                self._carry_out(command)
            self._news.popleft()
        if self._machine.ready != self._said_ready:
            self._said_ready = self._machine.ready
            self._link.beat()
        self._arm()

    def _carry_out(self, command: Command) -> None:
        match command:
            case RunAttempt(lane, _, lease, function):
                self._run_attempt(lane, lease, function)
            case Deliver(report):
                self._link.report(report)
            case Send(message):
                self._link.say(message)
            case Forget(attempt):
                if attempt in self._spooled:
                    self._spooled.discard(attempt)
                    self._change_spool(attempt)
            case SpoolReport(report):
                self._spooled.add(report.id)
                self._change_spool(report)
            case SpawnChild(lane, number):
                self._spawn(lane, number)
            case TakeBack(lane, number):
                self._apply(stimuli.TakenBack(lane, number, self._children[lane].take_back()))
            case StopChild(lane, _, kill):
                if lane in self._children:
                    self._children[lane].stop(kill=kill)
            case Exit(reason):
                if not self._exit.done():
                    self._exit.set_result(reason)

    def _arm(self) -> None:
        """Have a Tick come when the machine needs one; an earlier one that turns out needless does no harm."""
        deadline = self._machine.deadline()
        if deadline is None or (self._timer is not None and self._timer.when() <= deadline):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(max(deadline, self._loop.time() + 0.001), self._tick)

    def _tick(self) -> None:
        self._timer = None
        for child in tuple(self._children.values()):
            child.hear()  # what ended in time has ended in time
        self._apply(stimuli.Tick())

    # --- the gateway's side (link.gateway.Listener) --------------------------------------------------------------

    def hello(self, node: str, token: str) -> AgentHello:
        return AgentHello(
            node=node,
            token=token,
            incarnation=self._place.incarnation,
            boot=self._place.boot,
            agent_version=__version__,
            python=".".join(platform.python_version_tuple()[:2]),
            host=socket.gethostname(),
            pid=os.getpid(),
            cpus=self._place.cpus,
            running=self._machine.held(),
        )

    def heartbeat(self) -> Heartbeat:
        return Heartbeat(
            busy=self._machine.busy,
            lanes=self._machine.lanes,
            ready=self._machine.ready,
            metrics={**self._host.read(), **self._gpu.metrics},
            problem=self._machine.problem or self._host.problem(),
            check=self._probe.state,
            check_message=self._probe.message,
        )

    def welcomed(self, welcome: AgentWelcome) -> None:
        self._keep_configuration(welcome.configure)
        self._apply(stimuli.Welcomed(welcome.configure, welcome.abandon))

    def heard(self, message: object) -> None:
        match message:
            case wire.Leases(leases, functions):
                self._apply(stimuli.Leased(leases, functions))
            case wire.Acknowledged(attempts):
                self._apply(stimuli.Acknowledged(attempts))
            case wire.Functions(functions):
                self._apply(stimuli.FunctionsArrived(functions))
            case wire.Abandon(attempts, reason):
                self._apply(stimuli.Abandoned(attempts, reason))
            case wire.Recall(attempts):
                self._apply(stimuli.Recalled(attempts))
            case Configure():
                self._keep_configuration(message)
                self._apply(stimuli.Configured(message))
            case wire.Dismiss(reason):
                _log.info("dismissed reason=%r", reason)
                self._apply(stimuli.Dismissed(reason))
            case wire.Refused(_, wire.REFUSED_DISMISSED, reason):
                _log.info("dismissed reason=%r", reason)
                self._apply(stimuli.Dismissed(reason))
            case wire.Refused(_, wire.REFUSED_SUPERSEDED, reason):
                _log.info("superseded reason=%r", reason)
                self._apply(stimuli.Superseded())
            case _:
                _log.debug("message passed over kind=%s", type(message).__name__)

    def disconnected(self) -> None:
        self._apply(stimuli.Disconnected())

    def _keep_configuration(self, configure: Configure) -> None:
        self._configure = configure
        self._environments.clear()
        self._image = read_image_environment(self._place.home)
        self._probe.configure(configure.health_check)
        timeout = configure.orphan_timeout_s
        try:
            (self._place.home / "orphan").write_text("off" if timeout is None else str(timeout))
        except OSError as error:
            _log.warning("orphan timeout not kept error=%s", error)

    def _probe_environment(self) -> dict[str, str]:
        """That of every task: the image's variables, then the pool's."""
        pool = {} if self._configure is None else self._configure.env
        return {**self._place.children.environment, **self._image, **pool}

    # --- children ------------------------------------------------------------------------------------------------

    def _spawn(self, lane: int, number: int) -> None:
        child = Child(lane, number, self._place.children, self._events)
        try:
            child.start()
            self._records.add(child.pid)
        except OSError as error:
            failure = Failure(wire.CHILD_DIED, f"no process could be started: {error}")
            self._loop.call_soon(self._apply, stimuli.ChildDied(lane, number, wire.CHILD_DIED, failure, 0.0))
            return
        self._children[lane] = child
        _log.info("child started lane=%d pid=%d", lane, child.pid)

    def _run_attempt(self, lane: int, lease: Lease, function: bytes) -> None:
        assert self._configure is not None, "nothing is leased before the pool is known"
        limited = self._configure.memory_bytes is not None
        env = self._environment(self._configure, lease, lane)
        self._children[lane].run(lease, function, env, memory_limited=limited)

    def _environment(self, configure: Configure, lease: Lease, lane: int) -> dict[str, str]:
        """Nearly every attempt of a lane has the same."""
        accelerators = self._gpu.names
        if lease.env or lease.rank >= 0:
            return attempt_environment(self._image, configure, lease, lane=lane, accelerators=accelerators)
        known = self._environments.get((lane, accelerators))
        if known is None:
            known = attempt_environment(self._image, configure, lease, lane=lane, accelerators=accelerators)
            self._environments[lane, accelerators] = known
        return known

    def _child_ready(self, child: Child) -> None:
        self._apply(stimuli.ChildReady(child.lane, child.number))

    def _child_wrote(self, child: Child) -> None:
        if not self._output_due:
            self._output_due = True
            self._loop.call_later(OUTPUT_DELAY_S, self._send_output)

    def _send_output(self) -> None:
        """Pass on what children wrote. While the link is congested it stays, bounded, in their buffers."""
        self._output_due = False
        if self._link.is_congested:
            return
        for child in self._children.values():
            if child.current is not None and (written := child.current.output.take()):
                self._link.outputs(written)

    def _child_ended(self, child: Child, ended: FunctionEnded, output: OutputBuffer) -> None:
        written = output.take()
        if written:
            self._link.outputs(written)
        limit = None if self._configure is None else self._configure.memory_bytes
        clean = ended.clean and not (limit is not None and child.is_bloated(limit))
        self._apply(
            stimuli.ChildFinished(
                child.lane, child.number, ended.outcome, ended.value, ended.failure, ended.seconds, clean, ended.busy_s
            )
        )

    def _child_withdrew(self, child: Child, attempts: tuple[AttemptId, ...]) -> None:
        self._apply(stimuli.TakenBack(child.lane, child.number, attempts, wrote=True))

    def _child_died(self, child: Child, outcome: str, failure: Failure, unbegun: tuple[AttemptId, ...]) -> None:
        _log.info("child ended lane=%d pid=%d cause=%r", child.lane, child.pid, failure.message)
        seconds = child.seconds()
        if child.current is not None:
            self._link.outputs(child.current.output.take())
        self._children.pop(child.lane, None)
        self._records.remove(child.pid)
        self._rubbish.add(child)
        self._spool_wake.set()
        self._sweep()
        self._apply(stimuli.ChildDied(child.lane, child.number, outcome, failure, seconds, unbegun))

    async def _watch_memory(self) -> None:
        while True:
            await asyncio.sleep(MEMORY_PERIOD_S)
            limit = None if self._configure is None else self._configure.memory_bytes
            if limit is None:
                continue
            for child in tuple(self._children.values()):
                child.hear()
                used = child.over_limit(limit) if child.current is not None else None
                if used is not None:
                    self._apply(stimuli.MemoryExceeded(child.lane, child.number, limit, used))

    def _sweep(self) -> int:
        """End what dead children left to us. Returns how many still live."""
        return sweep_strangers({self._probe.pid, *(child.pid for child in self._children.values())})

    async def _end_strangers(self) -> None:
        for _ in range(_SWEEPS):
            if not self._sweep():
                return
            await asyncio.sleep(_SWEEP_PERIOD_S)

    # --- the disk ------------------------------------------------------------------------------------------------

    def _change_spool(self, change: Report | AttemptId) -> None:
        self._spool_changes.append(change)
        self._spool_wake.set()

    async def _keep_house(self) -> None:
        """Write and remove spooled reports, and remove what dead children left, beside the event loop."""
        while True:
            await self._spool_wake.wait()
            self._spool_wake.clear()
            await asyncio.to_thread(self._tidy)

    def _tidy(self) -> None:
        with self._tidying:  # the last time, a thread may still be at it
            changes, self._spool_changes = self._spool_changes, []
            self._spool.apply(changes)
            while self._rubbish:
                for directory in self._rubbish.pop().directories_left():
                    shutil.rmtree(directory, ignore_errors=True)
