"""`skyward` inside a task on a node where the package is not installed: what functions use there, and no more."""

from __future__ import annotations

import importlib.util
import sys
import types

from skyward_agent.wire.files import File
from skyward_agent.wire.sampling import DistributedSampler
from skyward_agent.wire.world import NodeInfo, node_info, shard

_OFFERED = {
    "DistributedSampler": DistributedSampler,
    "File": File,
    "NodeInfo": NodeInfo,
    "node_info": node_info,
    "shard": shard,
}


class _Facade(types.ModuleType):
    """Says why a name is missing, instead of a bare AttributeError."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(
            f"skyward.{name} is not available on nodes: functions can use {', '.join(sorted(_OFFERED))}, "
            "or add skyward-operator to spec.image.pip"
        )


def install() -> None:
    """Make `import skyward` work. Does nothing where the real package can be imported."""
    spec = importlib.util.find_spec("skyward")
    if spec is not None and spec.origin is not None:
        return
    facade = _Facade("skyward", "The part of skyward that functions can use on a node.")
    facade.__dict__.update(_OFFERED, __all__=sorted(_OFFERED))
    sys.modules["skyward"] = facade
