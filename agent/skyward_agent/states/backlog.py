"""Leases that have not begun, oldest first: those that could, and those whose function is still on its way."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator

from skyward_agent.wire.messages import AttemptId, Lease


class Backlog:
    def __init__(self) -> None:
        self._ready: dict[AttemptId, Lease] = {}
        self._lacking: dict[AttemptId, Lease] = {}

    def __len__(self) -> int:
        return len(self._ready) + len(self._lacking)

    def __contains__(self, attempt: object) -> bool:
        return attempt in self._ready or attempt in self._lacking

    def __iter__(self) -> Iterator[AttemptId]:
        yield from self._ready
        yield from self._lacking

    @property
    def ready(self) -> int:
        """How many could begin."""
        return len(self._ready)

    def add(self, lease: Lease, functions: Container[str]) -> None:
        (self._ready if lease.function in functions else self._lacking)[lease.id] = lease

    def sort_out(self, functions: Container[str]) -> None:
        """Functions have come: leases that waited for them are ready."""
        for lease in tuple(self._lacking.values()):
            if lease.function in functions:
                self._ready[lease.id] = self._lacking.pop(lease.id)

    def first(self) -> Lease | None:
        """The oldest one that can begin."""
        return next(iter(self._ready.values()), None)

    def take(self) -> Lease:
        """The oldest one that can begin. Requires that there is one."""
        return self._ready.pop(next(iter(self._ready)))

    def put_first(self, leases: Iterable[Lease]) -> None:
        """What was taken and did not begin after all, in its old place. Its functions are here."""
        self._ready = {**{lease.id: lease for lease in leases}, **self._ready}

    def remove(self, attempt: AttemptId) -> bool:
        """Whether it was here."""
        return self._ready.pop(attempt, None) is not None or self._lacking.pop(attempt, None) is not None

    def remove_all(self, attempts: Iterable[AttemptId]) -> tuple[AttemptId, ...]:
        """Those that were here."""
        return tuple(attempt for attempt in attempts if self.remove(attempt))

    def clear(self) -> tuple[AttemptId, ...]:
        """All that were here."""
        return self.remove_all(tuple(self))

    def functions(self) -> set[str]:
        """What the leases here need."""
        return {lease.function for lease in (*self._ready.values(), *self._lacking.values())}

    def missing(self) -> set[str]:
        """Functions that leases here wait for."""
        return {lease.function for lease in self._lacking.values()} if self._lacking else set()
