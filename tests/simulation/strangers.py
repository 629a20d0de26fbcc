"""Those who have no part in a task: clients that read what others ordered, and agents that make reports up, with a secret that
they guessed or the number of another attempt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from skyward.errors import SkyError
from skyward_agent.wire.messages import SUCCEEDED, AttemptId, Reports

if TYPE_CHECKING:
    from tests.simulation.world import World

FORGED = "forged-report"
_EVERY_S = 45.0
_CALL_S = 30.0
_LIES: tuple[Callable[[AttemptId], AttemptId], ...] = (
    lambda id: replace(id, secret="guessed"),
    lambda id: replace(id, attempt=id.attempt + 1),
    lambda id: replace(id, attempt=id.attempt - 1),
)
KINDS = len(_LIES)


async def look_around(world: World) -> None:
    """Now and then somebody asks for the results of a task that may be done, under way, or forgotten."""
    stream = world.chance.stream("strangers")
    while True:
        await asyncio.sleep(stream.expovariate(1 / _EVERY_S))
        if not world.faults.on:
            return
        known = [order.uid for order in world.work.orders.values() if order.uid]
        operator = world.operator
        if not known or operator is None or operator.queue is None:
            continue
        queue, uid = operator.queue, stream.choice(known)
        try:
            await operator.process.ask(lambda queue=queue, uid=uid: queue.results(uid), _CALL_S)  # type: ignore[misc]
        except SkyError:
            continue  # its time after finishing is over, or the operator could not read


def forged(reports: Reports, kind: int) -> Reports:
    """What somebody says who saw these reports and has not the right to."""
    return Reports(
        tuple(
            replace(report, id=_LIES[kind](report.id), outcome=SUCCEEDED, value=b"made up", failure=None)
            for report in reports.reports
        )
    )
