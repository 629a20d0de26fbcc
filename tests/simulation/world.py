"""One seed's world: truth, processes, actors and checkers on one clock."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Sequence
from typing import Any

from skyward.contracts import Files
from skyward.facts import BootstrapRequest, Ceilings, LaunchRequest, Listing
from skyward_agent.wire.messages import AttemptId, Lease
from tests.fakes.ids import FakeIds
from tests.intake.files import MemoryFiles
from tests.simulation.chance import Chance
from tests.simulation.checkers import Checker, Violation
from tests.simulation.checkers.births import BirthChecker
from tests.simulation.checkers.ceilings import CeilingChecker
from tests.simulation.checkers.control import ControlChecker
from tests.simulation.checkers.desire import DesireChecker
from tests.simulation.checkers.endings import EndingChecker
from tests.simulation.checkers.histories import HistoryChecker
from tests.simulation.checkers.hosts import HostChecker
from tests.simulation.checkers.identities import IdentityChecker
from tests.simulation.checkers.launches import LaunchChecker
from tests.simulation.checkers.leases import LeaseChecker
from tests.simulation.checkers.lineage import LineageChecker
from tests.simulation.checkers.machines import MachineChecker
from tests.simulation.checkers.marks import MarkChecker
from tests.simulation.checkers.notices import NoticeChecker
from tests.simulation.checkers.pace import PaceChecker
from tests.simulation.checkers.rollouts import RolloutChecker
from tests.simulation.checkers.serving import ServingChecker
from tests.simulation.checkers.sights import Sights
from tests.simulation.checkers.tasks import TaskChecker
from tests.simulation.checkers.words import WordChecker
from tests.simulation.clock import SimClock
from tests.simulation.cloud import Cloud, Machine
from tests.simulation.coverage import Coverage
from tests.simulation.desire import Desire
from tests.simulation.faults import Faults
from tests.simulation.health import Health
from tests.simulation.history import History
from tests.simulation.hosts import Hosts
from tests.simulation.looks import WatchedFiles, WrittenFiles
from tests.simulation.loop import START, SimLoop
from tests.simulation.network import Network
from tests.simulation.notices import announced
from tests.simulation.operator import MANIFESTS, Operator
from tests.simulation.process import CrashPoint, Process
from tests.simulation.profiles import PROFILES
from tests.simulation.records import Records, version_of
from tests.simulation.scenario import Scenario
from tests.simulation.storing import Commit, open_database
from tests.simulation.trace import Trace
from tests.simulation.work import Work

CHECKERS: tuple[type[Checker], ...] = (
    LaunchChecker,
    MachineChecker,
    DesireChecker,
    TaskChecker,
    ControlChecker,
    IdentityChecker,
    EndingChecker,
    MarkChecker,
    LeaseChecker,
    ServingChecker,
    PaceChecker,
    RolloutChecker,
    WordChecker,
    NoticeChecker,
    HostChecker,
    LineageChecker,
    CeilingChecker,
    BirthChecker,
    HistoryChecker,
    Sights,
)
_TOLD = 20


class World:
    def __init__(self, scenario: Scenario, loop: SimLoop, *, story: bool = False, faults: Faults | None = None) -> None:
        self.scenario = scenario
        self.loop = loop
        self.context = contextvars.copy_context()
        self.chance = Chance(scenario.seed)
        self.clock = SimClock(loop)
        self.ids = FakeIds(scenario.seed)
        self.faults = faults or Faults(scenario.faults, self.chance)
        self.coverage = Coverage()
        self.trace = Trace(keep=story)
        self.violations: list[Violation] = []
        self.on_violation: Callable[[], None] = lambda: None
        self.records = Records()
        self.cloud = Cloud(PROFILES[scenario.profile], self.clock, self.faults, self.chance)
        self.network = Network(self.cloud, loop, self.faults, self.chance, self)
        self.hosts = Hosts(self)
        self.history = History()
        self.work = Work(self)
        self.health = Health(self)
        self.files = MemoryFiles()
        self.desire = Desire(self.files, self.clock, self.cloud.profile.wish)
        self.database = open_database()
        self.operators: list[Operator] = []
        """Those that live, in the order of their start."""
        self.installation = ""
        self.ended = asyncio.Event()
        """An operator process died, or its main task is over."""
        self.deaths = 0
        self.disk_is_full = False
        self.ceilings = Ceilings()
        """Of operators that start now."""
        self.is_away = False
        """Nobody keeps operators running for a while."""
        self.settled_s = 0.0
        self.drained_s = 0.0
        self._processes: list[Process] = []
        self.checkers = tuple(checker(self) for checker in CHECKERS)
        self.cloud.on_effect = self.effect

    @property
    def now(self) -> float:
        return self.clock.now()

    @property
    def operator(self) -> Operator | None:
        """The one that leads, or believes that it does."""
        return next((operator for operator in reversed(self.operators) if operator.leads), None)

    # --- operator processes ------------------------------------------------------------------------------------------

    def start(self, crash_at: CrashPoint | None = None) -> Process:
        process = Process(len(self._processes) + 1, crash_at=crash_at, on_death=self._died)
        self._processes.append(process)
        operator = Operator(self, process)
        self.operators.append(operator)
        self.installation = operator.store.installation
        self.tell("operator", f"{process.number} starts")
        process.start(self.loop, operator.serve, self.ended.set)
        return process

    def come_back(self) -> None:
        """Somebody keeps operators running again."""
        self.is_away = False
        self.ended.set()

    def _died(self, process: Process, cause: str) -> None:
        self.deaths += 1
        self.ended.set()
        self.operators = [operator for operator in self.operators if operator.process is not process]
        self.hosts.operator_died(process)
        self.tell("operator", f"{process.number} dies: {cause}")
        for checker in self.checkers:
            checker.died(process, cause)

    # --- what is told ------------------------------------------------------------------------------------------------

    def tell(self, who: str, what: str) -> None:
        self.trace.add(self.loop.time(), who, what)

    def violate(self, rule: str, about: str, message: str) -> None:
        violation = Violation(rule, self.now - START, about, message)
        self.tell("VIOLATION", str(violation))
        if len(self.violations) < _TOLD:
            self.violations.append(violation)
        self.on_violation()

    def committed(self, commit: Commit) -> None:
        self.tell(f"commit {commit.process}", describe(commit))
        self.records.take(commit)
        for checker in self.checkers:
            checker.committed(commit)

    # --- what a story may say otherwise ---------------------------------------------------------------------------------

    def wall_clock(self) -> SimClock:
        """Of the host of an operator that starts now."""
        return SimClock(self.loop)

    def files_of(self, process: Process) -> Files:
        """The files as this process has them."""
        files = WrittenFiles(self.files, self.desire.was_written)
        return WatchedFiles(files, MANIFESTS, lambda: self.desire.looked(process.number))

    def is_broken(self, request: BootstrapRequest) -> bool:
        """What this node is made from cannot work."""
        node = self.records.nodes.get(request.node_uid)
        if self.health.is_on_bad_host(request.provider_id):
            return True
        return node is not None and (node.spec.pool, version_of(node)) in self.desire.broken

    def said_on(self, instance_id: str) -> dict[str, Any]:
        """What the agent there adds to its heartbeats."""
        return {**announced(self.cloud.machines[instance_id], self.now), **self.health.said_on(instance_id)}

    # --- what agents do ----------------------------------------------------------------------------------------------

    def agent_welcomed(self, node_uid: str, instance_id: str, incarnation: str) -> None:
        self.tell("agent", f"of {instance_id} is welcomed")
        for checker in self.checkers:
            checker.agent_welcomed(node_uid, instance_id)
            checker.incarnation_welcomed(node_uid, incarnation)

    def executes(self, lease: Lease, node_uid: str, instance_id: str) -> float:
        self.tell("agent", f"of {instance_id} runs {lease.id.task[:8]}.{lease.id.item}#{lease.id.attempt}")
        return self.work.executes(lease)

    def were_superseded(self, attempts: Sequence[AttemptId]) -> bool:
        """The agent may forget these, and one of them was not committed."""
        return any((attempt.task, attempt.item, attempt.attempt) not in self.work.ledger.ended for attempt in attempts)

    def result_of(self, lease: Lease) -> tuple[str, bytes]:
        return self.work.result_of(lease)

    def is_poison(self, lease: Lease) -> bool:
        return self.work.is_poison(lease)

    # --- network.Watch -----------------------------------------------------------------------------------------------

    def create_sent(self, process: Process, request: LaunchRequest) -> None:
        self.tell("create", f"{request.count} for {request.pool} with {request.launch[:8]} is sent")
        for checker in self.checkers:
            checker.create_sent(process, request)

    def create_arrives(self, process: Process, request: LaunchRequest) -> None:
        for checker in self.checkers:
            checker.create_arrives(process, request)

    def delete_sent(self, process: Process, instance_id: str) -> None:
        self.tell("delete", f"{instance_id} is sent")
        for checker in self.checkers:
            checker.delete_sent(process, instance_id)

    def delete_arrives(self, process: Process, instance_id: str) -> None:
        for checker in self.checkers:
            checker.delete_arrives(process, instance_id)

    def listed(self, process: Process, listing: Listing) -> None:
        for checker in self.checkers:
            checker.listed(process, listing)

    def effect(self, what: str, machine: Machine) -> None:
        self.tell("cloud", f"{machine.id} {what}")
        for checker in self.checkers:
            checker.effect(what, machine)


def describe(commit: Commit) -> str:
    parts = [f"{change.verb} {change.object.kind} {change.object.key}" for change in commit.changes]
    parts += [f"launch {launch.id[:8]} {launch.state} {launch.attempts}" for _, launch in commit.launches]
    parts += [f"launch {launch_id[:8]} dropped" for launch_id in commit.dropped]
    parts += [f"leased {row.seq}.{row.item}#{row.attempt}" for row in commit.leases]
    parts += [f"ended {row.seq}.{row.item}#{row.attempt} {row.outcome or 'again'}" for row in commit.ends]
    return f"{commit.name.removeprefix('commit ')}: {', '.join(parts)}"
