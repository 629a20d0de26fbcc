"""From everything that was seen and written down to one verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from tests.chaos.auditor.machines import Machine
from tests.chaos.auditor.tasks import TaskFindings
from tests.chaos.place import Record


def render(
    actions: Sequence[Record], tasks: TaskFindings, seen: Sequence[str], leaked: Sequence[str], foreign: Sequence[str]
) -> Record:
    """The object of the last line. `seen` are violations noticed on the way."""
    begin = next(record for record in actions if record["op"] == "begin")
    violations = [
        *tasks.violations,
        *seen,
        *(f"left over at the end: {thing}" for thing in leaked),
        *(f"not ours, and harmed: {thing}" for thing in foreign),
        *_unfinished(actions),
    ]
    return {
        "seed": begin["seed"],
        "profile": begin["profile"],
        "seconds": round(actions[-1]["at"] - begin["at"], 1),
        "kills": dict(Counter(record["kind"] for record in actions if record["op"] == "kill")),
        "stops": _count(actions, "stop"),
        "disk_full": _count(actions, "disk full"),
        "git_steps": _count(actions, "git"),
        "user_steps": _count(actions, "user"),
        "operator_restarts": max(0, _count(actions, "operator started") - 1),
        "submitted": tasks.submitted,
        "committed": tasks.committed,
        "executed": tasks.executed,
        "duplicates_executed": tasks.duplicates_executed,
        "lost": len(tasks.lost),
        "double_commits": len(tasks.double_commits),
        "leaked": len(leaked),
        "foreign_deleted": len(foreign),
        "violations": violations,
    }


def unhealed(machines: Sequence[Machine], wanted: Record) -> list[str]:
    """What is wrong with a world that claims to be at rest: each pool has exactly its machines, each in a slot of its own."""
    found = []
    for pool, count in sorted(wanted.items()):
        at_work = [machine for machine in machines if machine.exists and machine.pids and machine.pool == pool]
        slots = {machine.slot for machine in at_work}
        if len(at_work) != count or len(slots) != count:
            found.append(f"pool {pool} wants {count} machines, and at rest has {len(at_work)} in {len(slots)} slots")
    return found


def _unfinished(actions: Sequence[Record]) -> Iterator[str]:
    """Nothing but a signal ends an operator that serves. After the faults all heals, and all goes when it is told to."""
    done = {record["op"] for record in actions}
    for record in actions:
        if record["op"] == "operator ended" and record["served"] and record["status"] >= 0:
            yield f"the operator ended by itself with status {record['status']}, at {record['at']:.3f}"
        if record["op"] == "gave up":
            yield f"{record['what']}, even {record['after_s']:.0f} s after the faults were over: {record['seen']}"
    for op, claim in (
        ("healed", "the pools did not become ready again"),
        ("emptied", "the deleted pools did not go"),
        ("stopped", "the operator did not stop when told to"),
    ):
        if op not in done and "gave up" not in done:
            yield f"the run broke off: {claim}"


def _count(actions: Sequence[Record], op: str) -> int:
    return sum(record["op"] == op for record in actions)
