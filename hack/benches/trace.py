"""Where the time of one no-op call goes: from the caller's thread through client, operator and agent and back, hop by hop; and
how much processor time each thread spends on a call, and how often it had to be woken."""

from __future__ import annotations

import itertools
import os
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import skyward as sky
from hack.benches.marks import Mark, Marks, load
from hack.benches.peers.environment import ROOT
from hack.benches.real import MANIFEST, real_operator
from hack.operator_process import processes_of_nodes

CALLS = 2_000
PATH = (
    "client calls",
    "client says Submit",
    "client sent",
    "operator read Submit",
    "operator writes",
    "operator committed",
    "operator says Leases",
    "operator sent",
    "operator read Reports",
    "operator writes",
    "operator committed",
    "operator says Results",
    "operator sent",
    "client read Results",
    "client has it",
)
"""What every call passes, in this order; other things are noted in between."""
Spent = tuple[int, int]
"""Nanoseconds of a processor, and how often it waited."""


def noop() -> None:
    return None


def trace(arguments: list[str]) -> dict[str, Any]:
    marks = Marks("client")
    marks.of_frames()
    program = (sys.executable, str(ROOT / "hack" / "benches" / "traced_operator.py"))
    with real_operator() as operator:
        noted = operator.directory / "marks.json"
        operator.program = (*program, str(noted))
        operator.stop()
        operator.start()
        operator.save("trace.yaml", MANIFEST.format(name="trace", nodes=1, connection="direct"))
        operator.wait_ready("trace", 1)
        with sky.connect(operator.config) as session:
            pool = session.pool("trace")
            for _ in range(200):
                pool.run(noop)
            marks.noted.clear()
            before, began = _spent(operator.state, operator.pid), os.getloadavg()[0]
            for _ in range(CALLS):
                marks.note("calls")
                pool.run(noop)
                marks.note("has it")
            after = _spent(operator.state, operator.pid)
        operator.stop()
        calls = list(_calls(sorted(marks.noted + load(noted))))
    return {"load": began, **_hops(calls), "per_call": _per_call(before, after)}


def _calls(marks: list[Mark]) -> Iterator[list[int]]:
    """The moments of each call that passed all of the path in order."""
    moments: list[int] = []
    for at, name in marks:
        if name == PATH[0]:
            moments = []
        if len(moments) < len(PATH) and name == PATH[len(moments)]:
            moments.append(at)
            if len(moments) == len(PATH):
                yield moments


def _hops(calls: list[list[int]]) -> dict[str, Any]:
    """Medians, in microseconds."""
    whole = [(moments[-1] - moments[0]) / 1_000 for moments in calls]
    hops = [
        [f"{start} → {end}", round(statistics.median((one[index + 1] - one[index]) / 1_000 for one in calls))]
        for index, (start, end) in enumerate(itertools.pairwise(PATH))
    ]
    return {"calls": len(calls), "call_us": round(statistics.median(whole)), "hops_us": hops}


def _spent(state: Path, operator: int) -> dict[str, Spent]:
    """By process and thread."""
    processes = {os.getpid(): "client", operator: "operator"}
    for pid in processes_of_nodes(state):
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        if b"agent.pyz\0run\0" in command:
            processes[pid] = "agent"
        elif b"runner.child" in command:
            processes[pid] = "child"
    found: dict[str, Spent] = {}
    for pid, name in processes.items():
        for number, thread in enumerate(sorted(Path(f"/proc/{pid}/task").iterdir(), key=lambda path: int(path.name))):
            used = int((thread / "schedstat").read_text().split()[0])
            status = dict(
                line.split(":\t", 1) for line in (thread / "status").read_text().splitlines() if ":\t" in line
            )
            found[f"{name} {number}"] = (used, int(status["voluntary_ctxt_switches"]))
    return found


def _per_call(before: dict[str, Spent], after: dict[str, Spent]) -> dict[str, dict[str, float]]:
    """Of each thread that had anything to do: microseconds of a processor, and waits."""
    figures: dict[str, dict[str, float]] = defaultdict(dict)
    for thread, (used, waits) in after.items():
        used_before, waits_before = before.get(thread, (0, 0))
        if used - used_before > CALLS * 1_000:
            figures[thread] = {
                "cpu_us": round((used - used_before) / CALLS / 1_000),
                "waits": round((waits - waits_before) / CALLS, 2),
            }
    return dict(figures)
