"""What became of the work: the client's journal held against the ledger that the functions themselves wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.chaos.place import Record

SUCCEEDED = "Succeeded"


@dataclass(slots=True)
class TaskFindings:
    submitted: int = 0
    """Items that the client asked for."""
    committed: int = 0
    """Items with a result."""
    executed: int = 0
    duplicates_executed: int = 0
    """Executions beyond the first of an item: allowed, tasks run at least once."""
    lost: list[str] = field(default_factory=list)
    double_commits: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)


def judge_tasks(journal: Iterable[Record], ledger: Iterable[Record]) -> TaskFindings:
    """The journal's ops: `submit` and `accepted` with `items`, `result` and `again` with `item`, `outcome` and `token`."""
    asked: set[str] = set()
    accepted: set[str] = set()
    answers: dict[str, set[tuple[str, str]]] = {}
    for record in journal:
        match record["op"]:
            case "submit":
                asked.update(record["items"])
            case "accepted":
                accepted.update(record["items"])
            case "result" | "again":
                answers.setdefault(record["item"], set()).add((record["outcome"], record["token"]))
    executions = [(line["item"], line["token"]) for line in ledger]
    counts = Counter(item for item, _ in executions)
    findings = TaskFindings(
        submitted=len(asked),
        committed=len(answers),
        executed=len(executions),
        duplicates_executed=sum(count - 1 for count in counts.values()),
        lost=sorted(asked - answers.keys()),
        double_commits=sorted(item for item, given in answers.items() if len(given) > 1),
    )
    findings.violations = [
        *(f"task item {item} was {_state(item, accepted)} and never answered" for item in findings.lost),
        *(f"task item {item} has two results: {sorted(answers[item])}" for item in findings.double_commits),
        *_answers_without_execution(answers, set(executions)),
        *(f"task item {item} was executed and never accepted" for item in sorted(counts.keys() - accepted)),
    ]
    return findings


def _answers_without_execution(
    answers: dict[str, set[tuple[str, str]]], executions: set[tuple[str, str]]
) -> Iterable[str]:
    for item, given in sorted(answers.items()):
        for outcome, token in sorted(given):
            if outcome != SUCCEEDED:
                yield f"task item {item} ended as {outcome}, though its function cannot fail: {token}"
            elif (item, token) not in executions:
                yield f"task item {item} has a result that no execution of it made: {token}"


def _state(item: str, accepted: set[str]) -> str:
    return "accepted" if item in accepted else "submitted"
