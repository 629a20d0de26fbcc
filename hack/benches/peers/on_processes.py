"""The standard library's process pool: no scheduler, nothing durable, one host. The bound of what calls cost in Python."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from hack.benches.peers.figures import Note, measure


class ProcessPool:
    def start(self) -> None:
        self._executor = ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return self._executor.submit(function, *arguments).result()

    def map(self, function: Callable[..., Any], items: Sequence[Any]) -> list[Any]:
        return list(self._executor.map(function, items))

    def submit_all(self, function: Callable[..., Any], count: int) -> list[Any]:
        return [future.result() for future in [self._executor.submit(function) for _ in range(count)]]

    def close(self) -> None:
        self._executor.shutdown()


def measure_it(directory: Path, note: Note) -> None:
    measure(ProcessPool(), note)
