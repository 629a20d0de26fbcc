"""Many seeds, on all cores; the last line is one JSON object. A violation is told with a story that was made short first."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tests.simulation.profiles import PROFILES
from tests.simulation.run import Outcome, simulate
from tests.simulation.scenario import choose_scenario
from tests.simulation.shrink import shrink
from tests.simulation.story import tell
from tests.simulation.tally import Tally
from tests.simulation.workers import run_each

_PROGRESS_S = 60.0
_WARM_H = 0.02
"""A run this short loads all that runs need, before processes are forked for them."""
_SHRUNK = 3
"""So many violations are made short; the others are listed."""


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    if options.replay is not None:
        return _replay(options.replay, options.hours, options.profile)
    seeds, tally = range(*options.seeds), Tally()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _listen(_run(seeds, options.hours, options.profile, options.jobs), tally, len(seeds), is_quiet=options.json)
    except KeyboardInterrupt:
        print(f"stopped, no verdict: {tally.progress(len(seeds))}", file=sys.stderr)
        return 130
    for outcome in tally.bad[: options.shrink]:
        smaller, found = shrink(choose_scenario(outcome.seed, options.hours, options.profile), outcome)
        print(tell(smaller, found), flush=True)
    total = tally.summary()
    short = shortfalls(total, options.all_points, options.min_crashes_per_hour, options.min_faulted)
    for text in short:
        print(text, file=sys.stderr)
    print(json.dumps(total))
    return 1 if tally.bad or short else 0


def _listen(outcomes: Iterable[Outcome], tally: Tally, seeds: int, *, is_quiet: bool) -> None:
    told_at = time.monotonic()
    for outcome in outcomes:
        tally.add(outcome)
        if not is_quiet:
            print(_line(outcome), flush=True)
        if time.monotonic() - told_at >= _PROGRESS_S:
            told_at = time.monotonic()
            print(tally.progress(seeds), file=sys.stderr, flush=True)


def shortfalls(
    total: Mapping[str, Any], all_points: bool, min_crashes_per_hour: float, min_faulted: float
) -> tuple[str, ...]:
    """Where these runs were too tame to prove what they are for."""
    found = []
    if all_points and total["unreached"]:
        found.append(f"never reached: {', '.join(total['unreached'])}")
    if total["crashes_per_hour"] < min_crashes_per_hour:
        found.append(f"{total['crashes_per_hour']} crashes an hour, wanted {min_crashes_per_hour:g}")
    if total["faulted_share"] < min_faulted:
        found.append(f"{total['faulted_share']:.0%} of the provider calls were faulted, wanted {min_faulted:.0%}")
    return tuple(found)


def _run(seeds: range, hours: float, profile: str | None, jobs: int) -> Iterator[Outcome]:
    work = [(seed, hours, profile) for seed in seeds]
    if len(work) == 1:
        yield simulate(choose_scenario(*work[0]))
        return
    simulate(choose_scenario(0, _WARM_H))
    yield from run_each(_one, work, jobs)


def _one(work: tuple[int, float, str | None]) -> Outcome:
    return simulate(choose_scenario(*work), is_last=True)


def _replay(seed: int, hours: float, profile: str | None) -> int:
    outcome = simulate(choose_scenario(seed, hours, profile), story=True)
    print("\n".join(outcome.story))
    tally = Tally()
    tally.add(outcome)
    print(json.dumps(tally.summary()))
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
    parser.add_argument(
        "--min-crashes-per-hour", type=float, default=0.0, metavar="N", help="fail below so many deaths of operators"
    )
    parser.add_argument(
        "--min-faulted",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="fail below this share of faulted provider calls",
    )
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
