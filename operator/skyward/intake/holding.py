"""The mass-deletion guard: what one snapshot would take away from many pools at once waits for somebody's word.

A wrong branch, a failed sync or a slip with `rm` looks exactly like a wish, only larger. So beyond a size the destructive
part of a snapshot is held while all else of it takes effect. What is held stays so until it is approved, its file is
restored, or its pool is changed or deleted through the API: neither a restart nor pools that come or go elsewhere let
it slip below the thresholds. An approval names the snapshot and everything held, so it covers nothing else.
Pools of all namespaces count together. Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from skyward.api import Held, Pool


@dataclass(frozen=True, slots=True)
class HoldLimits:
    """The most that one snapshot may take away without a word."""

    pools: int = 1
    """Pools that are removed or scaled to zero; one is always somebody's plain edit."""
    share: float = 0.25
    """The same as a share of all pools; the larger of the two counts."""
    nodes: int = 10
    """Nodes lost by removed pools, and by lowered ones when there are several: what a person still has an eye on."""


@dataclass(frozen=True, slots=True)
class Loss:
    """What the files would take away from one pool."""

    pool: Pool
    left: int | None
    """Nodes that it would keep; None when it would be removed."""

    @property
    def nodes(self) -> int:
        return self.pool.spec.nodes - (self.left or 0)

    @property
    def empties(self) -> bool:
        return not self.left

    def __str__(self) -> str:
        if self.left is None:
            return f"{self.pool.key}: removed"
        return f"{self.pool.key}: {self.pool.spec.nodes} nodes to {self.left}"


@dataclass(frozen=True, slots=True)
class Hold:
    """Losses that do not take effect."""

    hash: str
    losses: tuple[Loss, ...]
    summary: Held
    parts: Mapping[str, Held]
    """What each pool is told, by its uid."""


def find_hold(losses: Sequence[Loss], living: int, limits: HoldLimits, revision: str) -> Hold | None:
    """What of these losses is held. `living` is how many pools there are, the losing ones included."""
    held = losses if _exceeds(losses, living, limits) else [loss for loss in losses if loss.pool.status.held]
    if not held:
        return None
    held = sorted(held, key=lambda loss: loss.pool.key)
    summary = Held(
        hash=_hash(held, revision),
        pools=len(held),
        nodes=sum(loss.nodes for loss in held),
        changes=tuple(str(loss) for loss in held),
    )
    parts = {loss.pool.metadata.uid: summary.replace(changes=(str(loss),)) for loss in held}
    return Hold(summary.hash, tuple(held), summary, parts)


def _exceeds(losses: Sequence[Loss], living: int, limits: HoldLimits) -> bool:
    if len(losses) == 1 and losses[0].left is not None:
        return False  # one pool that was made smaller: somebody wrote exactly that
    emptied = sum(loss.empties for loss in losses)
    return emptied > max(limits.pools, limits.share * living) or sum(loss.nodes for loss in losses) > limits.nodes


def _hash(losses: Sequence[Loss], revision: str) -> str:
    """Generations make it differ when the same thing is wanted again after it was taken back."""
    lines = [revision]
    for loss in losses:
        meta = loss.pool.metadata
        lines.append(f"{meta.uid} {meta.generation} {loss.pool.spec.nodes} {loss.left}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]
