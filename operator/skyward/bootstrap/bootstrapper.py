"""All channels of this operator. Implements `contracts.Bootstrapper`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from weakref import WeakValueDictionary

import asyncssh
import structlog

from skyward.bootstrap.channel import Channel
from skyward.contracts import Clock, Ids
from skyward.facts import BootstrapProgress, BootstrapRequest, BootstrapState

log = structlog.get_logger()

_STOP_S = 5.0


@dataclass(slots=True)
class _Entry:
    channel: Channel
    task: asyncio.Task[None] | None = None

    @property
    def is_at_work(self) -> bool:
        """Not started yet, or running: connecting, bootstrapping, or holding a tunnel."""
        if self.channel.progress.state in (BootstrapState.FAILED, BootstrapState.HOST_KEY_MISMATCH):
            return False
        return self.task is None or not self.task.done()


class SshBootstrapper:
    """Channels started before `run` begin with it. Ending `run` closes all of them; what runs on the nodes goes on."""

    def __init__(
        self,
        *,
        client_key: asyncssh.SSHKey | bytes,
        task_endpoint: str | Callable[[], str],
        clock: Clock,
        ids: Ids,
        parallel: int = 20,
    ) -> None:
        """`client_key` is a private key, or one in OpenSSH form; `task_endpoint` the task listener (`HOST:PORT`) that tunnels
        lead to, or how to ask for it once it listens; `parallel` how many nodes of a pool are connected to and sent their files
        at once."""
        self._client_key = asyncssh.import_private_key(client_key) if isinstance(client_key, bytes) else client_key
        self._task_endpoint = task_endpoint
        self._clock = clock
        self._ids = ids
        self._parallel = parallel
        self._gates: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        """One for each pool, held by its channels: hosts that hang hold up no other pool's."""
        self._entries: dict[str, _Entry] = {}
        self._callbacks: list[Callable[[str], None]] = []
        self._group: asyncio.TaskGroup | None = None

    async def run(self, ready: Callable[[], None]) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for entry in self._entries.values():
                    entry.task = group.create_task(self._serve(entry.channel, None))
                ready()
                await asyncio.get_running_loop().create_future()  # until cancelled
        finally:
            self._group = None
            self._entries.clear()

    def start(self, request: BootstrapRequest) -> None:
        entry = self._entries.get(request.node_uid)
        if entry is not None and entry.is_at_work and _goes_on(entry.channel, request):
            return
        channel = Channel(
            request,
            client_key=self._client_key,
            task_endpoint=self._address,
            gate=self._gates.setdefault(request.pool, asyncio.Semaphore(self._parallel)),
            clock=self._clock,
            ids=self._ids,
            changed=lambda: self._tell(request.node_uid),
        )
        previous = entry.task if entry is not None else None
        fresh = self._entries[request.node_uid] = _Entry(channel)
        if self._group is not None:
            fresh.task = self._group.create_task(self._serve(channel, previous))

    def progress(self, node_uid: str) -> BootstrapProgress:
        entry = self._entries.get(node_uid)
        return BootstrapProgress() if entry is None else entry.channel.progress

    async def stop(self, node_uid: str) -> None:
        entry = self._entries.pop(node_uid, None)
        if entry is not None and entry.task is not None:
            await _end(entry.task)

    def subscribe(self, callback: Callable[[str], None]) -> None:
        self._callbacks.append(callback)

    def _address(self) -> tuple[str, int]:
        endpoint = self._task_endpoint
        host, _, port = (endpoint if isinstance(endpoint, str) else endpoint()).rpartition(":")
        return host.strip("[]"), int(port)

    async def _serve(self, channel: Channel, previous: asyncio.Task[None] | None) -> None:
        if previous is not None:
            await _end(previous)
        try:
            await channel.run()
        except Exception:
            log.exception("bootstrap channel broke", node=channel.request.node)
            channel.fail_unexpectedly()

    def _tell(self, node_uid: str) -> None:
        for callback in self._callbacks:
            callback(node_uid)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task}, timeout=_STOP_S)


def _goes_on(channel: Channel, request: BootstrapRequest) -> bool:
    """Whether a channel that is at work already does what is asked. Until it is done, other files (a newer join token) are
    no reason to begin again; afterwards they are: the agent is to be started with them."""
    if channel.progress.state is BootstrapState.DONE:
        return channel.request == request
    return replace(channel.request, files=()) == replace(request, files=())
