"""What the demonstration shows of nodes: a table that lives on a terminal, one line for each change elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table

from hack.operator_process import phase_of

MILESTONES = ("Launched", "Bootstrapped", "Registered", "Ready")
_POLL_S = 0.08
_COLOURS = {"Ready": "green", "Leaving": "yellow", "Failed": "red"}

Nodes = Callable[[], list[dict[str, Any]]]


class NodeBoard:
    """Looks at a pool's nodes now and then and shows what became of them. Use `shown()` around the work."""

    def __init__(self, console: Console, nodes: Nodes, above: RenderableType | None = None) -> None:
        self._console = console
        self._nodes = nodes
        self._above = above
        self._live: Live | None = None
        self._looked_at = 0.0
        self._seen: dict[str, str] = {}
        self._rows: dict[str, tuple[str, float, str]] = {}
        """By name: phase, seconds since it was first seen until that phase, bootstrap steps."""
        self._began: dict[str, float] = {}
        self._found_ready: set[str] = set()
        """Nodes that were ready already when this board first looked: how long that took is not known."""

    @contextmanager
    def shown(self) -> Iterator[None]:
        if not self._console.is_terminal:
            yield
            self._print_steps()
            return
        with Live(self, console=self._console, refresh_per_second=12) as self._live:
            try:
                yield
            finally:
                self._live.refresh()
                self._live = None

    def look(self) -> list[dict[str, Any]]:
        """The nodes as they are now."""
        nodes = self._nodes()
        now = self._looked_at = time.monotonic()
        names = {node["metadata"]["name"] for node in nodes}
        for node in nodes:
            self._note(node["metadata"]["name"], phase_of(node), _steps_of(node), now)
        for name in self._rows.keys() - names:
            self._note(name, "gone", "", now)
        return nodes

    def glance(self) -> None:
        """`look`, unless that was done a moment ago."""
        if time.monotonic() - self._looked_at > _POLL_S:
            self.look()

    def _note(self, name: str, phase: str, steps: str, now: float) -> None:
        began = self._began.setdefault(name, now)
        changed = self._seen.get(name) != phase
        self._seen[name] = phase
        seconds = now - began if changed else self._rows[name][1]
        self._found_ready |= {name} if phase == "Ready" and now == began else set()
        self._rows[name] = phase, seconds, steps
        if changed and not self._console.is_terminal:
            self._console.print(f"  {name:<22} {phase:<13} {self._time(name)}".rstrip(), soft_wrap=True)

    def _time(self, name: str) -> str:
        phase, seconds, _ = self._rows[name]
        return "" if phase == "Ready" and name in self._found_ready else f"{seconds:.1f} s"

    def _print_steps(self) -> None:
        for name, (phase, _, steps) in sorted(self._rows.items()):
            if phase == "Ready" and steps:
                self._console.print(f"  {name}: {steps}", soft_wrap=True)

    def __rich__(self) -> RenderableType:
        table = Table(box=None, show_header=False, padding=(0, 1), pad_edge=False)
        for name, (phase, _, steps) in sorted(self._rows.items()):
            table.add_row(
                "",
                name,
                _dots(phase),
                f"[{_COLOURS.get(phase, 'default')}]{phase}[/]",
                self._time(name),
                f"[dim]{steps}[/]",
            )
        return table if self._above is None else Group(self._above, table)


def _dots(phase: str) -> str:
    """How far a node is on its way: one dot for each milestone."""
    if phase not in MILESTONES and phase != "Initialized":
        return "[dim]○○○○[/]" if phase == "Pending" else "[red]✕[/]"
    reached = MILESTONES.index("Registered" if phase == "Initialized" else phase) + 1
    return f"[green]{'●' * reached}[/][dim]{'○' * (len(MILESTONES) - reached)}[/]"


def _steps_of(node: dict[str, Any]) -> str:
    return " · ".join(f"{step['name']} {step['seconds']:.2f}" for step in node["status"].get("phases", []))
