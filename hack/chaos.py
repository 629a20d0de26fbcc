"""The command line behind hack/chaos."""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.chaos.conductor import Conductor, Run
from tests.chaos.place import Place, Record
from tests.chaos.profiles import EVERYTHING, PROFILES, QUEUE


def main() -> int:
    parser = argparse.ArgumentParser(prog="hack/chaos", description="Break a real operator at random, and judge it.")
    parser.add_argument("--minutes", type=float, default=1.0, help="how long things are broken (default 1)")
    parser.add_argument("--seed", type=int, help="decides what is broken when (default: a random one)")
    parser.add_argument(
        "--profile",
        choices=PROFILES,
        default=EVERYTHING,
        help=f"what is broken: {EVERYTHING} (default), or operator, agents and children under much work ({QUEUE})",
    )
    parser.add_argument("--nodes", type=int, help="nodes of the pool that works (default: the profile's)")
    parser.add_argument(
        "--min-kills", type=int, metavar="N", help="fail below so many kills (default 20 for each whole minute)"
    )
    parser.add_argument(
        "--min-tasks",
        type=int,
        metavar="N",
        help="fail below so many items of work (default: the profile's for each minute)",
    )
    parser.add_argument("--heal", type=float, default=60.0, help="seconds in which each step of rest must come true")
    parser.add_argument("--json", action="store_true", help="print the verdict only")
    parser.add_argument("--keep", action="store_true", help="keep the records of a clean run too")
    options = parser.parse_args()
    if shutil.which("git") is None:
        parser.error("the manifests of a run lie in a Git repository: install git")
    seed = random.randrange(1_000_000) if options.seed is None else options.seed
    place = Place(Path(tempfile.mkdtemp(prefix="skyward chaos ")))
    if not options.json:
        print(f"seed {seed}, {options.minutes:g} min, records in '{place.root}'", file=sys.stderr)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    try:
        verdict = Conductor(place, _run(options, seed)).perform()
    except KeyboardInterrupt:
        print(f"interrupted; records in '{place.root}'", file=sys.stderr)
        return 130
    if verdict["violations"]:
        print(_how_to_read(verdict, place), file=sys.stderr)
    elif not options.keep:
        shutil.rmtree(place.root)
    tame = _is_tame(verdict, options)
    if tame:
        print(f"{tame}: too tame to prove anything", file=sys.stderr)
    print(json.dumps(verdict))
    return 1 if verdict["violations"] or tame else 0


def _run(options: argparse.Namespace, seed: int) -> Run:
    nodes = PROFILES[options.profile].nodes if options.nodes is None else options.nodes
    return Run(seed, options.minutes * 60, options.heal, nodes, options.profile)


def _is_tame(verdict: Record, options: argparse.Namespace) -> str:
    """What there was too little of; empty when it was enough."""
    kills, least_kills = sum(verdict["kills"].values()), options.min_kills
    if least_kills is None:
        least_kills = 20 * int(options.minutes)
    if kills < least_kills:
        return f"{kills} kills, wanted {least_kills}"
    tasks, least_tasks = verdict["committed"], options.min_tasks
    if least_tasks is None:
        least_tasks = int(PROFILES[options.profile].tasks_per_minute * options.minutes)
    return f"{tasks} items, wanted {least_tasks}" if tasks < least_tasks else ""


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _how_to_read(verdict: Record, place: Place) -> str:
    lines = [f"{len(verdict['violations'])} violations:", *(f"- {text}" for text in verdict["violations"][:20])]
    lines += [
        f"'{place.root}' has what was done (actions.jsonl), asked and answered (journal.jsonl), executed (ledger.jsonl),",
        "which machines there were (truth.jsonl), operator.log, and database and node logs (evidence/).",
        f"The same faults again: hack/chaos --profile {verdict['profile']} --seed {verdict['seed']}",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
