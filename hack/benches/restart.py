"""From the start of an operator, after `kill -9`, to its first reconcile of what changed while nobody ran."""

from __future__ import annotations

import statistics
from typing import Any

from hack.benches.real import MANIFEST, real_operator, timed
from hack.operator_process import OperatorProcess, wait_for

GOALS = {"first_reconcile_worst_s": 5.0}
_TIMES = 8


def restart(arguments: list[str]) -> dict[str, Any]:
    with real_operator() as operator:
        operator.save("hello.yaml", MANIFEST.format(name="hello", nodes=2, connection="auto"))
        operator.wait_ready("hello", 2)
        times = [timed(lambda nodes=nodes: revive(operator, nodes)) for nodes in (1, 2) * (_TIMES // 2)]  # type: ignore[misc]
    return {
        "goals": GOALS,
        "first_reconcile_p50_s": round(statistics.median(times), 2),
        "first_reconcile_worst_s": round(max(times), 2),
    }


def revive(operator: OperatorProcess, nodes: int) -> None:
    """Returns once a new operator has acted on a manifest that was saved between the two."""
    operator.kill()
    operator.save("hello.yaml", MANIFEST.format(name="hello", nodes=nodes, connection="auto"))
    operator.restart()
    wait_for("the first reconcile", lambda: is_taken_up(operator, nodes), 60)


def is_taken_up(operator: OperatorProcess, nodes: int) -> bool:
    """The pool reconciler has acted on this wish: it says so in the status."""
    pool = operator.objects.get("pools", "default", "hello")
    generation, observed = pool["metadata"]["generation"], pool["status"].get("observedGeneration", 0)
    return bool(pool["spec"]["nodes"] == nodes and observed == generation)
