"""A small world behind the API server: store, writer, queue and output in memory, and a server on a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

from skyward.api import (
    FINALIZER,
    Json,
    Object,
    ObjectMeta,
    Pool,
    PoolSpec,
    Task,
    TaskItem,
    TaskPhase,
    TaskSpec,
    TaskStatus,
    to_time,
)
from skyward.apiserver import ApiServer
from skyward.client.config import ClientConfig
from skyward.contracts import Change, Manifest, Verb
from skyward.errors import AlreadyExists, Conflict, HistoryExpired, Invalid, NotFound, ProviderError
from skyward.facts import Decision, DecisionRecord, Offering, Revision
from skyward.gateway.output import MemoryOutputLog
from skyward.kit.catalog import Catalog
from skyward.system.clock import SystemClock, SystemIds
from skyward.system.files import SystemFiles
from skyward.system.keys import Keys, load_keys
from skyward_agent.wire.messages import Output

T = TypeVar("T")
TOKEN = "user-token-of-the-tests"
NODE_TOKEN = "node-token-of-the-tests"
NOW = 1_790_000_000.0


class MemoryStore:
    """Objects and their change log; transactions run at once."""

    installation = "installation-uid"

    def __init__(self) -> None:
        self.objects: dict[tuple[type[Object], str], Object] = {}
        self.log: list[Change] = []
        self.revisions: list[Revision] = []
        self.decided: list[DecisionRecord] = []
        self.floor = 0
        self.newest = 0
        self._callbacks: list[Callable[[Sequence[Change]], None]] = []

    async def run(self, work: Callable[[Any], T], *, power_safe: bool = False) -> T:
        before = len(self.log)
        result = work(_Transaction(self))
        fresh = self.log[before:]
        if fresh:
            for callback in tuple(self._callbacks):
                callback(fresh)
        return result

    async def read(self, work: Callable[[Any], T]) -> T:
        return work(_Transaction(self))

    async def changes(self, since: int, limit: int = 1000) -> Sequence[Change]:
        if since < self.floor:
            raise HistoryExpired(f"changes after {since} are no longer kept: list again")
        return [change for change in self.log if change.resource_version > since][:limit]

    def subscribe(self, callback: Callable[[Sequence[Change]], None]) -> Callable[[], None]:
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    def expire(self) -> None:
        """Forget the whole history."""
        self.log.clear()
        self.floor = self.newest

    @property
    def followers(self) -> int:
        return len(self._callbacks)


class _Transaction:
    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def get(self, kind: type[Object], key: str) -> Any:
        return self._store.objects.get((kind, key))

    def list(self, kind: type[Object], namespace: str | None = None) -> tuple[Any, ...]:
        found = [obj for (word, _), obj in self._store.objects.items() if word is kind]
        chosen = [obj for obj in found if namespace in (None, obj.metadata.namespace)]
        return tuple(sorted(chosen, key=lambda obj: (obj.metadata.namespace, obj.metadata.name)))

    def version(self) -> int:
        return self._store.newest

    def put(self, obj: Any, *, expect: str | None = None) -> Any:
        old = self.get(type(obj), obj.key)
        if expect is not None and (old is None or old.metadata.resource_version != expect):
            raise Conflict(f"{obj.key} changed meanwhile")
        if old is not None and old.replace(metadata=old.metadata.replace(resource_version="")) == obj.replace(
            metadata=obj.metadata.replace(resource_version="")
        ):
            return old
        return self._write(obj, Verb.ADDED if old is None else Verb.MODIFIED)

    def revisions(self, pool_uid: str) -> tuple[Revision, ...]:
        return tuple(one for one in self._store.revisions if one.pool_uid == pool_uid)

    def put_revision(self, revision: Revision) -> None:
        self._store.revisions.append(revision)

    def drop_revisions(self, pool_uid: str, before: int) -> None:
        self._store.revisions = [
            one for one in self._store.revisions if one.pool_uid != pool_uid or one.number >= before
        ]

    def delete(self, obj: Object) -> None:
        if self._store.objects.pop((type(obj), obj.key), None) is not None:
            self._write(obj, Verb.DELETED)

    def decisions(self, uid: str) -> tuple[DecisionRecord, ...]:
        return tuple(record for record in self._store.decided if record.uid == uid)

    def decisions_of(self, kind: str, key: str) -> tuple[DecisionRecord, ...]:
        return tuple(record for record in self._store.decided if (record.kind, record.key) == (kind, key))

    def last_decision(self, uid: str, decision: Decision) -> DecisionRecord | None:
        same = [record for record in self.decisions(uid) if record.decision.rule == decision.rule]
        return same[-1] if same else None

    def put_decision(self, record: DecisionRecord) -> None:
        self._store.decided.append(record)

    def _write(self, obj: Any, verb: Verb) -> Any:
        store = self._store
        store.newest += 1
        stamped = obj.replace(metadata=obj.metadata.replace(resource_version=str(store.newest)))
        if verb is not Verb.DELETED:
            store.objects[type(obj), obj.key] = stamped
        store.log.append(Change(store.newest, verb, stamped))
        return stamped


class MemoryWriter:
    """What intake does, without files: validates, stores, and lets a removed pool end its life by `finish`."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.written: list[Manifest] = []

    async def write(
        self, manifest: Manifest, *, create: bool, expect: str | None = None, dry_run: bool = False
    ) -> Pool:
        key = f"{manifest.namespace}/{manifest.name}"
        old = await self.store.read(lambda tx: tx.get(Pool, key))
        if create and old is not None:
            raise AlreadyExists(f'pools.skyward.dev "{manifest.name}" already exists')
        if not create and old is None:
            raise NotFound(f'pools.skyward.dev "{manifest.name}" not found')
        if expect is not None and old is not None and expect != old.metadata.resource_version:
            raise Conflict(f"pool {key} changed meanwhile")
        try:
            spec = PoolSpec.model_validate(manifest.spec)
        except ValueError as error:
            causes = tuple(
                (".".join(("spec", *map(str, cause["loc"]))), str(cause["msg"]))
                for cause in error.errors()  # type: ignore[attr-defined]
            )
            raise Invalid(f"pool {key} is not valid: {causes[0][0]}: {causes[0][1]}", causes) from None
        pool = _pool(manifest, spec, old)
        if dry_run:
            return pool
        self.written.append(manifest)
        return await self.store.run(lambda tx: tx.put(pool))

    async def remove(self, namespace: str, name: str, *, uid: str | None = None, dry_run: bool = False) -> Pool:
        pool = await self.store.read(lambda tx: tx.get(Pool, f"{namespace}/{name}"))
        if pool is None:
            raise NotFound(f'pools.skyward.dev "{name}" not found')
        if uid not in (None, pool.metadata.uid):
            raise Conflict(f"pool {pool.key} is another one now")
        gone = pool.replace(metadata=pool.metadata.replace(deletion_timestamp=to_time(NOW)))
        return gone if dry_run else await self.store.run(lambda tx: tx.put(gone))


def _pool(manifest: Manifest, spec: PoolSpec, old: Pool | None) -> Pool:
    if old is None:
        meta = ObjectMeta(
            name=manifest.name,
            namespace=manifest.namespace,
            uid=f"uid-{manifest.name}",
            creation_timestamp=to_time(NOW),
            finalizers=(FINALIZER,),
            labels=manifest.labels,
            annotations=manifest.annotations,
        )
        return Pool(metadata=meta, spec=spec)
    meta = old.metadata.replace(
        labels=manifest.labels,
        annotations=manifest.annotations,
        generation=old.metadata.generation + (spec != old.spec),
    )
    return old.replace(metadata=meta, spec=spec)


class MemoryQueue:
    """Only what the API asks of the queue."""

    def __init__(self) -> None:
        self.kept: dict[str, Task] = {}
        self.holding: dict[str, int] = {}
        self.parts: dict[str, tuple[TaskItem, ...]] = {}
        """Items, where a test gives them."""

    def add(self, name: str, phase: TaskPhase = TaskPhase.RUNNING, namespace: str = "default") -> Task:
        meta = ObjectMeta(name=name, namespace=namespace, uid=f"task-{name}", creation_timestamp=to_time(NOW))
        task = Task(metadata=meta, spec=TaskSpec(pool="hello", name=name), status=TaskStatus(phase=phase))
        self.kept[task.key] = task
        return task

    async def tasks(self, namespace: str | None = None) -> tuple[Task, ...]:
        return tuple(task for task in self.kept.values() if namespace in (None, task.metadata.namespace))

    async def task(self, namespace: str, name: str) -> Task | None:
        return self.kept.get(f"{namespace}/{name}")

    async def cancel(self, task: str) -> None:
        for key, kept in self.kept.items():
            if kept.metadata.uid == task:
                self.kept[key] = kept.replace(status=kept.status.replace(phase=TaskPhase.CANCELLED))
                return
        raise NotFound(f"there is no task {task}")

    async def items(self, namespace: str, name: str, start: int, limit: int) -> tuple[TaskItem, ...] | None:
        task = self.kept.get(f"{namespace}/{name}")
        if task is None:
            return None
        if task.key in self.parts:
            return self.parts[task.key][start : start + limit]
        end = min(start + limit, task.status.items.queued)
        return tuple(TaskItem(index=index, phase=TaskPhase.QUEUED) for index in range(start, end))

    def held(self, node_uid: str) -> int:
        return self.holding.get(node_uid, 0)


class KnownTokens:
    async def user_of(self, token: str) -> str | None:
        return "admin" if token == TOKEN else None


@dataclass
class Shelf:
    """As much of a driver as offers something."""

    offered: tuple[Offering, ...] = ()
    problem: str = ""
    asked: list[Json] = field(default_factory=list)

    async def offerings(self, options: Json) -> tuple[Offering, ...]:
        self.asked.append(options)
        if self.problem:
            raise ProviderError(self.problem)
        return self.offered


class World:
    """A served world. `do` runs something on the server's loop, as the rooms behind it would."""

    def __init__(self, keys: Keys) -> None:
        self.store = MemoryStore()
        self.writer = MemoryWriter(self.store)
        self.queue = MemoryQueue()
        self.output = MemoryOutputLog()
        self.keys = keys
        self.shelves: dict[str, Shelf] = {}
        """What each provider offers."""
        self.catalog = Catalog(self.shelves, SystemClock())  # type: ignore[arg-type]
        self.url = ""
        self._loop: asyncio.AbstractEventLoop | None = None

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def put(self, obj: Any) -> Any:
        return self.do(self.store.run(lambda tx: tx.put(obj)))

    def drop(self, obj: Any) -> None:
        self.do(self.store.run(lambda tx: tx.delete(obj)))

    def get(self, kind: type[Object], key: str) -> Any:
        return self.do(self.store.read(lambda tx: tx.get(kind, key)))

    def write_output(self, *outputs: Output) -> None:
        async def append() -> None:
            self.output.append(outputs)

        self.do(append())

    def config(self, path: Path, token: str = TOKEN) -> ClientConfig:
        return ClientConfig(
            server=self.url, tasks="127.0.0.1:1", ca_pem=self.keys.ca_pem, token=token, namespace="default", path=path
        )

    @contextlib.contextmanager
    def served(self) -> Iterator[World]:
        started = threading.Event()
        failure: list[BaseException] = []

        async def serve() -> None:
            self._loop = asyncio.get_running_loop()
            server = ApiServer(
                store=self.store,  # type: ignore[arg-type]
                writer=self.writer,
                queue=self.queue,  # type: ignore[arg-type]
                output=self.output,
                credentials=KnownTokens(),  # type: ignore[arg-type]
                clock=SystemClock(),
                host="127.0.0.1",
                port=0,
                ssl_context=self.keys.server_context(),
                catalog=self.catalog,
            )

            def ready() -> None:
                host, port = server.address
                self.url = f"https://{host}:{port}"
                started.set()

            self._serving = asyncio.ensure_future(server.run(ready))
            with contextlib.suppress(asyncio.CancelledError):
                await self._serving

        def run() -> None:
            try:
                asyncio.run(serve())
            except BaseException as error:
                failure.append(error)
                started.set()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        assert started.wait(10), "the server did not start"
        if failure:
            raise failure[0]
        try:
            yield self
        finally:
            assert self._loop is not None
            self._loop.call_soon_threadsafe(self._serving.cancel)
            thread.join(10)
            assert not thread.is_alive(), "the server did not stop"


def make_keys(directory: Path) -> Keys:
    return load_keys(directory, SystemFiles(), SystemIds(), SystemClock().now())


def raw_client(world: World, token: str | None) -> httpx.Client:
    """An HTTP client without opinions. `localhost` is one of the certificate's names."""
    context = ssl.create_default_context(cadata=world.keys.ca_pem)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return httpx.Client(
        base_url=world.url.replace("127.0.0.1", "localhost"), verify=context, headers=headers, trust_env=False
    )
