"""The pools of a run, and their manifests."""

from __future__ import annotations

from dataclasses import dataclass

WORK, SIDE, CHURN = "work", "side", "churn"
_MOST_SIDE = 2


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """`work` runs the workload; `side` is reached through SSH tunnels; `churn` is deleted and made anew."""

    name: str
    nodes: int
    """What it wants in the end."""
    most: int
    """What it ever wants."""
    stable: bool = True
    """Nobody ever deletes it."""
    connection: str = "direct"

    def manifest(self, nodes: int, revision: int = 0, asked_at: str = "") -> str:
        """`revision` changes the template; `asked_at` excuses what failed before."""
        annotations = f'\n  annotations: {{skyward.dev/reconcile-requested-at: "{asked_at}"}}' if asked_at else ""
        return (
            "apiVersion: skyward.dev/v1alpha1\n"
            "kind: Pool\n"
            "metadata:\n"
            f"  name: {self.name}{annotations}\n"
            "spec:\n"
            f"  nodes: {nodes}\n"
            "  provider: local\n"
            "  concurrency: 2\n"
            f"  connection: {self.connection}\n"
            "  drainTimeout: 3s\n"
            "  orphanTimeout: 2m  # ends what a killed conductor leaves behind\n"
            f"  image: {{env: {{REVISION: '{revision}'}}}}\n"
        )


def plan_work(nodes: int) -> tuple[PoolPlan, ...]:
    """The pool that works, alone."""
    return (PoolPlan(WORK, nodes, nodes),)


def plan_pools(nodes: int) -> tuple[PoolPlan, ...]:
    """`nodes` is the size of the pool that works."""
    return (
        PoolPlan(WORK, nodes, nodes + 1),
        PoolPlan(SIDE, 1, _MOST_SIDE, connection="tunnel"),
        PoolPlan(CHURN, 1, 1, stable=False),
    )
