"""The part of the catalog that a launch has to look at: found once for all nodes of a template, until the catalog changes."""

from __future__ import annotations

from dataclasses import dataclass

from skyward.api import Node, driver_options, places_of
from skyward.facts import Offering
from skyward.kit.catalog import Offerings, key_of
from skyward.planner import relevant, shopping_of

_TEMPLATES = 1000


@dataclass(frozen=True, slots=True)
class Table:
    offerings: tuple[Offering, ...]
    unlisted: int = 0
    """So many more there are, which do not fit or are dearer."""


_Answers = tuple[tuple[Offering, ...], ...]
EMPTY = Table(())


class Shopper:
    def __init__(self, offerings: Offerings) -> None:
        self._offerings = offerings
        self._tables: dict[str, tuple[_Answers, Table]] = {}

    def table(self, node: Node) -> Table | None:
        """None while a provider is being asked, whose answer wakes the node."""
        entries = [(entry["name"], driver_options(entry)) for entry in places_of(node.spec.template)]
        asked = {key_of(name, options): (name, options) for name, options in entries}
        answers = [self._offerings.of(name, options, node.key) for name, options in asked.values()]
        found = tuple(answer for answer in answers if answer is not None)
        return self._sifted(node, found) if len(found) == len(answers) else None

    def _sifted(self, node: Node, answers: _Answers) -> Table:
        hash_ = node.spec.template_hash
        known = self._tables.get(hash_)
        if known is not None and _are_same(known[0], answers):
            return known[1]
        if len(self._tables) >= _TEMPLATES:
            self._tables.clear()
        distinct = {offering: None for answer in answers for offering in answer}
        table = Table(*relevant(shopping_of(node.spec.template), tuple(distinct)))
        self._tables[hash_] = answers, table
        return table


def _are_same(one: _Answers, other: _Answers) -> bool:
    """The very answers: to compare them entry by entry would cost as much as sifting."""
    return len(one) == len(other) and all(old is new for old, new in zip(one, other, strict=True))
