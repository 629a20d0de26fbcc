"""The journal: one line per event of a run, written by the script, read by the bootstrapper.

    skyward RUN STEP EVENT TEXT…

Anything else on the channel (a message of the day, a login script's chatter) is not a journal line.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Mark(StrEnum):
    RUN = "run"
    """A run began; the text is the recipe's hash."""
    BUSY = "busy"
    """Another run holds this node; this one did nothing and ended."""
    START = "start"
    """The text is the step's title."""
    OK = "ok"
    """The text is its seconds."""
    SKIP = "skip"
    """Done by an earlier run or not needed; the text is the seconds it took then."""
    FAIL = "fail"
    """The text is its seconds and exit status; 124 means its deadline passed."""
    TAIL = "tail"
    """One of the last lines of a failed step's output."""
    END = "end"
    """The run is over; the text is `ok` or `fail`."""


@dataclass(frozen=True, slots=True)
class Entry:
    run: str
    step: str
    """`-` for the run as a whole."""
    mark: Mark
    text: str

    @property
    def seconds(self) -> float:
        try:
            return float(self.text.split(" ")[0])
        except ValueError:
            return 0.0

    @property
    def exit_status(self) -> int:
        last = self.text.rsplit(" ", 1)[-1]
        return int(last) if last.isdecimal() else -1


def parse_line(line: str) -> Entry | None:
    """None for a line that is not the journal's."""
    parts = line.rstrip("\r\n").split(" ", 4)
    if len(parts) < 4 or parts[0] != "skyward" or parts[3] not in set(Mark):
        return None
    return Entry(run=parts[1], step=parts[2], mark=Mark(parts[3]), text=parts[4] if len(parts) > 4 else "")
