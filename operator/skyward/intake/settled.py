"""Which stored pools are known to be what their documents want: of five hundred, a save concerns one.

Pools and documents never change; a change makes a new object. So what was found true of two of them is true for as long
as it is asked about these very two, and there is nothing that could grow stale.
"""

from __future__ import annotations

from collections.abc import Callable, Container

from skyward.api import Pool
from skyward.documents import Document


class Settled:
    def __init__(self, says_all: Callable[[Pool, Document], bool]) -> None:
        """`says_all`: between the two there is nothing to do. It must depend on nothing else."""
        self._says_all = says_all
        self._pairs: dict[str, tuple[Pool, Document]] = {}

    def holds(self, pool: Pool, document: Document) -> bool:
        known = self._pairs.get(pool.key)
        if known is not None and known[0] is pool and known[1] is document:
            return True
        if not self._says_all(pool, document):
            return False
        self._pairs[pool.key] = (pool, document)
        return True

    def only(self, keys: Container[str]) -> None:
        """Forget all others."""
        self._pairs = {key: pair for key, pair in self._pairs.items() if key in keys}
