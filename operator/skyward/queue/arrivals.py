"""New tasks on their way into the store: those that come in one turn of the event loop are stored together.

A client that submits thousands of calls costs a few statements for many of them, instead of a transaction for each. Each
is refused by itself all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from skyward.contracts import Submission, TaskRow, Transaction
from skyward.errors import Conflict, Invalid, SkyError
from skyward.queue import submission
from skyward.queue.commits import Commits

_MOST = 128
Stored = tuple[TaskRow, bool]
"""The row, and whether it is new: it is not when this is a repeat."""


@dataclass(slots=True, eq=False)
class _Arrival:
    submitted: Submission
    row: TaskRow
    answer: asyncio.Future[TaskRow]


class Arrivals:
    """`stored` is told of each new task after its commit, in order, whatever happened to its caller meanwhile."""

    def __init__(
        self,
        commits: Commits,
        *,
        new_name: Callable[[Submission], str],
        stored: Callable[[Submission, TaskRow], None],
    ) -> None:
        self._commits = commits
        self._new_name = new_name
        self._stored = stored
        self._waiting: list[_Arrival] = []
        self._storing: set[asyncio.Task[None]] = set()

    async def store(self, submitted: Submission, row: TaskRow) -> TaskRow:
        """The row as it is stored: under another name when its own was taken, or that of the task which this is a repeat of.
        Raises Conflict, Invalid, StoreUnavailable."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[TaskRow] = loop.create_future()
        self._waiting.append(_Arrival(submitted, row, answer))
        if len(self._waiting) == 1:
            task = loop.create_task(self._store_waiting())
            self._storing.add(task)
            task.add_done_callback(self._storing.discard)
        return await answer

    async def _store_waiting(self) -> None:
        """Parts are committed in order: each is handed over before the next."""
        waiting, self._waiting = self._waiting, []
        if len(waiting) <= _MOST:
            await self._store_part(waiting)
            return
        parts = [waiting[start : start + _MOST] for start in range(0, len(waiting), _MOST)]
        await asyncio.gather(*(self._store_part(part) for part in parts))

    async def _store_part(self, arrivals: Sequence[_Arrival]) -> None:
        rows = sum(arrival.row.items for arrival in arrivals)
        try:
            await self._commits.run(partial(self._insert, arrivals), partial(self._inserted, arrivals), rows=rows)
        except Exception as error:  # whatever the store has met is for those who wait
            for arrival in arrivals:
                if not arrival.answer.done():
                    arrival.answer.set_exception(error)

    def _insert(self, arrivals: Sequence[_Arrival], tx: Transaction) -> list[Stored | SkyError]:
        rows = [arrival.row for arrival in arrivals]
        known = {(row.submitter, row.key): row for row in tx.tasks.by_keys([(row.submitter, row.key) for row in rows])}
        functions = tx.tasks.known_functions({row.function for row in rows})
        names = set(tx.tasks.taken_names([(row.namespace, row.name) for row in rows]))
        answers: list[Stored | SkyError] = []
        new: list[int] = []
        for index, arrival in enumerate(arrivals):
            row = rows[index]
            stored = known.get((row.submitter, row.key))
            if stored is not None:
                answers.append(_repeated(stored, row))
            elif row.function not in functions:
                answers.append(Invalid(f"function {row.function[:16]} is not known here: send it before the call"))
            else:
                rows[index] = known[row.submitter, row.key] = self._named(arrival, names, tx)
                answers.append((rows[index], True))
                new.append(index)
        added = tx.tasks.add([(rows[index], arrivals[index].submitted.items) for index in new])
        for index, row in zip(new, added, strict=True):
            answers[index] = (row, True)
        return answers

    def _named(self, arrival: _Arrival, names: set[tuple[str, str]], tx: Transaction) -> TaskRow:
        """The row under a name that nobody else has."""
        row = arrival.row
        while (row.namespace, row.name) in names:
            row = replace(row, name=self._new_name(arrival.submitted))
            names |= tx.tasks.taken_names([(row.namespace, row.name)])
        names.add((row.namespace, row.name))
        return row

    def _inserted(self, arrivals: Sequence[_Arrival], answers: Sequence[Stored | SkyError]) -> None:
        for arrival, answer in zip(arrivals, answers, strict=True):
            if isinstance(answer, tuple) and answer[1]:
                self._stored(arrival.submitted, answer[0])
            if arrival.answer.done():
                continue  # its caller is gone
            if isinstance(answer, tuple):
                arrival.answer.set_result(answer[0])
            else:
                arrival.answer.set_exception(answer)


def _repeated(stored: TaskRow, row: TaskRow) -> Stored | SkyError:
    try:
        submission.check_same(stored, row.fingerprint)
    except Conflict as error:
        return error
    return stored, False
