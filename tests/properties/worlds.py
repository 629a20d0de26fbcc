"""Random pools with nodes in every place, from a seed: small worlds, many of them, all of which can occur."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from random import Random

from skyward.api import Condition, Node, NodeCondition, Pool, PoolSpec, Reason, Status, template_hash, to_time
from skyward.api.meta import RECONCILE_REQUESTED
from skyward.facts import InstanceState, ObservedNode, ObservedPool
from skyward.planner import REPLACE, CreateNode, PoolPlan, RetireNode
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
    return ObservedPool(pool, tuple(nodes), synced, () if synced else ("local",)), now


def _pool(random: Random, now: float) -> Pool:
    annotations = {}
    if random.random() < 0.15:
        asked = to_time(now - random.choice((-20, 0, 5, 30, 100)))
        annotations[RECONCILE_REQUESTED] = random.choice((asked.isoformat(), "soon"))
    shares = random.choice([(u, s) for u in SHARES for s in SHARES if u not in (0, "0%") or s not in (0, "0%")])
    nodes = random.randint(0, 6)
    pool = _plain_pool(nodes, shares, random.random() < 0.1)
    deleted = to_time(now - 5) if random.random() < 0.1 else None
    return pool.replace(metadata=pool.metadata.replace(annotations=annotations, deletion_timestamp=deleted))


@cache
def _plain_pool(nodes: int, shares: tuple[int | str, int | str], paused: bool) -> Pool:
    return make_pool(nodes=nodes, max_unavailable=shares[0], max_surge=shares[1], paused=paused)


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
    metadata = node.metadata.replace(
        name=f"{node.metadata.name}-{place}",
        annotations={REPLACE: "yes"} if random.random() < 0.05 else {},
        deletion_timestamp=to_time(when) if kind in ("leaving", "gone") else None,
    )
    failed = kind in ("failed", "gone") or (kind == "leaving" and random.random() < 0.5)
    status = node.status.replace(
        failure="no such package" if failed else "",
        launch="launch-1" if served else "",
        provider_id=f"instance-{place}" if served or kind == "lost" else "",
        conditions=_conditions(random, kind, served, when),
    )
    spec = node.spec.replace(template_hash=random.choice(OLD) if outdated else _hash(1))
    observed = ObservedNode(node.replace(metadata=metadata, status=status, spec=spec), listed_at=now)
    if kind != "lost":
        return observed
    state = random.choice((InstanceState.PREEMPTED, InstanceState.FAILED, InstanceState.HALTED))
    return replace(observed, instance=make_instance(f"instance-{place}", None, state))


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
            fresh = plain.replace(metadata=metadata, spec=plain.spec.replace(template_hash=_hash(1)))
            nodes[fresh.key] = ObservedNode(fresh, listed_at=now)
        elif isinstance(action, RetireNode):
            one = nodes[action.node]
            metadata = one.node.metadata.replace(deletion_timestamp=to_time(now))
            nodes[action.node] = replace(one, node=one.node.replace(metadata=metadata))
        else:
            del nodes[action.node]
    return replace(observed, nodes=tuple(nodes.values()))
