"""`python -S -m tests.chaos.auditor DIRECTORY`: watches the run until its standard input ends, then prints the verdict, one JSON
object. Exit status 1 with any violation. `-S` keeps site-packages out of reach: it could not import the operator."""

from __future__ import annotations

import json
import select
import sys
import time
from pathlib import Path

from tests.chaos.auditor.foreign import Foreign
from tests.chaos.auditor.machines import Machine, Truth
from tests.chaos.auditor.tasks import judge_tasks
from tests.chaos.auditor.verdict import render, unhealed
from tests.chaos.auditor.watch import Watch
from tests.chaos.place import Place, Record, append, records

_PERIOD_S = 0.2
_LAST_LOOKS_S = 5.0
"""A killed process takes a moment to vanish."""


class Auditor:
    def __init__(self, place: Place) -> None:
        self._place = place
        actions = records(place.actions)
        self._plan = _last(actions, "begin")
        self._foreign = Foreign(_last(actions, "foreign"))
        self._truth = Truth(place, self._foreign.machines)
        self._watch = Watch()
        self._at_rest: list[str] | None = None

    def look(self) -> list[Machine]:
        machines = self._truth.look()
        self._watch.look(machines, self._plan, time.monotonic())
        if self._at_rest is None:
            healed = [record for record in records(self._place.actions) if record["op"] == "healed"]
            if healed:
                self._at_rest = unhealed(machines, healed[0]["wanted"])
                append(self._place.truth, "rest", machines=[machine.id for machine in machines])
        return machines

    def verdict(self) -> Record:
        leaked = self._left_over()
        tasks = judge_tasks(records(self._place.journal), records(self._place.ledger))
        seen = [*self._watch.violations, *(self._at_rest or ())]
        verdict = render(records(self._place.actions), tasks, seen, leaked, self._foreign.harmed())
        return verdict | {"machines": self._truth.born, "unowned_s": round(self._watch.unowned_s, 1)}

    def _left_over(self) -> list[str]:
        deadline = time.monotonic() + _LAST_LOOKS_S
        while True:
            machines = self.look()
            found = [*(_describe(machine) for machine in machines), *self._truth.half_made()]
            if not found or time.monotonic() > deadline:
                return found
            time.sleep(_PERIOD_S)


def _describe(machine: Machine) -> str:
    what = "with its directory" if machine.exists else "without its directory"
    return f"machine {machine.id} of pool {machine.pool or 'unknown'}, {what}, processes {machine.pids}"


def _last(actions: list[Record], op: str) -> Record:
    return next(record for record in reversed(actions) if record["op"] == op)


def main() -> int:
    auditor = Auditor(Place(Path(sys.argv[1])))
    while not select.select([sys.stdin], [], [], _PERIOD_S)[0]:
        auditor.look()
    verdict = auditor.verdict()
    print(json.dumps(verdict))
    return 1 if verdict["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
