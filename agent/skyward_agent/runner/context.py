"""What an attempt finds around it: environment variables, and its place among the nodes."""

from __future__ import annotations

import json
from pathlib import Path

from skyward_agent.wire.messages import Configure, Lease
from skyward_agent.wire.world import INFO_VARIABLE, NodeInfo


def read_image_environment(home: Path) -> dict[str, str]:
    """The image's variables, as the bootstrap left them; none when it left none."""
    try:
        values = json.loads((home / "environment").read_text())
    except (OSError, ValueError):
        return {}
    return {str(name): str(value) for name, value in values.items()} if isinstance(values, dict) else {}


def attempt_environment(
    image: dict[str, str], configure: Configure, lease: Lease, *, lane: int, accelerators: tuple[str, ...]
) -> dict[str, str]:
    """The image's variables, then the pool's, then the task's: the later ones win."""
    frozen = lease.rank >= 0
    world = lease.world if frozen else configure.world
    peers = tuple(peer.address for peer in world)
    info = NodeInfo(
        node=configure.node,
        pool=configure.pool,
        rank=lease.rank if frozen else configure.rank,
        world_size=len(world),
        peers=peers,
        head_address=peers[0] if peers else "",
        accelerators=accelerators,
        lane=lane,
    )
    return {**image, **configure.env, **lease.env, INFO_VARIABLE: info.to_json()}
