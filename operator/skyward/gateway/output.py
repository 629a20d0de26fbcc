"""What user code wrote lately, in memory: bounded for each task and for all, the oldest pieces go first.

Whatever was let go is seen by the offsets of what is left: a reader finds where the gap is, and how large.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from skyward.contracts import LogPiece
from skyward_agent.wire.messages import Output

TOTAL_BYTES = 64 * 1024 * 1024
TASK_BYTES = 4 * 1024 * 1024
_PIECE_BYTES = 256
"""What keeping one piece costs beyond its data."""
_REMEMBERED = 10_000
"""Tasks and nodes of which nothing is left, but how much there was: their readers may come again."""

Callback = Callable[[Sequence[Output]], None]


def gap_marker(size: int) -> bytes:
    """The line that stands for output that was let go."""
    return f"[… {size} bytes of output dropped]\n".encode()


@dataclass(slots=True)
class _Place:
    """Where a piece begins in a log."""

    offset: int
    line: int


@dataclass(slots=True)
class _Kept:
    output: Output
    at: float
    in_task: _Place
    in_node: _Place


@dataclass(slots=True)
class _Shelf:
    """One log: what is kept of it by arrival number, some of which may be gone already, and how much was ever written."""

    arrivals: deque[int] = field(default_factory=deque)
    live: int = 0
    size: int = 0
    written: int = 0
    lines: int = 0

    def put(self, arrival: int, output: Output, cut: int) -> _Place:
        """`cut` bytes were let go before the data of this piece."""
        place = _Place(self.written + cut, self.lines)
        self.arrivals.append(arrival)
        self.live += 1
        self.size += len(output.data) + _PIECE_BYTES
        self.written = place.offset + len(output.data)
        self.lines += output.data.count(b"\n")
        return place

    def drop(self, output: Output, kept: OrderedDict[int, _Kept]) -> None:
        """One of its pieces is no longer kept; not always the oldest, where another log's bound let it go."""
        self.live -= 1
        self.size -= len(output.data) + _PIECE_BYTES
        while self.arrivals and self.arrivals[0] not in kept:
            self.arrivals.popleft()
        if len(self.arrivals) > 2 * self.live + 64:
            self.arrivals = deque(arrival for arrival in self.arrivals if arrival in kept)


class MemoryOutputLog:
    """Implements `contracts.OutputLog`. Not thread-safe: lives on the event loop."""

    def __init__(
        self,
        *,
        total_bytes: int = TOTAL_BYTES,
        task_bytes: int = TASK_BYTES,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._total_bytes = total_bytes
        self._task_bytes = task_bytes
        self._now = now
        self._kept: OrderedDict[int, _Kept] = OrderedDict()
        self._tasks: OrderedDict[str, _Shelf] = OrderedDict()
        self._nodes: OrderedDict[str, _Shelf] = OrderedDict()
        self._size = 0
        self._arrival = 0
        self._callbacks: list[Callback] = []

    def append(self, outputs: Sequence[Output]) -> None:
        if not outputs:
            return
        at = self._now()
        for output in outputs:
            self._keep(output, at)
        for callback in tuple(self._callbacks):
            callback(outputs)

    def pieces(self, *, task: str = "", node: str = "", start: int = 0) -> Sequence[LogPiece]:
        shelf = self._tasks.get(task) if task else self._nodes.get(node)
        found: list[LogPiece] = []
        for arrival in reversed(shelf.arrivals) if shelf is not None else ():
            kept = self._kept.get(arrival)
            if kept is None:
                continue
            place = kept.in_task if task else kept.in_node
            piece = LogPiece(place.offset, place.line, kept.at, kept.output)
            if piece.end <= start:
                break
            found.append(piece)
        if found and found[-1].offset < start:
            found[-1] = _from(found[-1], start)
        return found[::-1]

    def subscribe(self, callback: Callback) -> Callable[[], None]:
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback) if callback in self._callbacks else None

    def _keep(self, output: Output, at: float) -> None:
        # One huge piece must not push out everything else of its task: keep its end.
        cut = max(0, len(output.data) - self._task_bytes // 2)
        if cut:
            output = replace(output, data=output.data[cut:])
        self._arrival += 1
        task, node = _shelf(self._tasks, output.task), _shelf(self._nodes, output.node)
        in_task, in_node = task.put(self._arrival, output, cut), node.put(self._arrival, output, cut)
        self._kept[self._arrival] = _Kept(output, at, in_task, in_node)
        self._size += len(output.data) + _PIECE_BYTES
        while task.size > self._task_bytes:
            self._drop(task.arrivals[0])
        while self._size > self._total_bytes:
            self._drop(next(iter(self._kept)))

    def _drop(self, arrival: int) -> None:
        output = self._kept.pop(arrival).output
        self._size -= len(output.data) + _PIECE_BYTES
        self._tasks[output.task].drop(output, self._kept)
        self._nodes[output.node].drop(output, self._kept)


def _shelf(shelves: OrderedDict[str, _Shelf], name: str) -> _Shelf:
    shelf = shelves.get(name)
    if shelf is None:
        shelf = shelves[name] = _Shelf()
        while len(shelves) > _REMEMBERED and not next(iter(shelves.values())).live:
            shelves.popitem(last=False)
    shelves.move_to_end(name)
    return shelf


def _from(piece: LogPiece, start: int) -> LogPiece:
    before, data = piece.output.data[: start - piece.offset], piece.output.data[start - piece.offset :]
    return LogPiece(start, piece.line + before.count(b"\n"), piece.at, replace(piece.output, data=data))
