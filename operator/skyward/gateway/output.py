"""What user code wrote lately, in memory: bounded for each task and for all, the oldest pieces go first.

Whatever was let go is said: a reader finds a marker where the gap is.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from skyward_agent.wire.messages import Output

TOTAL_BYTES = 64 * 1024 * 1024
TASK_BYTES = 4 * 1024 * 1024
_PIECE_BYTES = 256
"""What keeping one piece costs beyond its data."""
_NODES_REMEMBERED = 4096

Callback = Callable[[Sequence[Output]], None]


def gap_marker(size: int) -> bytes:
    """The line that stands for output that was let go."""
    return f"[… {size} bytes of output dropped]\n".encode()


@dataclass(slots=True)
class _Shelf:
    """The pieces kept of one task, by arrival number."""

    arrivals: deque[int] = field(default_factory=deque)
    size: int = 0
    dropped: int = 0


class MemoryOutputLog:
    """Implements `contracts.OutputLog`. Not thread-safe: lives on the event loop."""

    def __init__(self, *, total_bytes: int = TOTAL_BYTES, task_bytes: int = TASK_BYTES) -> None:
        self._total_bytes = total_bytes
        self._task_bytes = task_bytes
        self._pieces: OrderedDict[int, Output] = OrderedDict()
        self._shelves: dict[str, _Shelf] = {}
        self._dropped_of_node: OrderedDict[str, int] = OrderedDict()
        self._size = 0
        self._arrival = 0
        self._callbacks: list[Callback] = []

    def append(self, outputs: Sequence[Output]) -> None:
        if not outputs:
            return
        for output in outputs:
            self._keep(output)
        for callback in tuple(self._callbacks):
            callback(outputs)

    def read(self, *, task: str | None = None, node: str | None = None, tail: int | None = None) -> Sequence[Output]:
        if task is not None:
            shelf = self._shelves.get(task, _Shelf())
            pieces = [self._pieces[arrival] for arrival in shelf.arrivals]
            dropped = shelf.dropped
            if node is not None:
                pieces = [piece for piece in pieces if piece.node == node]
        else:
            pieces = [piece for piece in self._pieces.values() if node is None or piece.node == node]
            dropped = self._dropped_of_node.get(node or "", 0)
        if dropped and pieces:
            first = pieces[0]
            pieces.insert(0, replace(first, sequence=max(0, first.sequence - 1), data=gap_marker(dropped)))
        return pieces if tail is None else last_lines(pieces, tail)

    def subscribe(self, callback: Callback) -> Callable[[], None]:
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback) if callback in self._callbacks else None

    def _keep(self, output: Output) -> None:
        data = output.data
        if len(data) > self._task_bytes // 2:
            # One huge piece must not push out everything else of its task: keep its end.
            kept = data[-(self._task_bytes // 2) :]
            output = replace(output, data=gap_marker(len(data) - len(kept)) + kept)
        self._arrival += 1
        shelf = self._shelves.setdefault(output.task, _Shelf())
        shelf.arrivals.append(self._arrival)
        self._pieces[self._arrival] = output
        cost = len(output.data) + _PIECE_BYTES
        shelf.size += cost
        self._size += cost
        while shelf.size > self._task_bytes:
            self._drop(shelf.arrivals[0])
        while self._size > self._total_bytes:
            self._drop(next(iter(self._pieces)))

    def _drop(self, arrival: int) -> None:
        piece = self._pieces.pop(arrival)
        shelf = self._shelves[piece.task]
        # The oldest of all is also the oldest of its task, so this is always the first of its shelf.
        shelf.arrivals.popleft()
        cost = len(piece.data) + _PIECE_BYTES
        shelf.size -= cost
        shelf.dropped += len(piece.data)
        self._size -= cost
        if not shelf.arrivals:
            del self._shelves[piece.task]
        self._dropped_of_node[piece.node] = self._dropped_of_node.get(piece.node, 0) + len(piece.data)
        self._dropped_of_node.move_to_end(piece.node)
        if len(self._dropped_of_node) > _NODES_REMEMBERED:
            self._dropped_of_node.popitem(last=False)


def last_lines(pieces: Sequence[Output], count: int) -> list[Output]:
    """The end of what these pieces say: its last `count` lines."""
    if count <= 0:
        return []
    kept: list[Output] = []
    # The newline that ends the whole text begins no further line.
    wanted = count + (1 if pieces and pieces[-1].data.endswith(b"\n") else 0)
    for piece in reversed(pieces):
        lines = piece.data.count(b"\n")
        if lines >= wanted:
            data = piece.data
            end = len(data)
            for _ in range(wanted):
                end = data.rindex(b"\n", 0, end)
            if data[end + 1 :]:
                kept.append(replace(piece, data=data[end + 1 :]))
            break
        wanted -= lines
        kept.append(piece)
    return kept[::-1]
