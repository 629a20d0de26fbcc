"""What a function can learn of its place: both sides of the wire offer it as `node_info()` and `shard()`."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import asdict
from typing import Any, TypeVar

from skyward_agent.wire.records import record

T = TypeVar("T")
INFO_VARIABLE = "SKYWARD_NODE_INFO"
"""Environment variable in which a child process finds its NodeInfo, as JSON."""
INFO_OF_THREAD: ContextVar[str | None] = ContextVar("skyward_node_info", default=None)
"""The same, where several functions share a process."""


@record(frozen=True, slots=True)
class NodeInfo:
    """Where the running function is."""

    node: str
    pool: str
    rank: int
    """Place among the nodes of this call (broadcast) or of the pool (run, map); from 0."""
    world_size: int
    peers: tuple[str, ...]
    """Addresses of all ranks, in order."""
    head_address: str
    """Address of rank 0."""
    accelerators: tuple[str, ...] = ()
    lane: int = 0

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> NodeInfo:
        values: dict[str, Any] = json.loads(text)
        values["peers"] = tuple(values["peers"])
        values["accelerators"] = tuple(values["accelerators"])
        return NodeInfo(**values)


def node_info() -> NodeInfo:
    """The node this function runs on. Raises RuntimeError outside a task."""
    text = INFO_OF_THREAD.get() or os.environ.get(INFO_VARIABLE)
    if text is None:
        raise RuntimeError("node_info() works inside a function that runs on a pool")
    return NodeInfo.from_json(text)


def shard(sequence: Sequence[T]) -> Sequence[T]:
    """This rank's part of a sequence: every world_size-th element from its rank on. Parts are disjoint and cover all."""
    info = node_info()
    return sequence[info.rank :: info.world_size]
