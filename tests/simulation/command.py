"""Many seeds, on all cores; the last line is one JSON object. A violation is told with a story that was made short first."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from tests.simulation.coverage import missing
from tests.simulation.profiles import PROFILES
from tests.simulation.run import Outcome, simulate
from tests.simulation.scenario import choose_scenario
from tests.simulation.shrink import shrink
from tests.simulation.story import tell

_SEEDS_PER_PROCESS = 8
_SHRUNK = 3
"""So many violations are made short; the others are listed."""


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    if options.replay is not None:
        return _replay(options.replay, options.hours, options.profile)
    outcomes = []
    for outcome in _run(range(*options.seeds), options.hours, options.profile, options.jobs):
        outcomes.append(outcome)
        if not options.json:
            print(_line(outcome), flush=True)
    bad = [outcome for outcome in outcomes if outcome.violations]
    for outcome in bad[: options.shrink]:
        smaller, found = shrink(choose_scenario(outcome.seed, options.hours, options.profile), outcome)
        print(tell(smaller, found), flush=True)
    total = summary(outcomes)
    print(json.dumps(total))
    return 1 if bad or (options.all_points and total["unreached"]) else 0


def summary(outcomes: Iterable[Outcome]) -> dict[str, object]:
    total = tuple(outcomes)
    faults: Counter[str] = sum((outcome.faults for outcome in total), Counter())
    points: Counter[str] = sum((outcome.points for outcome in total), Counter())
    calls = sum(outcome.provider_calls for outcome in total)
    hours, cpu_s = sum(outcome.hours for outcome in total), sum(outcome.cpu_s for outcome in total)
    crashes = sum(outcome.crashes for outcome in total)
    return {
        "seeds": len(total),
        "steps": sum(outcome.steps for outcome in total),
        "hours": round(hours, 2),
        "provider_calls": calls,
        "faulted_share": round(sum(outcome.faulted_calls for outcome in total) / max(calls, 1), 3),
        "faults": dict(sorted(faults.items())),
        "crashes": crashes,
        "crashes_per_hour": round(crashes / max(hours, 1e-9), 1),
        "points": dict(sorted(points.items())),
        "unreached": missing(points),
        "violations": [
            {
                "seed": outcome.seed,
                "profile": outcome.profile,
                "rule": one.rule,
                "about": one.about,
                "message": one.message,
            }
            for outcome in total
            for one in outcome.violations[:3]
        ],
        "settled_s": _spread([outcome.settled_s for outcome in total]),
        "drained_s": _spread([outcome.drained_s for outcome in total]),
        "hours_per_cpu_s": round(hours / max(cpu_s, 1e-9), 3),
    }


def _spread(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds) or [0.0]
    return {"p50": round(ordered[len(ordered) // 2]), "worst": round(ordered[-1])}


def _run(seeds: range, hours: float, profile: str | None, jobs: int) -> Iterator[Outcome]:
    work = [(seed, hours, profile) for seed in seeds]
    if jobs == 1 or len(work) < 2:
        yield from map(_one, work)
        return
    context = multiprocessing.get_context("spawn")
    with context.Pool(jobs, maxtasksperchild=_SEEDS_PER_PROCESS) as pool:
        yield from pool.imap(_one, work)


def _one(work: tuple[int, float, str | None]) -> Outcome:
    seed, hours, profile = work
    return simulate(choose_scenario(seed, hours, profile))


def _replay(seed: int, hours: float, profile: str | None) -> int:
    outcome = simulate(choose_scenario(seed, hours, profile), story=True)
    print("\n".join(outcome.story))
    print(json.dumps(summary((outcome,))))
    return 1 if outcome.violations else 0


def _line(outcome: Outcome) -> str:
    verdict = f"{len(outcome.violations)} VIOLATIONS: {outcome.violations[0]}" if outcome.violations else "ok"
    return (
        f"seed {outcome.seed:5} {outcome.profile:8} {outcome.hours:5.2f} h {outcome.crashes:3} crashes "
        f"{outcome.provider_calls:5} calls {outcome.cpu_s:5.1f} s {outcome.digest} {verdict}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hack/simulate", description=__doc__)
    parser.add_argument("--seeds", type=_seeds, default=(0, 20), metavar="A:B", help="from A up to, not including, B")
    parser.add_argument("--hours", type=float, default=1.0, help="simulated hours of faults per seed")
    parser.add_argument("--profile", choices=sorted(PROFILES), help="kind of provider; each seed chooses when absent")
    parser.add_argument("--json", action="store_true", help="print nothing but the last line and stories of violations")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at once")
    parser.add_argument("--all-points", action="store_true", help="fail unless every coverage point was reached")
    parser.add_argument("--replay", type=int, metavar="SEED", help="tell the whole story of this seed")
    parser.add_argument("--shrink", type=int, default=_SHRUNK, metavar="N", help="make the first N violations short")
    return parser


def _seeds(text: str) -> tuple[int, int]:
    first, colon, end = text.partition(":")
    try:
        return (int(first), int(end)) if colon else (int(first), int(first) + 1)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not A:B, two numbers") from None


if __name__ == "__main__":
    sys.exit(main())
