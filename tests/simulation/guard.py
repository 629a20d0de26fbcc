"""While a seed runs, production code has no door to the real world: no socket, no thread, no process, no file, and no clock
or chance but those it was given."""

from __future__ import annotations

import os
import random
import secrets
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_FORBIDDEN = (
    "socket.",
    "subprocess.",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.system",
    "os.remove",
    "os.rename",
    "os.mkdir",
    "_thread.start_new_thread",
    "pickle.find_class",
    "shutil.",
)
_OURS = ("skyward", "tests.simulation")
_CLOCKS_AND_DICE: tuple[tuple[Any, str], ...] = (
    (time, "time"),
    (time, "monotonic"),
    (time, "time_ns"),
    (time, "perf_counter"),
    (time, "sleep"),
    (random, "random"),
    (random, "choice"),
    (random, "uniform"),
    (random, "randint"),
    (uuid, "uuid4"),
    (secrets, "token_urlsafe"),
    (secrets, "token_hex"),
    (secrets, "choice"),
    (os, "urandom"),
)
_watching = False
_installed = False


class LeftTheSimulation(BaseException):
    """Nothing may catch it."""


@contextmanager
def guarded() -> Iterator[None]:
    """Whoever leaves the simulation in here is stopped, by an exception that no production code catches."""
    global _watching
    _install()
    before = [(module, name, getattr(module, name)) for module, name in _CLOCKS_AND_DICE]
    for module, name, real in before:
        setattr(module, name, _only_for_others(f"{module.__name__}.{name}", real))
    _watching = True
    try:
        yield
    finally:
        _watching = False
        for module, name, real in before:
            setattr(module, name, real)


def _install() -> None:
    global _installed
    if not _installed:
        _installed = True
        sys.addaudithook(_audit)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watching:
        return
    if event.startswith(_FORBIDDEN):
        raise LeftTheSimulation(f"{event} {arguments!r}")
    if event == "open" and not _is_import(arguments):
        raise LeftTheSimulation(f"open {arguments[0]!r}")


def _is_import(arguments: tuple[Any, ...]) -> bool:
    """Modules that load when they are first used, and source lines for a traceback."""
    path = arguments[0]
    return isinstance(path, int) or str(path).endswith((".py", ".pyc", ".so", "pyvenv.cfg"))


def _only_for_others(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **more: Any) -> Any:
        caller = sys._getframe(1).f_globals.get("__name__", "")
        if caller.startswith(_OURS):
            raise LeftTheSimulation(f"{caller} called {name}")
        return real(*arguments, **more)

    return call
