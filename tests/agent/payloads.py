"""Functions and arguments as a client would send them: what the test module defines travels by value."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from typing import Any

import cloudpickle


def pickled_function(function: Callable[..., Any]) -> tuple[str, bytes]:
    """(digest, bytes)."""
    module = sys.modules[function.__module__]
    cloudpickle.register_pickle_by_value(module)
    try:
        data = bytes(cloudpickle.dumps(function, protocol=5))
    finally:
        cloudpickle.unregister_pickle_by_value(module)
    return hashlib.sha256(data).hexdigest(), data


def pickled_arguments(*args: Any, **kwargs: Any) -> bytes:
    return bytes(cloudpickle.dumps((args, kwargs), protocol=5))
