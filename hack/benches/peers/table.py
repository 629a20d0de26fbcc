"""The figures of all systems side by side, for people, and ours as multiples of each peer's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OURS = "skyward"
_LOAD = "load_before"
ROWS = {
    "round_trip_p50_ms": "round trip p50, ms",
    "round_trip_p99_ms": "round trip p99, ms",
    "map_per_s": "map of 5,000, tasks/s",
    "submit_per_s": "5,000 submits, tasks/s",
    "up_64mb_mb_per_s": "64 MB up, MB/s",
    "echo_64mb_mb_per_s": "64 MB there and back, MB/s",
    "startup_s": "start-up, s",
    "resident_mb": "resident, MB",
    _LOAD: "load of the machine before",
}

Figures = Mapping[str, Mapping[str, Any]]
"""System → name of a figure → its value. What could not be measured has a `left_out` that says why."""


def ratios(systems: Figures) -> dict[str, dict[str, float]]:
    """Ours divided by each peer's."""
    ours = systems[OURS]
    return {
        name: {
            row: round(ours[row] / figures[row], 2)
            for row in ROWS
            if row != _LOAD and figures.get(row) and ours.get(row) is not None
        }
        for name, figures in systems.items()
        if name != OURS
    }


def render(systems: Figures) -> str:
    """One row a figure, one column a system; below each peer's value in brackets, ours divided by it."""
    divided = ratios(systems)
    lines = [["", *systems]]
    for row, title in ROWS.items():
        lines.append([title, *(_cell(systems[name], divided.get(name, {}), row) for name in systems)])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    text = [
        "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        )
        for line in lines
    ]
    text += [f"{name}: {figures['left_out']}" for name, figures in systems.items() if "left_out" in figures]
    return "\n".join([*text, f"In brackets: {OURS} divided by that peer."])


def _cell(figures: Mapping[str, Any], divided: Mapping[str, float], row: str) -> str:
    if row not in figures:
        return "–"
    value = f"{figures[row]:,}"
    return f"{value} ({divided[row]:g})" if row in divided else value
