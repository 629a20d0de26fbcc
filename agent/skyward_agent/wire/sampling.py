"""torch's DistributedSampler with the place of this node among the nodes of the call."""

from __future__ import annotations

import importlib
from typing import Any

from skyward_agent.wire.world import node_info


def DistributedSampler(dataset: Any, **options: Any) -> Any:
    """This rank's part of a data set, as a `torch.utils.data.DistributedSampler`; `options` are its own (`shuffle`, `seed`,
    `drop_last`). Raises ModuleNotFoundError where torch is not installed, RuntimeError outside a task."""
    info = node_info()
    try:
        module = importlib.import_module("torch.utils.data.distributed")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ModuleNotFoundError(
            "DistributedSampler needs torch on the node: add it to spec.image.pip", name="torch"
        ) from None
    return module.DistributedSampler(dataset, **{"num_replicas": info.world_size, "rank": info.rank, **options})
