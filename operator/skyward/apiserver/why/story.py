"""A story: one sentence that sums up, and chapters of lines, each a sentence with its time and what it rests on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from skyward.api import API_VERSION, Condition, Event, Json, Node, Object, Reason, to_time
from skyward.facts import DecisionKind, DecisionRecord, Inputs
from skyward.planner import MERE_STEPS, sentence

_MOMENT_S = 5.0


@dataclass(frozen=True, slots=True)
class Line:
    text: str
    at: float | None = None
    until: float | None = None
    """When it ended, or was so for the last time."""
    stands: bool = False
    """It is so now, and has been since `at`."""
    decision: str = ""
    """create, retire, repair, hold, skip or wait; empty for what is so without anybody's decision."""
    rule: str = ""
    reason: str = ""
    inputs: Inputs = ()
    count: int = 1
    about: str = ""
    """Another object, as `node/NAME`, that can be asked about as well."""

    def to_json(self) -> Json:
        body: Json = {"sentence": self.text}
        if self.at is not None:
            body["time"] = _iso(self.at)
        if self.until is not None and self.until != self.at:
            body["until"] = _iso(self.until)
        if self.stands:
            body["stands"] = True
        texts = {"decision": self.decision, "rule": self.rule, "reason": self.reason, "about": self.about}
        body |= {name: text for name, text in texts.items() if text}
        if self.inputs:
            body["inputs"] = dict(self.inputs)
        if self.count > 1:
            body["count"] = self.count
        return body


@dataclass(frozen=True, slots=True)
class Chapter:
    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Story:
    kind: str
    namespace: str
    name: str
    summary: str
    chapters: tuple[Chapter, ...]
    see: tuple[str, ...] = field(default=())
    """Whom to ask next, as `pool/NAME`."""
    is_gone: bool = False

    def to_json(self) -> Json:
        return {
            "kind": "Why",
            "apiVersion": API_VERSION,
            "about": {"kind": self.kind, "namespace": self.namespace, "name": self.name, "gone": self.is_gone},
            "summary": self.summary,
            "chapters": [
                {"title": chapter.title, "lines": [line.to_json() for line in chapter.lines]}
                for chapter in self.chapters
                if chapter.lines
            ],
            "see": list(self.see),
        }


def chapter(title: str, lines: Iterable[Line]) -> Chapter:
    """In the order of time; what is said twice is told once, by the line that knows its rule."""
    told: list[Line] = []
    for line in sorted(lines, key=lambda line: not line.rule):
        if not any(line.text in other.text for other in told if line.rule == "" or line.text == other.text):
            told.append(line)
    return Chapter(title, tuple(sorted(told, key=_time)))


def ended(records: Iterable[DecisionRecord]) -> list[DecisionRecord]:
    """What happened and what was waited for, in the order of time; what stood for a moment only is not worth a line."""
    over = (
        record
        for record in records
        if record.until is not None and not (record.decision.kind.stands and 0 < record.until - record.at < _MOMENT_S)
    )
    return sorted(over, key=_order)


def _order(record: DecisionRecord) -> tuple[float, bool, bool]:
    """At one instant, the old goes before the new is made, and the cause is told before what followed from it."""
    decision = record.decision
    return record.at, decision.kind is not DecisionKind.RETIRE, decision.rule in MERE_STEPS


def of_record(record: DecisionRecord, about: str = "") -> Line:
    decision = record.decision
    return Line(
        sentence(record.kind, decision),
        record.at,
        record.until,
        record.until is None,
        decision.kind,
        decision.rule,
        decision.reason,
        decision.inputs,
        record.count,
        about,
    )


def of_event(event: Event) -> Line:
    return Line(
        event.note,
        event.first_time.timestamp(),
        event.last_time.timestamp(),
        reason=event.reason,
        count=event.count,
    )


def of_condition(condition: Condition, about: str = "") -> Line:
    since = condition.last_transition_time.timestamp()
    return Line(condition_text(condition), since, stands=True, reason=condition.reason, about=about)


def condition_text(condition: Condition) -> str:
    return condition.message.strip().partition("\n")[0] or f"{condition.type} is {condition.status}: {condition.reason}"


def about_other(line: Line, about: str, prefix: str) -> Line:
    """The line in the story of another object."""
    return replace(line, text=f"{prefix}: {line.text}", about=about)


def why_leaving(node: Node) -> str:
    """As its retirement said it, without the reason's one word."""
    told = node.status.retire_reason
    return told.partition(": ")[2] or ("a user asked for it" if told == Reason.DELETE_REQUESTED else told)


def ref(obj: Object) -> str:
    return f"{obj.kind.lower()}/{obj.metadata.name}"


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _time(line: Line) -> tuple[int, bool]:
    """Events and conditions know whole seconds; within one, what was decided comes before what it led to."""
    return int(line.at or 0.0), not line.rule


def _iso(at: float) -> str:
    return to_time(at).isoformat().replace("+00:00", "Z")
