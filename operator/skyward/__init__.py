"""Pools of cloud machines, declared as files and kept true by a control loop; run Python functions on them.

Everything is loaded when it is first used, so that `import skyward` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skyward import errors
    from skyward.sdk.outcomes import RemoteTraceback
    from skyward.sdk.pool import PoolHandle
    from skyward.sdk.session import Session, connect
    from skyward_agent.wire.world import NodeInfo, node_info, shard

    __version__: str

__all__ = [
    "NodeInfo",
    "PoolHandle",
    "RemoteTraceback",
    "Session",
    "__version__",
    "connect",
    "errors",
    "node_info",
    "shard",
]

_HOMES = {
    "NodeInfo": "skyward_agent.wire.world",
    "PoolHandle": "skyward.sdk.pool",
    "RemoteTraceback": "skyward.sdk.outcomes",
    "Session": "skyward.sdk.session",
    "connect": "skyward.sdk.session",
    "node_info": "skyward_agent.wire.world",
    "shard": "skyward_agent.wire.world",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = importlib.import_module("importlib.metadata").version("skyward-operator")
    elif name == "errors":
        value = importlib.import_module("skyward.errors")
    elif name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
