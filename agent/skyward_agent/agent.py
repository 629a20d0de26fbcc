"""The agent's body: carries out what its state machine commands, and tells it what happens.

All runs on one event loop in one thread; only its housekeeping leaves it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections import deque
from pathlib import Path

from skyward_agent import __version__
from skyward_agent.children import AnyChild, Children
from skyward_agent.housekeeping import Housekeeping
from skyward_agent.link.gateway import GatewayLink
from skyward_agent.payloads import Payloads
from skyward_agent.runner.conversation import ChildEvents
from skyward_agent.runner.groups import BY_GROUP, BY_WATCH
from skyward_agent.runner.messages import FunctionEnded, Yielded
from skyward_agent.runner.output import OutputBuffer
from skyward_agent.runner.probe import HealthProbe
from skyward_agent.runner.process import ChildPlace
from skyward_agent.runner.tree import sweep_strangers
from skyward_agent.sensors.gpu import GpuSensor
from skyward_agent.sensors.host import HostSensor
from skyward_agent.sensors.notices import NoticeSensor
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
from skyward_agent.streams import Streams
from skyward_agent.surroundings import Surroundings
from skyward_agent.updating import Updater
from skyward_agent.wire import messages as wire
from skyward_agent.wire.messages import (
    AgentHello,
    AgentWelcome,
    AttemptId,
    Configure,
    Failure,
    Heartbeat,
    Lease,
)
from skyward_agent.wire.records import record

_log = logging.getLogger("skyward_agent")
OUTPUT_DELAY_S = 0.03
_SWEEPS = 100
_SWEEP_PERIOD_S = 0.02


@record(frozen=True, slots=True)
class AgentPlace:
    """The agent's home and what is known before anybody is asked."""

    home: Path
    children: ChildPlace
    boot: str
    incarnation: str
    cpus: int
    orphan_timeout_s: float | None
    digest: str = ""
    """Of the agent file that this is; empty when it was not started from one."""


class Agent:
    """One incarnation. `run` returns why it ended, when no process of any task is left."""

    def __init__(self, place: AgentPlace) -> None:
        self._place = place
        self._loop = asyncio.get_running_loop()
        self._house = Housekeeping(place.home, lambda: self._children.clear_away())
        self._machine = AgentMachine(
            cpus=place.cpus,
            now=self._loop.time(),
            spooled=self._house.found,
            orphan_timeout_s=place.orphan_timeout_s,
        )
        self._link = GatewayLink(place.home, self)
        self._payloads = Payloads(place.home, lambda ready: self._apply(stimuli.Leased(ready, ())), self._link.say)
        self._configure: Configure | None = None
        self._host = HostSensor(place.home)
        self._surroundings = Surroundings(place.home, place.children.environment)
        self._gpu = GpuSensor(self._surroundings.found)
        self._probe = HealthProbe(place.home.parent, self._surroundings.of_node, self._link.beat)
        self._notices = NoticeSensor(place.home, self._link.beat)
        self._updater = Updater(place.home)
        self._said_ready = False
        self._timer: asyncio.TimerHandle | None = None
        self._output_due = False
        events = ChildEvents(
            self._child_ready,
            self._child_wrote,
            self._child_ended,
            self._child_withdrew,
            self._child_died,
            self._child_yielded,
        )
        self._children = Children(place.home, place.boot, place.children, events, self._house.call)
        self._streams = Streams(self._link.yields, self._children.grant, self._payloads.keep, self._payloads.release)
        self._exit: asyncio.Future[ExitReason] = self._loop.create_future()
        self._news: deque[stimuli.Stimulus] = deque()

    async def run(self) -> ExitReason:
        """Until dismissed, superseded, told to end, or orphaned."""
        self._loop.add_signal_handler(signal.SIGTERM, self._apply, stimuli.Terminated())
        self._loop.add_signal_handler(signal.SIGINT, self._apply, stimuli.Terminated())
        self._loop.add_signal_handler(signal.SIGCHLD, self._sweep)
        self._apply(stimuli.Tick())
        async with asyncio.TaskGroup() as group:
            parts = (
                self._reach_gateway(),
                self._notices.run(),
                self._gpu.run(),
                self._probe.run(),
                self._children.watch(lambda: self._configure, self._apply),
                self._house.run(),
                self._await_update(),
            )
            running = [group.create_task(part) for part in parts]
            reason = await self._exit
            await asyncio.sleep(0)  # what was said last in this turn goes out
            for task in running:
                task.cancel()
        self._payloads.close()
        self._children.end()
        await self._end_strangers()
        self._house.tidy()
        return reason

    async def _reach_gateway(self) -> None:
        await self._gpu.listed()  # before any task runs: each is told which ones it may use
        await self._link.run()

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
                self._streams.ended(report.id)
                self._payloads.keep(report.id, report.value)
                self._link.report(report)
            case Send(message):
                self._link.say(message)
            case Forget(attempt):
                self._house.forget(attempt)
            case SpoolReport(report):
                self._house.spool(report)
            case SpawnChild():
                self._spawn(command)
            case TakeBack(lane, number):
                self._apply(stimuli.TakenBack(lane, number, self._children.take_back(lane)))
            case StopChild(lane, _, kill):
                self._children.stop(lane, kill=kill)
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
        self._children.hear()  # what ended in time has ended in time
        self._apply(stimuli.Tick())

    # --- the gateway's side (link.gateway.Listener) --------------------------------------------------------------

    def hello(self, node: str, token: str) -> AgentHello:
        return AgentHello(
            node=node,
            token=token,
            incarnation=self._place.incarnation,
            boot=self._place.boot,
            agent_version=__version__,
            python=f"{sys.version_info[0]}.{sys.version_info[1]}",
            host=socket.gethostname(),
            pid=os.getpid(),
            cpus=self._place.cpus,
            running=(*self._machine.held(), *self._payloads.held()),
            digest=self._place.digest,
            limits=BY_WATCH if self._place.children.groups is None else BY_GROUP,
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
            notice_at=self._notices.notice.at,
            notice=self._notices.notice.text,
        )

    def welcomed(self, welcome: AgentWelcome) -> None:
        if self._link.connection is not None:
            self._payloads.connected(self._link.connection, welcome.shared, welcome.proof)
        self._payloads.let_go(welcome.abandon)
        self._keep_configuration(welcome.configure)
        self._apply(stimuli.Welcomed(welcome.configure, welcome.abandon))
        self._streams.connected()

    def heard(self, message: object) -> None:
        match message:
            case wire.Leases(leases, functions):
                self._apply(stimuli.Leased(self._payloads.take(leases), functions))
            case wire.Chunk() | wire.Placed() | wire.Unavailable() | wire.Fetch() | wire.More():
                self._payloads.heard(message)
            case wire.Demand():
                self._streams.demanded(message)
            case wire.Acknowledged(attempts):
                self._payloads.release(attempts)
                self._apply(stimuli.Acknowledged(attempts))
            case wire.Functions(functions):
                self._apply(stimuli.FunctionsArrived(functions))
            case wire.Abandon(attempts, reason):
                self._payloads.let_go(attempts)
                self._apply(stimuli.Abandoned(attempts, reason))
            case wire.Recall(attempts):
                self._payloads.let_go(attempts)
                self._apply(stimuli.Recalled(attempts))
            case Configure():
                self._keep_configuration(message)
                self._apply(stimuli.Configured(message))
            case wire.Update():
                self._updater.take(message)
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
        self._payloads.disconnected()
        self._apply(stimuli.Disconnected())

    def _keep_configuration(self, configure: Configure) -> None:
        self._configure = configure
        self._surroundings.configure(configure)
        self._probe.configure(configure.health_check)
        self._children.limit_memory(configure.memory_bytes)

    # --- children ------------------------------------------------------------------------------------------------

    def _spawn(self, command: SpawnChild) -> None:
        limit = None if self._configure is None else self._configure.memory_bytes
        try:
            self._children.spawn(command, limit)
        except OSError as error:
            failure = Failure(wire.CHILD_DIED, f"no process could be started: {error}")
            died = stimuli.ChildDied(command.lane, command.child, wire.CHILD_DIED, failure, 0.0)
            self._loop.call_soon(self._apply, died)

    def _run_attempt(self, lane: int, lease: Lease, function: bytes) -> None:
        assert self._configure is not None, "nothing is leased before the pool is known"
        limited = self._configure.memory_bytes is not None
        env = self._surroundings.environment(lease, lane, self._machine.lanes)
        self._children.run(lane, lease, function, env, memory_limited=limited)

    def _child_ready(self, child: AnyChild) -> None:
        self._apply(stimuli.ChildReady(child.lane, child.number))

    def _child_wrote(self, child: AnyChild) -> None:
        if not self._output_due:
            self._output_due = True
            self._loop.call_later(OUTPUT_DELAY_S, self._send_output)

    def _send_output(self) -> None:
        """Pass on what children wrote. While the link is congested it stays, bounded, in their buffers."""
        self._output_due = False
        if self._link.is_congested:
            return
        for child in self._children:
            if child.current is not None and (written := child.current.output.take()):
                self._link.outputs(written)

    def _child_ended(self, child: AnyChild, ended: FunctionEnded, output: OutputBuffer) -> None:
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

    def _child_yielded(self, child: AnyChild, made: Yielded) -> None:
        """After the output that came before it."""
        if child.current is not None:
            self._link.outputs(child.current.output.take())
            self._streams.yielded(child.current.lease.id, made.number, made.value)

    def _child_withdrew(self, child: AnyChild, attempts: tuple[AttemptId, ...]) -> None:
        self._apply(stimuli.TakenBack(child.lane, child.number, attempts, wrote=True))

    def _child_died(self, child: AnyChild, outcome: str, failure: Failure, unbegun: tuple[AttemptId, ...]) -> None:
        _log.info("child ended lane=%d pid=%d cause=%r", child.lane, child.pid, failure.message)
        seconds = child.seconds()
        if child.current is not None:
            self._link.outputs(child.current.output.take())
        self._children.remove(child)
        self._sweep()
        self._apply(stimuli.ChildDied(child.lane, child.number, outcome, failure, seconds, unbegun))

    def _sweep(self) -> int:
        """End what dead children left to us. Returns how many still live."""
        return sweep_strangers({self._probe.pid, *self._children.pids})

    async def _end_strangers(self) -> None:
        for _ in range(_SWEEPS):
            if not self._sweep():
                return
            await asyncio.sleep(_SWEEP_PERIOD_S)

    async def _await_update(self) -> None:
        await self._updater.next()
        self._apply(stimuli.Updated())
