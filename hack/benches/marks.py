"""Moments of one call, noted where it passes: in the client and, by `traced_operator`, in the operator. The clock is the machine's,
so what several processes noted can be put in order."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from skyward_agent.wire import connection

Mark = tuple[int, str]


class Marks:
    """Nanoseconds and names, in order. Kept in memory: writing them down would take longer than what they measure."""

    def __init__(self, process: str) -> None:
        self._process = process
        self.noted: list[Mark] = []

    def note(self, name: str) -> None:
        self.noted.append((time.monotonic_ns(), f"{self._process} {name}"))

    def around(self, owner: Any, name: str, *, before: str = "", after: str = "") -> None:
        """Note when this function or method of `owner` is called, and when it has returned."""
        real: Callable[..., Any] = getattr(owner, name)

        @functools.wraps(real)
        def noted(*args: Any, **kwargs: Any) -> Any:
            if before:
                self.note(before)
            result = real(*args, **kwargs)
            if after:
                self.note(after)
            return result

        setattr(owner, name, noted)

    def of_frames(self) -> None:
        """Each message that this process reads and says, and when what it said was handed to the kernel."""
        wire: Any = connection
        decode, encode = wire.decode, wire.encode

        def read(frame: Any) -> Any:
            message = decode(frame)
            self.note(f"read {type(message).__name__}")
            return message

        def say(message: Any) -> Any:
            self.note(f"says {type(message).__name__}")
            return encode(message)

        wire.decode, wire.encode = read, say
        self.around(connection.FrameConnection, "_flush", after="sent")

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(self.noted))


def load(path: Path) -> list[Mark]:
    return [(at, name) for at, name in json.loads(path.read_text())]
