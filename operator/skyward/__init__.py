"""Pools of cloud machines, declared as files and kept true by a control loop; run Python functions on them.

Everything is loaded when it is first used, so that `import skyward` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skyward import errors
    from skyward.sdk import integrations
    from skyward.sdk.async_session import AsyncSession, aconnect
    from skyward.sdk.functions import function
    from skyward.sdk.outcomes import RemoteTraceback
    from skyward.sdk.pool import PoolHandle
    from skyward.sdk.session import Session, connect
    from skyward_agent.wire.files import File
    from skyward_agent.wire.sampling import DistributedSampler
    from skyward_agent.wire.world import NodeInfo, node_info, shard

    __version__: str

__all__ = [
    "AsyncSession",
    "DistributedSampler",
    "File",
    "NodeInfo",
    "PoolHandle",
    "RemoteTraceback",
    "Session",
    "__version__",
    "aconnect",
    "connect",
    "errors",
    "function",
    "integrations",
    "node_info",
    "shard",
]

_MODULES = {"errors": "skyward.errors", "integrations": "skyward.sdk.integrations"}
_HOMES = {
    "AsyncSession": "skyward.sdk.async_session",
    "DistributedSampler": "skyward_agent.wire.sampling",
    "File": "skyward_agent.wire.files",
    "aconnect": "skyward.sdk.async_session",
    "NodeInfo": "skyward_agent.wire.world",
    "PoolHandle": "skyward.sdk.pool",
    "RemoteTraceback": "skyward.sdk.outcomes",
    "Session": "skyward.sdk.session",
    "connect": "skyward.sdk.session",
    "function": "skyward.sdk.functions",
    "node_info": "skyward_agent.wire.world",
    "shard": "skyward_agent.wire.world",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = importlib.import_module("importlib.metadata").version("skyward-operator")
    elif name in _MODULES:
        value = importlib.import_module(_MODULES[name])
    elif name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
