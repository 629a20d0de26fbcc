"""One set of keys for all tests; a fresh world for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from skyward.client.objects import ObjectClient
from skyward.system.keys import Keys
from tests.apiserver.standins import TOKEN, World, make_keys, raw_client


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def world(keys: Keys) -> Iterator[World]:
    with World(keys).served() as served:
        yield served


@pytest.fixture
def client(world: World, tmp_path: Path) -> Iterator[ObjectClient]:
    with ObjectClient(world.config(tmp_path / "config")) as client:
        yield client


@pytest.fixture
def http(world: World) -> Iterator[httpx.Client]:
    """Plain HTTP with the right token: for what a client of ours would never send."""
    with raw_client(world, TOKEN) as raw:
        yield raw
