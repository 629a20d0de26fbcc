"""torch is not needed here: a stand-in for it, in a process of its own, tells what it was asked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from skyward_agent.wire.world import INFO_VARIABLE, NodeInfo

pytestmark = pytest.mark.slow

STUB = """
class DistributedSampler:
    def __init__(self, dataset, num_replicas=None, rank=None, shuffle=True, seed=0, drop_last=False):
        self.told = (len(dataset), num_replicas, rank, shuffle, seed)
"""
ASK = "import skyward as sky; print(sky.DistributedSampler([1, 2, 3], shuffle=False, seed=4).told)"
INFO = NodeInfo("n", "p", 1, 3, ("a", "b", "c"), "a").to_json()


def ask(path: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", ASK], env={"PYTHONPATH": str(path), **env}, capture_output=True, text=True, check=False
    )


def test_the_sampler_knows_its_rank_and_the_number_of_ranks(tmp_path: Path) -> None:
    package = tmp_path / "torch" / "utils" / "data"
    package.mkdir(parents=True)
    for folder in (package, package.parent, package.parent.parent):
        (folder / "__init__.py").touch()
    (package / "distributed.py").write_text(STUB)

    assert ask(tmp_path, **{INFO_VARIABLE: INFO}).stdout == "(3, 3, 1, False, 4)\n"


def test_without_torch_the_remedy_is_said(tmp_path: Path) -> None:
    assert "add it to spec.image.pip" in ask(tmp_path, **{INFO_VARIABLE: INFO}).stderr


def test_outside_a_task_there_is_no_rank(tmp_path: Path) -> None:
    assert "works inside a function that runs on a pool" in ask(tmp_path).stderr
