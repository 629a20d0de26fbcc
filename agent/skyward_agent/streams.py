"""Values that were yielded and not yet taken: kept, so that none is lost with a connection, and as few as there is credit for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from skyward_agent.wire.messages import AttemptId, Demand, Yield

Grant = Callable[[AttemptId, int, int], None]
Keep = Callable[[AttemptId, bytes], None]
Release = Callable[[tuple[AttemptId, ...]], None]


@dataclass(slots=True)
class _Stream:
    attempt: AttemptId
    received: int = 0
    untaken: dict[int, Yield] = field(default_factory=dict)
    """By number. The last one stays although it was taken: it tells a new connection that this stream lives."""


class Streams:
    """`say` passes values on while there is a connection; `keep` and `release` hold the blobs that they name."""

    def __init__(self, say: Callable[[Yield], None], grant: Grant, keep: Keep, release: Release) -> None:
        self._say = say
        self._grant = grant
        self._keep = keep
        self._release = release
        self._streams: dict[tuple[str, int], _Stream] = {}

    def yielded(self, attempt: AttemptId, number: int, value: bytes) -> None:
        stream = self._streams.get((attempt.task, attempt.item))
        if stream is None or stream.attempt != attempt:
            stream = self._streams[attempt.task, attempt.item] = _Stream(attempt)
        made = Yield(attempt.task, attempt.item, attempt.attempt, number, value)
        for taken in [old for old in stream.untaken if old < stream.received]:
            self._forget(stream, taken)
        stream.untaken[number] = made
        self._keep(_named(attempt, number), value)
        self._say(made)

    def demanded(self, demand: Demand) -> None:
        stream = self._streams.get((demand.task, demand.item))
        if stream is None:
            return
        stream.received = max(stream.received, demand.received)
        last = max(stream.untaken, default=0)
        for number in [number for number in stream.untaken if number < min(stream.received, last)]:
            self._forget(stream, number)
        self._grant(stream.attempt, demand.received, demand.until)
        if demand.again:
            self._say_again(stream)

    def connected(self) -> None:
        for stream in self._streams.values():
            self._say_again(stream)

    def ended(self, attempt: AttemptId) -> None:
        """It ended, one way or the other."""
        stream = self._streams.get((attempt.task, attempt.item))
        if stream is not None and stream.attempt == attempt:
            for number in tuple(stream.untaken):
                self._forget(stream, number)
            del self._streams[attempt.task, attempt.item]

    def _say_again(self, stream: _Stream) -> None:
        for made in stream.untaken.values():
            self._say(made)

    def _forget(self, stream: _Stream, number: int) -> None:
        del stream.untaken[number]
        self._release((_named(stream.attempt, number),))


def _named(attempt: AttemptId, number: int) -> AttemptId:
    """A name for one value, to hold its blobs by."""
    return AttemptId(attempt.task, attempt.item, attempt.attempt, f"{attempt.secret}/{number}")
