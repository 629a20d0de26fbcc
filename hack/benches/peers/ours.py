"""Skyward: a real operator with its SQLite, two local nodes of one lane, each with its own SSH server and agent. Every call is on
disk before it is given out, and its result before it is answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import skyward as sky
from hack.benches.peers import work
from hack.benches.peers.figures import Note, measure
from hack.benches.real import MANIFEST
from hack.operator_process import OperatorProcess


class Skyward:
    def __init__(self, directory: Path, *, pool: str = "bench", connection: str = "direct", nodes: int = 2) -> None:
        self.operator = OperatorProcess(directory)
        self._session: sky.Session | None = None
        self.name = pool
        self._nodes = nodes
        self._manifest = MANIFEST.format(name=pool, nodes=nodes, connection=connection)

    def start(self) -> None:
        self.operator.save(f"{self.name}.yaml", self._manifest)
        self.operator.start()
        self.started()
        self.operator.wait_ready(self.name, self._nodes)
        self._session = sky.connect(self.operator.config, modules=[work])
        self.pool = self._session.pool(self.name)

    def started(self) -> None:
        """The operator runs; the nodes are on their way."""

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return self.pool.run(function, *arguments)

    def map(self, function: Callable[..., Any], items: Sequence[Any]) -> list[Any]:
        return list(self.pool.map(function, items))

    def submit_all(self, function: Callable[..., Any], count: int) -> list[Any]:
        return [future.result() for future in [self.pool.submit(function) for _ in range(count)]]

    def close(self) -> None:
        try:
            if self._session is not None:
                self._session.close()
        finally:
            self.operator.clean_up()


def measure_it(directory: Path, note: Note) -> None:
    measure(Skyward(directory), note)
