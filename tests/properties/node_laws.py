"""The laws of `plan_node`: what must be true of the plan of any node in any world whatsoever."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from random import Random

from skyward.api import Node, NodeCondition, Reason, Status, is_true
from skyward.facts import InstanceState, LaunchState, ObservedNode
from skyward.planner import (
    AskForInstance,
    Cordon,
    FailNode,
    Finish,
    NodePlan,
    NodeStep,
    ResumeLaunch,
    RunBootstrap,
    StartLaunch,
    Terminate,
    Wait,
    apply_updates,
    is_gone,
    plan_node,
)
from skyward.planner.node import LIFECYCLE
from tests.properties.node_worlds import NodeWorld

UNANSWERED = (LaunchState.SENT, LaunchState.UNKNOWN)
OPEN = (LaunchState.PREPARED, *UNANSWERED)
ONLY_WHILE_TRUE = {NodeCondition.CORDONED, NodeCondition.DRAINED, NodeCondition.DRIFTED, NodeCondition.INTERRUPTED}
ORDER = list(NodeCondition)
LONGEST_WAIT_S = 1800.0
PATIENCE_S = {"5m": 300.0, "0s": 0.0, "30s": 30.0}
"""By the drainTimeout of a pool."""


def check_node(world: NodeWorld, seed: int) -> NodePlan:
    """Plan this world and assert every law. `seed` orders things anew."""
    plan = _plan(world)
    assert _plan(_in_another_order(world, seed)) == plan, "order means something"
    step = plan.step
    assert isinstance(step, Wait) or step.message, "a step without a reason"
    if is_gone(world.observed.node):
        assert plan == NodePlan(Wait(), ()), "touches the record of a node that is gone"
        return plan
    match step:
        case StartLaunch():
            _launches_only_once(world)
        case ResumeLaunch():
            _resolves_by_its_own_identity(world, step)
        case FailNode():
            _gives_up_on_proof(world, step)
        case Terminate():
            _deletes_what_may_be_deleted(world)
        case Finish():
            _ends_with_proof(world)
        case RunBootstrap():
            _works_on_what_is_there(world, step)
        case Cordon():
            assert not world.observed.node.spec.unschedulable, "cordoned twice"
        case AskForInstance():
            assert _lacks_instance(world.observed), "asks for what the listing shows"
        case Wait():
            _waits_for_something(world, plan)
    _nothing_begins_where_nothing_may(world, plan)
    _conditions_are_whole(world, plan)
    _says_each_thing_once(plan)
    _stands_still(world, plan)
    return plan


def _plan(world: NodeWorld, later_s: float = 0.0) -> NodePlan:
    return plan_node(world.observed, world.pool, world.market, world.rules, world.now + later_s)


def _in_another_order(world: NodeWorld, seed: int) -> NodeWorld:
    random, market = Random(seed + 1), world.market
    offerings, cool_downs = list(market.offerings), list(market.cool_downs)
    random.shuffle(offerings)
    random.shuffle(cool_downs)
    return replace(world, market=replace(market, offerings=tuple(offerings), cool_downs=tuple(cool_downs)))


# --- launches ----------------------------------------------------------------------------------------------------


def _launches_only_once(world: NodeWorld) -> None:
    """Never a second identity while the first may have made something, and never a second instance."""
    observed, launch = world.observed, world.observed.launch
    assert not observed.node.status.provider_id, "a bound node is launched again"
    law(_stays(observed.node), "launches what goes")
    assert bool(observed.node.status.launch) is (launch is not None), "launches although a record is missing"
    if launch is not None:
        assert launch.state not in OPEN, "a second launch while the first is open"
        shown = observed.instance is not None and launch.state is not LaunchState.REJECTED
        assert not shown, "a second launch beside an instance of the first"
        assert launch.state is not LaunchState.BOUND or _proved_absent(world), "a second launch without proof"
    limits = world.market.limits
    assert limits.allowance != 0, "launches beyond slow start"
    assert limits.own.instances < limits.ceilings.pool_instances, "launches beyond the ceiling"
    assert limits.own.creates < limits.ceilings.pool_creates, "launches beyond the ceiling of creates"


def _resolves_by_its_own_identity(world: NodeWorld, step: ResumeLaunch) -> None:
    observed, launch = world.observed, world.observed.launch
    assert launch is not None
    assert not observed.node.status.provider_id, "resolves the launch of a bound node"
    assert [step.replay, step.bind, step.absent].count(True) == 1
    if step.replay:
        assert launch.state is LaunchState.PREPARED or (world.rules.has_token and launch.state in UNANSWERED), (
            "sends a call again that its provider does not know again"
        )
    elif step.bind:
        shown = observed.instance is not None and observed.instance.launch == launch.id
        law(shown and observed.listed_at is not None, "binds what is not its own")
        assert launch.state is not LaunchState.REJECTED
    else:
        made_nothing = observed.instance is None and _proved_absent(world)
        law(launch.state in UNANSWERED and made_nothing, "absent without proof")


def _proved_absent(world: NodeWorld) -> bool:
    listed_at, launch = world.observed.listed_at, world.observed.launch
    return listed_at is not None and launch is not None and listed_at >= launch.sent_at + world.rules.absence_s


# --- the way out -------------------------------------------------------------------------------------------------


def _gives_up_on_proof(world: NodeWorld, step: FailNode) -> None:
    observed = world.observed
    law(_stays(observed.node), "given up twice")
    assert observed.listed_at is not None, "given up while its provider cannot be observed"
    silent = step.reason is Reason.AGENT_LOST or (step.reason is Reason.INSTANCE_LOST and observed.instance is None)
    assert not (silent and observed.blocked is not None), "given up for its silence while too many are silent"
    assert not (silent and _is_connected(observed)), "given up for silence although its agent answers"
    if step.reason is Reason.INSTANCE_LOST and observed.instance is None:
        assert _proved_gone(world), "its instance counts as gone without proof"


def _deletes_what_may_be_deleted(world: NodeWorld) -> None:
    observed = world.observed
    assert observed.node.metadata.deletion_timestamp is not None, "deletes the instance of a node that stays"
    assert observed.node.status.provider_id, "deletes what is not bound"
    assert observed.listed_at is not None, "deletes while its provider cannot be observed"
    lost = observed.instance is not None and observed.instance.state.is_lost
    if observed.held and not lost and not observed.node.status.failure and not _pool_goes(world):
        assert world.pool is not None
        patience_s = PATIENCE_S[world.pool.spec.drain_timeout]
        deadline = observed.node.metadata.deletion_timestamp.timestamp() + patience_s
        assert world.now >= min(deadline, _taken_at(observed) - 5), "stops work before the drain is over"


def _ends_with_proof(world: NodeWorld) -> None:
    observed, launch = world.observed, world.observed.launch
    assert observed.node.metadata.deletion_timestamp is not None, "ends a node that stays"
    if observed.node.status.provider_id:
        assert _proved_gone(world), "ends a node whose instance is not proved gone"
        return
    if launch is not None:
        assert launch.state not in UNANSWERED, "ends a node whose launch may have made something"
        shown = observed.listed_at is not None and observed.instance is not None
        assert not shown or launch.state is LaunchState.REJECTED, "ends a node beside an instance of its launch"


def _proved_gone(world: NodeWorld) -> bool:
    """The provider says so of this very id, or long absence and a question after it."""
    observed = world.observed
    if observed.listed_at is None:
        return False
    if observed.instance is not None:
        return observed.instance.state is InstanceState.GONE
    answer = observed.looked_up
    if observed.missing_since is None or answer is None:
        return False
    if answer.instance is not None:
        return answer.instance.state is InstanceState.GONE
    return answer.asked_at >= observed.missing_since + world.rules.visibility_s


# --- everything else ---------------------------------------------------------------------------------------------


def _works_on_what_is_there(world: NodeWorld, step: RunBootstrap) -> None:
    instance, node = world.observed.instance, world.observed.node
    law(instance is not None and instance.state is InstanceState.UP, "logs in to what is not up")
    law(_stays(node), "bootstraps a node that goes")
    if step.restart:
        assert not _is_connected(world.observed), "starts an agent again that answers"
        assert 1 <= step.attempt <= world.rules.max_restarts, "started again too often"
        assert step.attempt in (1, node.status.restarts + 1)


def _nothing_begins_where_nothing_may(world: NodeWorld, plan: NodePlan) -> None:
    """In a pool that goes or is paused, and while its provider cannot be observed."""
    step, observed, launch = plan.step, world.observed, world.observed.launch
    stays = observed.node.metadata.deletion_timestamp is None
    paused = world.pool is not None and world.pool.spec.paused and stays and not _pool_goes(world)
    begins = isinstance(step, StartLaunch | RunBootstrap) or (isinstance(step, ResumeLaunch) and step.replay)
    if _pool_goes(world) and begins:
        resolves = isinstance(step, ResumeLaunch) and launch is not None and launch.state in UNANSWERED
        assert resolves, "begins in a pool that goes"
    if paused:
        acts = begins or isinstance(step, FailNode | Terminate | Finish | Cordon)
        law(not acts or _opens_tunnel(world, step), "acts in a paused pool")
    if observed.listed_at is None:
        creates = isinstance(step, StartLaunch) or (isinstance(step, ResumeLaunch) and step.replay)
        destroys = isinstance(step, Terminate | FailNode)
        law(not (creates or destroys), "makes or destroys without a listing")


def _waits_for_something(world: NodeWorld, plan: NodePlan) -> None:
    """Every state is left by time or by something that is observed and wakes it."""
    due_s, observed = plan.requeue_after_s, world.observed
    deleted = observed.node.metadata.deletion_timestamp
    if world.pool is not None and deleted is not None and any(one.rule == "drain" for one in plan.decisions):
        deadline = deleted.timestamp() + PATIENCE_S[world.pool.spec.drain_timeout]
        assert world.now < deadline, "waits for its work longer than it may"
    if due_s is not None:
        assert 0 < due_s <= LONGEST_WAIT_S, f"looks again after {due_s} s"
        return
    stays_as_is = bool(observed.node.status.failure) or _pool_goes(world) or _is_connected(observed)
    paused = world.pool is not None and world.pool.spec.paused
    assert stays_as_is or paused or observed.listed_at is None, "a state that nothing ever leaves"


def _conditions_are_whole(world: NodeWorld, plan: NodePlan) -> None:
    types = [NodeCondition(update.type) for update in plan.conditions]
    assert types == sorted(set(types), key=ORDER.index), "conditions out of order, or one twice"
    for update in plan.conditions:
        assert update.status is not None or update.type in ONLY_WHILE_TRUE
        assert isinstance(update.reason, Reason)
    said = {one.type for one in apply_updates(world.observed.node.status.conditions, plan.conditions, world.now)}
    assert said >= {str(type_) for type_ in LIFECYCLE}, "a condition of its life is not said"
    ready = next((update for update in plan.conditions if update.type == NodeCondition.READY), None)
    if ready is not None and ready.status is Status.TRUE:
        session = world.observed.session
        earned = session is not None and session.connected and session.ready and not session.problem
        assert earned, "ready unearned"
        assert world.observed.node.metadata.deletion_timestamp is None, "ready while it leaves"


def _says_each_thing_once(plan: NodePlan) -> None:
    said = [(decision.kind, decision.rule, decision.target) for decision in plan.decisions]
    assert len(said) == len(set(said)), "one decision twice"
    for decision in plan.decisions:
        assert decision.kind.stands
        assert decision.message


def _stands_still(world: NodeWorld, plan: NodePlan) -> None:
    """With nothing due nothing is said anew, but at most once: no text counts the seconds."""
    due_s = plan.requeue_after_s
    if not isinstance(plan.step, Wait) or (due_s is not None and due_s <= 2):
        return
    later = _plan(world, 1)
    assert isinstance(later.step, Wait), f"time alone asked for {later.step}, and nobody looked"
    if (later.decisions, later.conditions) != (plan.decisions, plan.conditions):
        again = _plan(world, 2)
        assert (later.decisions, later.conditions) == (again.decisions, again.conditions), "tells how time passes"


def law(claim: bool, words: str) -> None:
    """One law of several parts."""
    assert claim, words


def _stays(node: Node) -> bool:
    return node.metadata.deletion_timestamp is None and not node.status.failure


def _pool_goes(world: NodeWorld) -> bool:
    pool = world.pool
    own = pool is not None and pool.metadata.uid == world.observed.node.spec.pool_uid
    return not own or pool is None or pool.metadata.deletion_timestamp is not None


def _opens_tunnel(world: NodeWorld, step: NodeStep) -> bool:
    """That of an agent that has called home before: without it nothing could be observed."""
    conditions = world.observed.node.status.conditions
    known = world.observed.session is not None or is_true(conditions, NodeCondition.REGISTERED)
    return isinstance(step, RunBootstrap) and not step.restart and known


def _is_connected(observed: ObservedNode) -> bool:
    return observed.session is not None and observed.session.connected


def _lacks_instance(observed: ObservedNode) -> bool:
    return bool(observed.node.status.provider_id) and observed.instance is None and observed.missing_since is not None


def _taken_at(observed: ObservedNode) -> float:
    """When the provider takes the instance, as it announced to us or to the node; infinity when it did not."""
    heard = (observed.instance, observed.session)
    return min((one.notice.at for one in heard if one is not None and one.notice is not None), default=inf)
