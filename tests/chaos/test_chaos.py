"""Chaos itself: half a minute of it, for real."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.stage import Actor, Stage

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.ci
def test_half_a_minute_of_chaos_does_no_harm() -> None:
    argv = [sys.executable, str(ROOT / "hack" / "chaos.py"), "--minutes", "0.5", "--seed", "1", "--json"]

    done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, check=False)

    verdict = json.loads(done.stdout.splitlines()[-1])
    assert verdict["violations"] == [], done.stderr
    assert done.returncode == 0
    assert sum(verdict["kills"].values()) >= 10
    assert verdict["committed"] == verdict["submitted"] > 0


def test_actors_take_turns_and_undo_what_they_did() -> None:
    said: list[str] = []

    def actor(name: str) -> Actor:
        try:
            while True:
                said.append(name)
                yield 0.0
        finally:
            said.append(f"{name} leaves")

    stage = Stage()
    stage.enter(actor("a"))
    stage.enter(actor("b"))
    assert stage.play(lambda: len(said) >= 6, 60.0)
    stage.clear()

    assert said[:6].count("a") == said[:6].count("b") == 3
    assert sorted(said[-2:]) == ["a leaves", "b leaves"]


def test_a_stage_says_when_time_ran_out() -> None:
    assert not Stage().play(lambda: False, 0.0)
