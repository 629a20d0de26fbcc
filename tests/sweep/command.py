"""The sweep, or a share of it, on all cores; the last line is one JSON object. Every violation names where the operator died."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from skyward.errors import UserError
from tests.sweep.points import Share, parse_point, points_of
from tests.sweep.run import Point, Telling, tell
from tests.sweep.stories import STORIES
from tests.sweep.story import Story

_WORKS_PER_PROCESS = 8
_SHOWN = 2
"""So many violations of one telling are printed."""


@dataclass(frozen=True, slots=True)
class Work:
    """Some deaths of one story."""

    story: str
    share: Share
    part: int
    parts: int
    until: float
    """Monotonic: what is not begun by then is skipped."""
    pairs: bool = False
    """Two deaths each: the share is one of the second ones, after every first one."""


@dataclass(frozen=True, slots=True)
class Found:
    """One telling that was not as it should be, or the story itself when there is no point."""

    story: str
    point: str
    where: str
    violations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Done:
    story: str
    calls: int
    runs: int
    deaths: int
    skipped: int
    cpu_s: float
    found: tuple[Found, ...]


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    if options.replay is not None:
        try:
            return _replay(*options.replay)
        except UserError as error:
            print(error, file=sys.stderr)
            return 2
    began = time.monotonic()
    stories = options.scenario or sorted(STORIES)
    done = []
    for one in _sweep(stories, Share(options.share, options.by), options.jobs, began + options.budget, options.pairs):
        done.append(one)
        if not options.json:
            print(_line(one), flush=True)
        for found in one.found:
            print("\n".join((f"{found.point}  {found.where}", *found.violations[:_SHOWN])), flush=True)
    print(json.dumps(summary(done, time.monotonic() - began)))
    return 1 if any(one.found for one in done) else 0


def summary(done: Sequence[Done], seconds: float) -> dict[str, object]:
    return {
        "scenarios": len({one.story for one in done}),
        "calls": sum({one.story: one.calls for one in done}.values()),
        "runs": sum(one.runs for one in done),
        "crashes": sum(one.deaths for one in done),
        "violations": [
            {"at": found.point, "call": found.where, "says": found.violations[0].splitlines()[0]}
            for one in done
            for found in one.found
        ],
        "seconds": round(seconds, 1),
        "cpu_seconds": round(sum(one.cpu_s for one in done), 1),
        "skipped": sum(one.skipped for one in done),
    }


# --- the work ------------------------------------------------------------------------------------------------------------


def _sweep(stories: Sequence[str], share: Share, jobs: int, until: float, pairs: bool) -> Iterator[Done]:
    parts = jobs if pairs or share.percent == 100.0 else 1
    works = [Work(story, share, part, parts, until, pairs) for story in stories for part in range(parts)]
    if jobs == 1 or len(works) == 1:
        yield from map(sweep, works)
        return
    with multiprocessing.get_context("spawn").Pool(jobs, maxtasksperchild=_WORKS_PER_PROCESS) as pool:
        yield from pool.imap_unordered(sweep, works)


def sweep(work: Work) -> Done:
    """The story undisturbed, and then with a death at each of its points."""
    story = STORIES[work.story]
    if time.monotonic() > work.until:
        return Done(work.story, 0, 0, 0, 1, 0.0, ())
    plain = tell(story)
    tally = _Tally(plain)
    if plain.violations:
        return tally.done()
    for point in points_of(plain, Share() if work.pairs else work.share)[work.part :: work.parts]:
        first = tally.tell(story, (point,), work.until)
        if first is None or not work.pairs:
            continue
        share = Share(work.share.percent, work.share.by + point.call.place)
        for second in points_of(first, share, after=point.call.process):
            tally.tell(story, (point, second), work.until)
    return tally.done()


class _Tally:
    """What came of the tellings of one story."""

    def __init__(self, plain: Telling) -> None:
        self._plain = plain
        self._runs = self._deaths = self._skipped = 0
        self._cpu_s = plain.cpu_s
        self._found = [_found(plain, ())] if plain.violations else []

    def tell(self, story: Story, points: tuple[Point, ...], until: float) -> Telling | None:
        """None when it is too late for that."""
        if time.monotonic() > until:
            self._skipped += 1
            return None
        telling = tell(story, points, self._plain.fixpoint)
        self._runs += 1
        self._deaths += telling.deaths
        self._cpu_s += telling.cpu_s
        if telling.violations:
            self._found.append(_found(telling, points))
        return telling

    def done(self) -> Done:
        plain = self._plain
        return Done(
            plain.story, len(plain.calls), self._runs, self._deaths, self._skipped, self._cpu_s, tuple(self._found)
        )


def _found(telling: Telling, points: tuple[Point, ...]) -> Found:
    violations = tuple(dict.fromkeys(str(one) for one in telling.violations))
    key = "+".join(point.key for point in points)
    where = ", then ".join(str(point) for point in points)
    return Found(telling.story, f"{telling.story}:{key}" if key else telling.story, where or "undisturbed", violations)


def _replay(story: str, keys: tuple[str, ...]) -> int:
    """Tell it all, with deaths at those points or with none."""
    telling = plain = tell(STORIES[story], keep=not keys)
    points: tuple[Point, ...] = ()
    for key in keys:
        points = (*points, parse_point(telling, key))
        telling = tell(STORIES[story], points, plain.fixpoint, keep=True)
    print("\n".join((*telling.lines, "", *telling.fixpoint)))
    for violation in telling.violations:
        print(f"\n{violation}")
    return 1 if telling.violations else 0


# --- the command line ------------------------------------------------------------------------------------------------------


def _line(done: Done) -> str:
    verdict = f"{len(done.found)} VIOLATIONS" if done.found else "ok"
    late = f", {done.skipped} skipped" if done.skipped else ""
    return f"{done.story:64} {done.calls:4} calls {done.runs:5} runs {done.cpu_s:6.1f} s{late} {verdict}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hack/sweep", description=__doc__)
    parser.add_argument(
        "--share", type=_share, default=100.0, metavar="PERCENT", help="of all points; the whole if absent"
    )
    parser.add_argument(
        "--by", type=int, default=0, metavar="NUMBER", help="which share: another number, another share"
    )
    parser.add_argument(
        "--scenario", action="append", choices=sorted(STORIES), metavar="NAME", help="only this one; repeat"
    )
    parser.add_argument(
        "--pairs", action="store_true", help="two deaths in each run: each point, then those of the next operator"
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes at once")
    parser.add_argument("--budget", type=float, default=7200.0, metavar="SECONDS", help="begin nothing after this time")
    parser.add_argument("--json", action="store_true", help="print nothing but violations and the last line")
    parser.add_argument(
        "--replay", type=_place, metavar="NAME[:CALL:WHEN[+CALL:WHEN]]", help="tell one telling in full"
    )
    return parser


def _share(text: str) -> float:
    try:
        percent = float(text)
    except ValueError:
        percent = 0.0
    if not 0.0 < percent <= 100.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share between 0 and 100 percent")
    return percent


def _place(text: str) -> tuple[str, tuple[str, ...]]:
    story, _, keys = text.partition(":")
    if story not in STORIES:
        raise argparse.ArgumentTypeError(f"there is no scenario {story!r}")
    return story, tuple(keys.split("+")) if keys else ()


if __name__ == "__main__":
    sys.exit(main())
