from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from skyward.client.config import ClientConfig, NoConfig, config_path, load_config, render_config

CONFIG = ClientConfig(
    server="https://127.0.0.1:6780",
    tasks="127.0.0.1:6781",
    ca_pem="-----BEGIN CERTIFICATE-----\n…\n",
    token="secret",
    namespace="default",
    path=Path("unused"),
)


def test_what_the_operator_writes_is_what_clients_read(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(render_config(CONFIG))

    loaded = load_config(path)

    assert (loaded.server, loaded.tasks, loaded.ca_pem, loaded.token) == (
        CONFIG.server,
        CONFIG.tasks,
        CONFIG.ca_pem,
        CONFIG.token,
    )


def test_the_argument_wins_over_the_variable_and_that_over_the_default() -> None:
    environ = {"SKYWARD_CONFIG": "/b", "XDG_CONFIG_HOME": "/c", "HOME": "/d"}

    assert config_path("/a", environ) == Path("/a")
    assert config_path(None, environ) == Path("/b")
    assert config_path(None, {"XDG_CONFIG_HOME": "/c", "HOME": "/d"}) == Path("/c/skyward/config")
    assert config_path(None, {"HOME": "/d"}) == Path("/d/.config/skyward/config")


def test_the_configuration_says_where_the_operator_lives(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(render_config(dataclasses.replace(CONFIG, state=Path("/var/lib/sky ward"))))

    assert load_config(path).state == Path("/var/lib/sky ward")

    path.write_text(render_config(CONFIG))

    assert load_config(path).state is None


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "start an operator"),
        (b"\xff\xfe", "cannot be read"),
        (b"a: [", "cannot be read"),
        (b"apiVersion: v1", "not a configuration"),
        (b"[]", "not a configuration"),
    ],
    ids=["missing", "not text", "broken", "empty", "a list"],
)
def test_unusable_configuration_is_one_clear_line(tmp_path: Path, content: bytes | None, says: str) -> None:
    path = tmp_path / "config"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(NoConfig, match=says) as caught:
        load_config(path)

    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
