"""What happens to operator processes, and who starts new ones."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from contextlib import suppress

from skyward.errors import LeadershipLost, StoreUnavailable
from tests.simulation.operator import Operator
from tests.simulation.process import CrashPoint, Process, When
from tests.simulation.world import World

_PRECIOUS = ("create", "create", "delete")
_STOP_S = 12.0
"""The longest that an operator may take to end after it was told to."""


def deaths(world: World) -> dict[str, Callable[[], bool]]:
    """Of any of the processes, also of one that only waits."""

    def some(kind: str) -> Process | None:
        living = [operator.process for operator in world.operators]
        return living[world.faults.pick(kind, len(living))] if living else None

    def crash() -> bool:
        process = some("crash")
        if process is None:
            return False
        process.die("killed")
        return True

    def crash_at_seam() -> bool:
        process = some("crash-at-seam")
        if process is None or process.crash_at is not None:
            return False
        when = list(When)[world.faults.pick("crash-at-seam", len(When))]
        process.crash_at = CrashPoint(process.calls + 1 + world.faults.pick("crash-at-seam", 20), when)
        return True

    def crash_at_call() -> bool:
        """In the next call of a kind that makes or takes a machine."""
        process = some("crash-at-call")
        if process is None or process.crash_at is not None:
            return False
        kind = _PRECIOUS[world.faults.pick("crash-at-call", len(_PRECIOUS))]
        when = list(When)[world.faults.pick("crash-at-call", len(When))]
        process.crash_at = CrashPoint(0, when, f"{kind}.request")
        return True

    def stop() -> bool:
        process = some("stop")
        if process is None or process.task is None or process.is_stopping or process.frozen is not None:
            return False
        world.tell("operator", f"{process.number} is told to stop")
        process.is_stopping = True
        process.task.cancel()
        world.network.after(_STOP_S, lambda: late(process))
        return True

    def late(process: Process) -> None:
        has_ended = process.dead or (process.task is not None and process.task.done())
        if not has_ended and process.frozen is None:
            world.violate("L15", f"operator {process.number}", f"it had not ended {_STOP_S:g} s after it was told to")
            process.die("killed")

    def freeze() -> bool:
        process = some("freeze")
        if process is None or process.frozen is not None or process.is_stopping:
            return False
        seconds = world.faults.between("freeze", 1.0, 600.0)
        world.tell("operator", f"{process.number} stands still for {seconds:.0f} s")
        world.coverage.reach("operator frozen")
        process.frozen = []

        def thaw() -> None:
            if process.frozen is not None:
                world.tell("operator", f"{process.number} goes on")
                world.loop.thaw(process)

        world.network.after(seconds, thaw)
        return True

    def set_clock() -> bool:
        """Somebody sets the wall clock of one host wrong, for good or for a while."""
        if not world.operators:
            return False
        operator = world.operators[world.faults.pick("clock-jump", len(world.operators))]
        jump_s = (-86_400.0, -3_600.0, -90.0, 90.0, 3_600.0, 86_400.0)[world.faults.pick("clock-jump", 6)]
        world.tell("operator", f"the clock of {operator.process.number} jumps by {jump_s:g} s")
        world.coverage.reach("wall clock jumped")
        operator.wall.wall_error_s += jump_s
        return True

    def fill_disk() -> bool:
        world.disk_is_full = True
        world.tell("store", "the disk is full")
        world.network.after(world.faults.between("store-fails", 1.0, 300.0), free_disk)
        return True

    def free_disk() -> None:
        world.disk_is_full = False
        world.tell("store", "there is room again")

    return {
        "crash": crash,
        "crash-at-seam": crash_at_seam,
        "crash-at-call": crash_at_call,
        "stop": stop,
        "freeze": freeze,
        "clock-jump": set_clock,
        "store-fails": fill_disk,
    }


async def supervise(world: World) -> None:
    """Starts a new operator whenever one is missing. Two never start at one instant."""
    stream = world.chance.stream("supervisor")
    start_at = 0.0
    missing = world.scenario.operators
    while True:
        world.ended.clear()
        for operator in tuple(world.operators):
            _bury(world, operator)
        lacking = 0 if world.is_away else world.scenario.operators - len(world.operators)
        if lacking > missing:
            start_at = world.loop.time() + stream.choice((0.1, 0.5, 1.0, 5.0, 30.0))
        if lacking and world.loop.time() >= start_at:
            world.start()
            lacking -= 1
            start_at = world.loop.time() + 0.5
        missing = lacking
        with suppress(TimeoutError):
            async with asyncio.timeout(start_at - world.loop.time() if lacking else None):
                await world.ended.wait()


def _bury(world: World, operator: Operator) -> None:
    """A process that ended by itself: because it was told to, or because another one leads."""
    process = operator.process
    task = process.task
    if task is None or not task.done():
        return
    error = None if task.cancelled() else task.exception()
    if process.is_stopping and error is None:
        world.coverage.reach("operator stopped in good order")
    elif isinstance(error, LeadershipLost):
        world.coverage.reach("operator ended because another leads")
    elif isinstance(error, StoreUnavailable) and not operator.serves:
        world.tell("operator", f"{process.number} could not start: {error}")
    else:
        text = "".join(traceback.format_exception(error)) if error is not None else ""
        world.violate("S31", "operator", f"it ended by itself: {error!r}\n{text}")
    process.die("ended")
