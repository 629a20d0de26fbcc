"""The bootstrapper over real SSH to real local nodes, through a wire that can be cut."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import asyncssh
import pytest

from skyward.api import ImageSpec, Json
from skyward.bootstrap.bootstrapper import SshBootstrapper
from skyward.facts import BootstrapProgress, BootstrapRequest, BootstrapState, Instance
from skyward.recipes import build_recipe
from skyward.system.clock import SystemClock, SystemIds
from tests.drivers.rooms import Room, processes_of, room, until

AGENT = b"""\
import os, sys, time
home = sys.argv[sys.argv.index("--home") + 1]
with open(os.path.join(home, "agent.pid"), "w") as file:
    print(os.getpid(), file=file)
time.sleep(600)
"""
UID = "node-uid"
pytestmark = pytest.mark.slow
GATE: Json = {"setup": ["echo ran >>log; until test -f go; do sleep 0.02; done"]}
"""A step that waits for the test."""


@dataclass(slots=True)
class Wire:
    """A TCP forwarder that can lose its connections."""

    target: int
    port: int = 0
    connections: int = 0
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await self._server.wait_closed()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        ends = {writer, far_writer}
        self._writers |= ends
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(reader, far_writer))
                group.create_task(_pump(far_reader, writer))
        finally:
            self._writers -= ends


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


@dataclass(slots=True)
class Scene:
    """One node that is up, a wire to it, and a bootstrapper at work."""

    room: Room
    node: Instance
    wire: Wire
    endpoint: str
    bootstrapper: SshBootstrapper

    @property
    def home(self) -> Path:
        return self.room.path(self.node) / "home"

    @property
    def progress(self) -> BootstrapProgress:
        return self.bootstrapper.progress(UID)

    def request(self, image: Json | None = None, *, tunnel: bool = False, deadline_s: float = 60) -> BootstrapRequest:
        made = build_recipe(ImageSpec.model_validate(image or {}), python="3.11", provider="local")
        return BootstrapRequest(
            node_uid=UID,
            node="default/test-0-abcde",
            provider_id=self.node.id,
            address="127.0.0.1",
            port=self.wire.port,
            user=self.node.user,
            host_key=self.node.host_key,
            script=made.script,
            steps=tuple(step.id for step in made.steps),
            files=((".skyward/agent.pyz", AGENT, 0o644), (".skyward/agent.json", b'{"join_token": "x"}', 0o600)),
            tunnel=tunnel,
            deadline_s=deadline_s,
        )

    async def until(self, state: BootstrapState, bootstrapper: SshBootstrapper | None = None) -> BootstrapProgress:
        watched = bootstrapper or self.bootstrapper

        async def is_so() -> bool:
            progress = watched.progress(UID)
            ended = progress.state in (BootstrapState.FAILED, BootstrapState.HOST_KEY_MISMATCH)
            assert progress.state is state or not ended, f"{progress.message}\n{progress.tail}"
            return progress.state is state

        await until(is_so)
        return watched.progress(UID)

    async def until_in_step(self) -> None:
        await until(lambda: _answer((self.home / "log").exists()))

    def let_go(self) -> None:
        (self.home / "go").write_text("")


@asynccontextmanager
async def at_work(bootstrapper: SshBootstrapper) -> AsyncIterator[None]:
    ready = asyncio.Event()
    task = asyncio.create_task(bootstrapper.run(ready.set))
    await ready.wait()
    try:
        yield
    finally:
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=5)
        assert done, "it did not end in time"
        assert task.cancelled()


def make_bootstrapper(key: asyncssh.SSHKey, endpoint: str) -> SshBootstrapper:
    return SshBootstrapper(client_key=key, task_endpoint=endpoint, clock=SystemClock(), ids=SystemIds())


def check(directory: Path, test: Callable[[Scene], Awaitable[None]]) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"gateway")
        writer.close()

    async def inside() -> None:
        gateway = await asyncio.start_server(answer, "127.0.0.1", 0)
        endpoint = f"127.0.0.1:{gateway.sockets[0].getsockname()[1]}"
        async with gateway, room(directory) as opened:
            node = await opened.node()
            wire = Wire(node.port)
            await wire.open()
            bootstrapper = make_bootstrapper(opened.key, endpoint)
            async with at_work(bootstrapper):
                await test(Scene(opened, node, wire, endpoint, bootstrapper))
            await wire.close()

    asyncio.run(inside())


async def _answer(value: bool) -> bool:
    return value


def agent_pid(scene: Scene) -> int:
    return int((scene.home / ".skyward/agent.pid").read_text())


# --- the usual way ---------------------------------------------------------------------------------------------------


def test_a_node_is_bootstrapped_with_phases_and_nothing_stays_connected(tmp_path: Path) -> None:
    async def test(scene: Scene) -> None:
        told: list[str] = []
        scene.bootstrapper.subscribe(told.append)

        scene.bootstrapper.start(scene.request())
        done = await scene.until(BootstrapState.DONE)

        assert [p.name for p in done.phases] == ["connect", "upload", "python", "environment", "image", "agent"]
        assert all(phase.seconds >= 0 for phase in done.phases)
        assert scene.node.host_key is not None
        assert done.host_key_fingerprint == asyncssh.import_public_key(scene.node.host_key).get_fingerprint()
        assert (done.step, done.message, done.tail) == ("", "", "")
        assert agent_pid(scene) in processes_of(scene.node.id)
        assert (scene.home / ".skyward/agent.json").stat().st_mode & 0o777 == 0o600
        assert (scene.home / ".skyward").stat().st_mode & 0o777 == 0o700
        assert set(told) == {UID}
        await until(lambda: _answer(not scene.wire._writers))

    check(tmp_path, test)


def test_a_start_before_the_run_is_not_lost(tmp_path: Path) -> None:
    async def test(scene: Scene) -> None:
        late = make_bootstrapper(scene.room.key, scene.endpoint)
        late.start(scene.request())
        assert late.progress(UID).state is BootstrapState.CONNECTING

        async with at_work(late):
            await scene.until(BootstrapState.DONE, late)

    check(tmp_path, test)


def test_the_same_request_is_a_no_op_at_work_and_begins_anew_when_done(tmp_path: Path) -> None:
    async def test(scene: Scene) -> None:
        scene.bootstrapper.start(scene.request(GATE))
        await scene.until_in_step()
        connections = scene.wire.connections
        scene.bootstrapper.start(scene.request(GATE))
        scene.let_go()
        await scene.until(BootstrapState.DONE)
        assert scene.wire.connections == connections

        os.kill(agent_pid(scene), signal.SIGKILL)
        (scene.home / ".skyward/agent.pid").unlink()
        await until(lambda: _answer(not scene.wire._writers))
        scene.bootstrapper.start(scene.request(GATE))

        await until(lambda: _answer((scene.home / ".skyward/agent.pid").exists()))
        await scene.until(BootstrapState.DONE)
        assert (scene.home / "log").read_text() == "ran\n"

    check(tmp_path, test)


def test_a_stopped_channel_is_closed_and_forgotten(tmp_path: Path) -> None:
    async def test(scene: Scene) -> None:
        scene.bootstrapper.start(scene.request(tunnel=True))
        await scene.until(BootstrapState.DONE)
        assert scene.wire._writers

        await scene.bootstrapper.stop(UID)
        await scene.bootstrapper.stop(UID)

        assert scene.progress == BootstrapProgress()
        await until(lambda: _answer(not scene.wire._writers))

    check(tmp_path, test)


# --- what goes wrong -------------------------------------------------------------------------------------------------


def test_a_failing_step_ends_it_with_the_steps_last_lines(tmp_path: Path) -> None:
    async def test(scene: Scene) -> None:
        scene.bootstrapper.start(scene.request({"setup": ["echo looking; echo 'no such thing' >&2; exit 3"]}))

        await until(lambda: _answer(scene.progress.state is BootstrapState.FAILED))

        assert scene.progress.step == "setup-1"
        assert scene.progress.message.endswith("ended with exit status 3")
        assert scene.progress.tail == "looking\nno such thing"
        assert [phase.name for phase in scene.progress.phases][-1] == "setup-1"

    check(tmp_path, test)


def test_a_broken_connection_is_resumed_without_running_a_step_twice(tmp_path: Path) -> None:
    async def test(scene: Scene) -> None:
        scene.bootstrapper.start(scene.request(GATE))
        await scene.until_in_step()

        scene.wire.cut()
        await scene.until(BootstrapState.CONNECTING)
        await until(
            lambda: _answer(scene.progress.step == "setup-1" and scene.progress.state is BootstrapState.RUNNING)
        )
        scene.let_go()

        done = await scene.until(BootstrapState.DONE)
        assert (scene.home / "log").read_text() == "ran\n"
        assert dict.fromkeys(phase.name for phase in done.phases).keys() >= {"connect", "python", "setup-1", "agent"}

    check(tmp_path, test)


def test_a_failure_during_a_broken_connection_is_still_told_with_its_tail(tmp_path: Path) -> None:
    async def test(scene: Scene) -> None:
        image: Json = {"setup": ["echo ran >>log; until test -f go; do sleep 0.02; done; echo broken; exit 4"]}
        scene.bootstrapper.start(scene.request(image))
        await scene.until_in_step()

        scene.wire.cut()
        scene.let_go()

        await until(lambda: _answer(scene.progress.state is BootstrapState.FAILED))
        assert scene.progress.tail == "broken"
        assert (scene.home / "log").read_text() == "ran\n"

    check(tmp_path, test)


def test_a_new_operator_goes_on_where_the_old_one_was_cut_off(tmp_path: Path) -> None:
    async def test(scene: Scene) -> None:
        first = make_bootstrapper(scene.room.key, scene.endpoint)
        async with at_work(first):
            first.start(scene.request(GATE))
            await scene.until_in_step()

        scene.bootstrapper.start(scene.request(GATE))
        await until(lambda: _answer(scene.progress.step == "setup-1"))
        scene.let_go()

        done = await scene.until(BootstrapState.DONE)
        assert (scene.home / "log").read_text() == "ran\n"
        seconds = {phase.name: phase.seconds for phase in done.phases}
        assert seconds["setup-1"] > 0, "it tells how long the step took under the old operator"

    check(tmp_path, test)


def test_a_script_killed_on_the_node_is_started_again(tmp_path: Path) -> None:
    async def test(scene: Scene) -> None:
        scene.bootstrapper.start(scene.request({"setup": ["echo ran >>log; test -f go || sleep 95"]}))
        await scene.until_in_step()
        scene.let_go()

        for pid, command in processes_of(scene.node.id).items():
            if "bootstrap.sh" in command or "sleep 95" in command:
                os.kill(pid, signal.SIGKILL)

        await scene.until(BootstrapState.DONE)
        assert (scene.home / "log").read_text() == "ran\nran\n"

    check(tmp_path, test)


def test_another_host_key_is_never_accepted_and_nothing_is_sent(tmp_path: Path) -> None:
    async def test(scene: Scene) -> None:
        other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()

        scene.bootstrapper.start(replace(scene.request(), host_key=other))

        await until(lambda: _answer(scene.progress.state is BootstrapState.HOST_KEY_MISMATCH))
        assert "another host key" in scene.progress.message
        assert list(scene.home.iterdir()) == []
        assert scene.wire.connections == 1

    check(tmp_path, test)


@pytest.mark.parametrize("kind", ["ecdsa-sha2-nistp256", "ssh-rsa"])
def test_a_pinned_key_of_another_kind_is_a_mismatch_too(tmp_path: Path, kind: str) -> None:
    async def test(scene: Scene) -> None:
        other = asyncssh.generate_private_key(kind).export_public_key().decode()

        scene.bootstrapper.start(replace(scene.request(), host_key=other))

        await until(lambda: _answer(scene.progress.state is BootstrapState.HOST_KEY_MISMATCH))

    check(tmp_path, test)


def test_without_a_vouched_key_the_first_one_seen_is_told(tmp_path: Path) -> None:
    async def test(scene: Scene) -> None:
        scene.bootstrapper.start(replace(scene.request(), host_key=None))

        done = await scene.until(BootstrapState.DONE)

        assert scene.node.host_key is not None
        assert done.host_key_fingerprint == asyncssh.import_public_key(scene.node.host_key).get_fingerprint()

    check(tmp_path, test)


def test_a_host_that_does_not_answer_is_tried_until_the_deadline(tmp_path: Path) -> None:
    async def test(scene: Scene) -> None:
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            port = nobody.getsockname()[1]
            scene.bootstrapper.start(replace(scene.request(deadline_s=1), port=port))
            await until(lambda: _answer("trying again" in scene.progress.message))

            await until(lambda: _answer(scene.progress.state is BootstrapState.FAILED))

        assert f"SSH to 127.0.0.1:{port} failed" in scene.progress.message

    check(tmp_path, test)


# --- tunnel ----------------------------------------------------------------------------------------------------------


async def through_the_tunnel(scene: Scene) -> bytes:
    """What a program on the node reads at the address in its endpoint file."""
    try:
        host, port = (scene.home / ".skyward/endpoint").read_text().strip().split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        return b""
    data = await reader.read()
    writer.close()
    return data


def test_a_tunnel_leads_from_the_node_to_the_operator_and_is_reopened_when_lost(tmp_path: Path) -> None:
    async def test(scene: Scene) -> None:
        scene.bootstrapper.start(scene.request(tunnel=True))
        await scene.until(BootstrapState.DONE)
        assert await through_the_tunnel(scene) == b"gateway"
        connections = scene.wire.connections

        scene.wire.cut()
        await until(lambda: _answer(scene.wire.connections > connections))

        async def is_back() -> bool:
            return await through_the_tunnel(scene) == b"gateway"

        await until(is_back)
        assert scene.progress.state is BootstrapState.DONE

    check(tmp_path, test)


def test_the_same_request_leaves_an_open_tunnel_alone_and_newer_files_begin_anew(tmp_path: Path) -> None:
    async def test(scene: Scene) -> None:
        request = scene.request(tunnel=True)
        scene.bootstrapper.start(request)
        await scene.until(BootstrapState.DONE)
        connections = scene.wire.connections

        scene.bootstrapper.start(request)
        assert scene.progress.state is BootstrapState.DONE

        newer = replace(request, files=(*request.files[:1], (".skyward/agent.json", b"{}", 0o600)))
        scene.bootstrapper.start(newer)
        assert scene.progress.state is BootstrapState.CONNECTING
        await scene.until(BootstrapState.DONE)
        assert scene.wire.connections == connections + 1
        assert (scene.home / ".skyward/agent.json").read_text() == "{}"
        assert await through_the_tunnel(scene) == b"gateway"

    check(tmp_path, test)


def test_hosts_of_one_pool_that_never_answer_hold_up_no_other_pool(tmp_path: Path) -> None:
    async def test(scene: Scene) -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
            port = silent.getsockname()[1]
            for number in range(25):
                stuck = replace(scene.request(), node_uid=f"stuck-{number}", port=port, pool="default/stuck")
                scene.bootstrapper.start(stuck)
            await asyncio.sleep(0)
            scene.bootstrapper.start(replace(scene.request(), pool="default/other"))

            await scene.until(BootstrapState.DONE)

            states = {scene.bootstrapper.progress(f"stuck-{number}").state for number in range(25)}
            assert states == {BootstrapState.CONNECTING}

    check(tmp_path, test)
