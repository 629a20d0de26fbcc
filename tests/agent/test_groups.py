"""Control groups: found where they may be made, with limits that the kernel keeps, and gone after their child.

The kernel's files are stood in for by plain ones, but for the last test, which needs a node that lets us make groups.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from skyward_agent.runner.groups import MOST_TASKS, Group, find_groups
from tests.agent.bench import RunnerBench, with_bench


def a_host(directory: Path, own: str = "/user/agent") -> tuple[Path, Path]:
    """(process, top): what /proc/self and /sys/fs/cgroup show."""
    process, top = directory / "self", directory / "cgroup"
    process.mkdir()
    (process / "cgroup").write_text(f"1:name=systemd:/x\n0::{own}\n")
    (process / "mountinfo").write_text(
        f"25 1 0:22 / /proc rw - proc proc rw\n30 1 0:26 / {top} rw,nosuid shared:4 - cgroup2 cgroup2 rw\n"
    )
    return process, top


def a_group(path: Path, controllers: str = "cpu memory pids", enabled: str = "memory pids") -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "cgroup.controllers").write_text(controllers)
    (path / "cgroup.subtree_control").write_text(enabled)
    return path


def ours_in(parent: Path, home: Path) -> Path:
    """As the kernel does: a new directory is a group."""
    import hashlib

    return a_group(parent / f"skyward-{hashlib.sha256(str(home).encode()).hexdigest()[:12]}", "memory pids", "")


def test_a_group_of_its_own_is_used_where_it_was_delegated(tmp_path: Path) -> None:
    process, top = a_host(tmp_path)
    ours = ours_in(a_group(top / "user/agent"), tmp_path)
    groups = find_groups(tmp_path, process)

    assert groups is not None
    assert (ours / "cgroup.subtree_control").read_text() == "+memory +pids"
    group = groups.make("0-1")
    assert group is not None
    assert group.add(4711)
    group.limit_memory(1024)
    made = ours / "0-1"
    assert (made / "cgroup.procs").read_text() == "4711"
    assert (made / "pids.max").read_text() == str(MOST_TASKS)
    assert (made / "memory.max").read_text() == "1024"
    assert (made / "memory.oom.group").read_text() == "1"
    group.limit_memory(None)
    assert (made / "memory.max").read_text() == "max"


def test_the_top_group_serves_where_the_own_one_counts_nothing(tmp_path: Path) -> None:
    process, top = a_host(tmp_path)
    a_group(top / "user/agent", controllers="cpu")
    ours = ours_in(a_group(top), tmp_path)

    assert find_groups(tmp_path, process) is not None
    assert (ours / "cgroup.subtree_control").read_text() == "+memory +pids"


@pytest.mark.parametrize("controllers", ["", "cpu memory"], ids=["another-version-has-them", "one-lacks"])
def test_there_are_none_where_the_kernel_counts_not_both(tmp_path: Path, controllers: str) -> None:
    process, top = a_host(tmp_path, own="/")
    a_group(top, controllers=controllers)

    assert find_groups(tmp_path, process) is None


def test_there_are_none_on_a_host_without_such_a_mount(tmp_path: Path) -> None:
    process, _ = a_host(tmp_path)
    (process / "mountinfo").write_text("25 1 0:22 / /proc rw - proc proc rw\n")

    assert find_groups(tmp_path, process) is None
    assert find_groups(tmp_path, tmp_path / "nothing") is None


def test_the_kernels_counters_are_evidence(tmp_path: Path) -> None:
    (tmp_path / "memory.events").write_text("low 0\nhigh 0\nmax 3\noom 1\noom_kill 2\n")
    (tmp_path / "memory.peak").write_text("4096\n")

    assert Group(tmp_path).oom_kills() == 2
    assert Group(tmp_path).peak_bytes() == 4096
    assert Group(tmp_path / "older kernel").peak_bytes() == 0


def test_what_an_earlier_agent_left_is_ended(tmp_path: Path) -> None:
    process, top = a_host(tmp_path)
    left = a_group(ours_in(a_group(top / "user/agent"), tmp_path) / "3-7")
    find_groups(tmp_path, process)

    assert (left / "cgroup.kill").read_text() == "1"


@pytest.mark.skipif(find_groups(Path("/tests of groups")) is None, reason="this host lets us make no control groups")
def test_the_kernel_ends_a_child_over_its_limit(tmp_path: Path) -> None:
    def grows() -> int:
        parts = [b"x" * (8 * 2**20) for _ in range(10_000)]
        return len(parts)

    async def body(bench: RunnerBench) -> None:
        bench.place = replace(bench.place, groups=find_groups(tmp_path))
        child = await bench.start()
        child.limit_memory(128 * 2**20)
        answer = await bench.run(grows, memory_limited=True)
        await asyncio.sleep(0)

        assert isinstance(answer, tuple)
        assert answer[0] == "OutOfMemory"
        assert "resources.memory" in answer[1].message
        assert await bench.value(lambda: "next") == "next"

    with_bench(tmp_path, body)
