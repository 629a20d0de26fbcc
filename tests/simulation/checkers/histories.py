"""S33 to S41: each task is a sequential object. What is committed must be what some call that is under way may do to the item as it
was, and what the rows say afterwards must be what the model says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from skyward.contracts import EndRow, Holder, ItemRow, LeaseRow, TaskRow
from skyward_agent.wire.messages import CANCELLED, REPLACE_RANK, SUCCEEDED, TIMED_OUT, Lease, Result
from tests.queue.model import Model, ModelItem
from tests.simulation.checkers.base import Checker
from tests.simulation.history import Call
from tests.simulation.storing import Commit

_ROUNDING_S = 0.001

Key = tuple[str, int]


class HistoryChecker(Checker):
    """Implements `history.Witness`."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self._rows: dict[int, TaskRow] = {}
        self._models: dict[str, Model] = {}
        """By task uid; until the task is removed."""
        self._marks: set[tuple[str, int, int]] = set()
        """Attempts that are marked as begun in the rows."""
        self._values: dict[Key, bytes] = {}
        self._told: set[Key] = set()
        """By the process that has the queue."""
        self._at = 0.0
        self.world.history.witness = self

    # --- what is committed -------------------------------------------------------------------------------------------

    def committed(self, commit: Commit) -> None:
        if commit.items is None and not commit.removed:
            return
        self._at = self._now_of(commit.process)
        for task in commit.tasks:
            self._add(task)
        for model in self._models.values():
            model.now = self._at
        for lease in commit.leases:
            self._lease(lease)
        for seq, item, attempt, secret in commit.starts:
            self._start(seq, item, attempt, secret)
        for end in commit.ends:
            self._end(end)
        for (seq, items), outcome in zip(commit.cancels, commit.reasons, strict=True):
            self._close(seq, items, outcome)
        if commit.items is not None:
            self._compare(commit.items)
        for seq in commit.removed:
            self._remove(seq)

    def _now_of(self, process: int) -> float:
        found = [one for one in self.world.operators if one.process.number == process]
        return found[0].clock.now() if found else self.world.now

    def _add(self, task: TaskRow) -> None:
        self._rows[task.seq] = task
        model = self._models[task.uid] = Model(self._at)
        model.add(
            task.uid,
            task.seq,
            task.items,
            max_attempts=task.max_attempts,
            priority=task.priority,
            nodes=tuple(rank.node_uid for rank in task.ranks),
            policy=task.policy,
        )

    def _lease(self, lease: LeaseRow) -> None:
        row = self._rows[lease.seq]
        model, name = self._models[row.uid], f"{row.name}.{lease.item}"
        item = model.items[row.uid, lease.item]
        asking = [call for call in self._calls("lease") if call.about == lease.node_uid]
        wrong = _why_not(item, lease)
        if not asking:
            wrong = "S35", f"was given to {lease.node}, which did not ask"
        elif wrong is None and not any(item is one for one in model.waiting_for(lease.node_uid)):
            wrong = "S40" if row.ranks else "S33", f"was given to {lease.node}, and was not its to take"
        if wrong is not None:
            self.violate(wrong[0], name, wrong[1])
        item.pinned, item.is_vacant = (lease.node_uid if row.ranks else ""), False
        item.attempt, item.holder, item.secret = lease.attempt, lease.node_uid, lease.secret
        item.started = lease.started
        item.incarnation = asking[0].incarnation if asking else ""
        if lease.started:
            self._marks.add((row.uid, lease.item, lease.attempt))

    def _start(self, seq: int, index: int, attempt: int, secret: str) -> None:
        row = self._rows.get(seq)
        item = None if row is None else self._models[row.uid].items[row.uid, index]
        if (
            row is not None
            and item is not None
            and item.is_running
            and (item.attempt, item.secret) == (attempt, secret)
        ):
            self._marks.add((row.uid, index, attempt))

    def _end(self, end: EndRow) -> None:
        row = self._rows[end.seq]
        key = (row.uid, end.item)
        items = self._models[row.uid].items
        before, name = items[key], f"{row.name}.{end.item}#{end.attempt}"
        if before.outcome:
            self.violate("S33", name, f"ends {end.outcome or 'again'} after it ended {before.outcome}")
            return
        after = next(filter(None, (self._explained(call, key, before, end) for call in self.world.history.calls)), None)
        if after is None:
            self.violate("S34", name, f"no call under way makes of {_words(before)} that it {_ends(end)}")
            after = replace(before, holder="", outcome=end.outcome, counted=end.counted)
        if end.ready_at is not None:
            self._check_pause(name, after, end)
            after.ready_at = end.ready_at
        items[key] = after
        if end.outcome:
            self._values[key] = end.value
        elif before.is_once and end.counted > before.counted:
            self.violate("S37", name, "was asked for at most once, may have begun, and waits again")

    def _explained(self, call: Call, key: Key, before: ModelItem, end: EndRow) -> ModelItem | None:
        """What the model makes of this item in that call, if that is what was committed."""
        if end.queued is before.is_running or (
            before.is_running and (before.attempt, before.secret) != (end.attempt, end.secret)
        ):
            return None
        alone = Model(self._at, {key: replace(before)})
        call.step(alone)
        after = alone.items[key]
        if (after.outcome, after.holder) == (before.outcome, before.holder):
            return None
        # How many count is of no more interest once it has ended.
        return after if after.outcome == end.outcome and (end.outcome or after.counted == end.counted) else None

    def _check_pause(self, name: str, after: ModelItem, end: EndRow) -> None:
        assert end.ready_at is not None
        policy = after.policy
        longest_s = min(policy.backoff_max_s, policy.backoff_s * 2.0 ** (after.counted - 1))
        self.world.coverage.reach("item tried again after a pause")
        if not longest_s / 2 - _ROUNDING_S <= end.ready_at - end.at <= longest_s + _ROUNDING_S:
            self.violate(
                "S39", name, f"is tried again after {end.ready_at - end.at:.1f} s, not after about {longest_s} s"
            )

    def _close(self, seq: int, items: tuple[int, ...], outcome: str) -> None:
        row = self._rows[seq]
        model = self._models[row.uid]
        open_items = tuple(index for (_, index), item in sorted(model.items.items()) if not item.outcome)
        if items != open_items:
            self.violate("S41", row.name, f"ended {items} of {open_items}, {outcome}")
        asked = any(call.about == row.uid for call in self._calls("cancel"))
        asked = asked or any(call.about == row.pool for call in self._calls("drop pool"))
        is_late = row.policy.deadline_at is not None and row.policy.deadline_at <= self._at
        if not (asked if outcome == CANCELLED else is_late and outcome == TIMED_OUT):
            self.violate("S41", row.name, f"ended {outcome}, and nobody asked for that")
        for index in items:
            if not model.items[row.uid, index].outcome:
                model.items[row.uid, index].end(outcome)

    def _compare(self, rows: Sequence[ItemRow]) -> None:
        """The unfinished items as they are in the store, and as they have to be."""
        found = {(self._rows[row.seq].uid, row.item): row for row in rows if row.seq in self._rows}
        for model in self._models.values():
            for key, item in model.items.items():
                row = found.pop(key, None)
                if item.outcome or row is None:
                    if bool(item.outcome) is not (row is None):
                        self.violate("S33", f"{key[0][:8]}.{key[1]}", f"is {_words(item)}, and its row is {row}")
                    continue
                begun = (*key, item.attempt) in self._marks and item.is_running
                wanted = (item.attempt, item.counted, item.is_running, item.holder, begun)
                if wanted != (row.attempt, row.counted, row.leased, row.node_uid, row.started) or (
                    item.is_running and row.secret != item.secret
                ):
                    rule = "S37" if begun and not row.started else "S33"
                    self.violate(rule, f"{key[0][:8]}.{key[1]}", f"is {_words(item)}, and its row is {row}")

    def _remove(self, seq: int) -> None:
        row = self._rows.pop(seq, None)
        if row is not None:
            del self._models[row.uid]
            self._values = {key: value for key, value in self._values.items() if key[0] != row.uid}

    def _calls(self, verb: str) -> list[Call]:
        return [call for call in self.world.history.calls if call.verb == verb]

    # --- what is asked and told --------------------------------------------------------------------------------------

    def took_over(self) -> None:
        """Marks that were under way are lost with their process."""
        self._told.clear()
        for model in self._models.values():
            model.restart()
            for (uid, index), item in model.items.items():
                item.started = item.is_running and (uid, index, item.attempt) in self._marks

    def began(self, call: Call) -> None:
        if call.verb == "started":
            for model in self._models.values():
                call.step(model)
        elif call.verb == "release NodeLost":
            for model in self._models.values():
                for item in model.items.values():
                    if item.pinned == call.about and item.is_queued and item.policy.on_node_loss == REPLACE_RANK:
                        item.is_vacant = True

    def gave(self, holder: Holder, leases: Sequence[Lease], *, was_lost: bool) -> None:
        if leases and was_lost:
            self.violate("S34", holder.node, "was given work after it was released as lost, and had not come back")

    def told(self, results: Sequence[Result]) -> None:
        for result in results:
            key = (result.task, result.item)
            if key in self._told:
                self.violate("S33", f"{result.task[:8]}.{result.item}", f"is told a second time: {result.outcome}")
            self._told.add(key)
            self._check_result(result)

    def ended(self, task: str) -> frozenset[int]:
        model = self._models.get(task)
        return frozenset(index for (_, index), item in model.items.items() if item.outcome) if model else frozenset()

    def read(self, task: str, due: frozenset[int], found: Sequence[Result]) -> None:
        self.world.coverage.reach("results read")
        for result in found:
            self._check_result(result)
        absent = due - {result.item for result in found}
        if absent and task in self._models:
            self.violate("S36", task[:8], f"the results of {sorted(absent)[:5]} are not there")

    def _check_result(self, result: Result) -> None:
        model = self._models.get(result.task)
        if model is None:
            return  # it was removed between the answer and now
        item, name = model.items[result.task, result.item], f"{result.task[:8]}.{result.item}"
        if item.outcome != result.outcome:
            self.violate("S33", name, f"is told to have ended {result.outcome}, and {_words(item)} is committed")
        elif result.outcome == SUCCEEDED and result.value != self._values.get((result.task, result.item)):
            self.violate("S38", name, f"is told to be {result.value!r}, which is not what was committed")


def _why_not(item: ModelItem, lease: LeaseRow) -> tuple[str, str] | None:
    """What of this lease no node may have, with the rule."""
    if not item.is_queued:
        return "S33", f"was given out while it is {_words(item)}"
    if lease.attempt != item.attempt + 1:
        return "S34", f"attempt {lease.attempt} follows attempt {item.attempt}"
    if lease.started is not item.is_once:
        return "S37", f"its lease {'is' if lease.started else 'is not'} its start marker"
    return None


def _words(item: ModelItem) -> str:
    if item.outcome:
        return f"ended {item.outcome}"
    state = f"held by {item.holder[:8]} as attempt {item.attempt}" if item.holder else f"waiting after {item.attempt}"
    return f"{state}, {item.counted} counted{', begun' if item.started and item.holder else ''}"


def _ends(end: EndRow) -> str:
    return f"{end.outcome or 'waits again'} with {end.counted} counted, attempt {end.attempt}"
