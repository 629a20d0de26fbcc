"""Random nodes in every phase of their life, with all that one pass may find around them, from a seed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from random import Random

from skyward.api import Condition, Node, NodeCondition, Pool, Reason, Status, to_time
from skyward.api.meta import DO_NOT_DISRUPT, KEEP_ON_FAILURE
from skyward.facts import (
    AgentSession,
    BootstrapProgress,
    BootstrapState,
    Ceilings,
    CheckState,
    CoolDown,
    Hindrance,
    Instance,
    InstanceState,
    Launch,
    LaunchState,
    Limits,
    LookUp,
    Notice,
    ObservedMarket,
    ObservedNode,
    ShunnedHost,
    Use,
)
from skyward.planner import REPLACE, NodeRules
from tests.builders import NOW, make_condition, make_instance, make_launch, make_node, make_offering, make_pool

PHASES = ("new", "launching", "launching", "starting", "serving", "serving", "silent", "leaving", "leaving", "failed")
AGES = (0, 1, 2, 5, 12, 35, 70, 130, 400, 950, 2000)
BLOCKED = Hindrance("loss-breaker", Reason.REMEDIATION_BLOCKED, "3 of 4 nodes fell silent together")
OFFERINGS = tuple(
    make_offering(name, usd_per_hour=price, host_id=host)
    for name, price, host in (("small", 0.1, ""), ("large", 0.5, "rack-1"), ("other", 0.1, "rack-2"))
)
REFUSALS = (Reason.INSUFFICIENT_CAPACITY, Reason.QUOTA_EXCEEDED, Reason.CREDENTIALS_REJECTED)


@dataclass(frozen=True)
class NodeWorld:
    """All that `plan_node` is given."""

    phase: str
    observed: ObservedNode
    pool: Pool | None
    market: ObservedMarket
    rules: NodeRules
    now: float


def random_node_world(seed: int) -> NodeWorld:
    """The same seed gives the same world and the same instant."""
    random = Random(seed)
    now = NOW + random.random() * 5
    phase = random.choice(PHASES)
    rules = _rules(random, now)
    node = _node(random, phase, now)
    launch = _launch(random, phase, node, now)
    listed_at = None if random.random() < 0.12 else now - random.choice((0, 0, 1, 5, 25))
    observed = ObservedNode(node, launch=launch, listed_at=listed_at)
    if listed_at is not None:
        observed = _listed(random, observed, listed_at)
    if node.status.provider_id:
        observed = _connected(random, phase, observed, now)
    if random.random() < 0.15:
        observed = replace(observed, blocked=BLOCKED)
    return NodeWorld(phase, observed, _pool(random, now), _market(random, now), rules, now)


# --- what is on record -------------------------------------------------------------------------------------------


def _pool(random: Random, now: float) -> Pool | None:
    """Mostly the node's own; else another one of its name, one that leaves, or none."""
    chance = random.random()
    if chance < 0.06:
        return None
    checked, paused = random.random() < 0.3, random.random() < 0.12
    pool = _plain_pool(checked, paused, "pool-later" if chance < 0.1 else "", random.choice(("5m", "0s", "30s")))
    metadata = pool.metadata
    if random.random() < 0.1:
        metadata = metadata.replace(deletion_timestamp=to_time(now - random.choice(AGES)))
    asked = dict.fromkeys((name for name in (DO_NOT_DISRUPT, KEEP_ON_FAILURE) if random.random() < 0.15), "true")
    return (
        pool.replace(metadata=metadata.replace(annotations=asked)) if asked or metadata is not pool.metadata else pool
    )


@cache
def _plain_pool(checked: bool, paused: bool, uid: str, drain_timeout: str) -> Pool:
    more = {"health_check": {"command": "true", "startup_timeout": "2m"}} if checked else {}
    return make_pool(uid=uid or None, paused=paused, drain_timeout=drain_timeout, **more)


def _rules(random: Random, now: float) -> NodeRules:
    visibility_s = random.choice((0.0, 0.0, 30.0))
    return NodeRules(
        started_at=now - random.choice((3, 20, 45, 100_000)),
        has_token=random.random() < 0.5,
        visibility_s=visibility_s,
        absence_s=2 * visibility_s,
        same_host=random.random() < 0.5,
    )


@cache
def _plain_node(of: str) -> Node:
    return make_node(make_pool(image={"env": {"VERSION": of}}) if of else make_pool())


def _node(random: Random, phase: str, now: float) -> Node:
    node = _plain_node(random.choice(("", "", "", "2")))
    bound = phase in ("starting", "serving", "silent") or (phase in ("leaving", "failed") and random.random() < 0.7)
    launched = bound or phase == "launching" or (phase in ("leaving", "failed") and random.random() < 0.6)
    failed = phase == "failed" or (phase == "leaving" and random.random() < 0.3)
    metadata = node.metadata.replace(
        deletion_timestamp=to_time(now - random.choice(AGES)) if phase == "leaving" else None,
        annotations=dict.fromkeys(
            (a for a in (REPLACE, DO_NOT_DISRUPT, KEEP_ON_FAILURE) if random.random() < 0.06), "1"
        ),
    )
    status = node.status.replace(
        launch="launch-1" if launched else "",
        provider="local" if launched else "",
        provider_id="instance-1" if bound else "",
        failure="step pip failed: no such package" if failed else "",
        restarts=random.choice((0, 0, 1, 2, 3)) if bound else 0,
        hourly_cost="0.1",
        conditions=_conditions(random, phase, bound, now),
    )
    spec = (
        node.spec.replace(unschedulable=True) if random.random() < (0.6 if phase == "leaving" else 0.15) else node.spec
    )
    return node.replace(metadata=metadata, status=status, spec=spec)


def _conditions(random: Random, phase: str, bound: bool, now: float) -> tuple[Condition, ...]:
    """Those that a node of this phase may have reached, each since some time; never one before an earlier one."""
    reached = {"new": 0, "launching": 0, "starting": 3, "serving": 5, "silent": 5}.get(phase, 5 if bound else 0)
    ages = sorted((random.choice(AGES) for _ in range(7)), reverse=True)
    found: list[Condition] = []
    if phase in ("launching", "starting") and random.random() < 0.6:
        found.append(_condition(NodeCondition.LAUNCHED, Status.FALSE, Reason.LAUNCHING, int(now) - ages[0]))
    elif bound and random.random() < 0.9:
        found.append(_condition(NodeCondition.LAUNCHED, Status.TRUE, Reason.LAUNCHED, int(now) - ages[0]))
    if reached > 2 and random.random() < 0.9:
        status = Status.FALSE if random.random() < (0.6 if phase == "starting" else 0.2) else Status.TRUE
        reason = Reason.BOOTSTRAPPED if status is Status.TRUE else Reason.BOOTSTRAPPING
        found.append(_condition(NodeCondition.BOOTSTRAPPED, status, reason, int(now) - ages[1]))
    if reached > 3 and random.random() < 0.9:
        found.append(_condition(NodeCondition.REGISTERED, Status.TRUE, Reason.REGISTERED, int(now) - ages[2]))
        if random.random() < 0.8:
            found.append(_condition(NodeCondition.INITIALIZED, Status.TRUE, Reason.INITIALIZED, int(now) - ages[3]))
    if reached:
        ready = random.choice((Status.TRUE, Status.FALSE, Status.UNKNOWN))
        reason = {Status.TRUE: Reason.READY, Status.FALSE: Reason.AGENT_LOST}.get(ready, Reason.AGENT_AWAITED)
        found.append(_condition(NodeCondition.READY, ready, reason, int(now) - ages[4]))
        if ready is not Status.TRUE and random.random() < 0.7:
            found.append(_condition(NodeCondition.HEALTHY, Status.UNKNOWN, Reason.AGENT_LOST, int(now) - ages[4]))
    if phase == "leaving" and random.random() < 0.6:
        done = not bound and random.random() < 0.1
        said = (Status.FALSE, Reason.GONE) if done else (Status.TRUE, Reason.TERMINATING)
        found.append(_condition(NodeCondition.TERMINATING, *said, int(now) - ages[5]))
    for type_ in (NodeCondition.CORDONED, NodeCondition.DRIFTED, NodeCondition.INTERRUPTED, NodeCondition.DRAINED):
        if random.random() < 0.05:
            found.append(_condition(type_, Status.TRUE, Reason.CORDONED, int(now) - ages[6]))
    return tuple(found)


@cache
def _condition(type_: str, status: Status, reason: Reason, at: int) -> Condition:
    return make_condition(type_, status, reason, at=at)


def _launch(random: Random, phase: str, node: Node, now: float) -> Launch | None:
    if not node.status.launch or random.random() < 0.04:
        return None
    bound = bool(node.status.provider_id)
    state = LaunchState.BOUND if bound else random.choice(tuple(LaunchState))
    sent_at = now - random.choice((*AGES, 0.5))
    return make_launch(
        [node],
        state=state,
        created_at=sent_at,
        attempts=0 if state is LaunchState.PREPARED else random.choice((1, 1, 2, 7)),
        instances=["instance-1"] if bound else [],
        message="the connection broke" if state is LaunchState.UNKNOWN else "",
    )


# --- what is seen ------------------------------------------------------------------------------------------------


def _listed(random: Random, observed: ObservedNode, listed_at: float) -> ObservedNode:
    """What a complete listing and the provider's own answers say of its instance."""
    node = observed.node
    if not node.status.provider_id:
        shows = bool(node.status.launch) and random.random() < 0.3
        return replace(observed, instance=make_instance(launch="launch-1")) if shows else observed
    if random.random() < 0.7:
        state = InstanceState.UP if random.random() < 0.6 else random.choice(tuple(InstanceState))
        return replace(
            observed, instance=_instance(random, state), drift="its image is another" if random.random() < 0.05 else ""
        )
    if random.random() < 0.3:
        return observed  # not old enough to show
    missing_since = listed_at - random.choice((0, 1, 20, 35, 100))
    answer = random.choice((None, InstanceState.UP, InstanceState.GONE))
    asked_at = missing_since + random.choice((-1, 5, 32, 70))
    looked_up = (
        LookUp(asked_at, None if answer is None else _instance(random, answer)) if random.random() < 0.7 else None
    )
    return replace(observed, missing_since=missing_since, looked_up=looked_up)


def _instance(random: Random, state: InstanceState) -> Instance:
    notice = Notice(NOW + random.choice((10, 100)), "capacity is needed") if random.random() < 0.08 else None
    return make_instance(state=state, notice=notice, message="the disk broke" if random.random() < 0.2 else "")


def _connected(random: Random, phase: str, observed: ObservedNode, now: float) -> ObservedNode:
    """Its channel, its agent and its work."""
    state = random.choice(tuple(BootstrapState))
    told = state in (BootstrapState.FAILED, BootstrapState.RUNNING) and random.random() < 0.7
    progress = BootstrapProgress(
        state, "pip" if told else "", message="no such package" if told else "", tail="last words"
    )
    chances = {"serving": 0.95, "silent": 0.6, "leaving": 0.6, "failed": 0.6}
    if random.random() >= chances.get(phase, 0.1):
        return replace(observed, bootstrap=progress)
    connected = random.random() < (0.9 if phase == "serving" else 0.1 if phase == "silent" else 0.5)
    session = AgentSession(
        node_uid=observed.node.metadata.uid,
        incarnation="incarnation-1",
        connected=connected,
        since=now - random.choice(AGES),
        last_heartbeat=now,
        version="1",
        ready=connected and random.random() < 0.7,
        problem="its disk is full" if random.random() < 0.1 else "",
        check=random.choice(tuple(CheckState)),
        notice=Notice(NOW + 100, "maintenance") if random.random() < 0.04 else None,
    )
    return replace(observed, bootstrap=progress, session=session, held=random.choice((0, 0, 1, 3)))


def _market(random: Random, now: float) -> ObservedMarket:
    offerings = [one for one in OFFERINGS if random.random() < 0.7]
    cool_downs = tuple(
        CoolDown(name, now + random.choice((-5, 40, 100)), "no capacity left", random.choice(REFUSALS))
        for name in [*(one.id for one in offerings), "local"]
        if random.random() < 0.15
    )
    shunned = (ShunnedHost("local", "rack-1", now + 600, 1, "it burned"),) if random.random() < 0.15 else ()
    own = Use(
        instances=random.choice((0, 2, 4)), creates=random.choice((0, 3)), usd_per_hour=random.choice((0.0, 0.95))
    )
    limits = Limits(
        Ceilings(pool_instances=random.choice((4, 100)), pool_usd_per_hour=1.0, pool_creates=random.choice((3, 500))),
        own,
        own,
        random.choice((None, None, 0, 2)),
    )
    return ObservedMarket(tuple(offerings), cool_downs, limits, shunned)
