"""Dask's distributed scheduler and two workers of one thread, each a process. Futures are told to be impure: else Dask answers
the second call of the same function from memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dask
from distributed import Client, LocalCluster

from hack.benches.peers.figures import Note, measure


class Dask:
    def __init__(self, directory: Path) -> None:
        dask.config.set(
            {"temporary-directory": str(directory), "distributed.admin.large-graph-warning-threshold": "1GB"}
        )

    def start(self) -> None:
        self._cluster = LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
        )
        self._client = Client(self._cluster)

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return self._client.submit(function, *arguments, pure=False).result()

    def map(self, function: Callable[..., Any], items: Sequence[Any]) -> list[Any]:
        return list(self._client.gather(self._client.map(function, items, pure=False)))

    def submit_all(self, function: Callable[..., Any], count: int) -> list[Any]:
        return list(self._client.gather([self._client.submit(function, pure=False) for _ in range(count)]))

    def close(self) -> None:
        self._client.close()
        self._cluster.close()


def measure_it(directory: Path, note: Note) -> None:
    measure(Dask(directory), note)
