"""From a stream of bytes to whole frames, and back to few writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from skyward_agent.wire.frames import FrameError, frame_length

_PREFIX = 4
_JOINED_BYTES = 64 * 1024
"""Parts up to this size are cheaper to copy than to write one by one."""


class FrameSplitter:
    """Holds the unfinished end of one connection's stream. Not more than one frame and one read is ever kept."""

    def __init__(self, limit_bytes: int | None = None) -> None:
        self._held = bytearray()
        self._limit_bytes = limit_bytes

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[bytes]:
        """The frames that `data` completes, without their length prefix. Raises FrameError for an impossible length.

        Consume the iterator to its end before feeding again.
        """
        self._held += data
        start = 0
        try:
            while len(self._held) - start >= _PREFIX:
                length = frame_length(bytes(self._held[start : start + _PREFIX]))
                if self._limit_bytes is not None and length > self._limit_bytes:
                    raise FrameError(
                        f"a frame of {length} bytes is over this connection's limit of {self._limit_bytes}"
                    )
                end = start + _PREFIX + length
                if len(self._held) < end:
                    break
                frame = bytes(memoryview(self._held)[start + _PREFIX : end])
                start = end
                yield frame
        finally:
            del self._held[:start]


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
