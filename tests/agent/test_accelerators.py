"""Accelerators: what their tools tell, which of them a lane sees, and that a function finds exactly these."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from skyward_agent.sensors.accelerators import CUDA, ROCM, Accelerator, permitted, share, visibility
from skyward_agent.sensors.gpu import parse_amd, parse_nvidia
from skyward_agent.wire import messages as wire
from tests.agent.conftest import AgentHome
from tests.agent.gateway import CONFIGURE, Authority, StubGateway
from tests.agent.stories import with_agent

EIGHT = tuple(Accelerator(CUDA, index, "H100", f"GPU-{index}aaaa") for index in range(8))


def indexes(accelerators: tuple[Accelerator, ...]) -> list[int]:
    return [one.index for one in accelerators]


@pytest.mark.parametrize(
    ("count", "lanes", "seen"),
    [
        (8, 4, [[0, 1], [2, 3], [4, 5], [6, 7]]),
        (1, 4, [[0], [0], [0], [0]]),
        (2, 4, [[0], [0], [1], [1]]),
        (8, 3, [[0, 1], [2, 3, 4], [5, 6, 7]]),
        (8, 1, [[0, 1, 2, 3, 4, 5, 6, 7]]),
        (0, 2, [[], []]),
    ],
    ids=["by-count", "by-fraction", "two-for-four", "unequal", "all-for-one", "none"],
)
def test_each_lane_sees_its_share(count: int, lanes: int, seen: list[list[int]]) -> None:
    assert [indexes(share(EIGHT[:count], lane, lanes)) for lane in range(lanes)] == seen


@pytest.mark.parametrize("count", range(1, 9))
@pytest.mark.parametrize("lanes", range(1, 13))
def test_none_lies_idle_and_none_is_shared_while_there_are_enough(count: int, lanes: int) -> None:
    shares = [indexes(share(EIGHT[:count], lane, lanes)) for lane in range(lanes)]
    seen = [index for one in shares for index in one]

    assert set(seen) == set(range(count))
    assert all(shares)
    assert lanes > count or len(seen) == count


def test_a_lane_that_is_not_there_any_more_sees_none() -> None:
    assert share(EIGHT, 4, 4) == ()


def test_visibility_names_uuids_where_there_are_and_says_nothing_without_accelerators() -> None:
    mixed = (EIGHT[0], Accelerator(CUDA, 1, "old"), Accelerator(ROCM, 0, "MI300X", "GPU-77"))

    assert visibility(mixed) == {"CUDA_VISIBLE_DEVICES": "GPU-0aaaa,1", "ROCR_VISIBLE_DEVICES": "GPU-77"}
    assert visibility(()) == {}


@pytest.mark.parametrize(
    ("value", "left"),
    [("1,3", [1, 3]), ("GPU-2aaaa", [2]), ("", []), ("7", [7])],
    ids=["by-index", "by-uuid", "none-at-all", "last"],
)
def test_an_agent_that_was_left_some_hands_out_only_these(value: str, left: list[int]) -> None:
    assert indexes(permitted(EIGHT, {"CUDA_VISIBLE_DEVICES": value})) == left
    assert permitted(EIGHT, {"ROCR_VISIBLE_DEVICES": value}) == EIGHT


def test_lines_of_nvidia_smi_become_accelerators_and_metrics() -> None:
    text = (
        "0, GPU-11111111-2222, NVIDIA H100 80GB HBM3, 97, 1024, 81559, 45\n"
        "1, GPU-33333333-4444, NVIDIA H100 80GB HBM3, [N/A], 0, 81559, 40\n"
        "nonsense\n"
    )

    reading = parse_nvidia(text)

    assert indexes(reading.accelerators) == [0, 1]
    assert reading.accelerators[1].uuid == "GPU-33333333-4444"
    assert reading.metrics["gpu0_percent"] == 97
    assert reading.metrics["gpu0_memory_used_bytes"] == 1024 * 2**20
    assert "gpu1_percent" not in reading.metrics
    assert reading.metrics["gpu1_celsius"] == 40


def test_the_object_of_rocm_smi_becomes_accelerators_and_metrics() -> None:
    card = {"Card Series": "MI300X", "Unique ID": "0x77ab", "GPU use (%)": "12", "VRAM Total Memory (B)": "1000"}
    text = json.dumps({"card1": card, "card0": {**card, "Unique ID": "N/A"}, "system": {"Driver version": "6"}})

    reading = parse_amd(text)

    assert [(one.index, one.name, one.uuid) for one in reading.accelerators] == [
        (0, "MI300X", ""),
        (1, "MI300X", "GPU-77ab"),
    ]
    assert reading.metrics["gpu1_percent"] == 12
    assert reading.metrics["gpu1_memory_total_bytes"] == 1000
    assert parse_amd("no JSON").accelerators == ()


def tool_that_lists(directory: Path, count: int) -> str:
    """A PATH on which nvidia-smi shows so many cards, after a moment."""
    lines = "".join(f"{index}, GPU-{index}000, H{index}, 1, 2, 3, 4\\n" for index in range(count))
    directory.mkdir()
    tool = directory / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\nsleep 0.5\nprintf '{lines}'\n")
    tool.chmod(0o755)
    return f"{directory}{os.pathsep}{os.environ['PATH']}"


def sees(_: int) -> tuple[str | None, tuple[str, ...], int]:
    import time

    from skyward_agent.wire.world import node_info

    time.sleep(0.3)
    return os.environ.get("CUDA_VISIBLE_DEVICES"), node_info().accelerators, node_info().lane


@pytest.mark.slow
@pytest.mark.parametrize("executor", [wire.PROCESS, wire.THREAD])
def test_a_function_finds_the_accelerators_of_its_lane_from_the_first_one_on(
    home: AgentHome, authority: Authority, tmp_path: Path, executor: str
) -> None:
    async def body(home: AgentHome, gateway: StubGateway, agent: subprocess.Popen[bytes]) -> None:
        attempts = [gateway.lease(sees, number) for number in range(2)]
        found = {lane: (value, names) for value, names, lane in [await gateway.value(one) for one in attempts]}
        own = await gateway.value(gateway.lease(sees, 0, env={"CUDA_VISIBLE_DEVICES": "3"})) if not threads else None

        assert own is None or own[0] == "3", "a user's own word wins"
        assert found == (shared if threads else apart)
        assert gateway.heartbeats[-1].metrics["gpu3_percent"] == 1

    threads = executor == wire.THREAD
    apart = {0: ("GPU-0000,GPU-1000", ("H0", "H1")), 1: ("GPU-2000,GPU-3000", ("H2", "H3"))}
    everything = ("GPU-0000,GPU-1000,GPU-2000,GPU-3000", ("H0", "H1", "H2", "H3"))
    shared = {0: everything, 1: everything}
    path = tool_that_lists(tmp_path / "bin", 4)
    with_agent(home, authority, body, replace(CONFIGURE, lanes=2, executor=executor), PATH=path)
