"""The numbers of a pool's queue in its status: nobody tells when queued work begins to run, so all are compared now and then.
A pool whose numbers are right costs no pass of its reconciler."""

from __future__ import annotations

from collections.abc import Callable

from skyward.api import Pool
from skyward.controllers.deps import Deps

_LOOK_S = 2.0


class Numbers:
    """A component."""

    name = "numbers"

    def __init__(self, deps: Deps, wake: Callable[[str], None]) -> None:
        """`wake` gets the key of each pool whose status is behind."""
        self._deps = deps
        self._wake = wake

    async def run(self, ready: Callable[[], None]) -> None:
        ready()
        while True:
            await self._deps.clock.sleep(_LOOK_S)
            for pool in self._deps.cache.list(Pool):
                if self._deps.queue.counts(pool.key) != (pool.status.queued, pool.status.running):
                    self._wake(pool.key)


def are_mere_numbers(before: Pool, after: Pool) -> bool:
    """Nothing but the numbers of its queue differs between these two versions of a pool. They change with every task, and the
    pass that wrote them need not be followed by another one."""
    if before.spec != after.spec:
        return False
    old, numbers = before.status, after.status
    same = numbers.replace(queued=old.queued, running=old.running, busy=old.busy)
    versionless = after.metadata.replace(resource_version=before.metadata.resource_version)
    return same == old and versionless == before.metadata
