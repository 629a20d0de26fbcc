"""Output for a client that reads slowly: kept up to a bound, and beyond it a gap that is said."""

from __future__ import annotations

from dataclasses import replace

from skyward.gateway.output import gap_marker
from skyward_agent.wire.messages import Output

OUTPUT_BYTES = 1024 * 1024
"""What is over is dropped."""

_Key = tuple[str, int, int, str]


class KeptOutput:
    def __init__(self) -> None:
        self._outputs: list[Output] = []
        self._size = 0
        self._dropped: dict[_Key, tuple[Output, int]] = {}

    def __bool__(self) -> bool:
        return bool(self._outputs)

    def keep(self, output: Output) -> None:
        if self._size + len(output.data) <= OUTPUT_BYTES:
            self._outputs.append(output)
            self._size += len(output.data)
            return
        key = (output.task, output.item, output.attempt, output.stream)
        _, count = self._dropped.get(key, (output, 0))
        self._dropped[key] = (output, count + len(output.data))

    def take(self) -> tuple[Output, ...]:
        """All of it, with a mark in the place of each gap."""
        gaps = [replace(last, data=gap_marker(count)) for last, count in self._dropped.values()]
        outputs = (*self._outputs, *gaps)
        self._outputs, self._size = [], 0
        self._dropped.clear()
        return outputs
