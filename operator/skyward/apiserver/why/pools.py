"""Why a pool is as it is: what is wanted and what is, what holds it, which nodes are missing, and what was done lately."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from skyward.api import Condition, Node, NodeCondition, Pool, PoolCondition, Reason, Status, find, is_true
from skyward.apiserver.why.story import (
    Chapter,
    Line,
    Story,
    chapter,
    condition_text,
    ended,
    of_condition,
    of_record,
    ref,
    why_leaving,
)
from skyward.facts import DecisionRecord
from skyward.planner import is_gone

_LATEST = 15
"""So many of the last actions are told."""
_NAMED = 10
_TROUBLE_WHEN_TRUE = frozenset(
    {
        PoolCondition.SCALING_UP,
        PoolCondition.SCALING_DOWN,
        PoolCondition.ROLLING_OUT,
        PoolCondition.REMEDIATING,
        PoolCondition.DELETING,
        PoolCondition.PAUSED,
        PoolCondition.STALLED,
    }
)
_SUMS = frozenset(
    {
        PoolCondition.READY,
        PoolCondition.NODES_READY,
        PoolCondition.NODES_UP_TO_DATE,
        PoolCondition.AVAILABLE,
    }
)
"""What these say is in the summary, or follows from the others."""
_OF_PROVIDER = frozenset({PoolCondition.PROVIDER_READY, PoolCondition.CAPACITY_AVAILABLE})


@dataclass(frozen=True, slots=True)
class PoolFacts:
    pool: Pool
    nodes: Sequence[Node]
    records: Sequence[DecisionRecord]
    """About this pool, oldest first."""


def pool_story(facts: PoolFacts) -> Story:
    pool = facts.pool
    return Story(
        pool.kind,
        pool.metadata.namespace,
        pool.metadata.name,
        pool_summary(pool),
        (
            Chapter("What holds now", tuple(pool_holds(facts))),
            chapter("Nodes that are not ready", _unready(facts.nodes)),
            chapter("Its provider", _provider(pool)),
            latest(facts.records),
        ),
        see=_see(facts.nodes),
    )


def gone_pool_story(namespace: str, name: str, records: Sequence[DecisionRecord]) -> Story:
    return Story(Pool.KIND, namespace, name, f"pool {name} is gone", (latest(records),), see=(), is_gone=True)


def pool_summary(pool: Pool) -> str:
    ready = find(pool.status.conditions, PoolCondition.READY)
    said = condition_text(ready) if ready is not None and ready.reason is not Reason.PENDING else "not looked at yet"
    said = said.partition("; ")[0]  # the rest is what holds it, which follows
    return f"pool {pool.metadata.name} wants {_nodes(pool.spec.nodes)}: {said}"


def pool_holds(facts: PoolFacts) -> tuple[Line, ...]:
    """What keeps it from being as desired, or from changing further."""
    standing = [of_record(record) for record in facts.records if record.until is None]
    troubles = (of_condition(condition) for condition in facts.pool.status.conditions if _is_trouble(condition))
    return chapter("", (*standing, *(_without(line, standing) for line in troubles))).lines


def _is_trouble(condition: Condition) -> bool:
    if condition.type in _SUMS | _OF_PROVIDER or condition.reason is Reason.PENDING:
        return False
    return (condition.status is Status.TRUE) is (condition.type in _TROUBLE_WHEN_TRUE)


def _without(line: Line, others: Sequence[Line]) -> Line:
    """A condition may say at its end what a line of its own tells with its rule."""
    for other in others:
        line = replace(line, text=line.text.replace(f"; {other.text}", ""))
    return line


def latest(records: Iterable[DecisionRecord]) -> Chapter:
    return Chapter("What happened lately", tuple(of_record(record) for record in ended(records)[-_LATEST:]))


def _provider(pool: Pool) -> Iterable[Line]:
    names = ", ".join(dict.fromkeys(provider.name for provider in pool.spec.places))
    good = {
        PoolCondition.PROVIDER_READY: f"{names} answers, and its listing is complete",
        PoolCondition.CAPACITY_AVAILABLE: f"{names} had capacity for its nodes",
    }
    for type_, text in good.items():
        found = find(pool.status.conditions, type_)
        if found is not None and found.reason is not Reason.PENDING:
            line = of_condition(found)
            yield replace(line, text=text) if found.status is Status.TRUE and not found.message else line


def _unready(nodes: Sequence[Node]) -> Iterable[Line]:
    unready = [node for node in nodes if not is_true(node.status.conditions, NodeCondition.READY)]
    for node in unready[:_NAMED]:
        yield _node_line(node)
    if len(unready) > _NAMED:
        yield Line(f"and {len(unready) - _NAMED} more")


def _node_line(node: Node) -> Line:
    name, about = node.metadata.name, ref(node)
    ready = find(node.status.conditions, NodeCondition.READY)
    launched = find(node.status.conditions, NodeCondition.LAUNCHED)
    since = ready.last_transition_time.timestamp() if ready is not None else None
    if is_gone(node) or node.status.failure:
        return Line(
            f"{name} failed: {node.status.failure.partition(chr(10))[0]}", since, stands=since is not None, about=about
        )
    if node.metadata.deletion_timestamp is not None:
        since = node.metadata.deletion_timestamp.timestamp()
        return Line(f"{name} is leaving: {why_leaving(node)}", since, stands=since is not None, about=about)
    # What has not been launched yet waits for that; its readiness only follows.
    first = launched if launched is not None and launched.status is not Status.TRUE else ready
    text = f"{name}: {condition_text(first)}" if first is not None else f"{name} was just made"
    return Line(text, since, stands=since is not None, about=about)


def _see(nodes: Sequence[Node]) -> tuple[str, ...]:
    unready = [node for node in nodes if not is_true(node.status.conditions, NodeCondition.READY)]
    return tuple(ref(node) for node in (unready or nodes)[:1])


def _nodes(number: int) -> str:
    return "1 node" if number == 1 else f"{number} nodes"
