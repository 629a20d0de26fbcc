"""One agent: the production state machine, with a link and children that cost no process."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

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
    Spool,
    StopChild,
    TakeBack,
)
from skyward_agent.states.machine import AgentMachine
from skyward_agent.wire import messages as wire
from skyward_agent.wire.messages import AgentHello, AgentWelcome, AttemptId, Failure, Heartbeat, Lease, Reports
from tests.simulation.strangers import FORGED, KINDS, forged
from tests.simulation.wire import Connection

if TYPE_CHECKING:
    from tests.simulation.hosts import Host
    from tests.simulation.world import World

HEARTBEAT_S = 10.0
_SILENT_BEATS = 5
_BACKOFF_S = (0.1, 5.0)
_WELCOME_S = 20.0
_WARM_S = 0.7
_KILL_S = 0.05
_AGAIN = "repeated-report"


class SimAgent:
    """One incarnation. Everything it does goes through `_soon` or `_later`: a killed agent does nothing more, a frozen one
    does it all when it thaws."""

    def __init__(self, world: World, host: Host) -> None:
        self.incarnation = world.ids.uid()
        self.node = host.disk.node
        self.is_alive = True
        self.frozen_until = 0.0
        self._world = world
        self._host = host
        self._machine = AgentMachine(cpus=1, now=world.loop.time(), spooled=tuple(host.disk.spool.values()))
        self._children: dict[int, _Child] = {}
        self._news: deque[stimuli.Stimulus] = deque()
        self._outbox: list[object] = []
        self._connection: Connection | None = None
        self._welcomed = False
        self._distrust = False
        self._backoff_s = _BACKOFF_S[0]
        self._said_ready = False
        self._timer: Any = None
        self._later(0.3, self._begin)

    @property
    def holds_any(self) -> bool:
        return bool(self._machine.held())

    @property
    def is_heard(self) -> bool:
        """It runs, and was welcomed on a connection that still stands."""
        is_still = self.frozen_until > self._world.loop.time()
        return self._welcomed and not is_still and self._connection is not None and self._connection.is_open

    def _begin(self) -> None:
        if self._host.is_first_start and self._world.faults.strikes("dies-before-home"):
            self._world.coverage.reach("agent dead before its first word")
            self.kill()
            return
        self._apply(stimuli.Tick())
        self._connect()

    # --- life --------------------------------------------------------------------------------------------------------

    def kill(self) -> None:
        """The process, and all that it started, is gone."""
        self.is_alive = False
        self._children.clear()
        if self._timer is not None:
            self._timer.cancel()
        if self._connection is not None:
            self._connection.close()
        if self in self._host.agents:
            self._host.agents.remove(self)

    def freeze(self, seconds: float) -> None:
        self.frozen_until = self._world.loop.time() + seconds

    def cut(self, is_cut: bool) -> None:
        if self._connection is not None:
            self._connection.cut(is_cut)

    def _later(self, seconds: float, work: Callable[[], object]) -> Any:
        return self._world.loop.call_later(seconds, self._run, work, context=self._world.context)

    def _run(self, work: Callable[[], object]) -> None:
        left_s = self.frozen_until - self._world.loop.time()
        if not self.is_alive:
            return
        if left_s > 0:
            self._later(left_s, work)
        else:
            work()

    # --- the machine -------------------------------------------------------------------------------------------------

    def _apply(self, stimulus: stimuli.Stimulus) -> None:
        """What happens while commands are carried out is told afterwards, in order."""
        self._news.append(stimulus)
        if len(self._news) > 1:
            return
        while self._news and self.is_alive:
            for command in self._machine.handle(self._news[0], self._world.loop.time()):
                self._carry_out(command)
            self._news.popleft()
        if not self.is_alive:
            return
        if self._machine.ready != self._said_ready:
            self._said_ready = self._machine.ready
            self._beat()
        self._flush()
        self._arm()

    def _carry_out(self, command: Command) -> None:
        match command:
            case RunAttempt(lane, _, lease, _):
                self._children[lane].run(lease)
            case Deliver(report):
                self._outbox.append(Reports((report,)))
            case Send(message):
                self._outbox.append(message)
            case Forget(attempt):
                self._host.disk.spool.pop(attempt, None)
            case Spool(report):
                self._host.disk.spool[report.id] = report
            case SpawnChild(lane, number):
                self._children[lane] = _Child(self, lane, number)
            case TakeBack(lane, number):
                self._apply(stimuli.TakenBack(lane, number, self._children[lane].take_back()))
            case StopChild(lane, _, kill):
                if lane in self._children:
                    self._children[lane].stop(kill=kill)
            case Exit(reason):
                if reason is ExitReason.SUPERSEDED:
                    self._world.coverage.reach("agent superseded by its double")
                self.kill()

    def _arm(self) -> None:
        deadline = self._machine.deadline()
        if deadline is None or (self._timer is not None and self._timer.when() <= deadline):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._later(max(deadline - self._world.loop.time(), 0.001), self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._apply(stimuli.Tick())

    # --- the link ----------------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        disk = self._host.disk
        connection = self._host.dial(self._hear, self._lost)
        if connection is None:
            self._connect_later()
            return
        self._connection, self._welcomed = connection, False
        token = disk.join_token if self._distrust or not disk.credential else disk.credential
        hello = AgentHello(
            node=self.node,
            token=token,
            incarnation=self.incarnation,
            boot=f"{self._host.instance_id}/{self._host.boot}",
            agent_version="1",
            python="3.11",
            host=self._host.instance_id,
            cpus=1,
            running=self._machine.held(),
        )
        connection.send(hello)
        self._later(_WELCOME_S, lambda: self._give_up(connection))

    def _give_up(self, connection: Connection) -> None:
        if self._connection is connection and not self._welcomed:
            connection.close()
            self._lost()

    def _connect_later(self) -> None:
        self._connection = None
        delay_s = self._backoff_s * (0.5 + self._world.ids.fraction() / 2)
        self._backoff_s = min(_BACKOFF_S[1], self._backoff_s * 1.7)
        self._later(delay_s, self._connect)

    def _lost(self) -> None:
        if not self.is_alive:
            return
        was_welcome, self._welcomed, self._connection = self._welcomed, False, None
        if was_welcome:
            self._run(lambda: self._apply(stimuli.Disconnected()))
        self._run(self._connect_later)

    def _hear(self, message: object) -> None:
        self._run(lambda: self._take(message))

    def _take(self, message: object) -> None:
        if isinstance(message, AgentWelcome):
            self._welcome(message)
        elif isinstance(message, wire.Refused) and message.error == wire.REFUSED_UNAUTHENTICATED:
            self._distrust = not self._distrust
        else:
            self._look(message)
            stimulus = _stimulus(message)
            if stimulus is not None:
                self._apply(stimulus)

    def _look(self, message: object) -> None:
        if isinstance(message, wire.Acknowledged) and self._world.were_superseded(message.attempts):
            self._world.coverage.reach("report of a superseded attempt dropped")

    def _welcome(self, welcome: AgentWelcome) -> None:
        if welcome.credential:
            self._host.disk.credential = welcome.credential
        self._distrust = False
        self._welcomed = True
        self._backoff_s = _BACKOFF_S[0]
        self._world.agent_welcomed(self.node, self._host.instance_id, self.incarnation)
        self._apply(stimuli.Welcomed(welcome.configure, welcome.abandon))
        self._keep_alive(self._connection)

    def _keep_alive(self, connection: Connection | None) -> None:
        if connection is None or connection is not self._connection or not connection.is_open:
            return
        if connection.is_cut and self._world.loop.time() - connection.heard_at > _SILENT_BEATS * HEARTBEAT_S:
            connection.close()
            self._lost()
            return
        if not connection.is_cut:
            connection.heard_at = self._world.loop.time()
        self._beat()
        self._flush()
        self._later(HEARTBEAT_S, lambda: self._keep_alive(connection))

    def _beat(self) -> None:
        machine = self._machine
        self._outbox.append(
            Heartbeat(
                busy=machine.busy,
                lanes=machine.lanes,
                ready=machine.ready,
                problem=machine.problem,
                **self._world.said_on(self._host.instance_id),
            )
        )

    def _flush(self) -> None:
        said, self._outbox = self._outbox, []
        if self._connection is not None and self._welcomed:
            for message in said:
                if isinstance(message, Reports) and self._world.faults.strikes(FORGED):
                    self._world.coverage.reach("report made up")
                    self._connection.send(forged(message, self._world.faults.pick(FORGED, KINDS)))
                self._connection.send(message)
                if isinstance(message, Reports) and self._world.faults.strikes(_AGAIN):
                    self._later(self._world.faults.between(_AGAIN, 0.01, 1800.0), partial(self._repeat, message))

    def _repeat(self, message: Reports) -> None:
        """Once more, long after it was answered, and after others that were said later."""
        if self._connection is not None and self._welcomed:
            self._world.coverage.reach("report said again long after")
            self._connection.send(message)

    # --- children ----------------------------------------------------------------------------------------------------

    def child_ready(self, child: _Child) -> None:
        if self._children.get(child.lane) is child:
            self._apply(stimuli.ChildReady(child.lane, child.number))

    def child_began(self, lease: Lease) -> float:
        """How long it will take; what it does to the world is done from now on."""
        return self._world.executes(lease, self.node, self._host.instance_id)

    def child_ended(self, child: _Child, lease: Lease, seconds: float) -> None:
        outcome, value = self._world.result_of(lease)
        failure = None if outcome == wire.SUCCEEDED else Failure("ValueError", "as the test wants it")
        self._apply(
            stimuli.ChildFinished(child.lane, child.number, outcome, value, failure, seconds, True, busy_s=seconds)
        )

    def child_died(self, child: _Child, unbegun: tuple[AttemptId, ...]) -> None:
        if self._children.get(child.lane) is child:
            del self._children[child.lane]
            failure = Failure(wire.CHILD_DIED, "its process was killed")
            self._apply(stimuli.ChildDied(child.lane, child.number, wire.CHILD_DIED, failure, 0.0, unbegun))

    def later(self, seconds: float, work: Callable[[], object]) -> None:
        self._later(seconds, work)

    def is_poisoned_by(self, lease: Lease) -> bool:
        return self._world.is_poison(lease)


class _Child:
    """Runs what it is given, one after the other."""

    def __init__(self, agent: SimAgent, lane: int, number: int) -> None:
        self.lane = lane
        self.number = number
        self._agent = agent
        self._given: deque[Lease] = deque()
        self._current: Lease | None = None
        self._is_dead = False
        agent.later(_WARM_S, self._warm)

    def _warm(self) -> None:
        if not self._is_dead:
            self._agent.child_ready(self)

    def run(self, lease: Lease) -> None:
        self._given.append(lease)
        if self._current is None:
            self._next()

    def _next(self) -> None:
        self._current = self._given.popleft() if self._given else None
        lease = self._current
        if lease is None:
            return
        seconds = self._agent.child_began(lease)
        self._agent.later(seconds, lambda: self._end(lease, seconds))

    def _end(self, lease: Lease, seconds: float) -> None:
        if self._is_dead or self._current is not lease:
            return
        if self._agent.is_poisoned_by(lease):
            self._die()
            return
        self._current = None
        waiting = bool(self._given)
        self._agent.child_ended(self, lease, seconds)
        if waiting and self._current is None and not self._is_dead:
            self._next()

    def take_back(self) -> tuple[AttemptId, ...]:
        taken = tuple(lease.id for lease in self._given)
        self._given.clear()
        return taken

    def stop(self, *, kill: bool) -> None:
        self._agent.later(_KILL_S if kill else 4 * _KILL_S, self._die)

    def _die(self) -> None:
        if not self._is_dead:
            self._is_dead = True
            self._agent.child_died(self, self.take_back())


def _stimulus(message: object) -> stimuli.Stimulus | None:
    match message:
        case wire.Leases(leases, functions):
            return stimuli.Leased(leases, functions)
        case wire.Acknowledged(attempts):
            return stimuli.Acknowledged(attempts)
        case wire.Functions(functions):
            return stimuli.FunctionsArrived(functions)
        case wire.Abandon(attempts, reason):
            return stimuli.Abandoned(attempts, reason)
        case wire.Recall(attempts):
            return stimuli.Recalled(attempts)
        case wire.Configure():
            return stimuli.Configured(message)
        case wire.Dismiss(reason):
            return stimuli.Dismissed(reason)
        case wire.Refused(_, wire.REFUSED_DISMISSED, reason):
            return stimuli.Dismissed(reason)
        case wire.Refused(_, wire.REFUSED_SUPERSEDED, _):
            return stimuli.Superseded()
        case _:
            return None
