"""Registration and health: what an agent is told of its pool, and what its node's status takes from its session."""

from __future__ import annotations

from collections.abc import Iterable

from skyward.api import Node, NodeCondition, NodeStatus, Pool, Status, find, to_time
from skyward.api.quantities import OFF, parse_duration, parse_size
from skyward.controllers.deps import Deps
from skyward.facts import AgentSession, HealthCheck, NodeConfig
from skyward.planner import world as world_of

World = tuple[tuple[str, str], ...]


def configure_agents(deps: Deps, pool: Pool, nodes: Iterable[Node]) -> None:
    """Tell every agent of the pool what it must know; the link sends only what changed. A node that is being terminated is
    left out: its agent was dismissed."""
    members = tuple(nodes)
    ranked = world_of(members)
    ranks = {node.metadata.uid: rank for rank, node in enumerate(ranked)}
    world = tuple((node.metadata.name, node.status.address) for node in ranked)
    for node in members:
        if not is_dismissed(node):
            rank = ranks.get(node.metadata.uid, -1)
            deps.link.configure(node.metadata.uid, config_of(deps, pool, node, rank, world))


def config_of(deps: Deps, pool: Pool, node: Node, rank: int, world: World) -> NodeConfig:
    spec = pool.spec
    leaving = node.metadata.deletion_timestamp is not None
    return NodeConfig(
        pool=pool.key,
        lanes=0 if spec.concurrency == "auto" else spec.concurrency,
        env=tuple(sorted(spec.env.items())),
        memory_bytes=None if spec.resources.memory is None else parse_size(spec.resources.memory),
        orphan_timeout_s=_orphan_timeout_s(deps, pool),
        schedulable=not (leaving or node.spec.unschedulable or _is_unhealthy(node)),
        rank=rank,
        world=world,
        health_check=health_check_of(pool),
    )


def health_check_of(pool: Pool) -> HealthCheck | None:
    spec = pool.spec.health_check
    if spec is None:
        return None
    return HealthCheck(spec.command, parse_duration(spec.interval), parse_duration(spec.timeout), spec.threshold)


def is_dismissed(node: Node) -> bool:
    """Its termination has begun, or is over."""
    leaving = node.metadata.deletion_timestamp is not None
    return leaving and any(c.type == NodeCondition.TERMINATING for c in node.status.conditions)


def _is_unhealthy(node: Node) -> bool:
    healthy = find(node.status.conditions, NodeCondition.HEALTHY)
    return healthy is not None and healthy.status is Status.FALSE


def with_session(status: NodeStatus, session: AgentSession | None) -> NodeStatus:
    """The first heartbeat is written with what it changes; the later ones come in batches."""
    if session is None or not session.version or session.version == status.agent_version:
        return status
    return status.replace(agent_version=session.version, last_heartbeat=to_time(session.last_heartbeat))


def _orphan_timeout_s(deps: Deps, pool: Pool) -> float | None:
    configured = pool.spec.orphan_timeout
    if configured is not None:
        return None if configured == OFF else parse_duration(configured)
    drivers = [deps.drivers.get(provider.name) for provider in pool.spec.providers]
    all_local = all(driver is not None and driver.facts.same_host for driver in drivers)
    return deps.durations.local_orphan_timeout_s if all_local else None
