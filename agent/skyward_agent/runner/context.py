"""What an attempt finds around it: environment variables, and its place among the nodes."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

from skyward_agent.wire.messages import Configure, Lease, Peer
from skyward_agent.wire.world import INFO_VARIABLE, NodeInfo


def read_image_environment(home: Path) -> dict[str, str]:
    """The image's variables, as the bootstrap left them; none when it left none."""
    try:
        values = json.loads((home / "environment").read_text())
    except (OSError, ValueError):
        return {}
    return {str(name): str(value) for name, value in values.items()} if isinstance(values, dict) else {}


def attempt_environment(
    image: dict[str, str],
    configure: Configure,
    lease: Lease,
    *,
    lane: int,
    accelerators: tuple[str, ...],
    visible: dict[str, str],
) -> dict[str, str]:
    """What makes its accelerators visible, by their names; then the variables of the image, the pool and the task: the later
    ones win."""
    frozen = lease.rank >= 0
    info = _node_info(
        configure.node,
        configure.pool,
        lease.rank if frozen else configure.rank,
        lease.world if frozen else configure.world,
        accelerators,
        lane,
    )
    return {**visible, **image, **configure.env, **lease.env, INFO_VARIABLE: info}


@lru_cache(maxsize=256)
def _node_info(
    node: str, pool: str, rank: int, world: tuple[Peer, ...], accelerators: tuple[str, ...], lane: int
) -> str:
    """NodeInfo as JSON; nearly every task of a lane has the same."""
    peers = tuple(peer.address for peer in world)
    return NodeInfo(
        node=node,
        pool=pool,
        rank=rank,
        world_size=len(world),
        peers=peers,
        head_address=peers[0] if peers else "",
        accelerators=accelerators,
        lane=lane,
    ).to_json()
