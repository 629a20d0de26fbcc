"""Ray on one host: two CPUs, so two workers; no dashboard, no usage statistics. Arguments and results over 100 KB go through its
shared memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ray

from hack.benches.peers.figures import TASKS, Note, calls, payloads, rate, start

_STORE_BYTES = 1 << 30


class Ray:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._remote: dict[Callable[..., Any], Any] = {}

    def start(self) -> None:
        ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            object_store_memory=_STORE_BYTES,
            _node_ip_address="127.0.0.1",
            _temp_dir=str(self._directory),
        )

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return ray.get(self._task(function).remote(*arguments))

    def map(self, function: Callable[..., Any], items: Sequence[Any]) -> list[Any]:
        task = self._task(function)
        return ray.get([task.remote(item) for item in items])  # type: ignore[no-any-return]

    def submit_all(self, function: Callable[..., Any], count: int) -> list[Any]:
        task = self._task(function)
        return [ray.get(future) for future in [task.remote() for _ in range(count)]]

    def close(self) -> None:
        ray.shutdown()

    def _task(self, function: Callable[..., Any]) -> Any:
        if function not in self._remote:
            self._remote[function] = ray.remote(function)
        return self._remote[function]


class Idler:
    def noop(self, _: int = 0) -> None:
        return None


def past_the_scheduler() -> int:
    """Calls a second to two actors that hold the CPUs: what a Ray program does that needs the speed, and places its work itself."""
    actors = [ray.remote(Idler).remote() for _ in range(2)]
    ray.get([actor.noop.remote() for actor in actors])
    return rate(lambda: ray.get([actors[item % 2].noop.remote(item) for item in range(TASKS)]))


def measure_it(directory: Path, note: Note) -> None:
    system = Ray(directory)
    try:
        start(system, note)
        calls(system, note)
        payloads(system, note)
        note("actors_map_per_s", past_the_scheduler())
    finally:
        system.close()
