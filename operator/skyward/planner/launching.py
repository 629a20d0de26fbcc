"""The launch phase: a node without an instance gets one, and never two.

While the outcome of a create call is unknown only its own identity is used: providers that know the token get the
identical call again, all others are only listed until the listing shows the instance or proves that there is none.
"""

from __future__ import annotations

from skyward.api import NodeCondition, Reason, driver_options, places_of, to_time
from skyward.facts import Decision, DecisionKind, Hindrance, Launch, LaunchState
from skyward.planner.case import Case, later
from skyward.planner.ceilings import room
from skyward.planner.guards import hold
from skyward.planner.hosts import avoided, skips, without_shunned
from skyward.planner.market import OfferingChoice, choose_offering
from skyward.planner.plans import ConditionUpdate, NodePlan, ResumeLaunch, StartLaunch, Wait
from skyward.planner.shopping import shopping_of, terms_of
from skyward.planner.updates import false, unknown

UNRESOLVED = frozenset({LaunchState.SENT, LaunchState.UNKNOWN})
LONGEST_PAUSE_S = 60.0
HELD_LOOK_S = 30.0
REPLAYS_ALONE = 6
"""After so many calls without an answer the listing may tell as well what became of a token's launch."""


def plan_launch(case: Case) -> NodePlan:
    """For a node that is not bound."""
    launch = case.launch
    if launch is None:
        return _missing(case) if case.node.status.launch else _start(case)
    if launch.state is LaunchState.PREPARED:
        return _send_prepared(case)
    if launch.state in UNRESOLVED:
        return resolve(case, launch)
    if shows_instance(case, launch):
        return bind(launch)
    if launch.state is LaunchState.BOUND and not _is_proved_absent(case, launch):
        return _look_again(case, launch)
    return _start(case)


def resolve(case: Case, launch: Launch) -> NodePlan:
    """One step towards knowing what a sent call made. Also for a leaving node: what may exist must be found first."""
    if case.rules.has_token and launch.attempts < REPLAYS_ALONE:
        return _replay(case, launch)
    if shows_instance(case, launch):
        return bind(launch)
    if _in_flight_s(case, launch) > 0:
        return _look_again(case, launch)
    if _is_proved_absent(case, launch):
        message = "no complete listing shows an instance of it for as long as one may be hidden"
        return NodePlan(ResumeLaunch(replay=False, bind=False, absent=True, message=message), _unknown(launch))
    return _replay(case, launch) if case.rules.has_token else _look_again(case, launch)


def bind(launch: Launch) -> NodePlan:
    """What shows up late is bound as well, also to a leaving node: so it is deleted."""
    message = f"the listing shows what launch {launch.id} made"
    return NodePlan(ResumeLaunch(replay=False, bind=True, absent=False, message=message), _unknown(launch))


def shows_instance(case: Case, launch: Launch) -> bool:
    """The newest complete listing shows an instance of this launch that no node is bound to. A proof of rejection stands
    above it: such an instance belongs to nobody."""
    instance = case.instance
    return (
        launch.state is not LaunchState.REJECTED
        and case.observed.listed_at is not None
        and instance is not None
        and instance.launch == launch.id
    )


# --- a new launch ------------------------------------------------------------------------------------------------


def _start(case: Case) -> NodePlan:
    if case.pool_is_leaving or case.is_paused:
        return NodePlan(Wait(), ())
    if case.observed.listed_at is None:
        return _held(_unobserved(case))
    market = without_shunned(case.market)
    shopping = shopping_of(case.node.spec.template)
    terms = terms_of(case.pool, case.node, case.now, case.rules.started_at)
    choice = choose_offering(shopping, market, case.now, terms)
    if choice.offering is None:
        return _no_offering(case, choice)
    _, hindrance = room(case.market.limits, choice.offering.usd_per_hour)
    if hindrance is not None:
        return _held(hindrance)
    avoid = avoided(market, choice.offering.provider)
    options = {} if choice.place is None else driver_options(choice.place.to_entry())
    step = StartLaunch(choice.offering, choice.reason, choice.message, choice.inputs, avoid, options)
    updates = (false(NodeCondition.LAUNCHED, Reason.LAUNCHING, choice.message),)
    return NodePlan(step, updates, decisions=skips(market))


def _held(why: Hindrance) -> NodePlan:
    """No launch now; looked at again by itself."""
    updates = (false(NodeCondition.LAUNCHED, why.reason, why.message),)
    return NodePlan(Wait(), updates, HELD_LOOK_S, (hold(why),))


def _unobserved(case: Case) -> Hindrance:
    """What cannot be observed gets no new machine: nobody knows what is there."""
    providers = ", ".join(sorted({place["name"] for place in places_of(case.node.spec.template)}))
    message = f"nothing is created while there is no complete, fresh listing of {providers}"
    return Hindrance("unsynced", Reason.NOT_SYNCED, message)


def _no_offering(case: Case, choice: OfferingChoice) -> NodePlan:
    updates = (false(NodeCondition.LAUNCHED, choice.reason, choice.message),)
    if choice.retry_at is None:
        none = Decision(DecisionKind.WAIT, "no-offering", choice.reason, choice.message)
        return NodePlan(Wait(), updates, choice.look_again_s, (none, *skips(case.market)))
    until = (("until", to_time(choice.retry_at).isoformat()),)
    waits = Decision(DecisionKind.WAIT, "cool-down", choice.reason, choice.message, until)
    return NodePlan(Wait(), updates, later(choice.retry_at - case.now), (waits, *skips(case.market)))


def _missing(case: Case) -> NodePlan:
    """Nothing can be sent or bound without the record; an instance of that launch, if any, is found by its mark."""
    return case.fail(Reason.LAUNCH_FAILED, f"the record of its launch {case.node.status.launch} is missing")


def _send_prepared(case: Case) -> NodePlan:
    """The intent is on record and its call was never sent."""
    if case.pool_is_leaving or case.is_paused:
        return NodePlan(Wait(), ())
    if case.observed.listed_at is None:
        return _held(_unobserved(case))
    step = ResumeLaunch(replay=True, bind=False, absent=False, message="sending the recorded create call")
    return NodePlan(step, (false(NodeCondition.LAUNCHED, Reason.LAUNCHING, step.message),))


# --- a launch without an answer ----------------------------------------------------------------------------------


def _replay(case: Case, launch: Launch) -> NodePlan:
    """At once when the call was sent by an earlier operator, else ever more slowly: in the end so slowly that a listing can
    prove between two of them that there is nothing. A paused pool sends nothing, nor one that cannot be observed."""
    pause_s = max(_in_flight_s(case, launch), _pause_s(case, launch))
    if case.is_paused or case.observed.listed_at is None or pause_s > 0:
        wait_s = None if case.is_paused else later(pause_s if pause_s > 0 else HELD_LOOK_S)
        return NodePlan(Wait(), _unknown(launch), wait_s, _waits(launch))
    step = ResumeLaunch(replay=True, bind=False, absent=False, message="sending the identical create call again")
    return NodePlan(step, _unknown(launch))


def _look_again(case: Case, launch: Launch) -> NodePlan:
    known_at = launch.sent_at + case.rules.absence_s
    wait_s = max(_in_flight_s(case, launch), known_at - case.now, 1.0)
    return NodePlan(Wait(), _unknown(launch), wait_s, _waits(launch))


def _waits(launch: Launch) -> tuple[Decision, ...]:
    if launch.state is LaunchState.SENT:
        return ()
    because = f": {launch.message}" if launch.message else ""
    message = f"the create call may have worked{because}; until that is known only its own identity is used"
    inputs = (("launch", launch.id), ("attempts", launch.attempts))
    return (Decision(DecisionKind.WAIT, "outcome-unknown", Reason.OUTCOME_UNKNOWN, message, inputs),)


def _in_flight_s(case: Case, launch: Launch) -> float:
    """How long the call may still be on its way: only one that this operator sent can be."""
    if launch.state is not LaunchState.SENT or launch.sent_at <= case.rules.started_at:
        return 0.0
    return launch.sent_at + case.rules.create_call_s - case.now


def _pause_s(case: Case, launch: Launch) -> float:
    if launch.state is not LaunchState.UNKNOWN or launch.sent_at <= case.rules.started_at:
        return 0.0
    pause_s = min(2.0 ** min(max(launch.attempts - 1, 0), 16), LONGEST_PAUSE_S)
    if launch.attempts >= REPLAYS_ALONE:
        pause_s = max(pause_s, case.rules.absence_s + LONGEST_PAUSE_S)
    return launch.sent_at + pause_s - case.now


def _is_proved_absent(case: Case, launch: Launch) -> bool:
    listed_at = case.observed.listed_at
    return listed_at is not None and listed_at >= launch.sent_at + case.rules.absence_s


def _unknown(launch: Launch) -> tuple[ConditionUpdate, ...]:
    if launch.state is LaunchState.SENT:
        return (false(NodeCondition.LAUNCHED, Reason.LAUNCHING, "waiting for the provider's answer"),)
    because = f": {launch.message}" if launch.message else ""
    return (unknown(NodeCondition.LAUNCHED, Reason.OUTCOME_UNKNOWN, f"the create call may have worked{because}"),)
