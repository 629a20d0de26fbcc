"""What waits to be said to the gateway: merged per kind, so that one busy moment makes few frames, and bounded.

An attempt's output never comes after its report, and a start never after it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from skyward_agent.wire.messages import (
    AttemptId,
    Heartbeat,
    NeedFunctions,
    Output,
    Outputs,
    Ping,
    Report,
    Reports,
    Started,
    Want,
)

OUTPUT_BYTES = 4 * 1024 * 1024
"""Output that waits for a slow or absent gateway; when more comes, the oldest goes."""
_BATCH_BYTES = 4 * 1024 * 1024
_BATCH_COUNT = 512

Outgoing = Heartbeat | Ping | Started | Outputs | Reports | NeedFunctions | Want


class Outbox:
    def __init__(self) -> None:
        self._signs: deque[Heartbeat | Ping] = deque(maxlen=2)
        self._started: dict[AttemptId, None] = {}
        self._outputs: deque[Output] = deque()
        self._output_bytes = 0
        self._reports: dict[AttemptId, Report] = {}
        self._needed: dict[str, None] = {}
        self._want: Want | None = None

    def put(self, message: Heartbeat | Ping | Started | Want | NeedFunctions) -> None:
        match message:
            case Heartbeat() | Ping():
                self._signs.append(message)
            case Started(attempts):
                self._started.update(dict.fromkeys(attempts))
            case NeedFunctions(digests):
                self._needed.update(dict.fromkeys(digests))
            case Want():
                self._want = message

    def put_report(self, report: Report) -> None:
        self._reports[report.id] = report

    def put_outputs(self, outputs: Iterable[Output]) -> None:
        for output in outputs:
            self._outputs.append(output)
            self._output_bytes += len(output.data)
        while self._output_bytes > OUTPUT_BYTES:
            self._output_bytes -= len(self._outputs.popleft().data)

    def forget_connection(self) -> None:
        """The connection is gone: all but output is said anew, from the agent's state, on the next one."""
        self._signs.clear()
        self._started.clear()
        self._reports.clear()
        self._needed.clear()
        self._want = None

    def next(self) -> Outgoing | None:
        """The next message to send; None when there is nothing."""
        if self._signs:
            return self._signs.popleft()
        if self._started:
            started, self._started = Started(tuple(self._started)), {}
            return started
        if self._outputs:
            return Outputs(self._next_outputs())
        if self._reports:
            return Reports(self._next_reports())
        if self._needed:
            needed, self._needed = NeedFunctions(tuple(self._needed)), {}
            return needed
        want, self._want = self._want, None
        return want

    def _next_outputs(self) -> tuple[Output, ...]:
        taken: list[Output] = []
        size = 0
        while self._outputs and size < _BATCH_BYTES:
            output = self._outputs.popleft()
            size += len(output.data)
            taken.append(output)
        self._output_bytes -= size
        return tuple(taken)

    def _next_reports(self) -> tuple[Report, ...]:
        taken: list[Report] = []
        size = 0
        for attempt in tuple(self._reports):
            size += len(self._reports[attempt].value)
            if taken and (size > _BATCH_BYTES or len(taken) >= _BATCH_COUNT):
                break
            taken.append(self._reports.pop(attempt))
        return tuple(taken)
