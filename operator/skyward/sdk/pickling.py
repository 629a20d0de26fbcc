"""From a function and its arguments to bytes, with every reason why that cannot be said before anything is sent.

What lives in `__main__` travels by value, and so do the modules beside it: a node has the packages of its image, but
not the files next to the user's script. Everything else travels by name and must be installed on the node.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import inspect
import pickle
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle

from skyward.client.payloads import keep_apart
from skyward.errors import NotPicklable, PayloadTooLarge, UserError

PROTOCOL = 5
LIMIT_BYTES = 64 * 1024 * 1024
"""The largest function that may be sent. Arguments may be larger: they travel as blobs."""
_SIMPLE = frozenset({int, float, str, bytes, bool, type(None), complex})
_INSTALLED = frozenset({"site-packages", "dist-packages"})
Modules = tuple[ModuleType, ...]
_OURS = frozenset({"skyward", "skyward_agent", "__main__"})

_lock = threading.Lock()
"""cloudpickle's list of modules to send by value belongs to the process; only one call at a time may extend it."""
_local_modules: tuple[int, tuple[ModuleType, ...]] = (-1, ())
"""The modules beside `__main__`, and how many modules were loaded when they were looked for."""


def pickle_function(function: Callable[..., Any], modules: Modules = ()) -> tuple[str, bytes]:
    """(sha256 digest, bytes). Raises NotPicklable. Pickled anew each time: what the function refers to may have changed.
    `modules` travel by value, besides those beside `__main__`."""
    if not callable(function):
        raise NotPicklable(f"{function!r:.80} is not a function")
    data = _dumps(function, lambda: f"the function {name_of(function)}", modules)
    _check_limit(data, f"the function {name_of(function)}")
    return hashlib.sha256(data).hexdigest(), data


def pickle_call(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    modules: Modules = (),
    apart: list[memoryview] | None = None,
) -> bytes:
    """One work item: `(args, kwargs)`. Large buffers go into `apart`, not copied, when that is given. Raises NotPicklable with
    the argument named."""
    if all(type(value) in _SIMPLE for value in (*args, *kwargs.values())):
        return pickle.dumps((args, dict(kwargs)), protocol=PROTOCOL)
    try:
        return _dumps((args, dict(kwargs)), lambda: f"the arguments of {name_of(function)}", modules, apart)
    except NotPicklable:
        for label, value in _labelled(function, args, kwargs):
            _dumps(value, lambda label=label: f"argument {label} of {name_of(function)}", modules)  # type: ignore[misc]
        raise


def name_of(function: Callable[..., Any]) -> str:
    """As people call it; a partial goes by what it wraps, an object by its class."""
    inner = getattr(function, "func", function)
    name = getattr(inner, "__qualname__", None) or type(inner).__qualname__
    return str(name).replace("<locals>.", "")


def own_modules(named: Iterable[ModuleType | str]) -> Modules:
    """The modules that a caller named, as objects or by name. Raises UserError for one that there is not."""
    return tuple(_own_module(one) for one in named)


def _own_module(named: ModuleType | str) -> ModuleType:
    if isinstance(named, ModuleType):
        if sys.modules.get(named.__name__) is not named:
            raise UserError(f"modules: {named.__name__!r} is not an imported module")
        return named
    if not isinstance(named, str):
        raise UserError(f"modules: {named!r:.80} is neither a module nor the name of one")
    try:
        return importlib.import_module(named)
    except ImportError as error:
        raise UserError(f"modules: {named!r} cannot be imported here: {error}") from error


def _dumps(value: Any, what: Callable[[], str], modules: Modules, apart: list[memoryview] | None = None) -> bytes:
    keep = None if apart is None else keep_apart(apart)
    with _lock, _by_value(modules):
        try:
            data: bytes = cloudpickle.dumps(value, protocol=PROTOCOL, buffer_callback=keep)
        except Exception as error:  # a `__reduce__` of the user's may raise anything
            raise NotPicklable(f"{what()} cannot be sent: {_one_line(error)}") from error
    return data


def _check_limit(data: bytes, what: str) -> None:
    if len(data) > LIMIT_BYTES:
        raise PayloadTooLarge(
            f"{what}: {len(data) / 2**20:.0f} MiB is over the limit of {LIMIT_BYTES // 2**20} MiB; "
            "pass what it carries as an argument instead"
        )


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:300]


def _labelled(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Iterator[tuple[str, Any]]:
    """Each argument with the name that the function gives it."""
    try:
        parameters = [
            parameter.name
            for parameter in inspect.signature(function).parameters.values()
            if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        ]
    except (TypeError, ValueError):
        parameters = []
    for index, value in enumerate(args):
        yield (f"'{parameters[index]}'" if index < len(parameters) else f"number {index + 1}"), value
    for name, value in kwargs.items():
        yield f"'{name}'", value


# --- modules beside __main__ -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def _by_value(named: Modules) -> Iterator[None]:
    """While this holds, cloudpickle sends the user's own modules by value: those beside `__main__`, and those that the caller
    named. Leaves the user's own registrations alone."""
    already = cloudpickle.list_registry_pickle_by_value()
    modules = {module.__name__: module for module in (*_find_local_modules(), *named) if module.__name__ not in already}
    for module in modules.values():
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in modules.values():
            cloudpickle.unregister_pickle_by_value(module)


def _find_local_modules() -> tuple[ModuleType, ...]:
    global _local_modules
    if _local_modules[0] != len(sys.modules):
        root = _main_root()
        found = tuple(module for name, module in tuple(sys.modules.items()) if root and _is_local(name, module, root))
        _local_modules = (len(sys.modules), found)
    return _local_modules[1]


def _main_root() -> Path | None:
    """The directory of the program: beside its script, above its package, or where the interactive session is."""
    main = sys.modules.get("__main__")
    file = getattr(main, "__file__", None)
    if file is None:
        return Path.cwd()
    root = Path(file).resolve().parent
    package = getattr(getattr(main, "__spec__", None), "parent", None) or ""
    for _ in package.split(".") if package else ():
        root = root.parent
    return None if _INSTALLED & set(root.parts) else root


def _is_local(name: str, module: ModuleType, root: Path) -> bool:
    file = getattr(module, "__file__", None)
    if not isinstance(module, ModuleType) or not isinstance(file, str) or not file.endswith(".py"):
        return False
    if name.split(".")[0] in _OURS or module.__name__ != name:
        return False
    path = Path(file).resolve()
    if _INSTALLED & set(path.parts) or not path.is_relative_to(root):
        return False
    # An interpreter may itself live below the program's directory.
    return not any(path.is_relative_to(Path(base).resolve() / "lib") for base in (sys.prefix, sys.base_prefix))
