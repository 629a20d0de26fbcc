"""A pool as a place to call functions: `run`, `submit`, `map`, `broadcast`."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from skyward.client.tasks import Follower, TaskConnection, TaskRequest
from skyward.errors import NotFound, PoolNotReady, UserError
from skyward.sdk.broadcasts import BroadcastFollower
from skyward.sdk.futures import TaskFuture
from skyward.sdk.maps import MapIterator
from skyward.sdk.outcomes import decode
from skyward.sdk.pickling import name_of, pickle_call, pickle_function

if TYPE_CHECKING:
    from skyward.sdk.session import Session

P = ParamSpec("P")
T = TypeVar("T")

_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class CallOptions:
    timeout: float | None = None
    """Seconds one attempt may run."""
    priority: int = 0
    max_attempts: int = 3
    env: Mapping[str, str] = field(default_factory=dict)
    stream: bool = True
    name: str | None = None


class PoolHandle:
    """Cheap; knows only the pool's name. The pool itself is looked up with every call."""

    def __init__(self, session: Session, namespace: str, name: str, options: CallOptions | None = None) -> None:
        self._session = session
        self._namespace = namespace
        self._name = name
        self._options = options or CallOptions()

    def __repr__(self) -> str:
        return f"<pool {self._namespace}/{self._name}>"

    @property
    def name(self) -> str:
        return self._name

    @property
    def namespace(self) -> str:
        return self._namespace

    def options(
        self,
        *,
        timeout: float | None = None,
        priority: int | None = None,
        max_attempts: int | None = None,
        env: Mapping[str, str] | None = None,
        stream: bool | None = None,
        name: str | None = None,
    ) -> PoolHandle:
        """The same pool, called with these options; those not named stay as they are.

        `timeout`: seconds one attempt may run. `max_attempts`: tries when a node or process is lost. `stream=False`: do not
        show what the function prints. `name`: of the task, for people.
        """
        given = {
            "timeout": timeout,
            "priority": priority,
            "max_attempts": max_attempts,
            "env": env,
            "stream": stream,
            "name": name,
        }
        _check_options(timeout, max_attempts, env)
        changed = {key: value for key, value in given.items() if value is not None}
        return PoolHandle(
            self._session,
            self._namespace,
            self._name,
            dataclasses.replace(self._options, **changed),  # type: ignore[arg-type]
        )

    # --- calls ------------------------------------------------------------------------------------------------------------

    def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call it on one node and return its result, or raise its exception with the remote traceback as cause."""
        future = self.submit(function, *args, **kwargs)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # an interrupt: the call must not go on unheard
            raise

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> TaskFuture[T]:
        """Call it on one node some time; raises NotPicklable at once, everything else comes from the future."""
        digest, data = pickle_function(function)
        request = self._request("run", function, digest, data, (pickle_call(function, args, kwargs),))
        engine = self._session.engine
        future: TaskFuture[T] = TaskFuture(engine, name_of(function))
        follower = future.follower
        engine.post(follower.begin(lambda connection: connection.submit(request, follower)))
        return future

    def map(
        self,
        function: Callable[..., T],
        /,
        *iterables: Iterable[Any],
        return_exceptions: bool = False,
        timeout: float | None = None,
    ) -> MapIterator[T]:
        """Call it for each item (of several iterables in parallel, like the builtin) and give results in order.

        The first failure is raised and cancels the rest, or comes in its place with `return_exceptions`. `timeout`: seconds
        until the last result. The iterables are read as results are taken, at most 2,000 items ahead.
        """
        digest, data = pickle_function(function)

        def submit(connection: TaskConnection, items: tuple[bytes, ...], more: bool, follower: Follower) -> None:
            connection.submit(self._request("map", function, digest, data, items, more=more), follower)

        return MapIterator(
            self._session.engine,
            _pickled_items(function, iterables),
            submit,
            name=name_of(function),
            return_exceptions=return_exceptions,
            timeout=timeout,
        )

    def broadcast(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> list[T]:
        """Call it once on every ready node; results by rank. The first failure is raised and cancels the other ranks."""
        digest, data = pickle_function(function)
        request = self._request("broadcast", function, digest, data, (pickle_call(function, args, kwargs),))
        engine = self._session.engine
        follower = BroadcastFollower(engine)

        def begin(connection: TaskConnection) -> None:
            follower.begin(connection)
            connection.submit(request, follower)

        engine.post(begin)
        try:
            results = follower.outcome.result()
        except BaseException:
            engine.post(follower.cancel)
            raise
        engine.console.flush()
        values = []
        for result in results:
            value, error = decode(result, name_of(function))
            if error is not None:
                raise error
            values.append(value)
        return values

    # --- the pool itself ---------------------------------------------------------------------------------------------------

    def wait_ready(self, timeout: float | None = 300.0) -> Self:
        """Wait until the pool is Ready for its newest spec. Raises PoolNotReady when that takes too long, or at once when only
        a human can help; PoolNotFound when there is no such pool."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            state = self._state()
            if state.is_ready:
                return self
            if state.stalled:
                raise PoolNotReady(f"pool {self._name} cannot become ready: {state.stalled}")
            if deadline is not None and time.monotonic() >= deadline:
                raise PoolNotReady(f"pool {self._name} is not ready after {timeout:g} s: {state.message}")
            time.sleep(_POLL_S)

    def _state(self) -> _PoolState:
        try:
            pool = self._session.objects.get("pools", self._namespace, self._name)
        except NotFound as error:
            raise self._session.pool_not_found(self._namespace, self._name) from error
        return _read_state(pool)

    def _request(
        self,
        mode: str,
        function: Callable[..., Any],
        digest: str,
        data: bytes,
        items: tuple[bytes, ...],
        *,
        more: bool = False,
    ) -> TaskRequest:
        options = self._options
        return TaskRequest(
            namespace=self._namespace,
            pool=self._name,
            mode=mode,
            name=options.name or name_of(function),
            digest=digest,
            function=data,
            items=items,
            open=more,
            max_attempts=options.max_attempts,
            timeout_s=options.timeout,
            priority=options.priority,
            env=dict(options.env),
            stream=options.stream,
        )


def _check_options(timeout: float | None, max_attempts: int | None, env: Mapping[str, str] | None) -> None:
    if timeout is not None and not timeout > 0:
        raise UserError(f"timeout is {timeout}: use seconds above 0")
    if max_attempts is not None and max_attempts < 1:
        raise UserError(f"max_attempts is {max_attempts}: use 1 or more")
    for name, value in (env or {}).items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise UserError(f"env {name!r}: names and values are strings")


def _pickled_items(function: Callable[..., Any], iterables: tuple[Iterable[Any], ...]) -> Iterator[bytes]:
    if not iterables:
        raise UserError("map needs at least one iterable besides the function")
    return itertools.starmap(lambda *args: pickle_call(function, args, {}), zip(*iterables, strict=False))


@dataclass(frozen=True, slots=True)
class _PoolState:
    is_ready: bool
    stalled: str
    message: str


def _read_state(pool: dict[str, Any]) -> _PoolState:
    status = pool.get("status") or {}
    conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
    ready = conditions.get("Ready", {})
    stalled = conditions.get("Stalled", {})
    current = status.get("observedGeneration", 0) >= pool["metadata"].get("generation", 1)
    wanted = (pool.get("spec") or {}).get("nodes", 0)
    return _PoolState(
        is_ready=current and ready.get("status") == "True",
        stalled=stalled.get("message", "") or "stalled" if stalled.get("status") == "True" else "",
        message=f"{status.get('ready', 0)} of {wanted} nodes are ready. {ready.get('message', '')}".strip(),
    )
