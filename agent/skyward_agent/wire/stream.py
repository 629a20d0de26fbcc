"""From a stream of bytes to whole frames, and back to few writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from skyward_agent.wire.frames import FrameError, frame_length

_PREFIX = 4
_JOINED_BYTES = 64 * 1024
"""Parts up to this size are cheaper to copy than to write one by one."""


class FrameSplitter:
    """Holds the unfinished end of one connection's stream. Not more than one frame and one read is ever kept; a large frame
    is copied once, to its place."""

    def __init__(self, limit_bytes: int | None = None) -> None:
        self._held = bytearray()
        self._large: memoryview | None = None
        self._filled = 0
        self._limit_bytes = limit_bytes

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[bytes | memoryview]:
        """The frames that `data` completes, without their length prefix. Raises FrameError for an impossible length.

        Consume the iterator to its end before feeding again.
        """
        view = memoryview(data)
        if self._large is not None:
            view = view[self._fill(self._large, view) :]
            if self._filled < len(self._large):
                return
            frame, self._large = self._large, None
            yield frame
        self._held += view
        start = 0
        try:
            while len(self._held) - start >= _PREFIX:
                length = self._checked(frame_length(bytes(self._held[start : start + _PREFIX])))
                body = start + _PREFIX
                if len(self._held) < body + length:
                    if length > _JOINED_BYTES:
                        self._large, self._filled = memoryview(bytearray(length)), 0
                        self._fill(self._large, memoryview(self._held)[body:])
                        start = len(self._held)
                    break
                start = body + length
                yield bytes(memoryview(self._held)[body:start])
        finally:
            del self._held[:start]

    def _fill(self, frame: memoryview, data: memoryview) -> int:
        """How many of these bytes belong to the frame."""
        count = min(len(frame) - self._filled, len(data))
        frame[self._filled : self._filled + count] = data[:count]
        self._filled += count
        return count

    def _checked(self, length: int) -> int:
        if self._limit_bytes is not None and length > self._limit_bytes:
            raise FrameError(f"a frame of {length} bytes is over this connection's limit of {self._limit_bytes}")
        return length


def joined(parts: Iterable[bytes]) -> list[bytes]:
    """The same bytes in few pieces: small neighbours together, large ones as they are."""
    pieces: list[bytes] = []
    small: list[bytes] = []
    for part in parts:
        if len(part) < _JOINED_BYTES:
            small.append(part)
            continue
        if small:
            pieces.append(b"".join(small))
            small = []
        pieces.append(part)
    if small:
        pieces.append(b"".join(small))
    return pieces
