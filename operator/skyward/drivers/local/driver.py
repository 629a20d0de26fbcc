"""The embedded default provider: machines are directories of this host, found again by listing them."""

from __future__ import annotations

import asyncio
import os
import platform
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from skyward.api import Json, LocalFaults, LocalOptions
from skyward.contracts import Clock, DriverFacts, HostKeyTrust, Ids, Processes
from skyward.drivers.local.launch import Host, instance_ids, prepare_node, start_server
from skyward.drivers.local.models import (
    LEAVING,
    MARKER,
    POWERED_OFF,
    PROVIDER,
    SERVER_LOG,
    Record,
    has_creation_faults,
    read_port,
    read_process,
)
from skyward.drivers.local.removal import remove_node, sweep
from skyward.errors import (
    InstanceNotFound,
    InsufficientCapacity,
    OutcomeUnknown,
    ProviderUnavailable,
    RequestRejected,
)
from skyward.facts import Instance, InstanceState, LaunchOutcome, LaunchRequest, Listing, Offering

T = TypeVar("T")

_GB = 1000**3
_ARCHITECTURES = {"x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}


def _this_host() -> Offering:
    """Every node has all of it: nothing is set aside for any."""
    return Offering(
        provider=PROVIDER,
        name=PROVIDER,
        vcpus=float(os.cpu_count() or 1),
        memory_gb=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / _GB,
        arch=_ARCHITECTURES.get(platform.machine(), ""),
    )


_OFFERING = _this_host()
_THREADS = 8
"""Of its own: a slow disk or host holds up nothing but local nodes."""
_CALLS = ".calls"
"""Below the root: how many create calls each pool has made, so that rehearsed faults survive a restart."""


class LocalDriver:
    """Implements `contracts.Driver`. Files and processes are handled in threads; nothing waits for a node to boot."""

    facts = DriverFacts(
        name=PROVIDER,
        same_host=True,
        has_token=True,
        visibility_s=0.0,
        absence_s=0.0,
        host_key_trust=HostKeyTrust.VOUCHED,
        resync_s=2.0,
    )

    def __init__(
        self,
        root: Path,
        *,
        processes: Processes,
        clock: Clock,
        ids: Ids,
        python: str,
        uv_dir: str,
        cache: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`environment` is the operator's own: proxies, certificates and package indexes in it reach the nodes too."""
        self._root = root
        self._processes = processes
        self._clock = clock
        self._ids = ids
        self._host = Host(python=python, uv_dir=uv_dir, cache=cache, environment=environment or {})
        self._run = ids.suffix()
        self._swept = False
        self._removing: set[str] = set()
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="local driver")

    async def offerings(self, options: Json) -> tuple[Offering, ...]:
        return (_OFFERING,)

    async def create(self, request: LaunchRequest) -> LaunchOutcome:
        faults = _faults(request)
        try:
            return await self._in_thread(partial(self._create, request, faults))
        except OSError as error:
            raise OutcomeUnknown(f"making local nodes for {request.pool} broke off: {error}", request.launch) from error

    async def get(self, instance_id: str) -> Instance:
        instance = await self._reading(partial(self._read, instance_id))
        if instance is None:
            raise InstanceNotFound(f"there is no local node {instance_id}")
        return instance

    async def list(self, owner: str) -> Listing:
        started_at = self._clock.now()
        instances = await self._reading(partial(self._list, owner))
        return Listing(provider=PROVIDER, instances=instances, started_at=started_at, ended_at=self._clock.now())

    async def delete(self, instance_id: str) -> None:
        if not _is_name(instance_id):
            return
        remove = partial(remove_node, self._root, instance_id, processes=self._processes, suffix=self._suffix())
        self._removing.add(instance_id)
        try:
            await self._reading(remove)
        finally:
            self._removing.discard(instance_id)

    def drifted(self, instance: Instance, template: Json) -> str | None:
        return None

    async def close(self) -> None:
        """Nodes outlive the driver; nothing is held open, and its idle threads end with it."""

    async def _reading(self, work: Callable[[], T]) -> T:
        try:
            return await self._in_thread(work)
        except (OSError, ValueError) as error:
            raise ProviderUnavailable(f"the local nodes in {self._root} cannot be read: {error}") from error

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    # --- in threads ---------------------------------------------------------------------------------------------

    def _create(self, request: LaunchRequest, faults: LocalFaults) -> LaunchOutcome:
        with self._lock:
            return self._create_alone(request, faults)

    def _create_alone(self, request: LaunchRequest, faults: LocalFaults) -> LaunchOutcome:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        call = self._count_call(request.pool_uid) if has_creation_faults(faults) else 0
        ids = instance_ids(request)
        is_replay = any((self._root / instance_id).exists() for instance_id in ids)
        if call < faults.failed_creates and not is_replay:
            raise InsufficientCapacity(
                f"rehearsed fault: create call {call + 1} of {faults.failed_creates} to fail", _OFFERING.id
            )
        instances = tuple(self._create_one(instance_id, request) for instance_id in ids)
        if faults.failed_creates <= call < faults.failed_creates + faults.lost_replies:
            raise OutcomeUnknown("rehearsed fault: the answer to the create call was lost", request.launch)
        return LaunchOutcome(instances=instances)

    def _create_one(self, instance_id: str, request: LaunchRequest) -> Instance:
        prepare_node(
            self._root,
            instance_id,
            request,
            now=self._clock.now(),
            suffix=self._suffix(),
            uv_dir=self._host.uv_dir,
        )
        directory = self._root / instance_id
        if not (directory / LEAVING).exists():
            start_server(directory, host=self._host, processes=self._processes)
        instance = self._read(instance_id)
        if instance is None:
            raise OutcomeUnknown(f"local node {instance_id} vanished while it was made", request.launch)
        return instance

    def _count_call(self, pool_uid: str) -> int:
        """How many create calls this pool had made before this one."""
        if not _is_name(pool_uid):
            raise RequestRejected(f"{pool_uid!r} is no pool uid", "poolUid")
        directory = self._root / _CALLS
        directory.mkdir(mode=0o700, exist_ok=True)
        counter, temporary = directory / pool_uid, directory / f".{pool_uid}"
        calls = int(counter.read_text()) if counter.exists() else 0
        temporary.write_text(str(calls + 1))
        temporary.rename(counter)
        return calls

    def _list(self, owner: str) -> tuple[Instance, ...]:
        self._sweep()
        if not self._root.exists():
            return ()  # the first create makes it
        names = sorted(path.name for path in self._root.iterdir() if _is_name(path.name))
        return tuple(instance for name in names if (instance := self._read(name, owner)) is not None)

    def _read(self, instance_id: str, owner: str | None = None) -> Instance | None:
        if not _is_name(instance_id):
            return None
        directory = self._root / instance_id
        record = Record.read(directory)
        if record is None or owner not in (None, record.owner):
            return None
        state, message = self._state(directory, record)
        if not directory.exists():
            return None  # it was removed while we looked, and what we saw means nothing
        return Instance(
            provider=PROVIDER,
            id=instance_id,
            launch=record.launch,
            state=state,
            address="127.0.0.1",
            port=read_port(directory) or 0,
            user=record.user,
            host_key=record.host_key,
            created_at=record.created_at,
            offering=_OFFERING.id,
            message=message,
            notice=record.notice(directory, self._clock.now()),
            pool=record.pool,
            epoch=record.epoch,
        )

    def _state(self, directory: Path, record: Record) -> tuple[InstanceState, str]:
        server = read_process(directory)
        if (directory / LEAVING).exists():
            if record.id in self._removing:
                return InstanceState.LEAVING, "its processes and files are being removed"
            # Nobody else removes local nodes: said so, it is deleted again at once instead of being waited for.
            return InstanceState.FAILED, "its removal was interrupted"
        if record.is_taken(directory, self._clock.now()):
            self._processes.kill_tree(server, marker=(MARKER, record.id))
            return InstanceState.PREEMPTED, "rehearsed fault: the node was taken away like a spot instance"
        if server is None:
            return InstanceState.STARTING, "its SSH server is not started yet"
        if not self._processes.is_alive(server):
            return InstanceState.FAILED, _epitaph(directory)
        if read_port(directory) is None:
            return InstanceState.STARTING, "its SSH server is starting"
        return InstanceState.UP, ""

    def _sweep(self) -> None:
        """Once: remove what earlier operators left half made or half removed. Temporary names of this one are in use."""
        with self._lock:
            if not self._swept:
                sweep(self._root, keep=lambda name: name.endswith(self._run))
                self._swept = True

    def _suffix(self) -> str:
        return f"{self._ids.suffix()}-{self._run}"


def _faults(request: LaunchRequest) -> LocalFaults:
    try:
        return LocalOptions.model_validate(request.options).faults
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in ("options", *first["loc"]))
        raise RequestRejected(f"{field}: {first['msg']}", field) from error


def _is_name(text: str) -> bool:
    """Whether this can be the name of a directory of ours: nothing hidden, no path."""
    return bool(text) and not text.startswith(".") and "/" not in text


def _epitaph(directory: Path) -> str:
    """Why the server ended, as far as its log knows: a server that had served says so itself when it was switched off."""
    try:
        lines = (directory / SERVER_LOG).read_text(errors="replace").split("\n")
    except FileNotFoundError:
        lines = []
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    tells = last == POWERED_OFF or read_port(directory) is None
    return f"its SSH server stopped: {last[:200]}" if last and tells else "its SSH server stopped"
