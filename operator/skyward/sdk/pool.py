"""A pool as a place to call functions: `run`, `submit`, `map`, `broadcast`."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, Unpack

from skyward.client.tasks import Follower, TaskConnection, TaskRequest
from skyward.errors import NotFound, UserError
from skyward.sdk.broadcasts import BroadcastFollower
from skyward.sdk.executor import PoolExecutor
from skyward.sdk.feeds import Submit
from skyward.sdk.functions import Call, RemoteFunction
from skyward.sdk.futures import TaskFuture
from skyward.sdk.library import Named, Placed
from skyward.sdk.maps import MapIterator
from skyward.sdk.options import PolicyOptions, checked, max_attempts_of, policy_of
from skyward.sdk.pickling import Modules, name_of, own_modules, pickle_function
from skyward.sdk.readiness import POLL_S, Patience, PoolState, read_state
from skyward.sdk.sent import Sent
from skyward.sdk.streams import Stream, StreamFollower, is_stream
from skyward_agent.wire.files import File

if TYPE_CHECKING:
    from skyward.sdk.session import Session

P = ParamSpec("P")
T = TypeVar("T")
Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]


@dataclass(frozen=True, slots=True)
class CallOptions:
    timeout: float | None = None
    """Seconds one attempt may run."""
    priority: int = 0
    max_attempts: int | None = None
    """None: as many as the policy makes sense of."""
    env: Mapping[str, str] = field(default_factory=dict)
    stream: bool = True
    name: str | None = None
    modules: Modules = ()
    """Travel by value with the function and its arguments."""
    files: Placed = ()
    """Lie in the task's directory."""
    policy: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the policy that differ from an ordinary call's."""


class PoolHandle:
    """Cheap; knows only the pool's name. The pool itself is looked up with every call."""

    def __init__(
        self,
        session: Session,
        namespace: str,
        name: str,
        options: CallOptions | None = None,
        given: frozenset[str] = frozenset(),
    ) -> None:
        """`given`: the options that the caller named, which hold against those of a function's own."""
        self._session = session
        self._namespace = namespace
        self._name = name
        self._options = options or CallOptions()
        self._given = given

    def __repr__(self) -> str:
        return f"<pool {self._namespace}/{self._name}>"

    @property
    def session(self) -> Session:
        return self._session

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
        modules: Iterable[ModuleType | str] | None = None,
        files: Named | None = None,
        **policy: Unpack[PolicyOptions],
    ) -> PoolHandle:
        """The same pool, called with these options; those not named stay as they are.

        `timeout`: seconds one attempt may run. `max_attempts`: tries when a node or process is lost. `stream=False`: do not
        show what the function prints. `name`: of the task, for people. `modules`: modules of yours that the nodes lack; they
        travel with the function, like those beside your script. `files`: they lie in the call's working directory, to be read,
        by their names or by the paths that are a mapping's keys. All others are told by `skyward.sdk.options.PolicyOptions`.
        """
        given = {
            "timeout": timeout,
            "priority": priority,
            "max_attempts": max_attempts,
            "env": env,
            "stream": stream,
            "name": name,
            "modules": None if modules is None else (*self._options.modules, *own_modules(modules)),
            "files": None if files is None else self._session.library.placed(files),
            "policy": {**self._options.policy, **checked(policy)} if policy else None,
        }
        _check_options(timeout, max_attempts, env)
        changed = {key: value for key, value in given.items() if value is not None}
        return PoolHandle(
            self._session,
            self._namespace,
            self._name,
            dataclasses.replace(self._options, **changed),  # type: ignore[arg-type]
            self._given | changed.keys(),
        )

    # --- calls ------------------------------------------------------------------------------------------------------------

    def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call it on one node and return its result, or raise its exception with the remote traceback as cause. What a
        generator function yields comes as it is made: `for x in pool.run(generate)`."""
        if is_stream(function):
            return Stream(self.start_stream(function, *args, **kwargs))  # type: ignore[return-value]
        future = self.submit(function, *args, **kwargs)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # an interrupt: the call must not go on unheard
            raise

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> TaskFuture[T]:
        """Call it on one node some time; raises NotPicklable at once, everything else comes from the future."""
        sent = self.prepare(function)
        return self.start(sent, sent.call(args, kwargs))

    def start(self, sent: Sent, arguments: bytes) -> TaskFuture[Any]:
        """`submit` of what is pickled already. Waits while the operator has thousands of submits to answer."""
        request = self._request("run", sent, (arguments,))
        engine = self._session.engine
        future: TaskFuture[Any] = TaskFuture(engine, sent.name)
        follower = future.follower
        engine.post(follower.begin(lambda connection: connection.submit(request, follower), len(arguments)))
        return future

    def start_stream(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> StreamFollower:
        """Call a generator function. It is not begun anew once it began: nobody could tell where it would go on."""
        sent = self.prepare(function)
        request = dataclasses.replace(
            self._request("run", sent, (sent.call(args, kwargs, yields=True),)), max_attempts=1
        )
        follower = StreamFollower(self._session.engine, sent.name)

        def begin(connection: TaskConnection) -> None:
            follower.begin(connection)
            connection.submit(request, follower)

        self._session.engine.post(begin)
        return follower

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
        sent = self.prepare(function)
        return MapIterator(
            self._session.engine,
            sent.calls(iterables),
            self.submitter(sent),
            name=sent.name,
            return_exceptions=return_exceptions,
            timeout=timeout,
        )

    def submitter(self, sent: Sent) -> Submit:
        """How the task of a map is made, once its first items are there."""

        def submit(connection: TaskConnection, items: tuple[bytes, ...], more: bool, follower: Follower) -> None:
            connection.submit(self._request("map", sent, items, more=more), follower)

        return submit

    def broadcast(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> list[T]:
        """Call it once on every ready node; results by rank. The first failure is raised and cancels the other ranks."""
        follower = self.start_broadcast(function, *args, **kwargs)
        engine = self._session.engine
        try:
            follower.outcome.result()
        except BaseException:
            engine.post(follower.cancel)
            raise
        engine.console.flush()
        return follower.values()

    def start_broadcast(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> BroadcastFollower:
        sent = self.prepare(function)
        request = self._request("broadcast", sent, (sent.call(args, kwargs),))
        follower = BroadcastFollower(self._session.engine, sent.name)

        def begin(connection: TaskConnection) -> None:
            follower.begin(connection)
            connection.submit(request, follower)

        self._session.engine.post(begin)
        return follower

    def executor(
        self, *, initializer: Callable[..., object] | None = None, initargs: tuple[Any, ...] = ()
    ) -> PoolExecutor:
        """The pool as an executor of the standard library. `initializer(*initargs)` runs once in each worker process, before
        the first of this executor's calls there."""
        return PoolExecutor(self, initializer=initializer, initargs=initargs)

    def gather(self, calls: Sequence[Call[Any]]) -> tuple[Any, ...]:
        """Run these calls side by side; all results, or the first call's failure in order, with the rest cancelled."""
        futures = [self.submit(call.function, *call.args, **call.kwargs) for call in calls]
        try:
            return tuple(future.result() for future in futures)
        except BaseException:
            for future in futures:
                future.cancel()
            raise

    def put(self, path: str | os.PathLike[str]) -> File:
        """A file to take along: pass it as an argument, and open it in the function like a path. Each node fetches it once,
        however many calls use it. Raises UserError when it cannot be read."""
        return self._session.library.put(path)

    # --- the pool itself ---------------------------------------------------------------------------------------------------

    def wait_ready(self, timeout: float | None = 300.0) -> Self:
        """Wait until the pool is Ready for its newest spec. Raises PoolNotReady when that takes too long, or at once when only
        a human can help; PoolNotFound when there is no such pool."""
        patience = Patience(self._name, timeout)
        while not patience.is_over(self.look()):
            time.sleep(POLL_S)
        return self

    def look(self) -> PoolState:
        """How the pool stands now. Raises PoolNotFound."""
        return read_state(self.read())

    def read(self) -> dict[str, Any]:
        """The pool as an object of the API. Raises PoolNotFound."""
        try:
            return self._session.objects.get("pools", self._namespace, self._name)
        except NotFound as error:
            raise self._session.pool_not_found(self._namespace, self._name) from error

    # --- what a call becomes -----------------------------------------------------------------------------------------------

    def prepare(
        self, function: Callable[..., Any], *, wrap: Wrap = lambda function: function, modules: Modules = ()
    ) -> Sent:
        """The function, ready to be sent, with the options that its calls have. `wrap` makes what is called in its place, with
        these modules sent by value. Raises NotPicklable."""
        options = self._options
        if isinstance(function, RemoteFunction):
            own = {name: value for name, value in function.options.items() if name not in self._given}
            own["policy"] = {**function.options.get("policy", {}), **options.policy}
            function, options = function.local, dataclasses.replace(options, **own)
        modules = (*self._session.modules, *options.modules, *modules)
        digest, data = pickle_function(wrap(function), modules)
        return Sent(
            function,
            name_of(function),
            digest,
            data,
            modules,
            options,
            self._session.library,
            self._session.engine.shared,
        )

    def _request(self, mode: str, sent: Sent, items: tuple[bytes, ...], *, more: bool = False) -> TaskRequest:
        options: CallOptions = sent.options
        return TaskRequest(
            namespace=self._namespace,
            pool=self._name,
            mode=mode,
            name=options.name or sent.name,
            digest=sent.digest,
            function=sent.data,
            items=items,
            open=more,
            max_attempts=max_attempts_of(options),
            timeout_s=options.timeout,
            priority=options.priority,
            env=dict(options.env),
            stream=options.stream,
            policy=policy_of(options),
        )


def _check_options(timeout: float | None, max_attempts: int | None, env: Mapping[str, str] | None) -> None:
    if timeout is not None and not timeout > 0:
        raise UserError(f"timeout is {timeout}: use seconds above 0")
    if max_attempts is not None and max_attempts < 1:
        raise UserError(f"max_attempts is {max_attempts}: use 1 or more")
    for name, value in (env or {}).items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise UserError(f"env {name!r}: names and values are strings")
