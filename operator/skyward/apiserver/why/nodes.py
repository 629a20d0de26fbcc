"""Why a node is as it is: what it was made for and from, what happened to it, and what it waits for or why it went."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from skyward.api import Event, Node, NodeCondition, Reason, Status, find, is_true
from skyward.apiserver.why.story import (
    Chapter,
    Line,
    Story,
    chapter,
    condition_text,
    ended,
    of_condition,
    of_event,
    of_record,
    why_leaving,
)
from skyward.facts import DecisionKind, DecisionRecord
from skyward.planner import LAUNCH_RULE, MERE_STEPS, is_gone

_CHAIN = (
    NodeCondition.LAUNCHED,
    NodeCondition.BOOTSTRAPPED,
    NodeCondition.REGISTERED,
    NodeCondition.INITIALIZED,
    NodeCondition.READY,
)
_CHOSEN = Reason.LAUNCHING
"""Events of this reason tell the choice of an offering, which has a chapter of its own."""
_ALARMS = (NodeCondition.INTERRUPTED, NodeCondition.DRIFTED, NodeCondition.CORDONED, NodeCondition.TERMINATING)


@dataclass(frozen=True, slots=True)
class NodeFacts:
    records: Sequence[DecisionRecord]
    """About this node, oldest first."""
    events: Sequence[Event]
    pool: str
    """Name of its pool, as far as that is known."""


def node_story(node: Node, facts: NodeFacts) -> Story:
    meta = node.metadata
    chapters = (*_past(facts, node.spec.slot), chapter("What it waits for now", _waits(node, facts.records)))
    return Story(node.kind, meta.namespace, meta.name, node_summary(node), chapters, see=(f"pool/{node.spec.pool}",))


def gone_node_story(namespace: str, name: str, facts: NodeFacts) -> Story:
    see = (f"pool/{facts.pool}",) if facts.pool else ()
    went = why_it_went(facts.records)
    summary = f"node {name} is gone{f': {went.text}' if went is not None else ''}"
    return Story(Node.KIND, namespace, name, summary, _past(facts, None), see=see, is_gone=True)


def node_summary(node: Node) -> str:
    name, status = f"node {node.metadata.name}", node.status
    failure = status.failure.partition("\n")[0]
    if is_gone(node):
        return f"{name} failed and its instance is gone; its record is kept: {failure}"
    if node.metadata.deletion_timestamp is not None:
        return f"{name} is leaving: {why_leaving(node)}"
    if failure:
        return f"{name} failed: {failure}"
    ready = find(status.conditions, NodeCondition.READY)
    if ready is None:
        return f"{name} was just made"
    if ready.status is Status.TRUE:
        return f"{name} is ready for work"
    return f"{name} is not ready: {_first_missing(node)}"


def why_it_went(records: Iterable[DecisionRecord]) -> Line | None:
    """The first decision that led to its end, rather than what followed from it."""
    went = [record for record in records if record.decision.kind is DecisionKind.RETIRE]
    went.sort(key=lambda record: record.decision.rule in MERE_STEPS)
    return of_record(went[0]) if went else None


def _past(facts: NodeFacts, slot: int | None) -> tuple[Chapter, ...]:
    made = [record for record in facts.records if _is_making(record)]
    chosen = [record for record in facts.records if record.decision.rule == LAUNCH_RULE]
    told = {id(record) for record in (*made, *chosen)}
    rest = [of_record(record) for record in ended(facts.records) if id(record) not in told]
    known = {record.decision.message for record in made}
    happened = [of_event(event) for event in facts.events if event.note not in known and event.reason is not _CHOSEN]
    made_lines = [of_record(record) for record in made]
    if not made_lines and slot is not None:
        made_lines = [Line(f"made for slot {slot}, before the decisions that are still on record")]
    return (
        chapter("Why it was made", made_lines),
        Chapter("Where it was made", tuple(of_record(record) for record in chosen)),
        chapter("What happened to it", (*rest, *happened)),
    )


def _is_making(record: DecisionRecord) -> bool:
    return record.decision.kind is DecisionKind.CREATE and record.decision.target.isdigit()


def _waits(node: Node, records: Sequence[DecisionRecord]) -> Iterable[Line]:
    if is_gone(node):
        return
    yield from (of_record(record) for record in records if record.until is None)
    conditions = node.status.conditions
    if not is_true(conditions, NodeCondition.READY):
        missing = next((found for found in _unmet(node)), None)
        if missing is not None:
            yield missing
    for type_ in _ALARMS:
        found = find(conditions, type_)
        if found is not None and found.status is Status.TRUE:
            yield of_condition(found)


def _unmet(node: Node) -> Iterable[Line]:
    for type_ in _CHAIN:
        found = find(node.status.conditions, type_)
        if found is not None and found.status is not Status.TRUE and found.reason is not Reason.PENDING:
            yield of_condition(found)


def _first_missing(node: Node) -> str:
    line = next(iter(_unmet(node)), None)
    ready = find(node.status.conditions, NodeCondition.READY)
    if line is not None:
        return line.text
    return condition_text(ready) if ready is not None and ready.message else "nothing was done for it yet"
