"""The book of decisions: what every plan chose, written when it begins, when its words change and when it ends.

A plan says in each pass all that stands in this world; the book compares that with what it holds and writes only the
difference, so a world that stands still costs nothing. What happens at one instant is written with the action itself;
when it happens again soon it is counted. Nothing here is ever an input of a plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import structlog

from skyward.api import Node, Object, Pool
from skyward.contracts import Clock, Store, Transaction
from skyward.errors import SkyError
from skyward.facts import Decision, DecisionKind, DecisionRecord
from skyward.kit.steady import steady

_log = structlog.get_logger()
REPEAT_S = 600.0
"""The same decision again within this long is counted on its newest record, and one that stood stands on."""
KEPT_S = 7 * 86400.0
KEPT = 200
"""What ended is kept for so long, and of each object the newest so many."""
_PRUNE_EVERY_S = 3600.0

Choice = tuple[DecisionKind, str, str]
"""What makes two decisions about an object the same one: kind, rule and target."""
Held = dict[Choice, DecisionRecord]
Name = tuple[str, str]
"""Kind and key of an object."""
_KINDS: tuple[type[Object], ...] = (Pool, Node)
"""What has a plan. Whoever decides about other objects keeps its own records."""


def record_decision(tx: Transaction, about: Object, decision: Decision, *, now: float) -> DecisionRecord:
    """Put on record what was decided about this object at this instant, or count it again."""
    last = tx.last_decision(about.metadata.uid, decision)
    if last is not None and _is_again(last, decision, now):
        again = replace(last, decision=decision, until=now, count=last.count + 1)
    else:
        again = _new(about, decision, now, until=now)
    tx.put_decision(again)
    return again


class Entry:
    """What one pass adds to the book about one object; false when it adds nothing. `held` is what stood for an object of its
    name: what stood for an earlier one ends."""

    def __init__(
        self, about: Object, now: float, held: Held, standing: Iterable[Decision], taken: Iterable[Decision]
    ) -> None:
        wanted = {_choice(decision): decision for decision in standing if decision.kind.stands}
        own = {choice: record for choice, record in held.items() if record.uid == about.metadata.uid}
        self._about = about
        self._now = now
        self._taken = tuple(taken)
        self._begun = tuple(decision for choice, decision in wanted.items() if choice not in own)
        self._changed = tuple(
            replace(record, decision=wanted[choice])
            for choice, record in own.items()
            if choice in wanted and wanted[choice] != record.decision
        )
        self._ended = tuple(
            replace(record, until=now) for choice, record in held.items() if choice not in wanted or choice not in own
        )
        self._after = {choice: record for choice, record in own.items() if choice in wanted}

    def __bool__(self) -> bool:
        return bool(self._begun or self._changed or self._ended or self._taken)

    def write(self, tx: Transaction) -> None:
        """To be called in the transaction of what was decided."""
        after = dict(self._after)
        for record in (*self._changed, *self._ended):
            tx.put_decision(record)
        for record in self._changed:
            after[_choice(record.decision)] = record
        for decision in self._begun:
            after[_choice(decision)] = self._begin(tx, decision)
        for decision in self._taken:
            record_decision(tx, self._about, decision, now=self._now)
        self._after = after

    @property
    def name(self) -> Name:
        return self._about.kind, self._about.key

    @property
    def standing(self) -> Held:
        """What stands once this is committed."""
        return self._after

    def _begin(self, tx: Transaction, decision: Decision) -> DecisionRecord:
        """What ceased a moment ago stands again: a cause that comes and goes adds no records without end."""
        last = tx.last_decision(self._about.metadata.uid, decision)
        if last is None or (last.until is not None and not _is_again(last, decision, self._now)):
            record = _new(self._about, decision, self._now, until=None)
        else:
            record = replace(last, decision=decision, until=None, count=last.count + (last.until is not None))
        tx.put_decision(record)
        return record


class DecisionBook:
    """A component that is started before the controllers: it is ready when what stands was read."""

    name = "decisions"

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = steady(clock)
        self._held: dict[Name, Held] = {}
        self._has_grown = True

    async def run(self, ready: Callable[[], None]) -> None:
        """Forgets what is old, once an hour; nothing while nothing new was written."""
        await self._seed()
        ready()
        while True:
            if self._has_grown:
                await self._prune()
            await self._clock.sleep(_PRUNE_EVERY_S)

    def entry(
        self, about: Object, standing: Iterable[Decision], taken: Iterable[Decision] = (), *, now: float
    ) -> Entry:
        """`standing` is all that stands for this object now; what else stood ends. `taken` happened at this instant."""
        return Entry(about, now, self._held.get((about.kind, about.key), {}), standing, taken)

    def keep(self, entry: Entry) -> None:
        """After the transaction that wrote it was committed."""
        if not entry:
            return
        self._has_grown = True
        if entry.standing:
            self._held[entry.name] = entry.standing
        else:
            self._held.pop(entry.name, None)

    async def close(self, kind: type[Object], key: str) -> None:
        """The object of this name is gone: nothing stands for it any more."""
        name = (kind.KIND, key)
        await self._end(list(self._held.get(name, {}).values()))
        self._held.pop(name, None)

    async def _prune(self) -> None:
        self._has_grown = False
        before = self._clock.age_now - KEPT_S  # a clock that jumps makes no history old
        try:
            await self._store.run(lambda tx: tx.drop_decisions(before, KEPT))
        except SkyError as error:
            self._has_grown = True
            _log.warning("old decisions not forgotten, tried again later", error=str(error))

    async def _seed(self) -> None:
        standing, living = await self._store.read(_read)
        await self._end([record for record in standing if (record.kind, record.uid) not in living])
        for record in standing:
            if (record.kind, record.uid) in living:
                self._held.setdefault((record.kind, record.key), {})[_choice(record.decision)] = record

    async def _end(self, records: list[DecisionRecord]) -> None:
        if not records:
            return
        now = self._clock.now()

        def work(tx: Transaction) -> None:
            for record in records:
                tx.put_decision(replace(record, until=now))

        await self._store.run(work)
        self._has_grown = True


def _read(tx: Transaction) -> tuple[tuple[DecisionRecord, ...], set[tuple[str, str]]]:
    objects = (obj for kind in _KINDS for obj in tx.list(kind))
    living = {(obj.kind, obj.metadata.uid) for obj in objects}
    kinds = {kind.KIND for kind in _KINDS}
    return tuple(record for record in tx.standing_decisions() if record.kind in kinds), living


def _choice(decision: Decision) -> Choice:
    return decision.kind, decision.rule, decision.target


def _is_again(last: DecisionRecord, decision: Decision, now: float) -> bool:
    newest = last.at if last.until is None else last.until
    return last.decision.reason is decision.reason and now - newest <= REPEAT_S


def _new(about: Object, decision: Decision, now: float, until: float | None) -> DecisionRecord:
    return DecisionRecord(about.kind, about.metadata.uid, about.key, decision, now, until)
