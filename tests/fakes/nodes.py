"""What lives on the machines of the fake cloud: bootstraps and agents. Agents outlive the operator; channels do not."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from skyward.api import Phase
from skyward.contracts import Clock, Holder, TaskQueue
from skyward.facts import AgentSession, BootstrapProgress, BootstrapRequest, BootstrapState, CheckState, NodeConfig
from skyward_agent.wire.messages import SUCCEEDED, AttemptId, Lease, Report, Result
from tests.fakes.cloud import FakeCloud
from tests.fakes.ids import FakeIds


@dataclass
class FakeAgent:
    node_uid: str
    instance: str
    incarnation: str
    alive: bool = True
    running: dict[AttemptId, Lease] = field(default_factory=dict)
    """What it holds, until its report is acknowledged."""
    finished: set[AttemptId] = field(default_factory=set)


class FakeMachines:
    """The inside of every machine: which agents run, whatever the operator believes."""

    def __init__(self, cloud: FakeCloud, ids: FakeIds, *, bootstrap_s: float = 5.0, warm_s: float = 1.0) -> None:
        self.cloud = cloud
        self.bootstrap_s = bootstrap_s
        self.warm_s = warm_s
        self.work_s = 1.0
        self.failing_bootstraps = 0
        """So many next bootstraps end in a failing step."""
        self.always_fails: Callable[[BootstrapRequest], bool] = lambda request: False
        self.agents: dict[str, FakeAgent] = {}
        self.said: dict[str, dict[str, Any]] = {}
        """What each node's agent says of it besides: fields of its session, by node uid. Checks pass unless it says so."""
        self.executed: Counter[tuple[str, int]] = Counter()
        self.link: FakeLink | None = None
        self._ids = ids
        cloud.on_gone = self._machine_gone

    def start_agent(self, node_uid: str, instance: str) -> None:
        """As on a real node: a second agent exits while one runs."""
        if instance not in self.cloud.alive or self._runs(node_uid):
            return
        self.agents[node_uid] = FakeAgent(node_uid, instance, self._ids.uid())
        if self.link is not None:
            self.link.admit(node_uid)

    def say(self, node_uid: str, **fields: Any) -> None:
        """With its next heartbeat, and from then on."""
        self.said[node_uid] = {**self.said.get(node_uid, {}), **fields}
        if self.link is not None:
            self.link.hear(node_uid)

    def kill_agent(self, node_uid: str) -> None:
        self._end(self.agents[node_uid])

    def _runs(self, node_uid: str) -> bool:
        agent = self.agents.get(node_uid)
        return agent is not None and agent.alive

    def _machine_gone(self, instance: str) -> None:
        for agent in self.agents.values():
            if agent.instance == instance and agent.alive:
                self._end(agent)

    def _end(self, agent: FakeAgent) -> None:
        agent.alive = False
        agent.running.clear()
        agent.finished.clear()
        if self.link is not None:
            self.link.lost(agent.node_uid)


class FakeLink:
    """The gateway of one operator, with the agents behind it."""

    def __init__(self, machines: FakeMachines, *, reconnect_s: float = 2.0, clock: Clock | None = None) -> None:
        self.configs: dict[str, NodeConfig] = {}
        self.dismissed: set[str] = set()
        self._machines = machines
        self._clock: Clock = clock or machines.cloud.clock
        self._reconnect_s = reconnect_s
        self._sessions: dict[str, AgentSession] = {}
        self._callbacks: list[Callable[[str], None]] = []
        self._group: asyncio.TaskGroup | None = None
        self._queue: TaskQueue | None = None
        self._news = asyncio.Event()
        self._holder: Callable[[str], Holder | None] = lambda node_uid: None

    def serve(self, queue: TaskQueue, holder: Callable[[str], Holder | None]) -> None:
        self._queue = queue
        self._holder = holder
        queue.listen(self)

    def work_available(self, pool: str, node_uid: str | None) -> None:
        self._tell_all()

    def items_finished(self, results: Sequence[Result]) -> None:
        return None

    def abandon(self, node_uid: str, attempts: Sequence[AttemptId], reason: str) -> None:
        agent = self._machines.agents.get(node_uid)
        if agent is not None:
            _drop(agent, attempts)

    def task_closed(self, task: str, items: int) -> None:
        return None

    def _tell_all(self) -> None:
        """Wake every agent that waits; the next wait is for something newer."""
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def run(self, ready: Callable[[], None]) -> None:
        self._machines.link = self
        try:
            async with asyncio.TaskGroup() as self._group:
                ready()
                await self._clock.sleep(self._reconnect_s)
                for node_uid in tuple(self._machines.agents):
                    self.admit(node_uid)
                await asyncio.Event().wait()
        finally:
            self._machines.link = None

    def session(self, node_uid: str) -> AgentSession | None:
        return self._sessions.get(node_uid)

    def sessions(self) -> Mapping[str, AgentSession]:
        return self._sessions

    def configure(self, node_uid: str, config: NodeConfig) -> None:
        if self.configs.get(node_uid) != config:
            self.configs[node_uid] = config
            self._tell_all()
            self.hear(node_uid)
        self.admit(node_uid)

    def dismiss(self, node_uid: str, reason: str) -> None:
        self.dismissed.add(node_uid)
        agent = self._machines.agents.get(node_uid)
        if agent is not None and agent.alive:
            self._machines.kill_agent(node_uid)

    def subscribe(self, callback: Callable[[str], None]) -> None:
        self._callbacks.append(callback)

    def admit(self, node_uid: str) -> None:
        agent = self._machines.agents.get(node_uid)
        if agent is None or not agent.alive or self._group is None:
            return
        if node_uid not in self.configs or node_uid in self.dismissed:
            return
        known = self._sessions.get(node_uid)
        if known is not None and known.connected and known.incarnation == agent.incarnation:
            return
        now = self._clock.now()
        self._sessions[node_uid] = AgentSession(node_uid, agent.incarnation, True, now, now, "1", "3.11", lanes=1)
        self._group.create_task(self._serve(agent))
        self._changed(node_uid)

    def lost(self, node_uid: str) -> None:
        known = self._sessions.get(node_uid)
        if known is not None and known.connected:
            self._sessions[node_uid] = replace(known, connected=False, ready=False, since=self._clock.now())
            self._tell_all()
            self._changed(node_uid)

    def hear(self, node_uid: str) -> None:
        """A heartbeat that says something new."""
        known = self._sessions.get(node_uid)
        if known is None or not known.connected or not known.ready:
            return
        self._sessions[node_uid] = replace(known, **self._words(node_uid))
        self._changed(node_uid)

    def _words(self, node_uid: str) -> dict[str, Any]:
        is_checked = self.configs[node_uid].health_check is not None
        check = CheckState.PASSING if is_checked else CheckState.UNKNOWN
        return {"check": check, **self._machines.said.get(node_uid, {})}

    def beat(self) -> None:
        """Every agent is heard; nobody is told."""
        for uid, session in self._sessions.items():
            if session.connected:
                self._sessions[uid] = replace(session, last_heartbeat=self._clock.now())

    async def _serve(self, agent: FakeAgent) -> None:
        await self._clock.sleep(self._machines.warm_s)
        if not self._is_current(agent):
            return
        words = {"ready": True, **self._words(agent.node_uid)}
        self._sessions[agent.node_uid] = replace(self._sessions[agent.node_uid], **words)
        self._changed(agent.node_uid)
        holder = self._holder(agent.node_uid)
        if self._queue is None or holder is None:
            return
        holder = replace(holder, incarnation=agent.incarnation)
        _drop(agent, await self._queue.resume(holder, tuple(agent.running)))
        while self._is_current(agent):
            await self._turn(agent, holder, self._queue)

    async def _turn(self, agent: FakeAgent, holder: Holder, queue: TaskQueue) -> None:
        """Take one attempt, work on it, report until it is acknowledged."""
        if not agent.running and self.configs[agent.node_uid].schedulable:
            leases = await queue.lease(holder, 1)
            agent.running = {lease.id: lease for lease in leases}
            await queue.started(holder, tuple(agent.running))
        if not agent.running:
            await self._news.wait()
            return
        await self._clock.sleep(self._machines.work_s)
        if not self._is_current(agent):
            return
        for attempt in agent.running.keys() - agent.finished:
            agent.finished.add(attempt)
            self._machines.executed[(attempt.task, attempt.item)] += 1
        if agent.finished:
            reports = [Report(attempt, SUCCEEDED, value=b"done") for attempt in agent.finished]
            _drop(agent, await queue.report(holder, reports))

    def _is_current(self, agent: FakeAgent) -> bool:
        return agent.alive and self._machines.agents.get(agent.node_uid) is agent and self._machines.link is self

    def _changed(self, node_uid: str) -> None:
        for callback in self._callbacks:
            callback(node_uid)


def _drop(agent: FakeAgent, attempts: Sequence[AttemptId]) -> None:
    for attempt in attempts:
        agent.running.pop(attempt, None)
        agent.finished.discard(attempt)


class FakeBootstrapper:
    """Channels of one operator. What a bootstrap started on a machine stays when the operator dies."""

    def __init__(self, machines: FakeMachines) -> None:
        self.requests: dict[str, BootstrapRequest] = {}
        """The newest of each node uid."""
        self._machines = machines
        self._clock = machines.cloud.clock
        self._progress: dict[str, BootstrapProgress] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._callbacks: list[Callable[[str], None]] = []
        self._group: asyncio.TaskGroup | None = None

    async def run(self, ready: Callable[[], None]) -> None:
        async with asyncio.TaskGroup() as self._group:
            ready()
            await asyncio.Event().wait()

    def start(self, request: BootstrapRequest) -> None:
        state = self.progress(request.node_uid).state
        if state in (BootstrapState.CONNECTING, BootstrapState.RUNNING):
            return
        assert self._group is not None
        self.requests[request.node_uid] = request
        self._progress[request.node_uid] = BootstrapProgress(BootstrapState.CONNECTING)
        self._running[request.node_uid] = self._group.create_task(self._bootstrap(request))

    def progress(self, node_uid: str) -> BootstrapProgress:
        return self._progress.get(node_uid, BootstrapProgress())

    async def stop(self, node_uid: str) -> None:
        self._progress.pop(node_uid, None)
        running = self._running.pop(node_uid, None)
        if running is not None:
            running.cancel()

    def subscribe(self, callback: Callable[[str], None]) -> None:
        self._callbacks.append(callback)

    async def _bootstrap(self, request: BootstrapRequest) -> None:
        machines = self._machines
        identity = next(json.loads(data) for path, data, _ in request.files if path.endswith("agent.json"))
        assert identity["node"] == request.node_uid
        self._tell(request.node_uid, BootstrapProgress(BootstrapState.RUNNING, "environment"))
        await self._clock.sleep(machines.bootstrap_s)
        if machines.failing_bootstraps or machines.always_fails(request):
            machines.failing_bootstraps = max(0, machines.failing_bootstraps - 1)
            failed = BootstrapProgress(BootstrapState.FAILED, "pip", message="step pip failed", tail="no such package")
            self._tell(request.node_uid, failed)
            return
        machines.start_agent(request.node_uid, request.provider_id)
        phases = (Phase(name="environment", seconds=machines.bootstrap_s),)
        self._tell(
            request.node_uid, BootstrapProgress(BootstrapState.DONE, "agent", phases, host_key_fingerprint="SHA256:x")
        )

    def _tell(self, node_uid: str, progress: BootstrapProgress) -> None:
        self._progress[node_uid] = progress
        for callback in self._callbacks:
            callback(node_uid)


class FakeCredentials:
    """Tokens in memory, one per call."""

    def __init__(self, ids: FakeIds) -> None:
        self.revoked: set[str] = set()
        self._ids = ids
        self._joins: dict[str, str] = {}

    async def issue_join(self, node_uid: str, valid_s: float) -> str:
        token = self._ids.token()
        self._joins[token] = node_uid
        return token

    async def exchange(self, token: str, node_uid: str, incarnation: str) -> str | None:
        return self._ids.token() if self._joins.get(token) == node_uid else None

    async def node_of(self, token: str) -> str | None:
        return None

    async def user_of(self, token: str) -> str | None:
        return None

    async def revoke(self, subject: str) -> None:
        self.revoked.add(subject)
