"""A local node from the saved file to Ready, and from the delete to nothing left."""

from __future__ import annotations

import statistics
from typing import Any

from hack.benches.real import MANIFEST, real_operator, timed
from hack.operator_process import OperatorProcess, wait_for
from skyward.bootstrap.agent_file import build_agent_file

GOALS = {"warm_node_p50_s": 1.0, "twenty_nodes_s": 8.0}


def ready(arguments: list[str]) -> dict[str, Any]:
    with real_operator() as operator:
        return {"goals": GOALS, **_ready(operator)}


def _ready(operator: OperatorProcess) -> dict[str, Any]:
    """A local node from the saved file to Ready, one at a time and twenty at once, and from the delete to nothing left."""
    ones: list[float] = []
    for number in range(6):
        name = f"one-{number}"
        operator.save(f"{name}.yaml", MANIFEST.format(name=name, nodes=1, connection="auto"))
        ones.append(timed(lambda name=name: operator.wait_ready(name, 1)))  # type: ignore[misc]
        operator.objects.delete("pools", "default", name)
        operator.wait_gone()
    operator.save("twenty.yaml", MANIFEST.format(name="twenty", nodes=20, connection="auto"))
    twenty = timed(lambda: operator.wait_ready("twenty", 20, 300))
    operator.objects.delete("pools", "default", "twenty")
    gone = timed(lambda: wait_for("twenty nodes to be gone", lambda: not operator.leftovers(), 120))
    return {
        "first_node_s": round(ones[0], 2),
        "warm_node_p50_s": round(statistics.median(ones[1:]), 2),
        "twenty_nodes_s": round(twenty, 2),
        "twenty_nodes_gone_s": round(gone, 2),
        "agent_file_kb": round(len(build_agent_file()) / 1024, 1),
    }
