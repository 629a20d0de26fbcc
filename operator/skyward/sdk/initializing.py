"""An executor's initializer, in the worker process. Sent by value: nodes have no skyward, so only the standard library may be
used, and what must outlive one function is kept where every function of the process finds it.

Functions of the caller's own modules travel by value, each with a copy of the module's variables. So those variables that the
initializer, and what it calls in its own module, sets or changes are put into the copies that come with further functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_ROOM = "_skyward_initialized"
_MARK = "__skyward_initialized__"
_KEPT = 16


def call_initialized(
    executor: str,
    initializer: Callable[..., object],
    initargs: tuple[Any, ...],
    function: Callable[..., Any],
    /,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """Call the function in a process that the executor's initializer has prepared. Raises BrokenExecutor, marked with the
    executor, when it failed here."""
    import sys
    import threading
    import types

    room = sys.modules.setdefault(_ROOM, types.ModuleType(_ROOM)).__dict__
    lock, done = room.setdefault("lock", threading.RLock()), room.setdefault("done", {})
    with lock:
        if executor not in done:
            while len(done) >= _KEPT:
                done.pop(next(iter(done)))
            done[executor] = _initialize(executor, initializer, initargs)
        _share(executor, done[executor], initializer)
    return function(*args, **kwargs)


def _initialize(executor: str, initializer: Callable[..., object], initargs: tuple[Any, ...]) -> Any:
    """The variables of its module that it deals with, or how it failed."""
    import types
    from concurrent.futures import BrokenExecutor

    variables = _variables(initializer)
    try:
        initializer(*initargs)
    except BaseException as error:
        name = getattr(initializer, "__qualname__", type(initializer).__qualname__)
        broken = BrokenExecutor(f"the initializer {name} failed on a node: {type(error).__name__}: {error}")
        broken.skyward_executor = executor  # type: ignore[attr-defined]
        broken.__cause__ = error
        return broken
    variables[_MARK] = executor
    names: set[str] = set()
    _collect(initializer, variables, names)
    return {name: variables[name] for name in names if not isinstance(variables[name], (types.FunctionType, type))}


def _collect(function: Any, variables: dict[str, Any], names: set[str]) -> None:
    """Names of the module's variables in the function's code, and in that of the functions there that it names."""
    codes = [code] if (code := getattr(getattr(function, "func", function), "__code__", None)) is not None else []
    while codes:
        code = codes.pop()
        codes += [constant for constant in code.co_consts if hasattr(constant, "co_names")]
        for name in set(code.co_names) & variables.keys() - names:
            names.add(name)
            if getattr(variables[name], "__globals__", None) is variables:
                _collect(variables[name], variables, names)


def _share(executor: str, outcome: Any, initializer: Callable[..., object]) -> None:
    if isinstance(outcome, BaseException):
        raise outcome
    variables = _variables(initializer)
    if variables.get(_MARK) != executor:
        variables.update(outcome)
        variables[_MARK] = executor


def _variables(initializer: Any) -> dict[str, Any]:
    found = getattr(getattr(initializer, "func", initializer), "__globals__", None)
    return found if isinstance(found, dict) else {}
