"""How much room blobs may take, and who has it: counted when a blob begins, so that no two fill the same space."""

from __future__ import annotations

from collections.abc import Callable

from skyward.errors import PayloadTooLarge, StorageFull

_MIB = 2**20


class Room:
    """`free_bytes` tells what the disk has left now; so much of it as `kept_bytes` is never used."""

    def __init__(self, limit_bytes: int, *, free_bytes: Callable[[], int], kept_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._free_bytes = free_bytes
        self._kept_bytes = kept_bytes
        self._taken: dict[str, int] = {}
        self._used = 0
        self._arriving = 0
        """Of that, promised and not yet on the disk."""

    @property
    def used_bytes(self) -> int:
        return self._used

    def reserve(self, digest: str, size: int, here: int = 0) -> None:
        """Raises StorageFull, PayloadTooLarge. `here`: bytes of it that are on the disk already. Idempotent."""
        if digest in self._taken:
            return
        if size > self._limit_bytes:
            raise PayloadTooLarge(
                f"{_mib(size)} is more than the operator keeps at all ({_mib(self._limit_bytes)}, payloads.disk_bytes): "
                "let the function read it from a bucket instead"
            )
        if self._used + size > self._limit_bytes:
            raise StorageFull(
                f"the operator has no room for {_mib(size)}: {_mib(self._used)} of {_mib(self._limit_bytes)} "
                "(payloads.disk_bytes) are in use; results go when their tasks' time is over"
            )
        free = self._free_bytes() - self._arriving - self._kept_bytes
        if size - here > free:
            raise StorageFull(
                f"the operator has no room for {_mib(size)}: its disk has {_mib(max(0, free))} to spare; "
                "free some, or move its state directory"
            )
        self._taken[digest] = size
        self._used += size
        self._arriving += size - here

    def keep(self, digest: str, size: int) -> None:
        """It was here before, whatever the limit is now."""
        self._taken[digest] = size
        self._used += size

    def arrived(self, count: int) -> None:
        self._arriving = max(0, self._arriving - count)

    def give_back(self, digest: str, missing: int = 0) -> None:
        """`missing`: bytes of it that never came. Idempotent."""
        size = self._taken.pop(digest, None)
        if size is not None:
            self._used -= size
            self.arrived(missing)


def _mib(count: int) -> str:
    return f"{count / _MIB:.0f} MiB"
