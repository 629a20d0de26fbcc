"""Rules that hold at every look, and the stretches of time for which something may be wrong before it is a violation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.chaos.auditor.machines import Machine
from tests.chaos.place import Record

UNOWNED_S = 60.0
"""How long a machine may exist that nobody claims. A crash of the operator, its restart and a listing fit in."""
SAME_SLOT_S = 60.0
"""How long two machines may work in one slot: the old one leaves while its replacement comes up."""
SPARE = 2
"""Machines beyond twice the most that a pool wanted: each of its machines may be leaving while its successor is made."""


class Watch:
    """`look` is told what is there; `violations` says what must not have been, each thing once."""

    def __init__(self) -> None:
        self.unowned_s = 0.0
        """Machine-seconds owned by nobody."""
        self._at = 0.0
        self._since: dict[str, float] = {}
        self._violations: dict[str, None] = {}
        self._uids: dict[str, list[str]] = {}

    def look(self, machines: Sequence[Machine], plan: Record, now: float) -> None:
        """`plan` is the conductor's: for each pool the most machines it ever wanted, and whether it is never deleted."""
        elapsed_s, self._at = (now - self._at if self._at else 0.0), now
        self._learn_pools(machines)
        wrong = dict(self._unowned(machines))
        self.unowned_s += elapsed_s * len(wrong)
        limits = {text: UNOWNED_S for text in wrong} | {text: SAME_SLOT_S for text in _shared_slots(machines)}
        self._hold_against(limits, now)
        for text in (*_shared_nodes(machines), *_runaways(machines, plan), *self._reborn(plan)):
            self._violations.setdefault(text)

    @property
    def violations(self) -> list[str]:
        return list(self._violations)

    def _learn_pools(self, machines: Sequence[Machine]) -> None:
        for machine in machines:
            known = self._uids.setdefault(machine.pool, [])
            if machine.pool_uid and machine.pool_uid not in known:
                known.append(machine.pool_uid)

    def _unowned(self, machines: Sequence[Machine]) -> Iterator[tuple[str, Machine]]:
        for machine in machines:
            if not machine.exists:
                yield f"processes of machine {machine.id} outlived it", machine
            elif machine.pool_uid and machine.pool_uid != self._uids[machine.pool][-1]:
                yield (
                    f"machine {machine.id} belongs to an earlier pool {machine.pool}, which was made anew since",
                    machine,
                )

    def _hold_against(self, limits: dict[str, float], now: float) -> None:
        self._since = {text: self._since.get(text, now) for text in limits}
        for text, since in self._since.items():
            if now - since > limits[text]:
                self._violations.setdefault(f"{text}, for more than {limits[text]:.0f} s")

    def _reborn(self, plan: Record) -> Iterator[str]:
        for pool, wanted in plan["pools"].items():
            uids = self._uids.get(pool, [])
            if wanted["stable"] and len(uids) > 1:
                yield f"pool {pool} was never deleted and yet made anew: {', '.join(uids)}"


def _shared_slots(machines: Sequence[Machine]) -> Iterator[str]:
    at_work = [machine for machine in machines if machine.slot and machine.pids and not machine.is_leaving]
    for first, second in zip(ordered := sorted(at_work, key=_place), ordered[1:], strict=False):
        if _place(first)[:2] == _place(second)[:2]:
            yield f"machines {first.id} and {second.id} both work in slot {first.slot} of pool {first.pool}"


def _place(machine: Machine) -> tuple[str, str, str]:
    return machine.pool, machine.slot, machine.id


def _shared_nodes(machines: Sequence[Machine]) -> Iterator[str]:
    owners: dict[str, str] = {}
    for machine in machines:
        if machine.node and owners.setdefault(machine.node, machine.id) != machine.id:
            yield f"machines {owners[machine.node]} and {machine.id} were both made for node {machine.name}"


def _runaways(machines: Sequence[Machine], plan: Record) -> Iterator[str]:
    for pool, wanted in plan["pools"].items():
        limit = 2 * wanted["most"] + SPARE
        count = sum(1 for machine in machines if machine.exists and machine.pool == pool)
        if count > limit:
            yield f"pool {pool} had more than {limit} machines, and never wanted more than {wanted['most']}"
