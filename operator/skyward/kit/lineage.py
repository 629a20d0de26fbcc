"""Whether what a provider lists can come from this store's own history.

Every launch is on record before its call is sent, and every instance carries its launch and the epoch that asked for
it. So an instance that is ours by its mark, and yet unknown, with an epoch that this store has not left behind, means
that the store is not the newest: it was restored from a backup, begun anew, or copied to a second operator. Then
nothing is made and nothing is deleted until somebody has looked, and adopts what is there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass

from skyward.facts import Instance, InstanceState, Listing

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Doubt:
    """Instances of one provider that this store ought to know."""

    provider: str
    instances: tuple[Instance, ...]
    """By id."""

    @property
    def hash(self) -> str:
        """Of exactly these instances: what was accepted is what was shown."""
        marks = (f"{one.provider} {one.id} {one.launch} {one.epoch}" for one in self.instances)
        return hashlib.sha256("\n".join(marks).encode()).hexdigest()[:12]

    @property
    def epoch(self) -> int:
        """The newest that any of them carries."""
        return max((one.epoch for one in self.instances if one.epoch is not None), default=0)

    def __str__(self) -> str:
        count = len(self.instances)
        shown = ", ".join(one.id for one in self.instances[:_SHOWN]) + (", …" if count > _SHOWN else "")
        what = f"instance {shown} that is" if count == 1 else f"{count} instances ({shown}) that are"
        return (
            f"{self.provider} has {what} of this installation but unknown to its records: these are older than the "
            "last operator, or a second operator works with a copy of them; nothing is made or deleted there. Restore "
            "the newest state directory, or take over what is there with: "
            f"skyctl adopt {self.hash}"
        )


def find_doubt(
    listing: Listing, launches: Collection[str], *, has_made: Callable[[str, str], bool], epoch_before: int | None
) -> Doubt | None:
    """`launches`: the ids of all on record, tombstones included. `has_made`: one of them names this provider's instance.
    `epoch_before`: the newest epoch on record when this operator began; None where epochs are not kept."""
    strange = [
        one
        for one in listing.instances
        if one.launch not in launches
        and _is_of_later(one, has_launches=bool(launches), epoch_before=epoch_before)
        and not (one.launch is None and has_made(one.provider, one.id))
    ]
    if not strange:
        return None
    return Doubt(listing.provider, tuple(sorted(strange, key=lambda one: one.id)))


def _is_of_later(instance: Instance, *, has_launches: bool, epoch_before: int | None) -> bool:
    """An operator with later records made it. Records without any launch are older than any instance."""
    if instance.state is InstanceState.GONE:
        return False
    if not has_launches:
        return True
    return instance.epoch is not None and epoch_before is not None and instance.epoch >= epoch_before
