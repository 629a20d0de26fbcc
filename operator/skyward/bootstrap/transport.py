"""SSH to one node: only to the pinned host, every wait with a deadline, every failure a TransportError."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import asyncssh

from skyward.errors import HostKeyMismatch, TransportError
from skyward.facts import BootstrapRequest
from skyward.recipes import quote

CONNECT_S = 10
LOGIN_S = 15
COMMAND_S = 60
_CLOSE_S = 2
_KEEPALIVE_S = 10
_KEEPALIVE_MISSES = 3
_TAIL_BYTES = 65536
_HOST_KEY_ALGORITHMS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
_CIPHERS = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes128-ctr",
    "aes256-ctr",
)
"""The fastest first: tunnels carry payloads."""


class Connection:
    """An authenticated connection to a host that showed the pinned key."""

    def __init__(self, ssh: asyncssh.SSHClientConnection, where: str) -> None:
        self._ssh = ssh
        self._where = where

    @property
    def host_key(self) -> asyncssh.SSHKey:
        key = self._ssh.get_server_host_key()
        assert key is not None, "authenticated connections have one"
        return key

    async def run(self, command: str, data: bytes = b"", deadline_s: float = COMMAND_S) -> bytes:
        """Run a POSIX shell command whatever the login shell is. Its output; an error if it fails."""
        with self._failing_as_transport():
            async with asyncio.timeout(deadline_s):
                done = await self._ssh.run(_in_sh(command), input=data, encoding=None)
        if done.returncode != 0:
            why = _text(done.stderr).strip().splitlines()
            raise TransportError(
                f"a command on {self._where} ended with status {done.returncode}: {why[-1][:200] if why else 'no message'}"
            )
        return _bytes(done.stdout)

    async def follow(self, command: str) -> AsyncIterator[str]:
        """The lines a command writes, as they come, until it and whatever holds its output are done."""
        with self._failing_as_transport():
            process = await self._ssh.create_process(
                _in_sh(command), stdin=asyncssh.DEVNULL, stderr=asyncssh.DEVNULL, encoding=None
            )
            try:
                while line := await process.stdout.readline():
                    yield _text(line)
            finally:
                process.close()

    async def put(self, path: str, content: bytes, mode: int) -> None:
        """Install a file below the node's home: whole or not at all."""
        make_executable = f'chmod {mode:o} "$new"; ' if mode & 0o111 else ""
        await self.run(
            f'set -e; umask {0o777 & ~mode:03o}; path="$HOME"/{quote(path)}; new="$path.new.$$"; '
            f'[ -d "${{path%/*}}" ] || (umask 077; mkdir -p "${{path%/*}}"); '
            f'cat >"$new"; if [ "$(wc -c <"$new")" -ne {len(content)} ]; then rm -f "$new"; exit 1; fi; '
            f'{make_executable}mv -f "$new" "$path"',
            content,
        )

    async def tail(self, path: str) -> list[str]:
        """The last lines of a file below the node's home; none when there is no such file."""
        output = await self.run(f'tail -c {_TAIL_BYTES} "$HOME"/{quote(path)} 2>/dev/null || :')
        return _text(output).splitlines()

    async def forward_from_node(self, host: str, port: int) -> int:
        """Let the node reach `host:port` of ours at a port of its loopback, for as long as this connection lives."""
        with self._failing_as_transport():
            async with asyncio.timeout(COMMAND_S):
                listener = await self._ssh.forward_remote_port("127.0.0.1", 0, host, port)
        return listener.get_port()

    async def wait_closed(self) -> None:
        await self._ssh.wait_closed()

    async def close(self) -> None:
        self._ssh.close()
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._ssh.wait_closed()
        except TimeoutError:
            self._ssh.abort()

    @contextmanager
    def _failing_as_transport(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            raise TransportError(f"{self._where} did not answer in time") from error
        except (OSError, asyncssh.Error) as error:
            raise TransportError(
                f"the SSH connection to {self._where} broke: {error or type(error).__name__}"
            ) from error


async def connect(request: BootstrapRequest, client_key: asyncssh.SSHKey, pinned: asyncssh.SSHKey | None) -> Connection:
    """Raises HostKeyMismatch before anything is sent to a host with another key than the pinned one. Without a pinned key
    whoever answers is trusted: pin what it showed."""
    where = f"{request.address}:{request.port}"
    try:
        async with asyncio.timeout(CONNECT_S + LOGIN_S):
            ssh = await asyncssh.connect(
                request.address,
                request.port,
                username=request.user,
                client_keys=[client_key],
                known_hosts=None if pinned is None else ([pinned], [], []),
                server_host_key_algs=_algorithms(pinned),
                encryption_algs=_CIPHERS,
                preferred_auth="publickey",
                agent_path=None,
                config=None,
                x509_trusted_certs=None,
                compression_algs=None,
                connect_timeout=CONNECT_S,
                login_timeout=LOGIN_S,
                keepalive_interval=_KEEPALIVE_S,
                keepalive_count_max=_KEEPALIVE_MISSES,
            )
    except asyncssh.HostKeyNotVerifiable as error:
        raise HostKeyMismatch(
            f"{where} showed another host key than the pinned one; nothing was sent to it. The machine at this address is "
            "not the one that was launched"
        ) from error
    except TimeoutError as error:
        raise TransportError(f"SSH to {where}: no answer within {CONNECT_S + LOGIN_S} s") from error
    except (OSError, asyncssh.Error) as error:
        raise TransportError(f"SSH to {where} failed: {error or type(error).__name__}") from error
    return Connection(ssh, where)


@asynccontextmanager
async def closing(connection: Connection) -> AsyncIterator[Connection]:
    try:
        yield connection
    finally:
        await connection.close()


def _algorithms(pinned: asyncssh.SSHKey | None) -> list[str]:
    """The pinned key's own first, so that a host with several keys shows that one; the others, so that a host without it
    is told apart from one that cannot be talked to."""
    if pinned is None:
        return list(_HOST_KEY_ALGORITHMS)
    kind = pinned.get_algorithm().replace("ssh-rsa", "rsa-sha2")
    return sorted(_HOST_KEY_ALGORITHMS, key=lambda name: not name.startswith(kind))


def _in_sh(command: str) -> str:
    return f"exec /bin/sh -c {quote(command)}"


def _bytes(output: bytes | str | None) -> bytes:
    return output.encode() if isinstance(output, str) else output or b""


def _text(output: bytes | str | None) -> str:
    return _bytes(output).decode(errors="replace")
