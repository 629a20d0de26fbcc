"""What a task asked for beyond an ordinary call, and what became of its items whose attempts did not all succeed."""

from __future__ import annotations

from collections.abc import Iterable

from skyward.api import Task, TaskAttempt, TaskItem, TaskPhase, TaskSpec
from skyward.apiserver.why.story import Line

_ORDINARY = TaskSpec(pool="")
_NODE_LOST = "NodeLost"
_DEAD_LETTER = "DeadLetter"


def asked_for(task: Task) -> Iterable[Line]:
    spec = task.spec
    if spec.delivery != _ORDINARY.delivery:
        yield Line("it is run at most once: what may have begun is never given out again")
    elif spec.max_attempts == 1:
        yield Line("each item is tried once")
    elif spec.max_attempts != _ORDINARY.max_attempts:
        yield Line(f"each item is tried at most {spec.max_attempts} times in all")
    if spec.retry_on:
        yield Line(f"{_listed(spec.retry_on)} is tried again, at most {_times(spec.max_retries)}")
    if set(spec.retry_causes) != set(_ORDINARY.retry_causes):
        causes = f"only after {_listed(spec.retry_causes)}" if spec.retry_causes else "not"
        yield Line(f"what is lost is {causes} tried again")
    if spec.timeout is not None:
        yield Line(f"one attempt may take {spec.timeout}")
    if spec.deadline is not None:
        yield Line(f"what is not done by {spec.deadline:%Y-%m-%d %H:%M:%S} UTC ends TimedOut")
    if spec.priority:
        yield Line(f"its priority is {spec.priority}")
    if spec.selector:
        wanted = ", ".join(f"{key}={value}" for key, value in sorted(spec.selector.items()))
        yield Line(f"only nodes with {wanted} may run it")
    if spec.on_node_loss == "retry":
        yield Line("a rank whose node is lost waits until that node comes back")
    elif spec.on_node_loss == "replaceRank":
        yield Line("a rank whose node is lost goes to a node that has none")


def became(task: Task, items: Iterable[TaskItem]) -> Iterable[Line]:
    for item in items:
        about = f"node/{item.node}" if item.node else ""
        yield Line(_fate(task, item), _ended_at(item), reason=item.outcome, about=about)
        yield from _moved(task, item)
        if item.phase is TaskPhase.FAILED and item.attempts:
            yield from _evidence(task, item.attempts[-1])


def _fate(task: Task, item: TaskItem) -> str:
    name = _name(task, item)
    where = f" on node {item.node}" if item.node else ""
    if item.phase is TaskPhase.SUCCEEDED:
        return f"{name} succeeded with attempt {item.attempt}{where}"
    if item.phase is TaskPhase.RUNNING:
        return f"{name} is tried again: attempt {item.attempt} runs{where}"
    if item.phase is TaskPhase.QUEUED:
        return f"{name} waits for another try: {len(item.attempts)} of {task.spec.max_attempts} are used up"
    verb = "was given up as a dead letter" if item.outcome == _DEAD_LETTER else f"ended as {item.outcome}"
    return f"{name} {verb}{f': {item.message}' if item.message else ''}"


def _moved(task: Task, item: TaskItem) -> Iterable[Line]:
    """Of a broadcast: the nodes that had its rank, one after the other."""
    if task.spec.mode != "broadcast":
        return
    for before, after in zip(item.attempts, (*(one.node for one in item.attempts[1:]), item.node), strict=True):
        if before.outcome == _NODE_LOST and after and after != before.node:
            yield Line(f"rank {item.index} moved from node {before.node} to node {after}", about=f"node/{after}")


def _evidence(task: Task, attempt: TaskAttempt) -> Iterable[Line]:
    known = "; ".join(f"{key} {' '.join(value.split())}" for key, value in sorted(attempt.evidence.items()) if value)
    if known:
        yield Line(f"attempt {attempt.attempt} left: {known}", attempt.at.timestamp(), reason=attempt.outcome)


def _name(task: Task, item: TaskItem) -> str:
    return "it" if task.spec.mode == "run" else f"{'rank' if task.spec.mode == 'broadcast' else 'item'} {item.index}"


def _ended_at(item: TaskItem) -> float | None:
    return None if item.finished_at is None else item.finished_at.timestamp()


def _listed(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
