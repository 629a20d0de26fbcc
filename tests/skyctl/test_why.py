"""`skyctl why` against a real API server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from skyward.api import Node, Pool, Reason
from skyward.facts import Decision, DecisionKind, DecisionRecord
from skyward.skyctl.why import page
from tests.apiserver.standins import World
from tests.builders import make_node, make_pool
from tests.skyctl.conftest import Skyctl

POOL = make_pool("hello", 2)
NODE = make_node(POOL, 1)
HOLD = Decision(DecisionKind.HOLD, "paused", Reason.PAUSED, "nothing is changed while spec.paused is true")
WENT = Decision(DecisionKind.RETIRE, "replace-broken", Reason.INTERRUPTED, "its provider took the instance away")
NAME = NODE.metadata.name


def decided(world: World, about: Pool | Node, decision: Decision, at: float, until: float | None = None) -> None:
    record = DecisionRecord(about.kind, about.metadata.uid, about.key, decision, at, until)
    world.do(world.store.run(lambda tx: tx.put_decision(record)))


@pytest.fixture
def story(world: World) -> World:
    world.put(POOL)
    decided(world, POOL, HOLD, 0.0)
    decided(world, NODE, WENT, 0.0, 0.0)
    return world


def test_why_tells_a_pool_in_sentences(story: World, skyctl: Skyctl) -> None:
    done = skyctl("why", "pool/hello")

    assert done.status == 0
    assert done.out.startswith("Pool hello wants 2 nodes: not looked at yet\n\nWhat holds now:\n  since ")
    assert "nothing is changed while spec.paused is true [paused]\n" in done.out


def test_why_tells_what_is_gone(story: World, skyctl: Skyctl) -> None:
    done = skyctl("why", "node", NAME)

    assert done.out.startswith(f"Node {NAME} is gone: its provider took the instance away\n")
    assert done.out.endswith("See also: skyctl why pool/hello\n")


def test_why_gives_programs_everything(story: World, skyctl: Skyctl) -> None:
    told = json.loads(skyctl("why", "pool/hello", "-o", "json").out)
    text = skyctl("why", "pool", "hello", "-o", "yaml").out

    assert told["chapters"][0]["lines"][0]["rule"] == "paused"
    assert "rule: paused" in text


def test_several_are_told_one_after_the_other(story: World, skyctl: Skyctl) -> None:
    done = skyctl("why", "pool/hello", f"node/{NAME}")

    assert "\n\nNode hello-1-" in done.out


@pytest.mark.parametrize(
    ("words", "line"),
    [
        pytest.param(["pool/none"], 'error: pools.skyward.dev "none" not found', id="unknown"),
        pytest.param(["-n", "team", "pool/hello"], 'error: pools.skyward.dev "hello" not found', id="elsewhere"),
        pytest.param(["pools"], "error: say which pool: pool NAME or pool/NAME", id="no name"),
        pytest.param(
            ["source/manifests"],
            "error: nothing is decided about sources: ask about a pool, a node or a task",
            id="undecided",
        ),
        pytest.param(["pool/hello", "-o", "wide"], "error: -o wide: there is yaml and json", id="form"),
    ],
)
def test_a_mistake_is_one_line(story: World, skyctl: Skyctl, words: list[str], line: str) -> None:
    done = skyctl("why", *words)

    assert (done.status, done.out) == (1, "")
    assert done.err.splitlines() == [line]


def test_on_a_narrow_terminal_lines_go_on_below_their_beginning() -> None:
    long = " ".join(["word"] * 20)
    line = {"sentence": long, "time": "2026-01-01T00:00:00Z", "stands": True, "rule": "paused"}
    story = {"summary": "pool x waits", "chapters": [{"title": "What holds now", "lines": [line]}], "see": []}

    lines = list(page(story, 1_767_225_600.0, width=60))

    assert max(map(len, lines)) <= 60
    assert lines[3].startswith("  since 0s  word word")
    assert lines[4].startswith("            word")


def test_why_is_listed(skyctl: Skyctl, tmp_path: Path) -> None:
    assert "why" in skyctl("--help").out
