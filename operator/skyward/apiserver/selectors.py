"""Label and field selectors, in kubectl's syntax."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from skyward.api import Object
from skyward.apiserver.refusals import bad_request

_KEY = r"[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?"
_VALUE = r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?"
_SET = re.compile(rf"\s*(?P<key>{_KEY})\s+(?P<op>in|notin)\s*\((?P<values>[^()]*)\)\s*")
_EQUAL = re.compile(rf"\s*(?P<key>{_KEY})\s*(?P<op>==|=|!=)\s*(?P<value>{_VALUE})\s*")
_EXISTS = re.compile(rf"\s*(?P<not>!?)\s*(?P<key>{_KEY})\s*")
_COMMA = re.compile(r",(?![^()]*\))")

FieldReader = Callable[[Object], str]


@dataclass(frozen=True, slots=True)
class Requirement:
    """One term: `negated` holds also for objects that lack the key. `values` of None asks only whether the key is there."""

    key: str
    values: frozenset[str] | None
    negated: bool

    def holds(self, labels: Mapping[str, str]) -> bool:
        found = self.key in labels and (self.values is None or labels[self.key] in self.values)
        return found is not self.negated


@dataclass(frozen=True, slots=True)
class FieldTerm:
    key: str
    read: FieldReader
    value: str
    negated: bool

    def holds(self, obj: Object) -> bool:
        return (self.read(obj) == self.value) is not self.negated

    @property
    def is_fixed(self) -> bool:
        return self.key in _FIXED


_FIXED = ("metadata.name", "metadata.namespace")
"""Fields that never change while an object lives."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects of a kind a request is about."""

    namespace: str | None = None
    labels: tuple[Requirement, ...] = ()
    fields: tuple[FieldTerm, ...] = ()

    @property
    def is_fixed(self) -> bool:
        """An object is selected for life, or never."""
        return not self.labels and all(term.is_fixed for term in self.fields)

    def can_hold(self, obj: Object) -> bool:
        """False when nothing that may change could make this object match."""
        if self.namespace is not None and obj.metadata.namespace != self.namespace:
            return False
        return all(term.holds(obj) for term in self.fields if term.is_fixed)

    def holds(self, obj: Object) -> bool:
        if not self.can_hold(obj) or not all(term.holds(obj) for term in self.fields):
            return False
        return all(requirement.holds(obj.metadata.labels) for requirement in self.labels)


def parse_labels(text: str) -> tuple[Requirement, ...]:
    """Raises Refusal 400 for anything that kubectl would not send."""
    return tuple(_requirement(term) for term in _COMMA.split(text)) if text.strip() else ()


def parse_fields(text: str, readers: Mapping[str, FieldReader]) -> tuple[FieldTerm, ...]:
    return tuple(_field(term, readers) for term in text.split(",") if term.strip())


def _requirement(term: str) -> Requirement:
    if match := _SET.fullmatch(term):
        values = frozenset(value.strip() for value in match["values"].split(","))
        if all(re.fullmatch(_VALUE, value) for value in values):
            return Requirement(match["key"], values, match["op"] == "notin")
    elif match := _EQUAL.fullmatch(term):
        return Requirement(match["key"], frozenset({match["value"]}), match["op"] == "!=")
    elif match := _EXISTS.fullmatch(term):
        return Requirement(match["key"], None, bool(match["not"]))
    raise bad_request(f"unable to parse requirement: {term.strip()!r} in the label selector")


def _field(term: str, readers: Mapping[str, FieldReader]) -> FieldTerm:
    match = re.fullmatch(r"\s*([\w.]+)\s*(==|=|!=)(.*)", term)
    if match is None:
        raise bad_request(f"invalid selector: {term.strip()!r}; can't understand it as KEY=VALUE")
    key, operator, value = match.groups()
    if key not in readers:
        raise bad_request(f"field label not supported: {key}")
    return FieldTerm(key, readers[key], value.strip(), operator == "!=")
