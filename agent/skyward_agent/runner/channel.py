"""Between the agent and one child: a stream both ways, and packets towards the child, one for each attempt.

The child takes a packet when it is free to begin. The agent holds the child's end of the packets as well, so that what
the child has not taken can be taken back: the kernel gives each packet to one of the two. What is too large for a packet
goes by the stream, and a mark in its place by packet.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from skyward_agent.runner.messages import Room
from skyward_agent.wire.frames import decode, encode
from skyward_agent.wire.stream import FrameSplitter, joined

PACKET_BYTES = 48 * 1024
ON_THE_STREAM = b"\0"
"""The packet that stands for a frame on the stream."""
_PREFIX = 4
_READ_BYTES = 256 * 1024


class Channel:
    """The agent's side. `heard` is called on the event loop when there is something to hear, or the child closed its end."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._stream, self._childs_stream = socket.socketpair()
        self._packets, self._childs_packets = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._stream.setblocking(False)
        self._splitter = FrameSplitter()
        self._unsent: deque[memoryview] = deque()
        self._heard: Callable[[], None] | None = None
        self._is_listening = False

    def child_ends(self) -> tuple[int, int]:
        """Descriptors that the child inherits: stream, packets."""
        return self._childs_stream.fileno(), self._childs_packets.fileno()

    def started(self, heard: Callable[[], None]) -> None:
        """The child has its ends."""
        self._childs_stream.close()
        self._heard = heard
        self.listen()

    def close(self) -> None:
        self.deafen()
        self._loop.remove_writer(self._stream)
        for end in (self._stream, self._childs_stream, self._packets, self._childs_packets):
            end.close()

    # --- listening -----------------------------------------------------------------------------------------------

    def listen(self) -> None:
        if not self._is_listening and self._heard is not None and self._stream.fileno() >= 0:
            self._is_listening = True
            self._loop.add_reader(self._stream, self._heard)

    def deafen(self) -> None:
        """What the child says is not noticed any more, until `listen`; `hear` gives it all the same."""
        if self._is_listening:
            self._is_listening = False
            self._loop.remove_reader(self._stream)

    def hear(self) -> Iterator[Any]:
        """What the child has said since. Raises EOFError when it has closed its end, FrameError for what it may not say."""
        while True:
            try:
                data = self._stream.recv(_READ_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                raise EOFError
            for frame in self._splitter.feed(data):
                yield decode(frame)
            if len(data) < _READ_BYTES // 4:
                return  # that was all: should more have come by now, it is noticed

    # --- saying --------------------------------------------------------------------------------------------------

    def give(self, packet: bytes) -> bool:
        """False when the child has as much as there is room for."""
        try:
            self._packets.send(packet, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return False
        except OSError:
            pass  # user code closed the child's end: the child ends, and tells by that
        return True

    def take_back(self) -> int:
        """How many packets the child had not taken. Now it never will."""
        count = 0
        while True:
            try:
                packet = self._childs_packets.recv(1, socket.MSG_DONTWAIT)
            except OSError:
                packet = b""
            if not packet:
                return count
            count += 1

    def say(self, message: Any) -> None:
        self.say_parts(encode(message))

    def say_parts(self, parts: Iterable[bytes]) -> None:
        """A message that is encoded already."""
        self._unsent.extend(memoryview(piece) for piece in joined(parts))
        self._send()

    def _send(self) -> None:
        unsent = self._unsent
        try:
            while unsent:
                sent = self._stream.send(unsent[0], socket.MSG_NOSIGNAL)
                if sent == len(unsent[0]):
                    unsent.popleft()
                else:
                    unsent[0] = unsent[0][sent:]
        except BlockingIOError:
            self._loop.add_writer(self._stream, self._send)
            return
        except OSError:
            unsent.clear()  # the child is gone or closed its end; its exit tells
        self._loop.remove_writer(self._stream)


class ChildChannel:
    """The child's side: blocking."""

    def __init__(self, stream: int, packets: int) -> None:
        self._stream = socket.socket(fileno=stream)
        self._packets = socket.socket(fileno=packets)
        self._stream.setblocking(True)
        self._packets.setblocking(True)

    def next(self) -> Any:
        """The next attempt. Raises EOFError when the agent is gone, OSError when somebody closed the channel here."""
        packet = self._packets.recv(PACKET_BYTES + _PREFIX)
        if not packet:
            raise EOFError
        return self.hear() if packet == ON_THE_STREAM else decode(memoryview(packet)[_PREFIX:])

    def hear(self, *, rooms: bool = False) -> Any:
        """The next message on the stream; errors as of `next`. A Room is only for who waits for one."""
        while True:
            message = decode(self._read(int.from_bytes(self._read(_PREFIX), "big")))
            if rooms or not isinstance(message, Room):
                return message

    def say(self, message: Any) -> None:
        for piece in joined(encode(message)):
            self._stream.sendall(piece)

    def close(self) -> None:
        self._stream.close()
        self._packets.close()

    def _read(self, count: int) -> memoryview:
        data = memoryview(bytearray(count))
        filled = 0
        while filled < count:
            read = self._stream.recv_into(data[filled:])
            if not read:
                raise EOFError
            filled += read
        return data
