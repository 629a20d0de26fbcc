"""Child processes with real, badly behaved functions in them. Functions are made inside tests, so that they travel by
value as those of a user's script do."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skyward_agent.runner.messages import FunctionEnded
from skyward_agent.runner.output import PENDING_BYTES
from skyward_agent.runner.tree import tree_of
from skyward_agent.wire.messages import Failure
from skyward_agent.wire.world import NodeInfo
from tests.agent.bench import Answer, RunnerBench, with_bench


def ended(answer: Answer) -> FunctionEnded:
    assert isinstance(answer, FunctionEnded), answer
    return answer


def failure_of(answer: Answer) -> Failure:
    failure = answer.failure if isinstance(answer, FunctionEnded) else answer[1]
    assert failure is not None
    return failure


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def until(is_so: Callable[[], bool]) -> None:
    """Bounded polling of real processes."""
    for _ in range(1000):
        if is_so():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come true within 10 s")


def test_returns_values_and_stays_warm(tmp_path: Path) -> None:
    async def body(bench: RunnerBench) -> None:
        first = await bench.value(lambda x: (x * 2, __import__("os").getpid()), 21)
        second = await bench.value(lambda x: (x * 3, __import__("os").getpid()), 7)

        assert (first[0], second[0]) == (42, 21)
        assert first[1] == second[1]

    with_bench(tmp_path, body)


def test_a_function_travels_to_a_child_once(tmp_path: Path) -> None:
    def remembered() -> int:
        calls = globals().setdefault("calls_of_this_child", [])
        calls.append(1)
        return len(calls)

    async def body(bench: RunnerBench) -> None:
        assert [await bench.value(remembered) for _ in range(3)] == [1, 2, 3]

    with_bench(tmp_path, body)


def test_an_exception_comes_back_in_words_and_pickled_without_our_frames(tmp_path: Path) -> None:
    def fails(n: int) -> None:
        raise KeyError(f"missing {n}")

    async def body(bench: RunnerBench) -> None:
        answer = ended(await bench.run(fails, 7))
        failure = failure_of(answer)

        assert answer.outcome == "Failed"
        assert answer.clean
        assert (failure.type, failure.message) == ("KeyError", "'missing 7'")
        assert "in fails" in failure.traceback
        assert "execution.py" not in failure.traceback
        assert repr(__import__("pickle").loads(failure.exception)) == "KeyError('missing 7')"

    with_bench(tmp_path, body)


def _exit_with_status() -> None:
    import sys

    sys.exit(3)


def _interrupt() -> None:
    raise KeyboardInterrupt


def _recurse() -> None:
    _recurse()


def _bad_text() -> None:
    class Silent(Exception):
        def __str__(self) -> str:
            raise ValueError("no text")

    raise Silent


@pytest.mark.parametrize(
    ("function", "kind", "message"),
    [
        (_exit_with_status, "SystemExit", "3"),
        (_interrupt, "KeyboardInterrupt", ""),
        (_recurse, "RecursionError", "maximum recursion depth exceeded"),
        (_bad_text, "tests.agent.test_runner._bad_text.<locals>.Silent", "its text cannot be shown"),
    ],
    ids=["sys-exit", "keyboard-interrupt", "recursion", "exception-without-text"],
)
def test_whatever_a_function_raises_is_a_failure_and_the_child_lives(
    tmp_path: Path, function: Callable[[], None], kind: str, message: str
) -> None:
    async def body(bench: RunnerBench) -> None:
        answer = ended(await bench.run(function))

        assert answer.outcome == "Failed"
        assert failure_of(answer).type == kind
        assert message in failure_of(answer).message
        assert await bench.value(lambda: 1) == 1

    with_bench(tmp_path, body)


def test_an_exit_raised_by_user_code_does_not_travel_as_an_exception(tmp_path: Path) -> None:
    async def body(bench: RunnerBench) -> None:
        assert failure_of(await bench.run(_exit_with_status)).exception == b""

    with_bench(tmp_path, body)


def _segfault() -> None:
    import ctypes

    print("about to fault", flush=True)
    ctypes.string_at(0)


@pytest.mark.parametrize(
    ("function", "evidence"),
    [
        (lambda: __import__("os")._exit(0), {"exit_code": "0"}),
        (lambda: __import__("os")._exit(9), {"exit_code": "9"}),
        (_segfault, {"signal": "SIGSEGV"}),
        (lambda: __import__("os").abort(), {"signal": "SIGABRT"}),
        (lambda: __import__("os").kill(__import__("os").getpid(), 9), {"signal": "SIGKILL"}),
    ],
    ids=["exit-0", "exit-9", "segfault", "abort", "kill"],
)
def test_a_child_that_dies_leaves_evidence(
    tmp_path: Path, function: Callable[[], Any], evidence: dict[str, str]
) -> None:
    async def body(bench: RunnerBench) -> None:
        answer = await bench.run(function)

        assert isinstance(answer, tuple)
        assert answer[0] == "ChildDied"
        assert evidence.items() <= answer[1].evidence.items()
        if function is _segfault:
            assert "about to fault" in answer[1].evidence["last_output"]
        assert await bench.value(lambda: "next") == "next"

    with_bench(tmp_path, body)


def test_a_missing_module_is_named(tmp_path: Path) -> None:
    def uses() -> Any:
        import pandas_of_nowhere  # type: ignore[import-not-found]

        return pandas_of_nowhere

    class Remote:
        def __reduce__(self) -> tuple[Any, ...]:
            return __import__, ("pandas_of_nowhere",)

    async def body(bench: RunnerBench) -> None:
        in_the_body = ended(await bench.run(uses))
        in_an_argument = ended(await bench.run(lambda x: x, Remote()))

        assert in_the_body.outcome == "Failed"
        assert in_an_argument.outcome == "NotUnpicklable"
        assert "'pandas_of_nowhere' is not installed on the node" in failure_of(in_an_argument).message

    with_bench(tmp_path, body)


def test_a_result_that_cannot_be_pickled_is_named(tmp_path: Path) -> None:
    async def body(bench: RunnerBench) -> None:
        answer = ended(await bench.run(lambda: __import__("threading").Lock()))

        assert answer.outcome == "ResultNotPicklable"
        assert "_thread.lock" in failure_of(answer).message

    with_bench(tmp_path, body)


def test_a_result_of_the_callers_own_class_keeps_its_class(tmp_path: Path) -> None:
    class Mine:
        pass

    async def body(bench: RunnerBench) -> None:
        result = await bench.value(lambda: Mine())

        assert type(result) is Mine

    with_bench(tmp_path, body)


def test_a_result_that_the_disk_does_not_take_fails_and_leaves_nothing(tmp_path: Path) -> None:
    def make() -> bytes:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        return bytes(4 * 1024 * 1024)

    async def body(bench: RunnerBench) -> None:
        answer = ended(await bench.run(make))

        assert answer.outcome == "Failed"
        assert failure_of(answer).type == "skyward.errors.StorageFull"
        assert not list((bench.tasks.parent / "blobs").iterdir())

    with_bench(tmp_path, body)


def test_large_arguments_and_results_pass(tmp_path: Path) -> None:
    async def body(bench: RunnerBench) -> None:
        data = os.urandom(8 * 1024 * 1024)

        assert await bench.value(lambda x: x[::-1], data) == data[::-1]

    with_bench(tmp_path, body)


def test_output_of_python_of_c_and_of_subprocesses_comes_in_order_before_the_answer(tmp_path: Path) -> None:
    def writes() -> None:
        import os
        import subprocess
        import sys

        print("one")
        os.write(1, b"two\n")
        subprocess.run(["sh", "-c", "echo three"], check=True)
        sys.stdout.write("four without an end")
        print("to stderr", file=sys.stderr)

    async def body(bench: RunnerBench) -> None:
        ended(await bench.run(writes))

        assert bench.text() == "one\ntwo\nthree\nfour without an end"
        assert bench.text("stderr") == "to stderr\n"
        assert [output.sequence for output in bench.outputs] == list(range(len(bench.outputs)))

    with_bench(tmp_path, body)


@pytest.mark.slow
def test_a_flood_of_output_is_cut_not_kept_and_blocks_nobody(tmp_path: Path) -> None:
    def floods() -> str:
        import os

        for _ in range(1600):
            os.write(1, b"x" * 65535 + b"\n")
        print("the end")
        return "done"

    async def body(bench: RunnerBench) -> None:
        assert await bench.value(floods) == "done"

        text = bench.text()
        assert len(text) <= PENDING_BYTES + 1024
        assert " bytes dropped]\n" in text
        assert text.endswith("the end\n")

    with_bench(tmp_path, body)


def test_each_task_has_its_own_directory_that_goes_with_it(tmp_path: Path) -> None:
    def leaves_a_file() -> tuple[str, list[str]]:
        import os
        from pathlib import Path

        found = os.listdir()
        Path("left").write_text("x")
        Path("sub").mkdir(0o500)
        return os.getcwd(), found

    async def body(bench: RunnerBench) -> None:
        first = await bench.value(leaves_a_file)
        second = await bench.value(leaves_a_file)

        assert first[0] != second[0]
        assert first[1] == second[1] == []
        await bench.value(lambda: None)
        assert Path(first[0]).name not in [path.name for path in bench.tasks.iterdir()]

    with_bench(tmp_path, body)


def test_what_a_task_changes_in_its_process_is_put_back(tmp_path: Path) -> None:
    def changes() -> None:
        import os
        import sys

        os.environ["LEFT"] = "1"
        del os.environ["PATH"]
        os.chdir("/")
        os.umask(0)
        sys.path.insert(0, "/nowhere")
        sys.argv.append("left")
        sys.setrecursionlimit(5000)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.alarm(1)
        sys.stdout = None

    def looks() -> dict[str, Any]:
        import os
        import sys

        print("seen")
        umask = os.umask(0)
        os.umask(umask)
        return {
            "left": os.environ.get("LEFT"),
            "path": bool(os.environ.get("PATH")),
            "cwd": os.getcwd() != "/",
            "umask": umask,
            "sys.path": "/nowhere" in sys.path,
            "argv": "left" in sys.argv,
            "recursion": sys.getrecursionlimit(),
            "term": signal.getsignal(signal.SIGTERM) is signal.SIG_DFL,
            "alarm": signal.alarm(0),
        }

    async def body(bench: RunnerBench) -> None:
        before = await bench.value(looks)
        changed = ended(await bench.run(changes))
        after = await bench.value(looks)

        assert changed.clean
        assert after == before
        assert bench.text() == "seen\n"

    with_bench(tmp_path, body)


@pytest.mark.parametrize("last", [3, 256], ids=["standard-streams", "all-low-descriptors"])
def test_closed_descriptors_are_there_again_for_the_next_task(tmp_path: Path, last: int) -> None:
    async def body(bench: RunnerBench) -> None:
        closed = ended(await bench.run(lambda: __import__("os").closerange(0, last)))
        await bench.value(lambda: print("still heard"))

        assert closed.outcome == "Succeeded"
        assert bench.text() == "still heard\n"

    with_bench(tmp_path, body)


def test_closing_the_stream_objects_harms_only_this_task(tmp_path: Path) -> None:
    def closes() -> None:
        import sys

        sys.stdout.close()
        sys.stderr.close()

    async def body(bench: RunnerBench) -> None:
        closed = await bench.begin(closes)
        answer = ended(await bench.answer)
        closed.stop(kill=True)  # as for every child that is not clean
        await bench.is_dead.wait()
        await bench.value(lambda: print("still heard"))

        assert (answer.outcome, answer.clean) == ("Succeeded", False)
        assert bench.text() == "still heard\n"

    with_bench(tmp_path, body)


def test_closing_the_channel_is_a_death_with_a_reason(tmp_path: Path) -> None:
    async def body(bench: RunnerBench) -> None:
        answer = await bench.run(lambda: __import__("os").closerange(3, 4096))

        assert isinstance(answer, tuple)
        assert "closed the channel" in answer[1].message

    with_bench(tmp_path, body)


def test_environment_of_the_task_and_its_place_are_there(tmp_path: Path) -> None:
    def looks() -> tuple[str, int, list[int]]:
        import os

        from skyward_agent.wire.world import node_info, shard

        return os.environ["MINE"], node_info().rank, list(shard(range(5)))

    async def body(bench: RunnerBench) -> None:
        info = NodeInfo("n", "p", rank=1, world_size=2, peers=("a", "b"), head_address="a")
        env = {"MINE": "yes", "SKYWARD_NODE_INFO": info.to_json()}

        assert await bench.value(looks, env=env) == ("yes", 1, [1, 3])

    with_bench(tmp_path, body)


def _fork_and_return() -> int:
    return os.fork()


def _leave_a_thread() -> None:
    import threading

    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()


def _leave_a_process() -> int:
    import subprocess

    return subprocess.Popen(["sleep", "60"]).pid


def _leave_a_daemon() -> int:
    """Double fork and a session of its own."""
    import os

    read, write = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(write, str(os.getpid()).encode())
            time.sleep(60)
        os._exit(0)
    return int(os.read(read, 20))


@pytest.mark.parametrize(
    "leave", [_leave_a_thread, _leave_a_process, _leave_a_daemon], ids=["thread", "process", "daemon"]
)
def test_a_child_in_which_something_lives_on_says_so_and_its_tree_can_be_ended(
    tmp_path: Path, leave: Callable[[], int | None]
) -> None:
    async def body(bench: RunnerBench) -> None:
        left = await bench.begin(leave)
        answer = ended(await bench.answer)
        tree = tree_of(left.pid)
        left.stop(kill=True)
        await bench.is_dead.wait()

        assert answer.outcome == "Succeeded"
        assert not answer.clean
        if leave is not _leave_a_thread:
            assert len(tree) == 2
        await until(lambda: not any(alive(pid) for pid in tree))

    with_bench(tmp_path, body)


def test_a_fork_that_returns_from_the_function_too_does_not_answer_twice(tmp_path: Path) -> None:
    async def body(bench: RunnerBench) -> None:
        forked = await bench.value(_fork_and_return)

        assert forked > 0
        await until(lambda: not alive(forked))

    with_bench(tmp_path, body)


def test_asked_to_end_a_function_may_clean_up(tmp_path: Path) -> None:
    flag = tmp_path / "cleaned"

    def waits(path: str) -> None:
        import sys
        import time
        from pathlib import Path

        signal.signal(signal.SIGTERM, lambda *_: sys.exit("asked to end"))
        try:
            print("waiting")
            time.sleep(60)
        finally:
            Path(path).touch()

    async def body(bench: RunnerBench) -> None:
        child = await bench.begin(waits, str(flag))
        await until(lambda: child.current is not None and bool(child.current.output.tail))
        child.stop(kill=False)

        assert failure_of(await bench.answer).type == "SystemExit"
        assert flag.exists()

    with_bench(tmp_path, body)


def test_a_tree_that_ignores_being_asked_is_killed_whole(tmp_path: Path) -> None:
    def stubborn() -> None:
        import subprocess
        import time

        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        subprocess.Popen(["sh", "-c", "trap '' TERM; setsid sleep 61 & setsid sleep 62 & wait"], start_new_session=True)
        time.sleep(0.2)
        print("ready")
        time.sleep(60)

    async def body(bench: RunnerBench) -> None:
        child = await bench.begin(stubborn)
        await until(lambda: child.current is not None and bool(child.current.output.tail))
        tree = tree_of(child.pid)
        child.stop(kill=True)
        answer = await bench.answer

        assert len(tree) == 4
        assert isinstance(answer, tuple)
        assert answer[1].evidence["signal"] == "SIGKILL"
        await until(lambda: not any(alive(pid) for pid in tree))

    with_bench(tmp_path, body)


def test_memory_of_a_whole_tree_is_seen_and_a_bloated_child_known(tmp_path: Path) -> None:
    def grows() -> None:
        import os

        globals()["kept_by_the_child"] = b"x" * (48 * 2**20)
        if os.fork() == 0:
            mine = b"y" * (48 * 2**20)
            time.sleep(60)
            os._exit(len(mine) % 2)
        print("grown")

    async def body(bench: RunnerBench) -> None:
        child = await bench.begin(grows)
        ended(await bench.answer)

        def used() -> int:
            return child.over_limit(0) or 0

        await until(lambda: used() > 96 * 2**20)
        assert used() < 140 * 2**20, "what the fork shares is counted once"
        assert child.is_bloated(64 * 2**20)
        assert not child.is_bloated(1024 * 2**20)

    with_bench(tmp_path, body)


def test_memory_that_cannot_be_had_is_out_of_memory_only_under_a_limit(tmp_path: Path) -> None:
    def greedy() -> None:
        raise MemoryError("no room")

    async def body(bench: RunnerBench) -> None:
        limited = ended(await bench.run(greedy, memory_limited=True))
        await bench.close()
        bench.child = None
        free = ended(await bench.run(greedy))

        assert (limited.outcome, limited.clean) == ("OutOfMemory", False)
        assert free.outcome == "Failed"

    with_bench(tmp_path, body)


def test_a_child_ends_when_its_agents_end_of_the_channel_closes(tmp_path: Path) -> None:
    async def body(bench: RunnerBench) -> None:
        parent = await bench.value(lambda: __import__("os").getppid())
        child = await bench.start()

        child._channel._packets.shutdown(socket.SHUT_RDWR)

        assert parent == os.getpid()
        await bench.is_dead.wait()

    with_bench(tmp_path, body)


def test_skyward_is_importable_on_a_node_without_the_package() -> None:
    program = (
        "import sys, types; sys.path = [p for p in sys.path if 'operator' not in p]; sys.meta_path = "
        "[f for f in sys.meta_path if 'editable' not in repr(f).lower()];"
        "from skyward_agent.runner import facade; facade.install(); import skyward as sky;"
        "print(sky.shard.__name__, sky.node_info.__name__);\n"
        "try: sky.connect\nexcept AttributeError as error: print(error)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert result.stdout.splitlines()[0] == "shard node_info"
    assert "skyward.connect is not available on nodes" in result.stdout
