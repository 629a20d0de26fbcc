"""From journal lines to what a node's status says."""

from __future__ import annotations

import re
from collections.abc import Iterable

from skyward.api import Phase
from skyward.errors import StepFailed
from skyward.recipes import Entry, Mark, parse_line

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")
_DEADLINE_STATUS = 124


class Report:
    """What is known of one run, line by line. Feeding lines again changes nothing, so a journal may be read over."""

    def __init__(self) -> None:
        self.phases: dict[str, float] = {}
        self.step = ""
        self.title = ""
        self.run = ""
        """The run that the newest lines belong to."""
        self.is_busy = False
        self.is_over = False
        self._failure: Entry | None = None
        self._tail: list[str] = []

    def feed(self, line: str) -> bool:
        """Returns whether the line said anything."""
        entry = parse_line(line)
        if entry is None:
            return False
        if entry.mark is Mark.BUSY:
            self.is_busy = True
        else:
            self._apply(entry)
        return True

    def read_over(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.feed(line)

    def begin(self) -> None:
        """A run is about to be launched: what an earlier one ended with does not count for it."""
        self.is_busy = self.is_over = False
        self._failure = None
        self._tail = []

    def _apply(self, entry: Entry) -> None:
        self.run = entry.run
        match entry.mark:
            case Mark.RUN:
                self.begin()
            case Mark.START:
                self.step, self.title = entry.step, entry.text
            case Mark.OK | Mark.SKIP:
                self.step = entry.step
                self.phases[entry.step] = entry.seconds
            case Mark.FAIL:
                self.step = entry.step
                self.phases[entry.step] = entry.seconds
                self._failure = entry
            case Mark.TAIL:
                self._tail.append(_ESCAPES.sub("", entry.text))
            case Mark.END:
                self.is_over = True
            case Mark.BUSY:
                pass

    def as_phases(self) -> tuple[Phase, ...]:
        return tuple(Phase(name=name, seconds=round(seconds, 3)) for name, seconds in self.phases.items())

    def failure(self) -> StepFailed | None:
        """Why the run that is over failed, or None when it did not."""
        if self._failure is None:
            return None
        entry = self._failure
        if entry.exit_status == _DEADLINE_STATUS:
            how = f"was not done within its deadline of {entry.seconds:.0f} s"
        else:
            how = f"ended with exit status {entry.exit_status}"
        what = f'"{self.title}"' if self.title else f"step {entry.step}"
        return StepFailed(f"{what} {how}", entry.step, "\n".join(self._tail))
