"""SSH as one operator process has it: channels that make machines run an agent, and hold its tunnel. They end with the process;
what they did to a machine stays."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from skyward.api import Phase
from skyward.facts import BootstrapProgress, BootstrapRequest, BootstrapState
from tests.simulation.hosts import Host
from tests.simulation.process import Process, When

if TYPE_CHECKING:
    from tests.simulation.world import World

_CONNECT_S = (0.2, 1.5)
_RETRY_S = 3.0
_STEPS = ("environment", "packages", "agent")


class SimBootstrapper:
    """Implements `contracts.Bootstrapper`."""

    def __init__(self, world: World, process: Process) -> None:
        self._world = world
        self._process = process
        self._stream = world.chance.stream("bootstrap")
        self._requests: dict[str, BootstrapRequest] = {}
        self._progress: dict[str, BootstrapProgress] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._callbacks: list[Callable[[str], None]] = []
        self._group: asyncio.TaskGroup | None = None

    async def run(self, ready: Callable[[], None]) -> None:
        async with asyncio.TaskGroup() as self._group:
            ready()
            await asyncio.Event().wait()

    def start(self, request: BootstrapRequest) -> None:
        uid = request.node_uid
        known = self._requests.get(uid)
        running = self._running.get(uid)
        if known == request and running is not None and not running.done():
            return
        if running is not None:
            running.cancel()
        assert self._group is not None, "the bootstrapper does not run"
        self._requests[uid] = request
        self._progress[uid] = BootstrapProgress(BootstrapState.CONNECTING)
        self._running[uid] = self._group.create_task(self._serve(request), name=f"channel to {request.node}")

    def progress(self, node_uid: str) -> BootstrapProgress:
        return self._progress.get(node_uid, BootstrapProgress())

    async def stop(self, node_uid: str) -> None:
        self._requests.pop(node_uid, None)
        self._progress.pop(node_uid, None)
        running = self._running.pop(node_uid, None)
        if running is not None:
            running.cancel()
            await asyncio.wait((running,))

    def subscribe(self, callback: Callable[[str], None]) -> None:
        self._callbacks.append(callback)

    # --- one channel -------------------------------------------------------------------------------------------------

    async def _serve(self, request: BootstrapRequest) -> None:
        host = self._world.hosts.host(request.provider_id)
        try:
            async with asyncio.timeout(request.deadline_s):
                await self._make(request, host)
        except TimeoutError:
            progress = self.progress(request.node_uid)
            self._tell(request, BootstrapState.FAILED, progress.step, message="the deadline passed")
        if self.progress(request.node_uid).state is not BootstrapState.DONE or not request.tunnel:
            return
        try:
            await self._hold(request, host)
        finally:
            if host.tunnel is self._process:
                host.tunnel = None

    async def _make(self, request: BootstrapRequest, host: Host) -> None:
        faults = self._world.faults
        await self._reach(request, host)
        if faults.strikes("host-key"):
            self._tell(request, BootstrapState.HOST_KEY_MISMATCH, message="the host showed another key")
            return
        for step in _STEPS:
            self._tell(request, BootstrapState.RUNNING, step)
            seconds = self._between(0.5, 4.0)
            if faults.strikes("slow-bootstrap"):
                seconds = faults.between("slow-bootstrap", 10.0, 300.0)
            if faults.strikes("bootstrap-hangs"):
                await asyncio.Event().wait()
            await asyncio.sleep(seconds)
            while not host.is_reachable:
                await self._reach(request, host)  # the step went on without us, or is run again: it is idempotent
                self._tell(request, BootstrapState.RUNNING, step)
            if faults.strikes("bootstrap-fails") or self._world.is_broken(request):
                self._tell(request, BootstrapState.FAILED, step, message=f"step {step} failed", tail="no such package")
                return
        dies = self._process.touch("ssh agent")
        if dies(When.BEFORE):
            await self._process.halt()
        self._deliver(request, host)
        if dies(When.EFFECT) or dies(When.AFTER):
            await self._process.halt()
        self._world.coverage.reach("bootstrap done")
        self._tell(request, BootstrapState.DONE, "agent", phases=(Phase(name="environment", seconds=1.0),))

    async def _reach(self, request: BootstrapRequest, host: Host) -> None:
        self._tell(request, BootstrapState.CONNECTING)
        await asyncio.sleep(self._between(*_CONNECT_S))
        while not host.is_reachable:  # noqa: ASYNC110 - as a real channel does: it tries again
            await asyncio.sleep(_RETRY_S)
        host.broken.clear()

    def _deliver(self, request: BootstrapRequest, host: Host) -> None:
        identity = next(json.loads(data) for path, data, _ in request.files if path.endswith("agent.json"))
        host.disk.node, host.disk.join_token = identity["node"], identity["join_token"]
        if request.tunnel:
            host.tunnel = self._process
        host.start_agent()

    async def _hold(self, request: BootstrapRequest, host: Host) -> None:
        """The tunnel breaks with the machine, and is opened again when it comes back."""
        while True:
            await host.broken.wait()
            if host.tunnel is self._process:
                host.tunnel = None
            await self._reach(request, host)
            host.tunnel = self._process
            self._tell(request, BootstrapState.DONE, "agent")

    def _tell(
        self,
        request: BootstrapRequest,
        state: BootstrapState,
        step: str = "",
        *,
        message: str = "",
        tail: str = "",
        phases: tuple[Phase, ...] = (),
    ) -> None:
        fingerprint = "" if state is BootstrapState.CONNECTING else "SHA256:x"
        told = BootstrapProgress(state, step, phases, message, tail, fingerprint)
        if self._progress.get(request.node_uid) == told:
            return
        self._progress[request.node_uid] = told
        for callback in self._callbacks:
            callback(request.node_uid)

    def _between(self, low: float, high: float) -> float:
        return low + (high - low) * self._stream.random()
