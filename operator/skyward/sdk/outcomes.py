"""From the wire's outcome of one work item to a value, or to the exception that the caller gets."""

from __future__ import annotations

import pickle
from typing import Any

from skyward.client.payloads import load
from skyward.errors import (
    ChildDied,
    FunctionNotLoadable,
    NodeLost,
    OutOfMemory,
    PayloadLost,
    PayloadTooLarge,
    RemoteError,
    ResultNotPicklable,
    StorageFull,
    TaskCancelled,
    TaskError,
    TaskTimedOut,
)
from skyward_agent.wire import messages
from skyward_agent.wire.messages import Failure, Result

_OF_PAYLOADS = (PayloadLost, PayloadTooLarge, StorageFull)
_ERRORS: dict[str, type[TaskError]] = {
    messages.CANCELLED: TaskCancelled,
    messages.TIMED_OUT: TaskTimedOut,
    messages.NODE_LOST: NodeLost,
    messages.CHILD_DIED: ChildDied,
    messages.OUT_OF_MEMORY: OutOfMemory,
    messages.NOT_UNPICKLABLE: FunctionNotLoadable,
    messages.RESULT_NOT_PICKLABLE: ResultNotPicklable,
    **{kind.__name__: kind for kind in _OF_PAYLOADS},
}


_SAID = ("outcome", "attempts", "node")
"""Evidence of a dead letter that its message names."""
_REMEDY = "add its package to spec.image.pip or, if it is a module of yours, send it along: sky.connect(modules=[...])"


class RemoteTraceback(Exception):
    """The traceback on the node, as text: the cause of the exception that is raised here."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text.rstrip()}\n"""'


def decode(result: Result, name: str) -> tuple[Any, BaseException | None]:
    """(value, None), or (None, what to raise). `name` is the function's. This unpickles: never call it in the operator."""
    if result.outcome == messages.SUCCEEDED:
        return _load_value(result, name)
    failure = result.failure or Failure(type=result.outcome, message="")
    if result.outcome == messages.FAILED and not _is_ours(failure.type):
        error = _load_exception(failure) or RemoteError(
            f"{failure.type}: {failure.message} (in {_where(result, name)})"
        )
    else:
        error = _typed(result, failure, name)
    if isinstance(error, ModuleNotFoundError):
        error.add_note(f"module {error.name!r} is not on the node: {_REMEDY}")
    if failure.traceback:
        error.__cause__ = RemoteTraceback(failure.traceback)
    return None, error


def _is_ours(type_name: str) -> bool:
    """A failure that no function raised: its payloads did not get through."""
    return type_name.removeprefix("skyward.errors.") in {kind.__name__ for kind in _OF_PAYLOADS}


def _load_value(result: Result, name: str) -> tuple[Any, BaseException | None]:
    try:
        return load(result.value), None  # the user's own function made it, on the user's own node
    except Exception as error:  # loading runs the user's code, which may raise anything
        module = f"; install {error.name!r} here too" if isinstance(error, ModuleNotFoundError) else ""
        problem = ResultNotPicklable(
            f"the result of {name} cannot be loaded here: {type(error).__name__}: {error}{module}"
        )
        problem.__cause__ = error
        return None, problem


def _load_exception(failure: Failure) -> BaseException | None:
    if not failure.exception:
        return None
    try:
        loaded = pickle.loads(failure.exception)  # noqa: S301  as above
    except Exception:  # its class may be missing here, or not be made for pickling: its text is sent as well
        return None
    return loaded if isinstance(loaded, BaseException) else None


def _typed(result: Result, failure: Failure, name: str) -> TaskError:
    """A dead letter is the error of its last attempt; its message says how often it was tried."""
    named = _last_word(failure.type) if result.outcome == messages.FAILED else result.outcome
    if result.outcome == messages.DEAD_LETTER:
        named = failure.evidence.get("outcome", named)
    kind = _ERRORS.get(named, TaskError)
    said = failure.message or result.outcome
    left = {key: value for key, value in sorted(failure.evidence.items()) if value and key not in _SAID}
    evidence = ", ".join(f"{key}: {value}" for key, value in left.items())
    return kind(f"{_where(result, name)}: {said}" + (f" ({evidence})" if evidence else ""))


def _where(result: Result, name: str) -> str:
    if not result.node:
        return name
    return f"{name} on node {result.node}, attempt {result.attempt}"


def _last_word(type_name: str) -> str:
    return type_name.rpartition(".")[2]
