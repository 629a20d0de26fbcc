"""One call of user code: load it, run it, and put what came of it in a form that travels."""

from __future__ import annotations

import pickle
import time
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any

import cloudpickle

from skyward_agent.runner.messages import RunFunction
from skyward_agent.runner.outlet import Outlet
from skyward_agent.runner.parcels import Parcels, PayloadLost
from skyward_agent.wire import messages as wire
from skyward_agent.wire.messages import Failure
from skyward_agent.wire.records import record

_MAX_EXCEPTION_BYTES = 1024 * 1024
_MAX_TRACEBACK = 100_000
_MAX_MESSAGE = 10_000
_OWN_FILE = __file__


@record(frozen=True, slots=True)
class Ending:
    """How the call ended."""

    outcome: str
    value: bytes = b""
    failure: Failure | None = None
    seconds: float = 0.0


class Functions:
    """The functions this child was given, loaded once and kept warm."""

    def __init__(self) -> None:
        self._loaded: dict[str, Callable[..., Any]] = {}
        self._data: dict[str, bytes] = {}

    def take_in(self, run: RunFunction) -> None:
        for digest in run.forget:
            self._loaded.pop(digest, None)
            self._data.pop(digest, None)
        if run.function:
            self._data[run.digest] = run.function

    def load(self, digest: str) -> Callable[..., Any]:
        """Raises whatever loading the function's pickle raises."""
        function = self._loaded.get(digest)
        if function is None:
            function = pickle.loads(self._data[digest])  # noqa: S301 - this process is for that
            self._loaded[digest] = function
            del self._data[digest]
        return function


def execute(run: RunFunction, functions: Functions, parcels: Parcels, outlet: Outlet) -> Ending:
    """Run user code to its end. Whatever it raises becomes an ending; nothing is raised here."""
    try:
        function = functions.load(run.digest)
        (args, kwargs), envelope = parcels.open(run.arguments)
    except PayloadLost as error:
        return Ending(wire.FAILED, failure=Failure("skyward.errors.PayloadLost", str(error)))
    except BaseException as error:
        return _not_loaded(error, run)
    began = time.monotonic()
    try:
        result = function(*args, **kwargs)
        if envelope is not None and envelope.yields:
            result = outlet.drain(result)
    except BaseException as error:
        return _raised(error, run, time.monotonic() - began)
    seconds = time.monotonic() - began
    try:
        return Ending(wire.SUCCEEDED, parcels.pack(result), seconds=seconds)
    except OSError as error:  # the disk, or a pickler that reads a file: either way there is no result
        return _not_packed(error, seconds)
    except BaseException as error:
        return _not_pickled(result, error, run, seconds)


def _not_packed(error: OSError, seconds: float) -> Ending:
    message = f"the node cannot keep the result: {error.strerror or error}"
    return Ending(wire.FAILED, failure=Failure("skyward.errors.StorageFull", message), seconds=seconds)


def _not_loaded(error: BaseException, run: RunFunction) -> Ending:
    if isinstance(error, MemoryError) and run.memory_limited:
        return Ending(wire.OUT_OF_MEMORY, failure=describe(error))
    if isinstance(error, ModuleNotFoundError):
        message = (
            f"module {error.name!r} is not installed on the node: add the package to spec.image.pip, "
            "or, if it is a module of yours, send it along: sky.connect(modules=[...])"
        )
    else:
        message = f"the function or its arguments could not be loaded on the node: {_one_line(error)}"
    failure = describe(error)
    return Ending(wire.NOT_UNPICKLABLE, failure=Failure(failure.type, message, failure.traceback))


def _raised(error: BaseException, run: RunFunction, seconds: float) -> Ending:
    limited = isinstance(error, MemoryError) and run.memory_limited
    return Ending(wire.OUT_OF_MEMORY if limited else wire.FAILED, failure=describe(error), seconds=seconds)


def _not_pickled(result: object, error: BaseException, run: RunFunction, seconds: float) -> Ending:
    if isinstance(error, MemoryError) and run.memory_limited:
        return Ending(wire.OUT_OF_MEMORY, failure=describe(error), seconds=seconds)
    kind = type(result)
    message = (
        f"the function returned a {kind.__module__}.{kind.__qualname__}, which cannot be pickled: {_one_line(error)}"
    )
    failure = Failure("ResultNotPicklable", message, describe(error).traceback)
    return Ending(wire.RESULT_NOT_PICKLABLE, failure=failure, seconds=seconds)


def describe(error: BaseException) -> Failure:
    """An exception in words, and pickled if that survives a round trip.

    SystemExit and KeyboardInterrupt travel in words only: raised again at the caller's side they would end its program.
    """
    name, *bases = (_qualified(kind) for kind in type(error).__mro__[:-1])
    pickled = _pickle_exception(error) if isinstance(error, Exception) else b""
    return Failure(name, _text_of(error)[:_MAX_MESSAGE], _traceback(error), pickled, bases=tuple(bases))


def _qualified(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _pickle_exception(error: Exception) -> bytes:
    try:
        data = cloudpickle.dumps(error, protocol=5)
        if len(data) > _MAX_EXCEPTION_BYTES:
            return b""
        pickle.loads(data)  # noqa: S301 - an exception with a strange constructor fails here, not at the caller
    except Exception:  # user-defined reduction may raise anything; the words are enough
        return b""
    return bytes(data)


def _traceback(error: BaseException) -> str:
    """The traceback's text without the frames of this file."""
    try:
        text = "".join(traceback.format_exception(type(error), error, _users_part(error.__traceback__)))
    except Exception as second:  # an exception whose own __str__ raises
        return f"{type(error).__qualname__} (its text cannot be shown: {type(second).__name__})"
    return (
        text if len(text) <= _MAX_TRACEBACK else f"{text[: _MAX_TRACEBACK // 2]}\n[…]\n{text[-_MAX_TRACEBACK // 2 :]}"
    )


def _users_part(frames: TracebackType | None) -> TracebackType | None:
    while frames is not None and frames.tb_frame.f_code.co_filename == _OWN_FILE:
        frames = frames.tb_next
    return frames


def _one_line(error: BaseException) -> str:
    text = _text_of(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:500]}" if text else type(error).__name__


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as second:  # user code's own __str__
        return f"(its text cannot be shown: {type(second).__name__})"
