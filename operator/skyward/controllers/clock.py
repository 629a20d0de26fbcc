"""The watch over the wall clock. A jump is told, and not believed before the clock has run evenly for a while; then
everything that waits for time to pass begins to wait anew.

What is decided in between comes from the steady clock, which goes on as if nothing had happened. A clock that was set
back is never followed by a jump: it is approached slowly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import structlog

from skyward.api import Node, Reason, Source, SourceCondition, Status, drop_condition, find, set_condition, to_time
from skyward.contracts import Store, Transaction
from skyward.controllers.launches import LaunchBook
from skyward.errors import SkyError
from skyward.facts import Launch
from skyward.kit.recorder import record_event
from skyward.kit.steady import LONGEST_STEP_S, TOLERANCE_S, SteadyClock
from skyward.planner import CREATE_WINDOW_S

_log = structlog.get_logger()
LOOK_S = 10.0
_EVEN_S = 1.0
"""Between two looks an even clock strays less than this from the monotonic one."""
_EVEN_LOOKS = 6


class ClockGuard:
    """A component."""

    name = "clock"

    def __init__(self, store: Store, clock: SteadyClock, launches: LaunchBook) -> None:
        self._store = store
        self._clock = clock
        self._launches = launches
        self._off_s = 0.0
        self._even = 0
        self._is_told: bool | None = None
        """A jump is on record. None before the first look: an earlier operator may have told one."""

    async def run(self, ready: Callable[[], None]) -> None:
        ready()
        while True:
            await self._clock.sleep(LOOK_S)
            try:
                await self._look()
            except SkyError as error:
                _log.warning("clock jump not recorded", error=str(error))

    async def _look(self) -> None:
        if self._is_told is None:
            self._is_told = await self._store.read(_is_told)
        off_s = self._clock.off_s
        if abs(off_s) <= TOLERANCE_S:
            self._clock.slew(LOOK_S)
            await self._settle()
            return
        self._even = self._even + 1 if abs(off_s - self._off_s) <= _EVEN_S else 0
        self._off_s = off_s
        if not self._is_told:
            await self._tell_jump(off_s)
        if off_s < 0:
            self._clock.slew(LOOK_S)
            self._off_s = self._clock.off_s
        elif self._even >= _EVEN_LOOKS and off_s <= LONGEST_STEP_S:
            await self._follow()

    async def _follow(self) -> None:
        """What their times say is no longer how long they waited: launches wait anew to be proved absent, leaving nodes
        for their work to end, templates that failed for their next try, and hosts that brought nodes down to be forgiven."""
        shift_s = self._clock.step()
        began = self._clock.began
        _log.warning("following the wall clock", seconds=round(shift_s), effect="every grace period begins anew")

        def work(tx: Transaction) -> tuple[Launch, ...]:
            still_counts = began - shift_s - CREATE_WINDOW_S  # also what is gone, against the ceilings on create calls
            before = tx.launches()
            moved = tuple(new for one in before if (new := _anew(one, began, still_counts)) != one)
            for launch in moved:
                tx.put_launch(launch)
            for node in tx.list(Node):
                metadata, status = node.metadata, node.status
                if metadata.deletion_timestamp is not None:
                    metadata = metadata.replace(deletion_timestamp=to_time(began))
                if status.failed_at is not None:
                    status = status.replace(failed_at=to_time(float(int(began))))
                if (metadata, status) != (node.metadata, node.status):
                    tx.put(node.replace(metadata=metadata, status=status))
            return moved

        await self._launches.replace(work)
        await self._settle()

    async def _settle(self) -> None:
        if not self._is_told:
            return
        await self._store.run(self._write_settled)
        self._is_told = False
        self._even = 0
        _log.info("wall clock steady again")

    async def _tell_jump(self, off_s: float) -> None:
        direction = "ahead" if off_s > 0 else "back"
        message = f"the wall clock was set {direction} by {_rounded(off_s)}: nothing is concluded from that"
        _log.warning("wall clock jumped", seconds=round(off_s), effect="times go on as before")
        await self._store.run(lambda tx: self._write_jump(tx, message))
        self._is_told = True

    def _write_jump(self, tx: Transaction, message: str) -> None:
        now = self._clock.now()
        for source in tx.list(Source):
            conditions = set_condition(
                source.status.conditions,
                SourceCondition.CLOCK_STEADY,
                Status.FALSE,
                Reason.CLOCK_JUMPED,
                message,
                now=to_time(now),
            )
            told = tx.put(source.replace(status=source.status.replace(conditions=conditions)))
            record_event(tx, told, Reason.CLOCK_JUMPED, message, now=now, warning=True)

    def _write_settled(self, tx: Transaction) -> None:
        for source in tx.list(Source):
            conditions = drop_condition(source.status.conditions, SourceCondition.CLOCK_STEADY)
            tx.put(source.replace(status=source.status.replace(conditions=conditions)))


def _anew(launch: Launch, began: float, still_counts: float) -> Launch:
    if launch.sent_at and (not launch.gone_at or launch.sent_at > still_counts):
        launch = replace(launch, sent_at=began)
    if launch.host_failures:
        launch = replace(launch, host_failures=tuple(replace(one, at=began) for one in launch.host_failures))
    return launch


def _is_told(tx: Transaction) -> bool:
    return any(find(source.status.conditions, SourceCondition.CLOCK_STEADY) is not None for source in tx.list(Source))


def _rounded(seconds: float) -> str:
    size = abs(seconds)
    for unit_s, unit in ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min")):
        if size >= unit_s:
            return f"{size / unit_s:.1f} {unit}"
    return f"{size:.0f} s"
