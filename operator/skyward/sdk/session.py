"""`connect`: one session with one operator."""

from __future__ import annotations

import atexit
import os
import sys
import weakref
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Self

from skyward.api import ObjectMeta, Pool
from skyward.client.config import ClientConfig, config_path, load_config
from skyward.client.tasks import RECONNECT_S
from skyward.errors import Invalid, NotFound, PoolNotFound, SkyError
from skyward.sdk.attached import AttachedFuture
from skyward.sdk.engine import Engine
from skyward.sdk.library import Library
from skyward.sdk.pickling import own_modules
from skyward.sdk.pool import PoolHandle

if TYPE_CHECKING:
    from skyward.client.objects import ObjectClient


def connect(
    config: str | Path | None = None,
    *,
    namespace: str | None = None,
    modules: Iterable[ModuleType | str] = (),
    reconnect_s: float = RECONNECT_S,
) -> Session:
    """Connect to the operator that the configuration names: the argument, else SKYWARD_CONFIG, else the default file.

    `modules`: modules of yours that the nodes lack; they travel with every call, like those beside your script. Raises
    NoConfig or OperatorUnreachable at once. A connection that breaks later is repaired for `reconnect_s`.
    """
    found = load_config(config_path(config, os.environ))
    return Session(found, namespace=namespace, modules=modules, reconnect_s=reconnect_s)


class Session:
    """Use in `with`, or call `close`. Calls may come from any thread. Closing cancels maps, and leaves other calls that have not
    ended to themselves."""

    def __init__(
        self,
        config: ClientConfig,
        *,
        namespace: str | None = None,
        modules: Iterable[ModuleType | str] = (),
        reconnect_s: float = RECONNECT_S,
    ) -> None:
        self.modules = own_modules(modules)
        self._config = config
        self._namespace = namespace or config.namespace
        self._objects: ObjectClient | None = None
        self.library = Library()
        self._engine = Engine(config, python=_python(), reconnect_s=reconnect_s, explain=self._explain)
        self._engine.start()
        reference = weakref.ref(self)
        # A program that ends without closing has its last words (cancels) said all the same.
        self._at_exit = lambda: _close(reference)
        atexit.register(self._at_exit)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Idempotent."""
        atexit.unregister(self._at_exit)
        self._engine.close()
        if self._objects is not None:
            self._objects.close()
            self._objects = None

    def pool(self, name: str, namespace: str | None = None) -> PoolHandle:
        """A handle; whether there is such a pool shows with the first call."""
        return PoolHandle(self, namespace or self._namespace, name)

    def task(self, id: str) -> AttachedFuture:
        """A task that this or another program submitted, by its id (`future.task_id()`) or its name: a future of its result, or
        of the list of results of a map or broadcast. Raises NotFound at once when the operator has no such task, UserError
        for one that this session follows already."""
        future = self.attach(id)
        try:
            future.task_id()
        except NotFound:
            future = self.attach(self.task_uid(id))
            future.task_id()
        return future

    def attach(self, uid: str) -> AttachedFuture:
        """`task`, without waiting for the operator's answer."""
        future = AttachedFuture(self._engine, uid)
        self._engine.post(future.follower.begin(lambda connection: connection.attach(uid, future.follower), 0))
        return future

    def task_uid(self, name: str) -> str:
        """The id of the task of that name. Raises NotFound."""
        return str(self.objects.get("tasks", self._namespace, name)["metadata"]["uid"])

    def apply(self, manifest: str | Path) -> PoolHandle:
        """Create or change the one pool that a manifest declares: a path, or the text itself. Does not wait for it."""
        wanted = _read_manifest(manifest).to_json()
        meta = ObjectMeta.model_validate(wanted["metadata"])
        try:
            stored = self.objects.get("pools", meta.namespace, meta.name)
            wanted["metadata"]["resourceVersion"] = stored["metadata"]["resourceVersion"]
            self.objects.replace("pools", meta.namespace, meta.name, wanted)
        except NotFound:
            self.objects.create("pools", meta.namespace, wanted)
        return self.pool(meta.name, meta.namespace)

    @property
    def engine(self) -> Engine:
        return self._engine

    @property
    def objects(self) -> ObjectClient:
        """The operator's objects over HTTP. One thread at a time."""
        if self._objects is None:
            self._objects = self._open_objects()
        return self._objects

    def _open_objects(self) -> ObjectClient:
        # The HTTP library is heavy, and a session that only calls functions needs none.
        from skyward.client.objects import ObjectClient

        return ObjectClient(self._config)

    def pool_not_found(self, namespace: str, name: str) -> PoolNotFound:
        """The error with the names that exist instead."""
        return PoolNotFound(f"there is no pool {name!r} in namespace {namespace!r}{self._existing(namespace)}")

    def _explain(self, error: SkyError) -> SkyError:
        if not isinstance(error, PoolNotFound):
            return error
        return PoolNotFound(f"{error}{self._existing(self._namespace)}")

    def _existing(self, namespace: str) -> str:
        try:
            with self._open_objects() as objects:
                names = [item["metadata"]["name"] for item in objects.list("pools", namespace)["items"]]
        except SkyError:
            return ""
        return f"; there are: {', '.join(sorted(names))}" if names else "; there is none yet"


def _close(reference: weakref.ReferenceType[Session]) -> None:
    session = reference()
    if session is not None:
        session.close()


def _python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _read_manifest(manifest: str | Path) -> Pool:
    # Reading manifests takes a YAML library that a session which only calls functions does without.
    from skyward.documents import parse_file

    is_text = isinstance(manifest, str) and ("\n" in manifest or ":" in manifest)
    if is_text:
        name, data = "<text>", str(manifest).encode()
    else:
        name = str(manifest)
        try:
            data = Path(manifest).read_bytes()
        except OSError as error:
            raise Invalid(f"{name} cannot be read: {error.strerror or error}") from None
    parsed = parse_file(name, data)
    if parsed.problems:
        raise Invalid("; ".join(f"{p.file}:{p.line}: {p.field}: {p.message}" for p in parsed.problems))
    if len(parsed.documents) != 1:
        raise Invalid(f"{name} declares {len(parsed.documents)} pools: apply one at a time")
    return parsed.documents[0].pool
