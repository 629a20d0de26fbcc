"""What the manifests would take away from many pools at once, and what is therefore held until somebody approves it."""

from __future__ import annotations

from skyward.api.base import Word

_SHOWN = 5


class Held(Word):
    """On a Source, all that is held; on a pool, its own part with the sums of all."""

    hash: str
    """Of the snapshot and of everything that it would take away: what `skyctl approve` must name."""
    pools: int
    """How many pools it concerns."""
    nodes: int
    """How many nodes they would lose together."""
    changes: tuple[str, ...]
    """What each of these pools would become, like `default/hello: removed` or `default/hello: 4 nodes to 0`."""

    def __str__(self) -> str:
        """One sentence for conditions, events and decisions alike."""
        shown = "; ".join(self.changes[:_SHOWN])
        more = f"; and {len(self.changes) - _SHOWN} more" if len(self.changes) > _SHOWN else ""
        what = f"{self.nodes:,} {'node' if self.nodes == 1 else 'nodes'} of {self.pools:,} pools"
        return (
            f"the files would take away {what} at once ({shown}{more}); that is held until the files are restored or "
            f"somebody runs: skyctl approve {self.hash}"
        )
