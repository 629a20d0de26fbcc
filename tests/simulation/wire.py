"""Connections between agents and gateways: whole messages, in order, late or held up, and broken when either side dies.

The gateway's end is its own `FrameConnection`; only the bytes in between are left out.
"""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import Callable
from typing import Any

from skyward_agent.wire.connection import FrameConnection
from tests.simulation.loop import SimLoop
from tests.simulation.process import Process

_LATENCY_S = 0.004
_RESET_S = 0.3
"""How soon a peer learns that the other process is gone."""


class _Direction:
    """What one side said and the other has not heard yet."""

    def __init__(self, loop: SimLoop, context: contextvars.Context, hear: Callable[[Any], None]) -> None:
        self._loop = loop
        self._context = context
        self._hear = hear
        self._under_way: deque[Any] = deque()
        self._is_due = False
        self.is_cut = False

    def send(self, message: Any) -> None:
        self._under_way.append(message)
        self._deliver_soon()

    def _deliver_soon(self) -> None:
        if not self._is_due and not self.is_cut:
            self._is_due = True
            self._loop.call_later(_LATENCY_S, self._deliver, context=self._context)

    def _deliver(self) -> None:
        self._is_due = False
        while self._under_way and not self.is_cut:
            self._hear(self._under_way.popleft())

    def cut(self, is_cut: bool) -> None:
        self.is_cut = is_cut
        if self._under_way:
            self._deliver_soon()


class _Transport:
    """What a `FrameConnection` asks of its transport."""

    def __init__(self, hang_up: Callable[[], None]) -> None:
        self._hang_up = hang_up
        self._is_closing = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        return None

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            self._hang_up()

    abort = close

    def pause_reading(self) -> None:
        return None

    resume_reading = pause_reading


class Connection:
    """Seen from the agent's side."""

    def __init__(
        self,
        loop: SimLoop,
        process: Process,
        accept: Callable[[], FrameConnection],
        hear: Callable[[Any], None],
        lost: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._lost = lost
        self._world = contextvars.copy_context()
        self._theirs = process.new_context()
        self.process = process
        self.is_open = True
        self.heard_at = loop.time()
        self._up = _Direction(loop, self._theirs, self._gateway_hears)
        self._down = _Direction(loop, self._world, self._agent_hears)
        self._hear = hear
        self._gateway = self._theirs.run(accept)
        self._gateway.send = self._gateway_says  # type: ignore[method-assign]
        self._gateway.send_later = self._gateway_says  # type: ignore[method-assign]
        self._theirs.run(self._gateway.connection_made, _Transport(self._gateway_hung_up))  # type: ignore[arg-type]

    def send(self, message: Any) -> None:
        if self.is_open:
            self._up.send(message)

    def close(self) -> None:
        """The agent hangs up, or is no more."""
        if self.is_open:
            self.is_open = False
            self._loop.call_later(_RESET_S, self._gateway_lost, context=self._theirs)

    def cut(self, is_cut: bool) -> None:
        """Nothing gets through, and nobody is told."""
        self._up.cut(is_cut)
        self._down.cut(is_cut)

    @property
    def is_cut(self) -> bool:
        return self._up.is_cut

    # --- what the two ends do ------------------------------------------------------------------------------------------

    def _gateway_says(self, message: Any) -> None:
        if not self._gateway.is_closed:
            self._down.send(message)

    def _gateway_hears(self, message: Any) -> None:
        connection = self._gateway
        if not connection.is_closed:
            connection._alive_at = self._loop.time()
            connection.on_message(message)

    def _agent_hears(self, message: Any) -> None:
        if message is _BYE:
            self._agent_lost()
        elif self.is_open:
            self.heard_at = self._loop.time()
            self._hear(message)

    def _gateway_hung_up(self) -> None:
        """What it said before still arrives."""
        self._loop.call_soon(self._gateway_gone, context=self._theirs)
        self._down.send(_BYE)

    def _gateway_gone(self) -> None:
        self._gateway.connection_lost(None)

    def _gateway_lost(self) -> None:
        if self._up.is_cut:
            self._loop.call_later(_RESET_S, self._gateway_lost, context=self._theirs)
        elif not self._gateway.closed.is_set():
            self._gateway.connection_lost(ConnectionResetError("the agent is gone"))

    def peer_died(self) -> None:
        """The operator's process is gone."""
        self._loop.call_later(_RESET_S, self._down.send, _BYE, context=self._world)

    def _agent_lost(self) -> None:
        if self.is_open:
            self.is_open = False
            self._lost()


_BYE = object()
