"""Launches whose work is over. Their records stay for a week after nothing shows anything of them any more: an instance
that appears late is then known as ours, and is deleted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from skyward.contracts import Transaction
from skyward.controllers.launches import UNRESOLVED
from skyward.facts import Launch

KEPT_S = 7 * 86_400.0
KEPT = 10_000
"""Beyond this many the oldest go, however young they are."""


@dataclass(frozen=True, slots=True)
class Burial:
    """What changes on record."""

    bury: tuple[Launch, ...]
    """Become tombstones."""
    raise_: tuple[Launch, ...]
    """Tombstones of which something shows again: their week begins anew once it is gone."""
    drop: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.bury or self.raise_ or self.drop)


def plan_burial(launches: Iterable[Launch], *, over: frozenset[str], shown: frozenset[str], age_now: float) -> Burial:
    """`over`: ids of those that nothing needs, and of which a new enough listing shows nothing. `shown`: ids that a listing
    shows. `age_now`: now, for ages."""
    every = tuple(launches)
    graves = sorted((one for one in every if one.gone_at and one.id not in shown), key=lambda one: one.gone_at)
    crowd = len(graves) - KEPT
    return Burial(
        bury=tuple(one for one in every if one.id in over and not one.gone_at),
        raise_=tuple(one for one in every if one.id in shown and one.gone_at),
        drop=tuple(one.id for place, one in enumerate(graves) if place < crowd or age_now - one.gone_at >= KEPT_S),
    )


def write_burial(tx: Transaction, burial: Burial, now: float) -> tuple[Launch, ...]:
    """The launches as they are on record then, without those that are dropped."""
    buried = tuple(current for one in burial.bury if (current := tx.launch(one.id)) is not None)
    written = (
        *(replace(one, gone_at=now) for one in buried if one.state not in UNRESOLVED),
        *(replace(current, gone_at=0.0) for one in burial.raise_ if (current := tx.launch(one.id)) is not None),
    )
    for launch in written:
        tx.put_launch(launch)
    for launch_id in burial.drop:
        tx.drop_launch(launch_id)
    return written
