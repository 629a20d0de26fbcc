"""`options.faults` of the local provider: a user can rehearse on real nodes what clouds do."""

from __future__ import annotations

import pytest

import skyward as sky
from hack.operator_process import OperatorProcess, wait_for
from tests.e2e.pools import delete_and_check, double, manifest

pytestmark = pytest.mark.slow


def rehearsed(nodes: int, **faults: object) -> str:
    inner = ", ".join(f"{name}: {value}" for name, value in faults.items())
    options = f", options: {{faults: {{{inner}}}}}" if faults else ""
    return manifest(nodes=nodes).replace("provider: local", f"providers: [{{name: local{options}}}]")


def notes(operator: OperatorProcess) -> dict[str, str]:
    """Reasons of all events, each with its newest note."""
    events = operator.objects.list("events", namespace="default")["items"]
    return {event["reason"]: event["note"] for event in events}


def test_refused_creates_lost_answers_and_slow_boots_are_overcome(
    operator: OperatorProcess, session: sky.Session
) -> None:
    operator.save("hello.yaml", rehearsed(2, failedCreates=1, lostReplies=1, slowBoot="2s"))
    reasons: set[str] = set()

    def is_ready() -> bool:
        for node in operator.nodes("hello"):
            reasons.update(c["reason"] for c in node["status"].get("conditions", []))
        return len(operator.ready_nodes("hello")) == 2

    wait_for("both nodes", is_ready, 90)

    assert "rehearsed fault" in notes(operator)["InsufficientCapacity"]
    assert "rehearsed fault" in notes(operator)["OutcomeUnknown"]
    assert "Starting" in reasons, "a slow boot is told"
    assert len(list((operator.state / "local").glob("*/instance.json"))) == 2, "the lost answer made no third"
    assert session.pool("hello").run(double, 4) == 8
    delete_and_check(operator, "hello")


def test_a_spot_loss_is_told_and_made_good_until_the_rehearsal_ends(
    operator: OperatorProcess, session: sky.Session
) -> None:
    operator.save("hello.yaml", rehearsed(1, spotLossAfter="4s"))
    operator.wait_ready("hello", 1)
    first = operator.nodes("hello")[0]["metadata"]["uid"]

    wait_for("its replacement", lambda: first not in {node["metadata"]["uid"] for node in operator.nodes("hello")})
    operator.wait_ready("hello", 1)
    told = notes(operator)
    # A node whose agent fell silent before the loss was listed is told as failed, with the same words.
    assert "rehearsed fault" in told.get("Interrupted", "") + told.get("NodeFailed", ""), told

    operator.save("hello.yaml", rehearsed(1))
    wait_for(
        "a node that stays",
        lambda: (
            [node["spec"]["template"]["providers"] for node in operator.ready_nodes("hello")] == [[{"name": "local"}]]
        ),
        60,
    )
    assert session.pool("hello").run(double, 4) == 8
    delete_and_check(operator, "hello")
