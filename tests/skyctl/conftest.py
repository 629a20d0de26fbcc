"""skyctl called as a function, against a served world."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from skyward.client.config import render_config
from skyward.skyctl.main import invoke
from skyward.system.keys import Keys
from tests.apiserver.standins import World, make_keys


@dataclass(frozen=True, slots=True)
class Done:
    status: int
    out: str
    err: str


Skyctl = Callable[..., Done]


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def world(keys: Keys) -> Iterator[World]:
    with World(keys).served() as served:
        yield served


@pytest.fixture
def config(world: World, tmp_path: Path) -> Path:
    path = tmp_path / "config"
    path.write_text(render_config(world.config(path)))
    return path


@pytest.fixture
def skyctl(config: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Skyctl:
    monkeypatch.setenv("SKYWARD_CONFIG", str(config))

    def run(*argv: object) -> Done:
        capfdbinary.readouterr()
        status = invoke([str(word) for word in argv])
        out, err = capfdbinary.readouterr()
        return Done(status, out.decode(), err.decode())

    return run
