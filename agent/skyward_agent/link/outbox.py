"""What waits to be said to the gateway: merged per kind, so that one busy moment makes few frames, and bounded.

An attempt's output never comes after its report, and a start never after it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import replace

from skyward_agent.wire.messages import (
    AttemptId,
    Heartbeat,
    NeedFunctions,
    Output,
    Outputs,
    Ping,
    Report,
    Reports,
    Returned,
    Started,
    Want,
    Yield,
    Yields,
)

OUTPUT_BYTES = 4 * 1024 * 1024
"""Output that waits for a slow or absent gateway; when more comes, the oldest goes."""
_BATCH_BYTES = 4 * 1024 * 1024
_BATCH_COUNT = 512


def gap_marker(count: int) -> bytes:
    """The line that stands in output where some of it was thrown away."""
    return f"\n[… {count} bytes dropped]\n".encode()


Outgoing = Heartbeat | Ping | Started | Outputs | Yields | Reports | Returned | NeedFunctions | Want


class Outbox:
    def __init__(self) -> None:
        self._signs: deque[Heartbeat | Ping] = deque(maxlen=2)
        self._started: dict[AttemptId, None] = {}
        self._outputs: deque[Output] = deque()
        self._output_bytes = 0
        self._gaps: dict[tuple[str, int, int, str], tuple[Output, int]] = {}
        """Per stream of an attempt: the last output that was thrown away, and how many bytes with it."""
        self._yields: list[Yield] = []
        self._reports: dict[AttemptId, Report] = {}
        self._needed: dict[str, None] = {}
        self._returned: list[Returned] = []
        self._want: Want | None = None

    @property
    def is_empty(self) -> bool:
        said = (
            self._signs
            or self._started
            or self._outputs
            or self._gaps
            or self._yields
            or self._reports
            or self._needed
            or self._returned
        )
        return not said and self._want is None

    def put(self, message: Heartbeat | Ping | Started | Want | NeedFunctions | Returned) -> None:
        match message:
            case Heartbeat() | Ping():
                self._signs.append(message)
            case Started(attempts):
                self._started.update(dict.fromkeys(attempts))
            case NeedFunctions(digests):
                self._needed.update(dict.fromkeys(digests))
            case Returned():
                self._returned.append(message)
            case Want():
                self._want = message

    def put_yield(self, made: Yield) -> None:
        """After the output that came before it, and before the report of its attempt."""
        self._yields.append(made)

    def put_report(self, report: Report) -> None:
        self._reports[report.id] = report

    def put_outputs(self, outputs: Iterable[Output]) -> None:
        for output in outputs:
            self._outputs.append(output)
            self._output_bytes += len(output.data)
        while self._output_bytes > OUTPUT_BYTES:
            self._drop(self._outputs.popleft())

    def forget_connection(self) -> None:
        """The connection is gone: all but output is said anew, from the agent's state, on the next one."""
        self._signs.clear()
        self._started.clear()
        self._yields.clear()
        self._reports.clear()
        self._needed.clear()
        self._returned.clear()
        self._want = None

    def take(self) -> list[Outgoing]:
        """Messages to send now, in order: not much more than a batch. Empty when there is nothing."""
        taken: list[Outgoing] = [*self._signs]
        self._signs.clear()
        if self._started:
            taken.append(Started(tuple(self._started)))
            self._started.clear()
        if self._outputs or self._gaps:
            taken.append(Outputs(self._next_outputs()))
        if self._yields and not self._outputs:
            taken.append(Yields(tuple(self._yields)))
            self._yields.clear()
        if self._reports and not self._outputs:
            taken.append(Reports(self._next_reports()))
        if self._needed:
            taken.append(NeedFunctions(tuple(self._needed)))
            self._needed.clear()
        taken += self._returned
        self._returned.clear()
        if self._want is not None:
            taken.append(self._want)
            self._want = None
        return taken

    def _next_outputs(self) -> tuple[Output, ...]:
        taken = [replace(last, data=gap_marker(count)) for last, count in self._gaps.values()]
        self._gaps.clear()
        size = 0
        while self._outputs and size < _BATCH_BYTES:
            output = self._outputs.popleft()
            size += len(output.data)
            taken.append(output)
        self._output_bytes -= size
        return tuple(taken)

    def _drop(self, output: Output) -> None:
        self._output_bytes -= len(output.data)
        key = (output.task, output.item, output.attempt, output.stream)
        _, count = self._gaps.get(key, (output, 0))
        self._gaps[key] = (output, count + len(output.data))

    def _next_reports(self) -> tuple[Report, ...]:
        taken: list[Report] = []
        size = 0
        for attempt in tuple(self._reports):
            size += len(self._reports[attempt].value)
            if taken and (size > _BATCH_BYTES or len(taken) >= _BATCH_COUNT):
                break
            taken.append(self._reports.pop(attempt))
        return tuple(taken)
