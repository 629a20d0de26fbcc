"""Pools behind the faces of other libraries. Each is loaded when it is first used, since nobody has all of the libraries."""

from __future__ import annotations

import importlib
from types import ModuleType

__all__ = ["joblib"]


def __getattr__(name: str) -> ModuleType:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return importlib.import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise ModuleNotFoundError(f"install {name!r} to use sky.integrations.{name}", name=name) from None
