"""Bad input and bad manners, in a real child: each has a typed outcome with evidence, and the next task finds a sound child."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skyward_agent.runner.messages import FunctionEnded
from skyward_agent.wire.messages import Failure
from tests.agent.bench import Answer, RunnerBench, with_bench


def ended(answer: Answer) -> FunctionEnded:
    assert isinstance(answer, FunctionEnded), answer
    return answer


def failure_of(answer: Answer) -> Failure:
    failure = answer.failure if isinstance(answer, FunctionEnded) else answer[1]
    assert failure is not None
    return failure


def _with_a_lock() -> None:
    import threading

    class Holding(Exception):
        def __init__(self) -> None:
            super().__init__("holds a lock")
            self.lock = threading.Lock()

    raise Holding


def _with_two_arguments() -> None:
    class Particular(Exception):
        def __init__(self, code: int, reason: str) -> None:
            super().__init__(f"{code}: {reason}")

    raise Particular(7, "cannot be made again")


def _with_a_bad_reduction() -> None:
    class Refusing(Exception):
        def __reduce__(self) -> Any:
            raise RuntimeError("not me")

    raise Refusing("refuses")


def _huge() -> None:
    raise ValueError(b"x" * (4 * 1024 * 1024))


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (_with_a_lock, "holds a lock"),
        (_with_two_arguments, "7: cannot be made again"),
        (_with_a_bad_reduction, "refuses"),
        (_huge, "xxx"),
    ],
    ids=["state", "constructor", "reduction", "size"],
)
def test_an_exception_that_cannot_travel_comes_in_words(
    tmp_path: Path, function: Callable[[], None], said: str
) -> None:
    async def body(bench: RunnerBench) -> None:
        answer = ended(await bench.run(function))
        failure = failure_of(answer)

        assert (answer.outcome, answer.clean) == ("Failed", True)
        assert failure.exception == b""
        assert said in failure.message
        assert len(failure.message) <= 10_000
        assert function.__name__ in failure.traceback
        assert await bench.value(lambda: "next") == "next"

    with_bench(tmp_path, body)


def test_an_exception_with_a_cause_brings_both_tracebacks(tmp_path: Path) -> None:
    def fails() -> None:
        try:
            int("x")
        except ValueError as error:
            raise KeyError("y") from error

    async def body(bench: RunnerBench) -> None:
        failure = failure_of(await bench.run(fails))

        assert "ValueError" in failure.traceback
        assert "direct cause" in failure.traceback
        assert isinstance(pickle.loads(failure.exception), KeyError)

    with_bench(tmp_path, body)


def test_an_argument_that_fails_to_load_is_not_the_functions_failure(tmp_path: Path) -> None:
    class Poison:
        def __reduce__(self) -> tuple[Any, ...]:
            return int, ("no number",)

    async def body(bench: RunnerBench) -> None:
        answer = ended(await bench.run(lambda x: x, Poison()))

        assert answer.outcome == "NotUnpicklable"
        assert "could not be loaded on the node: ValueError" in failure_of(answer).message
        assert await bench.value(lambda: "next") == "next"

    with_bench(tmp_path, body)


def test_a_pickle_that_ends_the_process_is_a_death_with_evidence(tmp_path: Path) -> None:
    class Deadly:
        def __reduce__(self) -> tuple[Any, ...]:
            import os

            return os._exit, (5,)

    async def body(bench: RunnerBench) -> None:
        answer = await bench.run(lambda x: x, Deadly())

        assert isinstance(answer, tuple)
        assert answer[1].evidence["exit_code"] == "5"
        assert await bench.value(lambda: "next") == "next"

    with_bench(tmp_path, body)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt], ids=["exit", "interrupt"])
def test_what_ends_a_program_ends_only_its_task_even_while_loading_or_packing(
    tmp_path: Path, kind: type[BaseException]
) -> None:
    class WhenLoaded:
        def __reduce__(self) -> tuple[Any, ...]:
            return exec, (f"raise {kind.__name__}('while loading')",)

    class WhenPacked:
        def __reduce__(self) -> tuple[Any, ...]:
            raise kind("while packing")

    async def body(bench: RunnerBench) -> None:
        loaded = ended(await bench.run(lambda x: x, WhenLoaded()))
        packed = ended(await bench.run(lambda: WhenPacked()))

        assert loaded.outcome == "NotUnpicklable"
        assert packed.outcome == "ResultNotPicklable"
        assert failure_of(loaded).exception == failure_of(packed).exception == b""
        assert await bench.value(lambda: "next") == "next"

    with_bench(tmp_path, body)


def test_deep_recursion_in_a_result_is_a_result_that_cannot_travel(tmp_path: Path) -> None:
    def nests() -> list[Any]:
        inner: list[Any] = []
        for _ in range(100_000):
            inner = [inner]
        return inner

    async def body(bench: RunnerBench) -> None:
        answer = ended(await bench.run(nests))

        assert answer.outcome == "ResultNotPicklable"
        assert "excessively deep recursion" in failure_of(answer).message
        assert await bench.value(lambda: "next") == "next"

    with_bench(tmp_path, body)


def test_a_recursion_without_a_limit_is_a_death_by_signal(tmp_path: Path) -> None:
    def falls() -> None:
        import functools
        import sys

        sys.setrecursionlimit(2**31 - 1)

        @functools.total_ordering
        class Deep:
            def __lt__(self, other: Any) -> bool:
                return sorted([Deep(), Deep()]) is None

        sorted([Deep(), Deep()])

    async def body(bench: RunnerBench) -> None:
        answer = await bench.run(falls)

        assert isinstance(answer, tuple)
        assert answer[0] == "ChildDied"
        assert answer[1].evidence["signal"] == "SIGSEGV"
        assert await bench.value(lambda: "next") == "next"

    with_bench(tmp_path, body)


@pytest.mark.parametrize("how", ["removed", "replaced", "unreadable", "parent-gone-from-sight"])
def test_a_task_that_spoils_its_own_directory_leaves_the_next_one_a_whole_one(tmp_path: Path, how: str) -> None:
    def spoils(how: str) -> str:
        import os
        import shutil
        from pathlib import Path

        here = Path.cwd()
        if how == "removed":
            shutil.rmtree(here)
        elif how == "replaced":
            shutil.rmtree(here)
            here.write_text("a file now")
        elif how == "unreadable":
            here.chmod(0)
        else:
            (here / "deep").mkdir()
            os.chdir("deep")
            shutil.rmtree(here)
        return str(here)

    def looks() -> tuple[str, list[str]]:
        import os
        from pathlib import Path

        Path("written").write_text("x")
        return os.getcwd(), os.listdir()

    async def body(bench: RunnerBench) -> None:
        spoiled = ended(await bench.run(spoils, how))
        where, found = await bench.value(looks)

        assert (spoiled.outcome, spoiled.clean) == ("Succeeded", True)
        assert where != pickle.loads(spoiled.value)
        assert found == ["written"]

    with_bench(tmp_path, body)


def test_locale_clock_zone_and_default_encoding_of_one_task_are_not_the_next_ones(tmp_path: Path) -> None:
    def changes() -> None:
        import locale
        import os
        import time

        locale.setlocale(locale.LC_ALL, "C")
        os.environ["TZ"] = "Pacific/Auckland"
        time.tzset()

    def looks() -> tuple[str, int]:
        import locale
        import time

        return str(locale.setlocale(locale.LC_ALL)), time.timezone

    async def body(bench: RunnerBench) -> None:
        before = await bench.value(looks)
        await bench.value(changes)

        assert await bench.value(looks) == before

    with_bench(tmp_path, body)


@pytest.mark.parametrize("number", ["SIGUSR2", "SIGHUP", "SIGVTALRM", "SIGQUIT"])
def test_handlers_of_every_signal_are_put_back(tmp_path: Path, number: str) -> None:
    def handles(number: str) -> None:
        import signal

        signal.signal(getattr(signal, number), lambda *_: None)

    def looks(number: str) -> str:
        import signal

        return str(signal.getsignal(getattr(signal, number)))

    async def body(bench: RunnerBench) -> None:
        before = await bench.value(looks, number)
        await bench.value(handles, number)

        assert await bench.value(looks, number) == before

    with_bench(tmp_path, body)


def test_limits_and_niceness_that_cannot_be_put_back_cost_the_child(tmp_path: Path) -> None:
    def lowers() -> None:
        import os
        import resource

        os.nice(1)
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))

    def looks() -> tuple[int, tuple[int, int]]:
        import os
        import resource

        return os.getpriority(os.PRIO_PROCESS, 0), resource.getrlimit(resource.RLIMIT_NOFILE)

    async def body(bench: RunnerBench) -> None:
        before = await bench.value(looks)
        child = await bench.start()
        lowered = ended(await bench.run(lowers))
        if not lowered.clean:
            child.stop(kill=True)
            await bench.is_dead.wait()

        assert await bench.value(looks) == before

    with_bench(tmp_path, body)


def test_modules_that_a_task_breaks_break_no_answer(tmp_path: Path) -> None:
    def breaks() -> str:
        import builtins

        builtins.print = None  # type: ignore[assignment]
        sys.stdout = sys.stderr = None
        return "done"

    async def body(bench: RunnerBench) -> None:
        assert await bench.value(breaks) == "done"

    with_bench(tmp_path, body)
