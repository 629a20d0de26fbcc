"""The SSH server of a local node: who gets in, what a command sees, and that nothing grows without bound."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncssh
import pytest

from tests.drivers.rooms import Room, room, until

ENVIRONMENT = {
    "HOME": "/nowhere",
    "PIP_INDEX_URL": "https://pip.example/simple",
    "UV_DEFAULT_INDEX": "https://uv.example/simple",
    "https_proxy": "http://proxy.example:3128",
    "SSL_CERT_FILE": "/etc/ssl/certs/ca.crt",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "LD_PRELOAD": "/lib/evil.so",
}


def check(directory: Path, test: Callable[[Room], Awaitable[None]], environment: dict[str, str] | None = None) -> None:
    async def inside() -> None:
        async with room(directory, environment) as opened:
            await test(opened)

    asyncio.run(inside())


def test_a_command_runs_in_the_nodes_home_with_the_nodes_environment_alone(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        node = await room.node()
        async with room.connect(node) as ssh:
            done = await ssh.run("pwd; command -v uv; env")

        assert isinstance(done.stdout, str)
        home, uv, *lines = done.stdout.splitlines()
        environment = dict(line.split("=", 1) for line in lines)
        assert home == environment["HOME"] == str(room.path(node) / "home")
        assert uv == str(room.path(node) / "bin" / "uv")
        assert environment["SKYWARD_INSTANCE"] == node.id
        assert environment["SKYWARD_CACHE"] == str(tmp_path / "cache")
        assert environment["PIP_INDEX_URL"] == ENVIRONMENT["PIP_INDEX_URL"]
        assert environment["UV_DEFAULT_INDEX"] == ENVIRONMENT["UV_DEFAULT_INDEX"]
        assert environment["https_proxy"] == ENVIRONMENT["https_proxy"]
        assert "SSL_CERT_FILE" in environment
        assert not environment.keys() & {"AWS_SECRET_ACCESS_KEY", "LD_PRELOAD"}

    check(tmp_path, test, ENVIRONMENT)


def test_the_operators_pip_configuration_reaches_the_nodes(tmp_path: Path) -> None:
    config = tmp_path / "user" / ".config" / "pip" / "pip.conf"
    config.parent.mkdir(parents=True)
    config.write_text("[global]\nindex-url = https://mirror.example/simple\n")

    async def test(room: Room) -> None:
        node = await room.node()
        async with room.connect(node) as ssh:
            done = await ssh.run('echo "$PIP_CONFIG_FILE"')
        assert done.stdout == f"{config}\n"

    check(tmp_path, test, {"HOME": str(tmp_path / "user")})


def test_status_and_both_outputs_come_back(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        node = await room.node()
        async with room.connect(node) as ssh:
            failed = await ssh.run("cat; echo bad >&2; exit 7", input="given")
            killed = await ssh.run("kill -9 $$")

        assert (failed.exit_status, failed.stdout, failed.stderr) == (7, "given", "bad\n")
        assert killed.exit_status == 137

    check(tmp_path, test)


def test_nobody_gets_in_without_the_key(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        node = await room.node()
        stranger = Room(room.directory, room.driver)

        with pytest.raises(asyncssh.PermissionDenied):
            async with stranger.connect(node):
                pass
        with pytest.raises(asyncssh.PermissionDenied):
            await asyncssh.connect(
                node.address,
                node.port,
                username=node.user,
                password="",
                client_keys=None,
                agent_path=None,
                known_hosts=None,
                config=None,
            )

    check(tmp_path, test)


def test_forwards_listen_on_loopback_only_and_lead_to_the_client(tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"from the operator")
        writer.close()
        await writer.wait_closed()

    async def test(room: Room) -> None:
        node = await room.node()
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server, room.connect(node) as ssh:
            host, port = server.sockets[0].getsockname()
            with pytest.raises(asyncssh.ChannelListenError):
                await ssh.forward_remote_port("0.0.0.0", 0, host, port)
            with pytest.raises(asyncssh.ChannelOpenError):
                await ssh.open_connection(host, port)

            listener = await ssh.forward_remote_port("127.0.0.1", 0, host, port)
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.get_port())

            assert await reader.read() == b"from the operator"
            writer.close()
            await writer.wait_closed()

    check(tmp_path, test)


def test_a_command_outlives_its_connection(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        node = await room.node()
        done = room.path(node) / "home" / "done"
        async with room.connect(node) as ssh:
            await ssh.create_process("sleep 0.3; touch done")

        async def is_done() -> bool:
            return done.exists()

        await until(is_done)

    check(tmp_path, test)


@pytest.mark.slow
def test_a_flood_waits_for_its_reader_instead_of_filling_memory(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        node = await room.node()
        async with room.connect(node) as ssh:
            flood = await ssh.create_process("yes | head -c 300000000; echo over >&2", encoding=None)
            assert await flood.stdout.read(10) == b"y\n" * 5
            await asyncio.sleep(0.5)  # the server would now read on if it did not wait for us

            assert resident_mb(room.path(node)) < 150
            total = 10
            while piece := await flood.stdout.read(1 << 20):
                total += len(piece)
            assert total == 300_000_000
            assert await flood.stderr.read() == b"over\n"
            assert resident_mb(room.path(node)) < 150

    check(tmp_path, test)


def resident_mb(directory: Path) -> float:
    pid = re.search(r'"pid": (\d+)', (directory / "process.json").read_text())
    assert pid is not None
    pages = int(Path(f"/proc/{pid[1]}/statm").read_text().split()[1])
    return pages * 4096 / 1e6
