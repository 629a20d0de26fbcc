"""What was done, as decisions: one for each action of a pool's plan and for each step of a node's that changes its course."""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from skyward.api import Node, NodeCondition, Reason, is_true
from skyward.facts import Decision, DecisionKind, Inputs
from skyward.planner.plans import (
    AskForInstance,
    Cordon,
    CreateNode,
    FailNode,
    Finish,
    ForgetNode,
    KeepNode,
    NodeStep,
    PoolAction,
    ResumeLaunch,
    RetireNode,
    RunBootstrap,
    StartLaunch,
    Terminate,
    Wait,
)

FORGET = "failure-records"
CORDON, TERMINATE, PROVED_GONE = "cordon", "terminate", "proved-gone"
MERE_STEPS = frozenset({FORGET, CORDON, TERMINATE, PROVED_GONE})
"""How a node goes, not why."""
LAUNCH_RULE = "cheapest-offering"
_NAMED = 8
"""So many of those that one decision is about are named; of the rest the number."""


def pool_decisions(actions: Iterable[PoolAction]) -> tuple[Decision, ...]:
    """About the pool: what is done for one reason is one decision, about all the slots or nodes that it concerns."""
    grouped: dict[Decision, list[str]] = {}
    for action in actions:
        grouped.setdefault(action_decision(action, ""), []).append(_target(action))
    return tuple(
        Decision(one.kind, one.rule, one.reason, one.message, one.inputs, _names(targets))
        for one, targets in grouped.items()
    )


def action_decision(action: PoolAction, target: str | None = None) -> Decision:
    """About the node that it makes, retires or forgets."""
    aim = _target(action) if target is None else target
    match action:
        case CreateNode():
            return Decision(DecisionKind.CREATE, action.rule, action.reason, action.message, action.inputs, aim)
        case RetireNode():
            return Decision(DecisionKind.RETIRE, action.rule, action.reason, action.message, action.inputs, aim)
        case ForgetNode():
            return Decision(DecisionKind.RETIRE, FORGET, action.reason, action.message, (), aim)
        case KeepNode():
            return Decision(DecisionKind.REPAIR, action.rule, action.reason, action.message, action.inputs, aim)
        case _:
            assert_never(action)


def step_decision(node: Node, step: NodeStep) -> Decision | None:
    """About the node; None for a step that only goes on with what was decided before. The choice of an offering is put on
    record with its launch, for every node that shares it."""
    match step:
        case ResumeLaunch():
            return _resumed(step)
        case RunBootstrap(restart=True):
            tried: Inputs = (("restarts", node.status.restarts),)
            return Decision(DecisionKind.REPAIR, "agent-restart", Reason.AGENT_LOST, step.message, tried)
        case Cordon():
            return Decision(DecisionKind.RETIRE, CORDON, Reason.CORDONED, step.message)
        case Terminate():
            if is_true(node.status.conditions, NodeCondition.TERMINATING):
                return None  # asked for again
            return Decision(DecisionKind.RETIRE, TERMINATE, Reason.TERMINATING, step.message)
        case FailNode():
            return Decision(DecisionKind.RETIRE, "give-up", step.reason, step.message.strip().splitlines()[0])
        case Finish():
            return Decision(DecisionKind.RETIRE, PROVED_GONE, Reason.GONE, step.message)
        case StartLaunch() | AskForInstance() | RunBootstrap() | Wait():
            return None
        case _:
            assert_never(step)


def held_back(step: FailNode, *, paused: bool) -> Decision:
    """About a node that would be given up now."""
    rule, reason = ("paused", Reason.PAUSED) if paused else ("unsynced", Reason.NOT_SYNCED)
    until = "its pool is paused" if paused else "there is no complete, fresh listing of its provider"
    message = f"{step.message.strip().splitlines()[0]}; it is not given up while {until}"
    return Decision(DecisionKind.HOLD, rule, reason, message)


def launch_decision(step: StartLaunch) -> Decision:
    """About a node that shares the launch."""
    return Decision(DecisionKind.CREATE, LAUNCH_RULE, step.reason, step.message, step.inputs, step.offering.id)


def sentence(kind: str, decision: Decision) -> str:
    """What was decided about an object of this kind, as events say it and as `why` tells it."""
    message, target = decision.message, decision.target
    match kind, decision.kind:
        case "Pool", DecisionKind.CREATE:
            makes = f"a node for slot {target}" if target.isdigit() else f"nodes for slots {target}"
            return f"making {makes}: {message}"
        case "Pool", DecisionKind.RETIRE:
            verb = "forgetting" if decision.rule == FORGET else "retiring"
            return f"{verb} {target}: {message}" if target else message
        case "Pool", DecisionKind.REPAIR:
            return f"keeping {target}: {message}"
        case "Node", DecisionKind.CREATE if target.isdigit():
            return f"made for slot {target}: {message}"
    return message


def _resumed(step: ResumeLaunch) -> Decision:
    if step.bind:
        return Decision(DecisionKind.CREATE, "bind-listed", Reason.ADOPTED, step.message)
    if step.absent:
        return Decision(DecisionKind.SKIP, "proved-absent", Reason.OUTCOME_UNKNOWN, step.message)
    return Decision(DecisionKind.CREATE, "same-identity", Reason.LAUNCHING, step.message)


def _target(action: PoolAction) -> str:
    return str(action.slot) if isinstance(action, CreateNode) else action.node.rpartition("/")[2]


def _names(targets: list[str]) -> str:
    named = ", ".join(targets[:_NAMED])
    more = len(targets) - _NAMED
    return f"{named} and {more} more" if more > 0 else named
