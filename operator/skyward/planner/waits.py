"""What keeps a roll-out from going on, as standing decisions: the sentence of each is also the condition's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from skyward.api import Reason, to_time
from skyward.facts import Decision, DecisionKind
from skyward.planner.places import Member, Place
from skyward.planner.replacing import Rollout

_NAMED = 5
PAUSED = Decision(DecisionKind.HOLD, "paused", Reason.PAUSED, "nothing is changed while spec.paused is true")


def rollout_waits(rollout: Rollout, standing: Sequence[Member]) -> tuple[Decision, ...]:
    """For what still stands after this pass. Empty when nothing is outdated, or when nothing but time to come up is missing."""
    old = [member for member in standing if member.outdated]
    if not old:
        return tuple(_recreation(rollout))
    return (*_held(rollout, old), *_progress(rollout, standing))


def _held(rollout: Rollout, old: Sequence[Member]) -> Iterator[Decision]:
    """Those that no number lets go."""
    protected = [member for member in old if rollout.hold(member) is Reason.DO_NOT_DISRUPT]
    if protected:
        message = f"the annotation skyward.dev/do-not-disrupt keeps {_names(protected)}"
        if rollout.recreates:
            message += "; Recreate replaces all nodes or none, and makes none meanwhile"
        yield Decision(
            DecisionKind.HOLD, "do-not-disrupt", Reason.DO_NOT_DISRUPT, message, (("nodes", len(protected)),)
        )
    asked = sum(rollout.hold(member) is Reason.ON_DELETE for member in old)
    if asked:
        message = f"older nodes that are replaced when they are deleted or annotated with skyward.dev/replace: {asked}"
        yield Decision(DecisionKind.WAIT, "on-delete", Reason.ON_DELETE, message, (("nodes", asked),))
    late = sum(rollout.hold(member) is Reason.NOT_BEFORE for member in old)
    if late and rollout.begins_at is not None:
        at = to_time(rollout.begins_at).isoformat()
        message = f"nodes that are not replaced before {at}: {late}"
        inputs = (("nodes", late), ("notBefore", at))
        yield Decision(DecisionKind.WAIT, "not-before", Reason.NOT_BEFORE, message, inputs)


def _progress(rollout: Rollout, standing: Sequence[Member]) -> Iterator[Decision]:
    """What those that may go wait for."""
    if not any(rollout.moves(member) for member in standing):
        return
    if rollout.failures.stopped:
        message = "no node of the new template ever became ready: no more of the old ones are given up for it"
        inputs = (("failures", rollout.failures.consecutive),)
        yield Decision(DecisionKind.HOLD, "template-stopped", Reason.TEMPLATE_FAILING, message, inputs)
    elif rollout.recreates:
        yield from _recreate_waits(rollout, standing)
    elif rollout.budget_room == 0:
        yield _budget_closed(rollout, standing)
    else:
        yield from _min_ready(rollout, standing)
        yield from _numbers(rollout, standing)


def _numbers(rollout: Rollout, standing: Sequence[Member]) -> Iterator[Decision]:
    available, nodes = rollout.available(standing), rollout.limits.nodes
    new = rollout.available([member for member in standing if not member.outdated])
    if rollout.canary_room(standing) is not None:
        message = f"{new} of {rollout.canaries} canary nodes are available; the rest follows when all are"
        inputs = (("canary", rollout.canaries), ("available", new))
        yield Decision(DecisionKind.WAIT, "canary", Reason.CANARY_PENDING, message, inputs)
    elif available > rollout.floor:
        return  # only the pace of what fails, which the failures tell, keeps them
    elif rollout.limits.surge:
        message = f"an old node leaves when a new one serves: {available} nodes are available, {nodes} must stay"
        inputs = (("available", available), ("floor", rollout.floor))
        yield Decision(DecisionKind.WAIT, "launch-before-drain", Reason.REPLACEMENT_PENDING, message, inputs)
    else:
        message = f"{available} of {nodes} nodes are available, at least {rollout.floor} must stay"
        inputs = (("available", available), ("floor", rollout.floor))
        yield Decision(DecisionKind.WAIT, "disruption-budget", Reason.BUDGET_EXHAUSTED, message, inputs)


def _min_ready(rollout: Rollout, standing: Sequence[Member]) -> Iterator[Decision]:
    young = [m for m in standing if m.place is Place.READY and not rollout.availability.holds(m)]
    if young:
        least = rollout.spec.rollout.min_ready
        message = f"{_names(young)} will count as available after being ready for {least}"
        inputs = (("nodes", len(young)), ("minReady", least))
        yield Decision(DecisionKind.WAIT, "min-ready", Reason.REPLACEMENT_PENDING, message, inputs)


def _budget_closed(rollout: Rollout, standing: Sequence[Member]) -> Decision:
    budget = rollout.budget
    message = f"disruption.budgets lets {budget.nodes} nodes go at once, and {rollout.leaving} are on their way out"
    if budget.is_closed:
        message = "disruption.budgets lets no node go now"
    inputs = (("budget", budget.nodes or 0), ("leaving", rollout.leaving))
    return Decision(DecisionKind.HOLD, "disruption-budget", Reason.BUDGET_EXHAUSTED, message, inputs)


def _recreate_waits(rollout: Rollout, standing: Sequence[Member]) -> Iterator[Decision]:
    old = [member for member in standing if member.outdated]
    if len(old) > rollout.budget_room and rollout.leaving == 0:
        message = (
            f"Recreate replaces all {len(old)} nodes at once, and disruption.budgets lets {rollout.budget.nodes} go"
        )
        inputs = (("budget", rollout.budget.nodes or 0), ("nodes", len(old)))
        yield Decision(DecisionKind.HOLD, "disruption-budget", Reason.BUDGET_EXHAUSTED, message, inputs)
    else:
        yield from _recreation(rollout)


def _recreation(rollout: Rollout) -> Iterator[Decision]:
    if rollout.recreates and rollout.leaving:
        message = f"no node is made until the old ones are gone: {rollout.leaving}"
        yield Decision(
            DecisionKind.WAIT, "recreate", Reason.REPLACEMENT_PENDING, message, (("leaving", rollout.leaving),)
        )


def _names(members: Sequence[Member]) -> str:
    names = [member.node.metadata.name for member in members]
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
