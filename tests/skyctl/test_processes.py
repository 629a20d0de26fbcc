"""skyctl as users run it: a process of its own, with pipes, signals and a real operator."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from skyward.client.config import ClientConfig, render_config
from skyward.skyctl.operator_process import holder
from skyward.store.lock import StateLock
from tests.apiserver.standins import World
from tests.builders import make_pool

pytestmark = pytest.mark.slow
SKYCTL = (sys.executable, "-m", "skyward.skyctl.main")


def environ(tmp_path: Path, **more: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        **{name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_", "SSL_"))},
        **more,
    }


def skyctl(*words: str, env: Mapping[str, str], text: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SKYCTL, *words], env=dict(env), input=text, capture_output=True, text=True, timeout=120, check=False
    )


def test_a_reader_that_goes_away_is_no_error_message(world: World, config: Path, tmp_path: Path) -> None:
    for number in range(300):
        world.put(make_pool(f"p{number}"))
    env = environ(tmp_path, SKYWARD_CONFIG=str(config))

    with subprocess.Popen([*SKYCTL, "get", "pools", "-o", "yaml"], env=env, stdout=-1, stderr=-1) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
        process.wait(30)

    assert err == b""


def test_a_watch_ends_quietly_on_ctrl_c(world: World, config: Path, tmp_path: Path) -> None:
    world.put(make_pool())
    env = environ(tmp_path, SKYWARD_CONFIG=str(config))

    with subprocess.Popen([*SKYCTL, "get", "pools", "-w"], env=env, stdout=-1, stderr=-1, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        lines = [process.stdout.readline() for _ in range(2)]
        pause_until(lambda: world.store.followers == 1)
        process.send_signal(signal.SIGINT)
        err = process.stderr.read()
        status = process.wait(30)

    assert (status, err) == (130, "")
    assert lines[1].startswith("hello")


def test_down_ends_the_operator_that_the_configuration_leads_to_and_no_other(tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    config = tmp_path / "config.yaml"
    config.write_text(
        render_config(ClientConfig("https://127.0.0.1:1", "127.0.0.1:1", "ca", "token", "default", config, mine))
    )
    env = environ(tmp_path, SKYWARD_CONFIG=str(config), SKYWARD_STATE=str(other))
    other.mkdir()
    with held(other):
        nobody = skyctl("down", env=env)
        contradiction = skyctl("down", "--state", str(other), env=env)
    mine.mkdir()
    with held(mine):
        overwriting = skyctl("up", env=env)

    assert (nobody.returncode, nobody.stdout) == (0, f"no operator runs in {mine}\n")
    assert contradiction.returncode == overwriting.returncode == 1
    assert f"leads to the operator of {mine}, not of {other}" in contradiction.stderr
    assert f"leads to the operator of {mine} (pid {os.getpid()})" in overwriting.stderr


@contextlib.contextmanager
def held(state: Path) -> Iterator[None]:
    """As an operator of this process would hold its state directory."""
    lock = StateLock(state, time.time())
    try:
        yield
    finally:
        lock.release()


def test_piped_output_is_plain(world: World, config: Path, tmp_path: Path) -> None:
    world.put(make_pool())

    done = skyctl("describe", "pool", "hello", env=environ(tmp_path, SKYWARD_CONFIG=str(config), NO_COLOR="1"))

    assert done.returncode == 0
    assert "\x1b" not in done.stdout


def test_down_without_an_operator_says_so(tmp_path: Path) -> None:
    done = skyctl("down", env=environ(tmp_path))

    assert (done.returncode, done.stdout) == (0, f"no operator runs in {tmp_path}/state/skyward\n")


def test_up_says_in_one_line_why_the_operator_did_not_start(tmp_path: Path) -> None:
    done = skyctl("up", "--listen", "nonsense", env=environ(tmp_path))

    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "error: the operator did not start: --listen: 'nonsense' is not an address" in done.stderr


def test_up_makes_pools_ready_and_ctrl_c_takes_everything_away(tmp_path: Path) -> None:
    env = environ(tmp_path)
    state = tmp_path / "state" / "skyward"
    addresses = ("--listen", "127.0.0.1:0", "--tasks", "127.0.0.1:0")

    with subprocess.Popen(
        [*SKYCTL, "up", *addresses], env=env, stdout=-1, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            assert process.stdout is not None
            said = []
            while not (said and said[-1].startswith("Ctrl-C")):
                said.append(process.stdout.readline())
                assert said[-1], "".join(said)
            second = skyctl("up", *addresses, env=env)
            ran = skyctl(
                "run", "-p", "hello", "-", "3", env=env, text="import sys; print(6 * 7); sys.exit(int(sys.argv[1]))"
            )
            process.send_signal(signal.SIGINT)
            rest = process.stdout.read()
            status = process.wait(60)
        finally:
            process.kill()
            skyctl("down", env=env)

    assert (status, ran.returncode, ran.stdout) == (0, 3, "42\n"), (rest, ran.stderr)
    assert "an operator already runs" in second.stderr
    assert "operator stopped" in rest
    assert holder(state) is None
    assert not any((state / "local").iterdir())


def test_up_takes_no_pool_from_a_users_own_files(tmp_path: Path) -> None:
    env = environ(tmp_path)
    watched = tmp_path / "watched"
    watched.mkdir()
    manifest = (
        "apiVersion: skyward.dev/v1alpha1\nkind: Pool\nmetadata: {name: mine}\nspec: {nodes: 0, provider: local}\n"
    )
    (watched / "mine.yaml").write_text(manifest)
    try:
        started = skyctl(
            "up", "--keep", "--manifests", str(watched), "--listen", "127.0.0.1:0", "--tasks", "127.0.0.1:0", env=env
        )
        refused = skyctl("down", env=env)
        stopped = skyctl("down", "--keep-pools", env=env)
    finally:
        skyctl("down", "--delete-manifests", env=env)

    assert started.returncode == 0, started.stderr
    assert "created" not in started.stdout, "a pool is declared already: no other one is made"
    assert (refused.returncode, "--delete-manifests" in refused.stderr) == (1, True)
    assert stopped.stdout == "operator stopped\n"
    assert (watched / "mine.yaml").read_text() == manifest


def pause_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)
