"""What remote functions print, written live to the caller's stdout and stderr, in whole lines.

Writing happens on a thread of its own, since a terminal may be slow; what waits for it is bounded, and a gap is said.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Sequence

from skyward_agent.wire.messages import Output

_WAITING_BYTES = 8 * 1024 * 1024
_LONGEST_LINE_BYTES = 64 * 1024
_FLUSH_S = 2.0

_Key = tuple[str, int, int, str]


class Console:
    """`write` and `end` may be called from any one thread; `flush` from any."""

    def __init__(self) -> None:
        self._waiting: deque[Output | tuple[str, int]] = deque()
        self._size = 0
        self._dropped = 0
        self._busy = False
        self._closed = False
        self._changed = threading.Condition()
        self._lines: dict[_Key, tuple[str, bytes]] = {}
        self._nodes: set[str] = set()
        self._thread: threading.Thread | None = None

    def write(self, outputs: Sequence[Output]) -> None:
        with self._changed:
            for output in outputs:
                if self._size > _WAITING_BYTES:
                    self._dropped += len(output.data)
                    continue
                self._waiting.append(output)
                self._size += len(output.data)
            self._begin()

    def end(self, task: str, item: int) -> None:
        """This item has ended: its unfinished line is finished."""
        with self._changed:
            if self._thread is not None:
                self._waiting.append((task, item))
                self._begin()

    def flush(self) -> None:
        """Wait until what came so far is written; not for ever, should the terminal be stuck."""
        if not self.is_behind:
            return
        with self._changed:
            self._changed.wait_for(lambda: not self.is_behind, _FLUSH_S)

    @property
    def is_behind(self) -> bool:
        """Something is not written yet."""
        return bool(self._waiting) or self._busy

    def close(self) -> None:
        self.flush()
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(_FLUSH_S)

    def _begin(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="skyward-console", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                batch, self._waiting = self._waiting, deque()
                dropped, self._dropped, self._size = self._dropped, 0, 0
                self._busy = True
            for piece in batch:
                if isinstance(piece, Output):
                    self._take(piece)
                else:
                    self._finish(piece)
            if dropped:
                self._print("stderr", f"[… {dropped} bytes of output dropped]\n")

    def _take(self, output: Output) -> None:
        self._nodes.add(output.node)
        key = (output.task, output.item, output.attempt, output.stream)
        text = self._lines.pop(key, (output.node, b""))[1] + output.data
        whole, newline, rest = text.rpartition(b"\n")
        if len(rest) > _LONGEST_LINE_BYTES:
            whole, newline, rest = text, b"", b""
        if whole or newline:
            self._print_lines(output.stream, output.node, whole + newline)
        if rest:
            self._lines[key] = (output.node, rest)

    def _finish(self, item: tuple[str, int]) -> None:
        for key in [key for key in self._lines if key[:2] == item]:
            node, rest = self._lines.pop(key)
            self._print_lines(key[3], node, rest + b"\n")

    def _print_lines(self, stream: str, node: str, data: bytes) -> None:
        text = data.decode("utf-8", "replace")
        if len(self._nodes) > 1:
            # Once output of more than one node was seen, every line says whose it is.
            text = "".join(f"[{node}] {line}" for line in text.splitlines(keepends=True))
        self._print(stream, text)

    def _print(self, stream: str, text: str) -> None:
        target = sys.stderr if stream == "stderr" else sys.stdout
        if target is None:  # a program without a console
            return
        try:
            target.write(text)
            target.flush()
        except (OSError, ValueError):
            # The caller closed it: the output is still in the operator's log of the task.
            return
