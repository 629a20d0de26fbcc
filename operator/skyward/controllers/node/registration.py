"""Registration and health: what an agent is told of its pool, and what its node's status takes from its session."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from skyward.api import Node, NodeCondition, NodeStatus, Pool, Status, find, to_time
from skyward.api.quantities import OFF, parse_duration
from skyward.api.ranges import parse_sizes
from skyward.controllers.deps import Deps
from skyward.facts import AgentSession, HealthCheck, NodeConfig
from skyward.planner import world as world_of

World = tuple[tuple[str, str], ...]


class Briefing:
    """Tells every agent of a pool what it must know; the link sends only what changed."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._worlds: dict[str, World] = {}
        """By pool. A world that is equal to the last one is the same object, so that the link, which compares what it sent to
        each node, need not go through thousands of names for each of thousands of nodes."""

    def tell(self, pool: Pool, nodes: Iterable[Node]) -> None:
        """All its nodes. One that is being terminated is left out: its agent was dismissed."""
        members = tuple(nodes)
        ranked = world_of(members)
        ranks = {node.metadata.uid: rank for rank, node in enumerate(ranked)}
        world = tuple((node.metadata.name, node.status.address) for node in ranked)
        config = idle_config(self._deps, pool, self._same(pool, world))
        for node in members:
            if not is_dismissed(node):
                rank, schedulable = ranks.get(node.metadata.uid, -1), _is_schedulable(node)
                self._deps.link.configure(node.metadata.uid, replace(config, rank=rank, schedulable=schedulable))

    def forget(self, pool: Pool) -> None:
        self._worlds.pop(pool.metadata.uid, None)

    def _same(self, pool: Pool, world: World) -> World:
        if self._worlds.get(pool.metadata.uid) != world:
            self._worlds[pool.metadata.uid] = world
        return self._worlds[pool.metadata.uid]


def idle_config(deps: Deps, pool: Pool, world: World) -> NodeConfig:
    """What an agent without a rank, which takes no work, is told; all others but for that."""
    spec = pool.spec
    return NodeConfig(
        pool=pool.key,
        lanes=0 if spec.concurrency == "auto" else spec.concurrency,
        env=tuple(sorted(spec.env.items())),
        memory_bytes=_memory_limit(spec.resources.memory),
        orphan_timeout_s=_orphan_timeout_s(deps, pool),
        schedulable=False,
        rank=-1,
        world=world,
        health_check=health_check_of(pool),
        executor=spec.executor,
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


def _is_schedulable(node: Node) -> bool:
    healthy = find(node.status.conditions, NodeCondition.HEALTHY)
    is_unhealthy = healthy is not None and healthy.status is Status.FALSE
    return not (node.metadata.deletion_timestamp is not None or node.spec.unschedulable or is_unhealthy)


def with_session(status: NodeStatus, session: AgentSession | None) -> NodeStatus:
    """The first heartbeat is written with what it changes; the later ones come in batches."""
    if session is None or not session.version:
        return status
    if (session.version, session.limits) == (status.agent_version, status.task_limits):
        return status
    return status.replace(
        agent_version=session.version, task_limits=session.limits, last_heartbeat=to_time(session.last_heartbeat)
    )


def _memory_limit(text: str | None) -> int | None:
    limit = None if text is None else parse_sizes(text).limit
    return None if limit is None else int(limit)


def _orphan_timeout_s(deps: Deps, pool: Pool) -> float | None:
    configured = pool.spec.orphan_timeout
    if configured is not None:
        return None if configured == OFF else parse_duration(configured)
    drivers = [deps.drivers.get(provider.name) for provider in pool.spec.places]
    all_local = all(driver is not None and driver.facts.same_host for driver in drivers)
    return deps.durations.local_orphan_timeout_s if all_local else None
