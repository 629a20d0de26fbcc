"""The SSH server of one local node: `python -m skyward.drivers.local.sshd NODE_DIRECTORY`.

It stands in for a whole machine: it runs commands in the node's home with the node's environment, forwards ports to the
operator, and, as child subreaper, stays the parent of everything that detaches itself on this "machine". The driver
finds it by the files it keeps in the node's directory: `process.json` (who it is) and `port` (written once it listens).
SIGTERM powers the machine off: the whole tree is killed.

It imports little on purpose: a pool of twenty nodes starts this program twenty times.
"""

from __future__ import annotations

import asyncio
import ctypes
import ctypes.util
import fcntl
import json
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import IO, NoReturn

# asyncssh looks for liboqs when it is imported, by running ldconfig and a compiler: 40 ms of CPU for key exchanges
# that are not offered here.
ctypes.util.find_library = lambda name: None

import asyncssh  # noqa: E402

_PR_SET_CHILD_SUBREAPER = 36
_LOOPBACK = ("127.0.0.1", "localhost", "::1", "")
_KEX = ("curve25519-sha256", "curve25519-sha256@libssh.org", "ecdh-sha2-nistp256")
_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes128-ctr")
_LOGIN_TIMEOUT_S = 30
_KEEPALIVE_S = 30
_BACKLOG = 128
_POWERED_OFF = "powered off"
"""The last line of the log of a server that was asked to end; the driver knows it."""


class Machine:
    """The processes of this node: started by sessions, adopted when orphaned, killed together."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._exits: dict[int, asyncio.Future[int]] = {}

    def start(self, command: str, stdin: int, stdout: int, stderr: int) -> asyncio.Future[int]:
        """Run a command line. The future gets its status as a shell gives it: 128 + number for a signal."""
        pid = os.posix_spawn(
            "/bin/sh",
            ["/bin/sh", "-c", command],
            self._environment,
            file_actions=[(os.POSIX_SPAWN_DUP2, fd, i) for i, fd in enumerate((stdin, stdout, stderr))],
            setsid=True,
            setsigmask=(),
            setsigdef=(signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP),
        )
        ended = asyncio.get_running_loop().create_future()
        self._exits[pid] = ended
        return ended

    def reap(self) -> None:
        """On SIGCHLD: collect our own children and every orphan that was given to us."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            ended = self._exits.pop(pid, None)
            if ended is not None and not ended.done():
                code = os.waitstatus_to_exitcode(status)
                ended.set_result(code if code >= 0 else 128 - code)

    def power_off(self) -> None:
        """Kill every process that descends from this one, and whatever those start meanwhile."""
        for _ in range(100):
            pids = list(_descendants(os.getpid()))
            if not pids:
                return
            for number in (signal.SIGSTOP, signal.SIGKILL):
                for pid in pids:
                    try:
                        os.kill(pid, number)
                    except (ProcessLookupError, PermissionError):
                        continue
            self.reap()


class Server(asyncssh.SSHServer):
    """Loopback forwards from the node to its client; nothing else beyond commands and files."""

    def server_requested(self, listen_host: str, listen_port: int) -> bool:
        return listen_host in _LOOPBACK


def main(argv: Sequence[str]) -> int:
    """Serve until switched off. A second server of the same node ends at once."""
    node = Path(argv[1])
    lock = os.open(node / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 0
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    _publish(node / "process.json", json.dumps(_identity()))
    delay_s = json.loads((node / "instance.json").read_text())["boot_delay_s"]
    asyncio.run(_serve(node, delay_s))


async def _serve(node: Path, delay_s: float) -> NoReturn:
    stopped = asyncio.Event()
    machine = Machine(dict(os.environ) | {"SKYWARD_POWEROFF": f"kill -TERM {os.getpid()}"})
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGCHLD, machine.reap)
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    try:
        async with asyncio.timeout(delay_s):
            await stopped.wait()
            _switch_off(machine)
    except TimeoutError:
        pass  # the usual case: it has booted
    with closing(_bind(node / "port")) as listener:
        server = await asyncssh.listen(
            sock=listener,
            server_factory=Server,
            server_host_keys=[str(node / "host_key")],
            authorized_client_keys=str(node / "authorized_keys"),
            process_factory=partial(_serve_command, machine),
            sftp_factory=True,
            encoding=None,
            kex_algs=_KEX,
            encryption_algs=_CIPHERS,
            compression_algs=("none",),
            password_auth=False,
            kbdint_auth=False,
            host_based_auth=False,
            gss_kex=False,
            gss_auth=False,
            agent_forwarding=False,
            allow_pty=False,
            line_editor=False,
            login_timeout=_LOGIN_TIMEOUT_S,
            keepalive_interval=_KEEPALIVE_S,
            backlog=_BACKLOG,
        )
        _publish(node / "port", str(listener.getsockname()[1]))
        await stopped.wait()
        server.close()
    _switch_off(machine)


def _switch_off(machine: Machine) -> NoReturn:
    """As a machine does: nothing is taken down in order, sessions included."""
    machine.power_off()
    sys.stderr.write(f"{_POWERED_OFF}\n")
    sys.stderr.flush()
    os._exit(0)


async def _serve_command(machine: Machine, process: asyncssh.SSHServerProcess[bytes]) -> None:
    """One exec request, its output passed on only as fast as the client reads. The command outlives its connection."""
    try:
        ended, pipes = _start(machine, process.command or "exec /bin/sh")
    except OSError as error:
        process.stderr.write(f"the command could not be started: {error}\n".encode())
        process.exit(126)
        return
    try:
        await process.redirect(*pipes, send_eof=False)
        for output in (process.stdout, process.stderr):
            await output.drain()
        process.exit(await ended)
    except OSError:
        return  # the client went away and its channel closed the pipes; nobody reads the answer


def _start(machine: Machine, command: str) -> tuple[asyncio.Future[int], tuple[IO[bytes], IO[bytes], IO[bytes]]]:
    """The command's end, and our ends of its pipes."""
    stdin, to_stdin = os.pipe()
    from_stdout, stdout = os.pipe()
    from_stderr, stderr = os.pipe()
    pipes = (os.fdopen(to_stdin, "wb", 0), os.fdopen(from_stdout, "rb", 0), os.fdopen(from_stderr, "rb", 0))
    try:
        return machine.start(command, stdin, stdout, stderr), pipes
    except OSError:
        for pipe in pipes:
            pipe.close()
        raise
    finally:
        for fd in (stdin, stdout, stderr):
            os.close(fd)


def _bind(port_file: Path) -> socket.socket:
    """A listening socket on loopback, at the port that this node had before where that is still free."""
    wanted = int(port_file.read_text()) if port_file.exists() else 0
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", wanted))
    except OSError:
        listener.bind(("127.0.0.1", 0))
    listener.listen(_BACKLOG)
    return listener


def _identity() -> dict[str, int | str]:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return {"pid": os.getpid(), "started": int(_stat_fields(os.getpid())[19]), "boot": boot}


def _publish(path: Path, text: str) -> None:
    """Readers see the whole new content or the old."""
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(text)
    temporary.rename(path)


def _descendants(root: int) -> Iterator[int]:
    parents: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - names alone are needed
        if name.isdigit():
            fields = _stat_fields(int(name))
            if fields and fields[0] != b"Z":
                parents.setdefault(int(fields[1]), []).append(int(name))
    queue = [root]
    while queue:
        children = parents.get(queue.pop(), [])
        queue += children
        yield from children


def _stat_fields(pid: int) -> list[bytes]:
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text[text.rindex(b")") + 2 :].split()


if __name__ == "__main__":
    sys.exit(main(sys.argv))
