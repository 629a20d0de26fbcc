"""Frozen, slotted dataclasses that are quick to make: an agent has a hundred of them, and its start waits for each.

The standard library writes and compiles six methods for each class. Here it is one; the others are the same code for all, and
the classes mean what `dataclass(frozen=True, slots=True)` says: to a type checker that is what they are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any

__all__ = ["record"]

if TYPE_CHECKING:
    from dataclasses import dataclass as record
else:

    def record(*, frozen: bool, slots: bool) -> Callable[[type], type]:
        """Class decorator. Both must be asked for, so that a reader sees what the class is."""
        if not (frozen and slots):
            raise TypeError("a record is frozen and slotted")
        return _record


def _record(cls: type) -> type:
    cls.__doc__ = cls.__doc__ or cls.__name__  # or a signature would be worked out for it
    made: type = dataclasses.dataclass(init=False, repr=False, eq=False, slots=True)(cls)
    fields = dataclasses.fields(made)
    names = [field.name for field in fields]
    values: Callable[[Any], Any] = attrgetter(*names) if names else lambda value: ()

    def equal(self: Any, other: Any) -> Any:
        return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

    methods: dict[str, Any] = {
        "__init__": _initializer(made, fields),
        "__repr__": _repr,
        "__eq__": equal,
        "__hash__": lambda self: hash(values(self)),
        "__setattr__": _refuse,
        "__delattr__": _refuse,
        "__getstate__": lambda self: [getattr(self, name) for name in names],
        "__setstate__": _restore,
    }
    for name, method in methods.items():
        setattr(made, name, method)
    return made


def _initializer(cls: type, fields: tuple[dataclasses.Field[Any], ...]) -> Any:
    """Compiled for the class: the one method whose speed counts with every message."""
    parameters, lines = [], []
    known: dict[str, Any] = {}
    for field in fields:
        name = field.name
        known[f"set_{name}"] = cls.__dict__[name].__set__
        if field.default is not dataclasses.MISSING:
            known[f"default_{name}"] = field.default
            parameters.append(f"{name}=default_{name}")
        elif field.default_factory is not dataclasses.MISSING:
            known[f"make_{name}"], known["absent"] = field.default_factory, dataclasses.MISSING
            parameters.append(f"{name}=absent")
            lines.append(f" if {name} is absent: {name} = make_{name}()")
        else:
            parameters.append(name)
        lines.append(f" set_{name}(self, {name})")
    exec(f"def __init__(self, {', '.join(parameters)}):\n" + "\n".join(lines or [" pass"]), known)  # noqa: S102 - of our own field names
    made = known["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    return made


def _repr(self: Any) -> str:
    shown = (f"{field.name}={getattr(self, field.name)!r}" for field in dataclasses.fields(self))
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _refuse(self: Any, name: str, *value: Any) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot assign to or delete field {name!r}")


def _restore(self: Any, state: list[Any]) -> None:
    for field, value in zip(dataclasses.fields(self), state, strict=True):
        object.__setattr__(self, field.name, value)
