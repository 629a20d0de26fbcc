"""The command behind hack/mutants: every mutant in a process of its own, a table, and one JSON object on the last line."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tests.mutants.baseline import is_clean
from tests.mutants.catalogue import MUTANTS
from tests.mutants.killing import Fate, Verdict, judge
from tests.mutants.mutant import Mutant

SCRIPT = Path(__file__).resolve().parents[2] / "hack" / "mutants.py"
_BAD = (Fate.SURVIVED, Fate.STALE, Fate.BROKEN)
_SHOWN_CHARACTERS = 100
_HUNG_S = 600.0
"""A run that the process itself could not end by then goes round in circles."""


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    if options.one:
        print(json.dumps(judge(_named(options.one), options.seeds, _deadline(options.budget)).to_json()))
        return 0
    if options.baseline:
        return 0 if is_clean(_chosen(options)) else 1
    begin = time.perf_counter()
    verdicts = []
    if not options.json:
        print(_row("mutant", "breaks", "fate", "by", "rule", "seed", "runs", "s"))
    for mutant, verdict in _run(_chosen(options), options.seeds, options.jobs, options.budget):
        verdicts.append(verdict)
        if not options.json:
            print(_line(mutant, verdict), flush=True)
    print(json.dumps(_summary(verdicts, time.perf_counter() - begin)))
    return 1 if any(verdict.fate in _BAD for verdict in verdicts) else 0


def rotated(mutants: Sequence[Mutant], count: int, by: int) -> list[Mutant]:
    """So many, beginning somewhere else for each number: consecutive numbers go through all of them."""
    count = min(count, len(mutants))
    first = by * count % len(mutants)
    return [mutants[(first + place) % len(mutants)] for place in range(count)]


def _chosen(options: argparse.Namespace) -> list[Mutant]:
    chosen = [_named(name) for name in options.names] or list(MUTANTS)
    return rotated(chosen, options.rotate, options.by) if options.rotate else chosen


def _named(name: str) -> Mutant:
    for mutant in MUTANTS:
        if mutant.name == name:
            return mutant
    raise SystemExit(f"there is no mutant {name}; hack/mutants --list names them")


def _run(mutants: Sequence[Mutant], seeds: int, jobs: int, budget_s: float) -> Iterator[tuple[Mutant, Verdict]]:
    end = _deadline(budget_s)
    with ThreadPoolExecutor(jobs) as threads:
        running = {threads.submit(_in_a_process, mutant, seeds, end): mutant for mutant in mutants}
        for done in as_completed(running):
            yield running[done], done.result()


def _in_a_process(mutant: Mutant, seeds: int, end: float) -> Verdict:
    begin = time.perf_counter()
    left_s = end - begin
    if left_s <= 0:
        return Verdict(mutant.name, Fate.UNDECIDED)
    command = [sys.executable, str(SCRIPT), "--one", mutant.name, "--seeds", str(seeds)]
    if left_s < float("inf"):
        command += ["--budget", f"{left_s:.0f}"]
    patience_s = min(left_s, 1e9) + _HUNG_S if left_s < float("inf") else None
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=patience_s)
    except subprocess.TimeoutExpired:
        return Verdict(mutant.name, Fate.UNDECIDED, seconds=time.perf_counter() - begin)
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        return Verdict(mutant.name, Fate.BROKEN, message=(done.stderr.splitlines() or ["it said nothing"])[-1])
    told = json.loads(lines[-1])
    return Verdict(**{**told, "fate": Fate(told["fate"])})


def _deadline(budget_s: float) -> float:
    return time.perf_counter() + budget_s


def _summary(verdicts: Sequence[Verdict], seconds: float) -> dict[str, object]:
    def names(fate: Fate) -> list[str]:
        return [verdict.mutant for verdict in verdicts if verdict.fate is fate]

    return {
        "mutants": len(verdicts),
        "killed": len(names(Fate.KILLED)),
        **{fate.value: names(fate) for fate in Fate if fate is not Fate.KILLED},
        "seconds": round(seconds, 1),
    }


def _line(mutant: Mutant, verdict: Verdict) -> str:
    seed = "" if verdict.seed is None else str(verdict.seed)
    row = _row(
        mutant.name,
        mutant.breaks,
        verdict.fate,
        verdict.trial,
        verdict.rule,
        seed,
        str(verdict.runs),
        f"{verdict.seconds:.0f}",
    )
    why = verdict.message.splitlines()[0][:_SHOWN_CHARACTERS] if verdict.fate in _BAD and verdict.message else ""
    return f"{row}  {why}".rstrip()


def _row(name: str, breaks: str, fate: str, by: str, rule: str, seed: str, runs: str, seconds: str) -> str:
    return f"{name:38} {breaks:6} {fate:9} {by:16} {rule:5} {seed:>5} {runs:>4} {seconds:>5}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hack/mutants", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="these mutants; all when none is named")
    parser.add_argument("--rotate", type=int, default=0, metavar="N", help="only N of them, others for each --by")
    parser.add_argument(
        "--by", type=int, default=0, metavar="NUMBER", help="where --rotate begins: the number of a build"
    )
    parser.add_argument("--seeds", type=int, default=1000, help="seeds after which a mutant has survived a trial")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at once")
    parser.add_argument(
        "--budget", type=float, default=float("inf"), metavar="SECONDS", help="for all of them together"
    )
    parser.add_argument("--json", action="store_true", help="print nothing but the last line")
    parser.add_argument(
        "--baseline", action="store_true", help="run the same worlds without any mutant: all must be clean"
    )
    parser.add_argument("--list", action=_List, help="name them all, with what each breaks")
    parser.add_argument("--one", metavar="NAME", default="", help=argparse.SUPPRESS)
    return parser


class _List(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        for mutant in MUTANTS:
            print(f"{mutant.name:38} {mutant.breaks:6} {mutant.note}")
        parser.exit()


if __name__ == "__main__":
    sys.exit(main())
