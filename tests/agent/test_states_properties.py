"""The agent's mind under random but possible histories."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from skyward_agent.states.appetite import MOST_AHEAD, MOST_AT_HAND
from skyward_agent.states.commands import (
    Command,
    Deliver,
    Exit,
    Forget,
    RunAttempt,
    Send,
    SpawnChild,
    Spool,
    StopChild,
    TakeBack,
)
from skyward_agent.states.machine import AgentMachine
from skyward_agent.states.stimuli import (
    Abandoned,
    Acknowledged,
    ChildDied,
    ChildFinished,
    ChildReady,
    Configured,
    Disconnected,
    Dismissed,
    Leased,
    MemoryExceeded,
    Recalled,
    Stimulus,
    Superseded,
    TakenBack,
    Terminated,
    Tick,
    Welcomed,
)
from skyward_agent.wire import messages as wire
from skyward_agent.wire.messages import (
    AttemptId,
    Configure,
    Failure,
    Function,
    Lease,
    Report,
    Returned,
    Want,
)
from tests.agent.test_states import CONFIGURE, DATA, DIGEST, lease


class World:
    """Random but possible stimuli for one machine, and what must hold after each."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self.configure = replace(CONFIGURE, lanes=self.random.randint(1, 3))
        self.machine = AgentMachine(cpus=2, now=0.0)
        self.connected = False
        self.credit = 0
        self.children: dict[int, int] = {}
        self.unready: set[int] = set()
        self.running: dict[int, list[Lease]] = {}
        """By lane: what its child was given and has not ended, in order."""
        self.blocked: set[int] = set()
        """Lanes whose children begin nothing more: something of their last attempt lives on."""
        self.answers: list[Stimulus] = []
        self.leased: set[AttemptId] = set()
        self.voided: set[AttemptId] = set()
        self.returned: set[AttemptId] = set()
        self.received = 0
        self.reported: dict[AttemptId, Report] = {}
        self.acknowledged: set[AttemptId] = set()
        self.begun: set[AttemptId] = set()
        self.leaving = False
        self.exited = False
        self.serial = 0

    def step(self) -> None:
        self.now += self.random.choice([0.0, 0.01, 0.5, 3.0])
        self.tell(self.random.choice(self.possible()))

    def possible(self) -> list[Stimulus]:
        stimuli: list[Stimulus] = [Tick()]
        if self.connected:
            held: list[AttemptId] = sorted(self.leased - self.acknowledged, key=str)
            stimuli += [Disconnected(), Acknowledged(tuple(self.reported)), Abandoned(tuple(held[:1]), "")]
            stimuli.append(Recalled(tuple(held[-self.random.randint(1, 9) :])))
            if self.credit:
                stimuli.append(self.grant())
            stimuli.append(Configured(self.changed()))
        else:
            mine = self.machine.held()
            configure = self.changed()
            stimuli += [Welcomed(configure, ()), Welcomed(configure, mine[:1])]
        for lane, child in self.children.items():
            if lane in self.unready:
                stimuli += [ChildReady(lane, child)] * 3
            elif self.running.get(lane) and lane not in self.blocked:
                stimuli += [self.finished(lane)] * 3 + [MemoryExceeded(lane, child, 1, 2)]
            stimuli.append(ChildDied(lane, child, wire.CHILD_DIED, Failure(wire.CHILD_DIED, ""), 0.0))
        if self.random.random() < 0.02:
            ends: tuple[Stimulus, ...] = (Dismissed(""), Terminated(), Superseded())
            stimuli.append(self.random.choice(ends))
        return stimuli

    def finished(self, lane: int) -> ChildFinished:
        clean = self.random.random() < 0.9
        busy_s = self.random.choice([0.0001, 0.0001, 0.002, 0.5])
        return ChildFinished(lane, self.children[lane], wire.SUCCEEDED, b"", None, 0.0, clean, busy_s)

    def unbegun(self, lane: int) -> tuple[AttemptId, ...]:
        """Take from its child what it has not begun."""
        given = self.running.get(lane, [])
        has_begun = bool(given) and given[0].id in self.begun
        kept = 0 if lane in self.blocked or (not has_begun and self.random.random() < 0.2) else 1
        self.begun |= {one.id for one in given[:kept]}
        self.running[lane] = given[:kept]
        return tuple(one.id for one in given[kept:])

    def take_back(self, lane: int) -> None:
        """Its child may end what it is at just before."""
        taken = TakenBack(lane, self.children[lane], self.unbegun(lane), wrote=self.random.random() < 0.1)
        if self.running[lane] and self.random.random() < 0.3:
            self.answers.append(self.finished(lane))
            self.voided.discard(self.running[lane][0].id)  # too late to stop it: the gateway refuses its report
        self.answers.append(taken)

    def grant(self) -> Stimulus:
        count = self.random.randint(1, min(self.credit, 9))
        self.serial += count
        leases = tuple(
            lease(self.serial - n, timeout_s=self.random.choice([None, 1.0]), alone=self.random.random() < 0.1)
            for n in range(count)
        )
        return Leased(leases, (Function(DIGEST, DATA),) if self.random.random() < 0.7 else ())

    def changed(self) -> Configure:
        lanes, schedulable = self.random.randint(1, 3), self.random.random() < 0.8
        return replace(CONFIGURE, lanes=lanes, schedulable=schedulable)

    def tell(self, stimulus: Stimulus) -> None:
        if isinstance(stimulus, ChildDied):
            stimulus = replace(stimulus, unbegun=self.unbegun(stimulus.lane))
        self.answers.append(stimulus)
        while self.answers:
            self.tell_one(self.answers.pop(0))

    def tell_one(self, stimulus: Stimulus) -> None:
        self.before(stimulus)
        for command in self.machine.handle(stimulus, self.now):
            self.obey(command)
        if self.answers:
            return
        running = {one.id for given in self.running.values() for one in given}
        held = set(self.machine.held())
        assert running - self.voided <= held | {one for one in running if self.leaving}
        if not self.leaving:
            assert self.leased - self.acknowledged - self.voided - self.returned <= held, "a lease was lost"
            assert not held & self.returned, "what was given back is not held"
        if self.leaving and not self.children:
            assert self.exited

    def before(self, stimulus: Stimulus) -> None:
        match stimulus:
            case Welcomed(configure, abandon):
                self.connected, self.credit, self.received, self.configure = True, 0, 0, configure
                self.voided |= set(abandon)
            case Disconnected():
                self.connected = False
            case Configured(configure):
                self.configure = configure
            case Leased(leases, _):
                self.credit -= len(leases)
                self.received += len(leases)
                self.leased |= {one.id for one in leases}
            case Acknowledged(attempts):
                self.acknowledged |= set(attempts)
            case ChildReady(lane, _):
                self.unready.discard(lane)
            case ChildFinished(lane=lane, clean=clean):
                self.begun.add(self.running[lane].pop(0).id)
                if not clean:
                    self.blocked.add(lane)
            case ChildDied(lane, _):
                self.children.pop(lane)
                self.unready.discard(lane)
                self.running.pop(lane, None)
            case Dismissed() | Terminated() | Superseded():
                self.leaving = True

    def obey(self, command: Command) -> None:
        assert not self.exited, "nothing comes after the exit"
        match command:
            case SpawnChild(lane, child):
                assert not self.leaving, "nothing is started any more"
                assert lane not in self.children
                self.children[lane] = child
                self.blocked.discard(lane)
                self.unready.add(lane)
            case RunAttempt(lane, child, one, _):
                assert not self.leaving, "nothing runs any more"
                assert self.children[lane] == child
                assert lane not in self.unready
                given = self.running.setdefault(lane, [])
                assert not given or not (one.alone or given[0].alone), "what must be alone is alone"
                assert len(given) < MOST_AT_HAND
                assert one.id not in {other.id for others in self.running.values() for other in others}
                assert one.id not in self.begun, "an attempt runs once"
                assert one.id not in self.returned, "what was given back never begins"
                given.append(one)
            case TakeBack(lane, child):
                assert self.children[lane] == child
                self.take_back(lane)
            case Deliver(report):
                assert self.connected
                assert report.id in self.leased
                assert report.id not in self.voided
                assert report.id not in self.returned, "what was given back is not reported"
                assert self.reported.setdefault(report.id, report) == report, "one outcome for ever"
                assert report.id not in {one.id for given in self.running.values() for one in given}
            case Spool(report):
                self.reported.setdefault(report.id, report)
            case Send(Returned(attempts)):
                assert self.connected
                assert set(attempts) <= self.leased - self.begun - set(self.reported)
                self.returned |= set(attempts)
            case Send(Want(capacity, received)):
                assert self.connected
                assert received == self.received
                if capacity:
                    assert self.configure.schedulable
                    assert not self.leaving
                unfinished = len(self.leased - set(self.reported) - self.voided - self.returned)
                assert capacity <= max(0, (1 + MOST_AHEAD) * self.configure.lanes - unfinished)
                self.credit = capacity
            case Send():
                assert self.connected
            case Exit():
                assert not self.children, "no child outlives the agent"
                self.exited = True
            case StopChild() | Forget():
                pass


@pytest.mark.parametrize("seed", range(300))
def test_every_lease_runs_at_most_once_and_ends_in_one_report(seed: int) -> None:
    world = World(seed)

    for _ in range(200):
        if world.exited:
            break
        world.step()
