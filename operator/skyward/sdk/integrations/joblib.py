"""joblib, and with it scikit-learn, on a pool: `with sky.integrations.joblib.backend(pool): …`.

joblib groups calls into batches that last long enough; each batch is one call on a node. What the batch does in parallel
itself runs in threads there, and what those do in sequence. The nodes need joblib: `image.pip: [scikit-learn]` has it.
"""

from __future__ import annotations

import operator
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from joblib import parallel_config
from joblib._parallel_backends import AutoBatchingMixin, ParallelBackendBase

from skyward.sdk.pool import PoolHandle


@contextmanager
def backend(pool: PoolHandle) -> Iterator[None]:
    """Inside, joblib runs on the pool; `n_jobs=-1`, the default here, means all lanes of the nodes that are ready now. Raises
    PoolNotFound."""
    with parallel_config(backend=PoolBackend(pool, count_lanes(pool))):
        yield


def count_lanes(pool: PoolHandle) -> int:
    """How many calls the pool's ready nodes run at once; 1 at least."""
    found = pool.read()
    ready = int((found.get("status") or {}).get("ready") or 0)
    per_node = (found.get("spec") or {}).get("concurrency", 1)
    if per_node == "auto" and ready:
        return sum(count or 1 for count in pool.broadcast(os.cpu_count))
    return max(1, ready * (per_node if isinstance(per_node, int) else 1))


class PoolBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]
    """joblib's contract for backends, on the futures of a pool."""

    default_n_jobs = -1
    supports_retrieve_callback = True
    supports_inner_max_num_threads = False
    uses_threads = False
    supports_sharedmem = False

    def __init__(self, pool: PoolHandle, lanes: int, nesting_level: int | None = None) -> None:
        super().__init__(nesting_level=nesting_level)
        self._pool = pool
        self._lanes = lanes
        self._lock = threading.Lock()
        self._pending: set[Future[Any]] = set()

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None:
            return 1
        return n_jobs if n_jobs > 0 else max(1, self._lanes + 1 + n_jobs)

    def configure(self, n_jobs: int = 1, parallel: Any = None, **_: Any) -> int:
        self.parallel = parallel
        return self.effective_n_jobs(n_jobs)

    def submit(self, func: Callable[[], Any], callback: Callable[[Future[Any]], object] | None = None) -> Future[Any]:
        """One batch. It is the argument and not the function: nodes keep functions, and there is only one here."""
        future = self._pool.submit(operator.call, func)
        with self._lock:
            self._pending.add(future)
        future.add_done_callback(self._forget)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, out: Future[Any]) -> Any:
        return out.result()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Another batch failed: what is under way is cancelled on its nodes."""
        with self._lock:
            pending, self._pending = self._pending, set()
        for future in pending:
            future.cancel()

    def terminate(self) -> None:
        self.reset_batch_stats()

    def _forget(self, future: Future[Any]) -> None:
        with self._lock:
            self._pending.discard(future)
