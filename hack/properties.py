"""The command behind hack/properties."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "operator"), str(ROOT / "agent")]

from tests.properties.volume import Batch, Kind, Report, check, run_batch, split  # noqa: E402

SHOWN = 20


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="hack/properties", description="Ends with one JSON object; exit 1 on any violation."
    )
    parser.add_argument("--checks", type=int, default=50_000, help="how many worlds to plan with all laws asserted")
    parser.add_argument("--seed", type=int, default=0, help="of the first world of each kind")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--json", action="store_true", help="print nothing but the JSON object")
    parser.add_argument(
        "--world", metavar="KIND:SEED", help="one world alone: pool, node or history, and where it breaks"
    )
    options = parser.parse_args()
    if options.world:
        return _one(parser, options.world)
    report, seconds = _many(options.checks, options.seed, options.jobs)
    if not options.json:
        for violation in report.violations[:SHOWN]:
            print(f"{violation.law}\n    hack/properties --world {violation.world}", file=sys.stderr)
    print(json.dumps(_summary(report, seconds, options.seed, options.jobs)))
    return 1 if report.violations else 0


def _one(parser: argparse.ArgumentParser, world: str) -> int:
    kind, _, seed = world.partition(":")
    if kind not in set(Kind) or not seed.isdigit():
        parser.error(f"--world {world!r} is not KIND:SEED: write it like pool:123, node:7 or history:42")
    checks, seen = check(Kind(kind), int(seed))
    print(json.dumps({"world": world, "checks": checks, "seen": dict(seen)}))
    return 0


def _many(checks: int, seed: int, jobs: int) -> tuple[Report, float]:
    report, began = Report(), time.monotonic()
    with ProcessPoolExecutor(jobs) as executor:
        for part in executor.map(run_batch, split(checks, seed)):
            report.add(part)
        missing = checks - report.checks.total()  # histories are of different lengths
        if missing > 0:
            report.add(run_batch(Batch(Kind.NODE, seed + checks, missing)))
    return report, time.monotonic() - began


def _summary(report: Report, seconds: float, seed: int, jobs: int) -> dict[str, object]:
    cpu_s = sum(report.cpu_s.values())
    return {
        "checks": report.checks.total(),
        "seconds": round(seconds, 1),
        "cpu_s": round(cpu_s, 1),
        "checks_per_cpu_s": round(report.checks.total() / cpu_s) if cpu_s else 0,
        "seed": seed,
        "jobs": jobs,
        "worlds": dict(report.checks),
        "per_cpu_s": {kind: round(report.checks[kind] / spent) for kind, spent in report.cpu_s.items()},
        "seen": dict(report.seen.most_common()),
        "violations": [asdict(violation) for violation in report.violations[:SHOWN]],
    }


if __name__ == "__main__":
    sys.exit(main())
