"""Random pools with nodes in every place, from a seed: small worlds, many of them, all of which can occur."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from random import Random

from skyward.api import Condition, Node, NodeCondition, Pool, PoolSpec, Reason, Status, template_hash, to_time
from skyward.api.held import Held
from skyward.api.meta import DO_NOT_DISRUPT, KEEP_ON_FAILURE, RECONCILE_REQUESTED, RESTARTED
from skyward.facts import (
    AgentSession,
    CheckState,
    Hindrance,
    Instance,
    InstanceState,
    Notice,
    ObservedNode,
    ObservedPool,
)
from skyward.planner import REPLACE, CreateNode, KeepNode, PoolPlan, RetireNode
from tests.builders import NOW, make_condition, make_instance, make_node, make_pool

KINDS = (
    "ready",
    "ready",
    "ready",
    "pending",
    "refused",
    "warming",
    "unsure",
    "silent",
    "lost",
    "failed",
    "leaving",
    "gone",
)
FAILING = ("failed", "gone", "gone", "gone", "gone", "leaving", "pending", "ready")
"""A pool in trouble: most of its nodes were given up."""
STANDING = frozenset({"ready", "pending", "refused", "warming", "unsure", "silent", "lost", "failed"})
SHARES = (0, 1, 2, 3, "10%", "25%", "50%", "100%")
OLD = ("0" * 16, "1" * 16)
BLOCKED = Hindrance("loss-breaker", Reason.REMEDIATION_BLOCKED, "3 of 4 nodes fell silent together")
LOST = (InstanceState.PREEMPTED, InstanceState.FAILED, InstanceState.HALTED)
ASKED = (REPLACE, DO_NOT_DISRUPT, KEEP_ON_FAILURE)
ENDINGS = (
    "",
    "",
    f"{Reason.TOO_MANY_NODES}: more than wanted",
    f"{Reason.UNHEALTHY}: its disk is full",
    f"{Reason.NODE_LOST}: lost",
)
HELD = Held(hash="0badcafe", pools=2, nodes=12, changes=("default/hello: removed",))


def random_world(seed: int) -> tuple[ObservedPool, float]:
    """The same seed gives the same world and the same instant."""
    random = Random(seed)
    now = NOW + random.random() * 5
    pool = _pool(random, now)
    nodes: list[ObservedNode] = []
    used: set[int] = set()
    troubled = random.random() < 0.3
    for place in range(random.randint(0, pool.spec.nodes + (10 if troubled else 4))):
        kind = random.choice(FAILING if troubled else KINDS)
        slot = random.randint(0, pool.spec.nodes + 3)
        if kind in STANDING and slot in used:
            continue
        used |= {slot} if kind in STANDING else set()
        nodes.append(_node(random, kind, slot, place, now, troubled))
    synced = random.random() > 0.1
    blocked = BLOCKED if random.random() < 0.1 else None
    doubt = "instances of another history are listed" if not synced and random.random() < 0.3 else ""
    return ObservedPool(pool, tuple(nodes), synced, () if synced else ("local",), doubt, blocked), now


def _pool(random: Random, now: float) -> Pool:
    annotations = {}
    if random.random() < 0.15:
        asked = to_time(now - random.choice((-20, 0, 5, 30, 100)))
        annotations[RECONCILE_REQUESTED] = random.choice((asked.isoformat(), "soon"))
    if random.random() < 0.1:
        annotations[RESTARTED] = to_time(now - random.choice((-30, 0, 300, 900))).isoformat()
    if random.random() < 0.05:
        annotations[DO_NOT_DISRUPT] = "true"
    if random.random() < 0.15:
        annotations[KEEP_ON_FAILURE] = "true"
    nodes = random.randint(0, 6)
    pool = _plain_pool(nodes, _rollout(random), _budgets(random), random.random() < 0.1, _check(random))
    deleted = to_time(now - 5) if random.random() < 0.1 else None
    if random.random() < 0.03:
        pool = pool.replace(status=pool.status.replace(held=HELD))
    return pool.replace(metadata=pool.metadata.replace(annotations=annotations, deletion_timestamp=deleted))


def _check(random: Random) -> tuple[int, int | str] | None:
    """How many repairs at once, and how many unhealthy nodes are too many."""
    return (random.choice((1, 1, 2)), random.choice((1, "40%", "100%"))) if random.random() < 0.4 else None


def _rollout(random: Random) -> tuple[tuple[str, int | str], ...]:
    """Half of the pools roll out in the plain way."""
    shares = random.choice([(u, s) for u in SHARES for s in SHARES if u not in (0, "0%") or s not in (0, "0%")])
    rollout: dict[str, int | str] = {"max_unavailable": shares[0], "max_surge": shares[1]}
    if random.random() < 0.5:
        return tuple(rollout.items())
    strategy = random.choice(("RollingUpdate", "RollingUpdate", "OnDelete", "Recreate"))
    rollout = {} if strategy == "Recreate" else rollout
    if strategy == "RollingUpdate":
        rollout["canary"] = random.choice((0, 1, 2, "50%"))
    rollout |= {"strategy": strategy, "min_ready": random.choice(("0s", "0s", "8s", "1m"))}
    if random.random() < 0.2:
        rollout["not_before"] = to_time(NOW + random.choice((-60, 60))).isoformat()
    return tuple(rollout.items())


def _budgets(random: Random) -> tuple[tuple[int | str, bool], ...]:
    """Share, and whether it holds at certain times alone."""
    if random.random() < 0.7:
        return ()
    return tuple((random.choice((0, 1, 2, "50%")), random.random() < 0.5) for _ in range(random.randint(1, 2)))


@cache
def _plain_pool(
    nodes: int,
    rollout: tuple[tuple[str, int | str], ...],
    budgets: tuple[tuple[int | str, bool], ...],
    paused: bool,
    check: tuple[int, int | str] | None,
) -> Pool:
    times = {"schedule": "6 * * * *", "duration": "43s"}  # tests happen 40 to 45 s after such a minute begins
    listed = [{"nodes": share, **(times if sometimes else {})} for share, sometimes in budgets]
    more = (
        {}
        if check is None
        else {"health_check": dict(command="true", max_in_flight=check[0], unhealthy_limit=check[1])}
    )
    return make_pool(nodes=nodes, rollout=dict(rollout), disruption={"budgets": listed}, paused=paused, **more)


@cache
def _plain_node(slot: int) -> Node:
    return make_node(make_pool(nodes=1), slot)


@cache
def _hash(spec_nodes: int) -> str:
    return template_hash(PoolSpec(nodes=spec_nodes, providers=make_pool().spec.providers))


@cache
def _condition(type_: str, status: Status, reason: Reason, at: int) -> Condition:
    return make_condition(type_, status, reason, at=at)


def _node(random: Random, kind: str, slot: int, place: int, now: float, troubled: bool) -> ObservedNode:
    when = int(now) - random.choice((0, 1, 5, 9, 10, 15, 25, 45, 200))
    chance = 0.05 if troubled else 0.4
    served = kind in ("ready", "unsure", "silent") or (kind not in ("pending", "refused") and random.random() < chance)
    node = _plain_node(slot)
    outdated = random.random() < (0.5 if kind == "ready" and troubled else 0.1 if troubled else 0.35)
    annotations = dict.fromkeys((name for name in ASKED if random.random() < 0.05), "yes")
    metadata = node.metadata.replace(
        name=f"{node.metadata.name}-{place}",
        annotations=annotations,
        deletion_timestamp=to_time(when) if kind in ("leaving", "gone") else None,
    )
    failed = kind in ("failed", "gone") or (kind == "leaving" and random.random() < 0.5)
    bound = served or kind == "lost"
    status = node.status.replace(
        failure="no such package" if failed else "",
        launch="launch-1" if served else "",
        provider="local" if bound else "",
        provider_id=f"instance-{place}" if bound else "",
        retire_reason=random.choice(ENDINGS) if kind in ("leaving", "gone") else "",
        host_id="rack-1" if bound and random.random() < 0.2 else "",
        conditions=_conditions(random, kind, served, when),
    )
    hash_ = random.choice(OLD) if outdated else _hash(1)
    cordoned = random.random() < 0.05
    if hash_ == node.spec.template_hash and not cordoned:
        spec = node.spec
    else:
        spec = node.spec.replace(template_hash=hash_, unschedulable=cordoned)
    changed = node.replace(metadata=metadata, status=status, spec=spec)
    drift = "its image is another" if served and random.random() < 0.03 else ""
    return ObservedNode(
        changed,
        instance=_instance(random, kind, place) if bound else None,
        listed_at=now,
        session=_session(random, kind, now) if served else None,
        drift=drift,
    )


def _instance(random: Random, kind: str, place: int) -> Instance | None:
    if kind == "lost":
        return make_instance(f"instance-{place}", None, random.choice(LOST))
    if kind == "gone" or random.random() < 0.2:
        return None
    notice = Notice(NOW + 60, "spot capacity is needed elsewhere") if random.random() < 0.04 else None
    return make_instance(f"instance-{place}", None, notice=notice)


def _session(random: Random, kind: str, now: float) -> AgentSession | None:
    """What the agent says of a node that serves, or served."""
    if kind not in ("ready", "silent", "failed") or random.random() < 0.5:
        return None
    check = random.choice((CheckState.PASSING, CheckState.PASSING, CheckState.UNKNOWN, CheckState.FAILING))
    problem = "its disk is full" if random.random() < 0.1 else ""
    since = now - random.choice((1, 50, 700))
    return AgentSession("uid", "1", kind != "silent", since, now, ready=True, problem=problem, check=check)


def _conditions(random: Random, kind: str, served: bool, when: int) -> tuple[Condition, ...]:
    ready = {
        "ready": (Status.TRUE, Reason.READY),
        "unsure": (Status.UNKNOWN, Reason.AGENT_LOST),
        "silent": (Status.FALSE, Reason.AGENT_LOST),
        "leaving": (random.choice((Status.TRUE, Status.FALSE)), Reason.DRAINING),
    }.get(kind, (Status.FALSE, Reason.PENDING))
    found = [_condition(NodeCondition.READY, *ready, when)]
    if served:
        found.append(
            _condition(NodeCondition.INITIALIZED, Status.TRUE, Reason.INITIALIZED, when - random.choice((0, 3)))
        )
    if kind == "refused":
        reason = random.choice((Reason.INSUFFICIENT_CAPACITY, Reason.CREDENTIALS_REJECTED))
        found.append(_condition(NodeCondition.LAUNCHED, Status.FALSE, reason, when))
    if kind == "gone":
        found.append(_condition(NodeCondition.TERMINATING, Status.FALSE, Reason.GONE, when))
    return tuple(found)


def applied(observed: ObservedPool, plan: PoolPlan, now: float) -> ObservedPool:
    """The world once the plan's actions are written, and nothing else happened."""
    nodes = {one.node.key: one for one in observed.nodes}
    for number, action in enumerate(plan.actions):
        if isinstance(action, CreateNode):
            plain = _plain_node(action.slot)
            metadata = plain.metadata.replace(
                name=f"{plain.metadata.name}-new-{number}", creation_timestamp=to_time(now)
            )
            wanted = observed.pool.spec
            spec = plain.spec.replace(template_hash=template_hash(wanted), template=wanted.template())
            fresh = plain.replace(metadata=metadata, spec=spec)
            nodes[fresh.key] = ObservedNode(fresh, listed_at=now)
        elif isinstance(action, RetireNode):
            one = nodes[action.node]
            metadata = one.node.metadata.replace(deletion_timestamp=to_time(now))
            status = one.node.status.replace(retire_reason=f"{action.reason}: {action.message}")
            nodes[action.node] = replace(one, node=one.node.replace(metadata=metadata, status=status))
        elif isinstance(action, KeepNode):
            one = nodes[action.node]
            status = one.node.status.replace(failure=action.message, failed_at=to_time(int(now)))
            nodes[action.node] = replace(one, node=one.node.replace(status=status))
        else:
            del nodes[action.node]
    return replace(observed, nodes=tuple(nodes.values()))
