"""What user code writes, on its way to whoever reads it: in order, soon, and never more than a bounded amount."""

from __future__ import annotations

from collections import deque

from skyward_agent.wire.messages import AttemptId, Output

PENDING_BYTES = 512 * 1024
"""Kept per attempt between two flushes; when more comes, the oldest goes."""
PIECE_BYTES = 64 * 1024
_TAIL_BYTES = 2048


class OutputBuffer:
    """One attempt's output that was not sent yet."""

    def __init__(self, attempt: AttemptId, *, wanted: bool) -> None:
        self._attempt = attempt
        self._wanted = wanted
        self._pieces: deque[tuple[str, bytes]] = deque()
        self._pending = 0
        self._dropped: dict[str, int] = {}
        self._sequence = 0
        self._mid_line = False
        self._tail = b""

    def add(self, stream: str, data: bytes) -> None:
        self._tail = (self._tail + data)[-_TAIL_BYTES:]
        if not self._wanted:
            return
        self._pieces.append((stream, data))
        self._pending += len(data)
        while self._pending > PENDING_BYTES:
            old_stream, old = self._pieces.popleft()
            self._pending -= len(old)
            self._dropped[old_stream] = self._dropped.get(old_stream, 0) + len(old)

    def take(self) -> list[Output]:
        """What is to be sent now, in order: a marker line in the place of what was dropped, then the rest."""
        if not self._pieces and not self._dropped:
            return []
        taken = []
        for stream, count in self._dropped.items():
            self._sequence += 1  # the gap
            marker = f"[… {count} bytes dropped]\n"
            taken.append(self._output(stream, (("\n" + marker) if self._mid_line else marker).encode()))
        for stream, data in self._merged():
            taken.append(self._output(stream, data))
        self._dropped.clear()
        self._pieces.clear()
        self._pending = 0
        return taken

    @property
    def tail(self) -> str:
        """The last lines, for those who ask why it died."""
        return self._tail.decode(errors="replace").strip()

    def _merged(self) -> list[tuple[str, bytes]]:
        merged: list[tuple[str, list[bytes]]] = []
        size = 0
        for stream, data in self._pieces:
            if merged and merged[-1][0] == stream and size + len(data) <= PIECE_BYTES:
                merged[-1][1].append(data)
                size += len(data)
            else:
                merged.append((stream, [data]))
                size = len(data)
        return [(stream, b"".join(parts)) for stream, parts in merged]

    def _output(self, stream: str, data: bytes) -> Output:
        self._mid_line = not data.endswith(b"\n")
        attempt = self._attempt
        output = Output(attempt.task, attempt.item, attempt.attempt, self._sequence, stream, data)
        self._sequence += 1
        return output
