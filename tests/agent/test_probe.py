"""The health check as the agent runs it: judged by rows of failures, bounded in every way, and never in anybody's way."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from skyward_agent.runner.probe import HealthProbe
from skyward_agent.runner.tree import all_pids, become_subreaper
from skyward_agent.wire.messages import CHECK_FAILING, CHECK_PASSING, HealthCheck

SOON_S = 20.0
MARK = f"4711{os.getpid()}"
"""Seconds that nobody else on this host sleeps."""


def in_loop(test: Callable[..., Coroutine[None, None, None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(*args: object, **fixtures: object) -> None:
        asyncio.run(test(*args, **fixtures))

    return run


class Watched:
    """A probe and every verdict that it announced."""

    def __init__(self, directory: Path) -> None:
        self.verdicts: list[tuple[str, str]] = []
        self.probe = HealthProbe(directory, self._environment, self._changed)
        self._news = asyncio.Event()

    def check(self, command: str, *, timeout_s: float = 10.0, threshold: int = 1, interval_s: float = 0.01) -> None:
        self.probe.configure(HealthCheck(command, interval_s, timeout_s, threshold))

    async def until(self, state: str) -> str:
        async with asyncio.timeout(SOON_S):
            while self.probe.state != state:
                self._news.clear()
                await self._news.wait()
        return self.probe.message

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "GREETING": "hello"}

    def _changed(self) -> None:
        self.verdicts.append((self.probe.state, self.probe.message))
        self._news.set()


@asynccontextmanager
async def watched(directory: Path) -> AsyncIterator[Watched]:
    one = Watched(directory)
    task = asyncio.create_task(one.probe.run())
    try:
        yield one
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def runs(marker: str) -> list[int]:
    """Processes with this word on their command line."""
    found = []
    for pid in all_pids():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if marker.encode() in words:
            found.append(pid)
    return found


async def gone(marker: str) -> bool:
    for _ in range(500):
        if not runs(marker):
            return True
        await asyncio.sleep(0.01)
    return False


@in_loop
async def test_status_zero_passes_in_the_node_home_with_the_environment_of_tasks(tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    async with watched(tmp_path) as one:
        one.check('test -e there && test "$GREETING" = hello')

        assert await one.until(CHECK_PASSING) == ""


@in_loop
async def test_only_a_row_of_failures_counts_and_one_pass_ends_it(tmp_path: Path) -> None:
    """Fails in the runs 1, 2, 4, 5 and 6: three in a row are reached only with the last."""
    script = 'echo x >>runs; n=$(wc -l <runs); case $n in 3|7) exit 0;; *) echo "run $n"; exit 1;; esac'
    async with watched(tmp_path) as one:
        one.check(script, threshold=3)
        await one.until(CHECK_FAILING)
        await one.until(CHECK_PASSING)

    assert one.verdicts[:3] == [(CHECK_PASSING, ""), (CHECK_FAILING, "exit status 1: run 6"), (CHECK_PASSING, "")]


@in_loop
async def test_a_verdict_is_told_once_however_often_the_check_runs(tmp_path: Path) -> None:
    async with watched(tmp_path) as one:
        one.check('echo x >>runs; echo "time $(wc -l <runs)"; exit 1', threshold=1)
        async with asyncio.timeout(SOON_S):
            while not (tmp_path / "runs").exists() or len((tmp_path / "runs").read_text().split()) < 5:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    assert one.verdicts == [(CHECK_FAILING, "exit status 1: time 1")]


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("exit 7", "exit status 7"),
        ("kill -SEGV $$", "killed by SIGSEGV"),
        ("no-such-command-at-all 2>/dev/null", "exit status 127"),
        ("echo one; echo two >&2; exit 1", "exit status 1: two"),
        ("head -c 5000000 /dev/zero; echo; echo end; exit 1", "exit status 1: end"),
    ],
    ids=["status", "signal", "missing", "last line", "flood"],
)
@in_loop
async def test_a_failure_is_told_with_its_status_and_last_line(tmp_path: Path, command: str, problem: str) -> None:
    async with watched(tmp_path) as one:
        one.check(command)

        assert await one.until(CHECK_FAILING) == problem


@in_loop
async def test_a_run_that_takes_too_long_ends_with_all_that_it_started(tmp_path: Path) -> None:
    async with watched(tmp_path) as one:
        one.check(f"setsid sleep {MARK} & sleep {MARK}", timeout_s=0.3, interval_s=60)

        assert await one.until(CHECK_FAILING) == "it took longer than 0.3 s"
        assert await gone(MARK)


@in_loop
async def test_nothing_is_left_of_a_check_when_the_agent_ends(tmp_path: Path) -> None:
    async with watched(tmp_path) as one:
        one.check(f"sleep {MARK}", timeout_s=60)
        async with asyncio.timeout(SOON_S):
            while not runs(MARK):  # noqa: ASYNC110 - another process's state
                await asyncio.sleep(0.01)

    assert await gone(MARK)


@in_loop
async def test_a_check_that_changes_is_run_at_once_and_until_then_the_old_verdict_stands(tmp_path: Path) -> None:
    async with watched(tmp_path) as one:
        one.check("exit 0", interval_s=3600)
        await one.until(CHECK_PASSING)
        one.check("exit 1", interval_s=3600)
        assert one.probe.state == CHECK_PASSING
        await one.until(CHECK_FAILING)

        one.probe.configure(None)

        assert one.probe.state == ""


@in_loop
async def test_the_loop_goes_on_while_a_check_hangs(tmp_path: Path) -> None:
    become_subreaper()
    async with watched(tmp_path) as one:
        one.check(f"trap '' TERM; sleep {MARK}", timeout_s=60)
        turns = 0
        async with asyncio.timeout(SOON_S):
            while not runs(MARK):
                await asyncio.sleep(0)
                turns += 1

        assert turns > 0
        assert one.probe.pid > 0
