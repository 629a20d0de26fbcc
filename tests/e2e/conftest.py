"""A real operator for each test, in a directory whose name has a space."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cloudpickle
import pytest

import skyward as sky
import tests.e2e
from hack.operator_process import OperatorProcess

# Nodes do not have this package: its functions travel by value.
cloudpickle.register_pickle_by_value(tests.e2e)


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[OperatorProcess]:
    process = OperatorProcess(tmp_path / "sky ward")
    process.start()
    try:
        yield process
    finally:
        process.clean_up()


@pytest.fixture
def session(operator: OperatorProcess) -> Iterator[sky.Session]:
    with sky.connect(operator.config) as opened:
        yield opened
