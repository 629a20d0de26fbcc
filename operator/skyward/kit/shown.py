"""What one complete listing shows, looked up beforehand, and what of it differs from the listing before.

Thousands of instances are gone through a part at a time, so that nothing else waits for all of them. An instance that
is as it was keeps its object, and so do all instances of a launch together: whoever worked something out from them may
tell by that that it still holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from skyward.facts import Instance, Listing

_AT_ONCE = 500
OfLaunch = tuple[Instance, ...]
"""Instances of one launch, by id."""


@dataclass(frozen=True, slots=True)
class Shown:
    listing: Listing
    by_id: Mapping[str, Instance]
    by_launch: Mapping[str | None, OfLaunch] = field(default_factory=dict)
    """None holds those whose mark is unreadable."""
    touched: frozenset[str] | None = None
    """Ids of what differs from the listing before, and of its launches; None when there was none before."""


async def look_through(listing: Listing, before: Shown | None) -> Shown:
    known = before.by_id if before is not None else {}
    by_id: dict[str, Instance] = {}
    differ: list[Instance] = []
    for number, instance in enumerate(listing.instances, start=1):
        old = known.get(instance.id)
        if old is not None and old == instance:
            by_id[old.id] = old
        else:
            by_id[instance.id] = instance
            differ.extend((instance,) if old is None else (instance, old))
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)
    if len(by_id) < len(known) or differ:
        differ += [old for old in known.values() if old.id not in by_id]
    launches = frozenset(instance.launch for instance in differ)
    by_launch = dict(before.by_launch) if before is not None else {}
    if launches:
        _regroup(by_launch, by_id.values(), launches)
    names = frozenset(name for one in differ for name in (one.id, one.launch) if name is not None)
    newest = replace(listing, instances=tuple(by_id.values()))
    return Shown(newest, by_id, by_launch, names if before is not None else None)


def _regroup(
    by_launch: dict[str | None, OfLaunch], instances: Iterable[Instance], launches: frozenset[str | None]
) -> None:
    """Of these launches alone."""
    groups: dict[str | None, list[Instance]] = {}
    for instance in instances:
        if instance.launch in launches:
            groups.setdefault(instance.launch, []).append(instance)
    for launch in launches:
        if launch in groups:
            by_launch[launch] = tuple(sorted(groups[launch], key=lambda one: one.id))
        else:
            by_launch.pop(launch, None)
