"""Why a task is where it is: where it runs, why the rest waits, and which attempts were lost with which nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from skyward.api import Node, NodeCondition, Task, TaskCondition, TaskFailure, TaskItem, TaskPhase, find, is_true
from skyward.apiserver.why.nodes import why_it_went
from skyward.apiserver.why.pools import PoolFacts, pool_holds, pool_summary
from skyward.apiserver.why.promises import asked_for, became
from skyward.apiserver.why.story import Chapter, Line, Story, about_other, chapter, counted, ref
from skyward.facts import DecisionRecord

_TOLD = 10
_FINAL = (TaskPhase.SUCCEEDED, TaskPhase.FAILED, TaskPhase.CANCELLED)


@dataclass(frozen=True, slots=True)
class TaskFacts:
    task: Task
    pool: PoolFacts | None
    """None when there is no such pool."""
    held: Mapping[str, int]
    """Attempts that the agents of the pool's nodes hold, by uid of the node."""
    node_records: Mapping[str, Sequence[DecisionRecord]]
    """About the nodes that its failed attempts name, by name; those that are gone included."""
    items: Sequence[TaskItem] = ()
    """Those that its failed attempts name."""


def task_story(facts: TaskFacts) -> Story:
    task = facts.task
    meta = task.metadata
    chapters = (
        chapter("What was asked for", asked_for(task)),
        chapter("Where it runs", (Line(f"on node {name}", about=f"node/{name}") for name in task.status.nodes)),
        Chapter("Why the rest waits", _waits(facts)),
        Chapter("Attempts that did not succeed", tuple(_failures(facts))),
        Chapter("What became of those items", tuple(became(task, facts.items[-_TOLD:]))),
    )
    see = (f"pool/{task.spec.pool}", *(f"node/{name}" for name in task.status.nodes[:1]))
    return Story(task.kind, meta.namespace, meta.name, _summary(task), chapters, see=see)


def _summary(task: Task) -> str:
    items, phase = task.status.items, task.status.phase
    numbers = {
        "queued": items.queued,
        "running": items.running,
        "succeeded": items.succeeded,
        "failed": items.failed,
    }
    told = ", ".join(f"{number} {name}" for name, number in numbers.items() if number)
    of_items = f" ({told})" if told else ""
    return f"task {task.metadata.name} of pool {task.spec.pool} is {phase.lower()}{of_items}"


# --- waiting -----------------------------------------------------------------------------------------------------


def _waits(facts: TaskFacts) -> tuple[Line, ...]:
    if facts.task.status.phase in _FINAL or not facts.task.status.items.queued:
        return ()
    name = facts.task.spec.pool
    if facts.pool is None:
        return (Line(f"there is no pool {name}: nothing will run it"),)
    blocked = find(facts.task.status.conditions, TaskCondition.SCHEDULABLE)
    if blocked is not None:
        return (Line(blocked.message, reason=blocked.reason, about=f"pool/{name}"),)
    about = f"pool/{name}"
    ready = [node for node in facts.pool.nodes if is_true(node.status.conditions, NodeCondition.READY)]
    working = [node for node in ready if _takes_work(node)]
    if working:
        return tuple(_busy(facts, working))
    first = "none of its nodes takes new work" if ready else "no node is ready"
    why = Line(f"{first}: {pool_summary(facts.pool.pool)}", about=about)
    cordoned = (Line(f"node {node.metadata.name} takes no new work", about=ref(node)) for node in ready)
    holds = (about_other(line, about, f"pool {name}") for line in pool_holds(facts.pool))
    return (why, *cordoned, *holds)


def _takes_work(node: Node) -> bool:
    return not node.spec.unschedulable and node.metadata.deletion_timestamp is None


def _busy(facts: TaskFacts, working: Sequence[Node]) -> Iterable[Line]:
    """In the order in which the queue hands it out, items wait for a free place."""
    held = {node.metadata.name: facts.held.get(node.metadata.uid, 0) for node in working}
    busy = [node for node in working if held[node.metadata.name]]
    if not busy:
        yield Line(f"{counted(len(working), 'node')} can take it: it is next to be handed out")
        return
    yield Line(f"{_share(len(busy), len(working))} at work; what waits is handed out in turn")
    for node in busy[:_TOLD]:
        name = node.metadata.name
        yield Line(f"node {name} holds {counted(held[name], 'attempt')}", about=ref(node))


def _share(busy: int, ready: int) -> str:
    if ready == 1:
        return "its only ready node is"
    return f"all {ready} ready nodes are" if busy == ready else f"{busy} of {ready} ready nodes are"


# --- failures ----------------------------------------------------------------------------------------------------


def _failures(facts: TaskFacts) -> Iterable[Line]:
    task, told = facts.task, set[str]()
    for failure in task.status.failures[-_TOLD:]:
        yield _failure(task, failure)
        went = why_it_went(facts.node_records.get(failure.node, ()))
        if went is not None and failure.node not in told:
            told.add(failure.node)
            yield about_other(went, f"node/{failure.node}", f"node {failure.node} left")


def _failure(task: Task, failure: TaskFailure) -> Line:
    item = "" if task.spec.mode == "run" else f"item {failure.item}: "
    where = f" on node {failure.node}" if failure.node else ""
    message = f": {failure.message}" if failure.message else ""
    text = f"{item}attempt {failure.attempt}{where} ended as {failure.outcome}{message}"
    about = f"node/{failure.node}" if failure.node else ""
    return Line(text, failure.at.timestamp(), reason=failure.outcome, about=about)
