"""One child process, as the agent holds it: starts it, watches what it uses, ends its whole tree and says why it died."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from skyward_agent.runner.conversation import ChildEvents, Conversation
from skyward_agent.runner.deaths import died, oom_kills_of_host
from skyward_agent.runner.groups import Group, Groups
from skyward_agent.runner.tree import kill_trees, memory_of, send_signal, tree_memory, tree_of
from skyward_agent.wire.messages import Lease
from skyward_agent.wire.records import record

_POLL_S = 0.05
_CODE = (
    "import sys; sys.path.insert(0, sys.argv[4]); from skyward_agent.runner.child import main; "
    "sys.path.append(sys.path.pop(0)); main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[5])"
)


@record(frozen=True, slots=True)
class ChildPlace:
    """Where and with what children are started."""

    python: str
    library: str
    """What `skyward_agent` is imported from: a directory or the agent file."""
    tasks: Path
    """Each attempt gets a directory of its own in here, whose name begins with its child's pid."""
    environment: dict[str, str]
    groups: Groups | None = None
    """Where the kernel keeps the limits of children; None where only the agent does."""


class Child(Conversation):
    """Not started before `start`; after `events.died` it is of no more use."""

    def __init__(self, lane: int, number: int, place: ChildPlace, events: ChildEvents) -> None:
        super().__init__(lane, number, events)
        self._place = place
        self._group: Group | None = None
        self._killed = False
        self._oom_kills = 0
        self._oom_counted_at = float("-inf")

    # --- start and end -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Raises OSError when no process can be made."""
        out_read, out_write = os.pipe2(os.O_CLOEXEC)
        err_read, err_write = os.pipe2(os.O_CLOEXEC)
        ends = self._channel.child_ends()
        numbers = [str(number) for number in (*ends, os.getpid())]
        command = [self._place.python, "-c", _CODE, *numbers, self._place.library, str(self._place.tasks)]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out_write,
                stderr=err_write,
                cwd=self._place.tasks,
                env=self._place.environment,
                pass_fds=ends,
                start_new_session=True,
            )
        except OSError:
            self._channel.close()
            os.close(out_read)
            os.close(err_read)
            raise
        finally:
            os.close(out_write)
            os.close(err_write)
        self.pid = self._process.pid
        self._enter_group()
        self._converse(out_read, err_read)
        self._watch()

    def _enter_group(self) -> None:
        """Before it runs anything but our own code."""
        groups = self._place.groups
        group = None if groups is None else groups.make(f"{self.lane}-{self.number}")
        if group is not None and group.add(self.pid):
            self._group = group

    def _watch(self) -> None:
        try:
            self._pidfd = os.pidfd_open(self.pid)
            self._loop.add_reader(self._pidfd, self._poll_exit)
        except OSError:  # a kernel before 5.3, or a sandbox without it
            self._pidfd = -1
            self._loop.call_later(_POLL_S, self._poll_exit)

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def stop(self, *, kill: bool) -> None:
        if kill:
            self._killed = True
            kill_trees((self.pid,))
        else:
            for pid in reversed(tree_of(self.pid)):
                send_signal(pid, signal.SIGTERM)

    def _poll_exit(self) -> None:
        code = self._process.poll()
        if code is None:
            if self._pidfd < 0:
                self._loop.call_later(_POLL_S, self._poll_exit)
            return
        try:
            os.killpg(self.pid, signal.SIGKILL)  # forks that stayed in its group
        except (ProcessLookupError, PermissionError):
            pass
        unbegun = self._hang_up()
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1
        outcome, failure = died(
            code,
            running=self.current is not None,
            killed=self._killed,
            out_of_memory=self._kernels_part(),
            tail=self._tail if self.current is None else self.current.output.tail,
            evidence=self._evidence(),
        )
        if self._group is not None:
            self._group.remove()
        self._events.died(self, outcome, failure, unbegun)

    # --- what it uses --------------------------------------------------------------------------------------------

    def run(
        self, lease: Lease, function: bytes, env: dict[str, str], *, memory_limited: bool, refusal: str = ""
    ) -> None:
        self._count_oom_kills()
        super().run(lease, function, env, memory_limited=memory_limited, refusal=refusal)

    def limit_memory(self, limit_bytes: int | None) -> None:
        """Have the kernel keep this limit, where it can."""
        if self._group is not None:
            self._group.limit_memory(limit_bytes)

    def over_limit(self, limit_bytes: int) -> int | None:
        """The tree's memory if it is past the limit."""
        used = tree_memory(self.pid, limit_bytes)
        if self.current is not None:
            self.current.peak_bytes = max(self.current.peak_bytes, used)
        return used if used > limit_bytes else None

    def processes(self) -> int:
        """How many there are in its tree."""
        return len(tree_of(self.pid))

    def is_bloated(self, limit_bytes: int) -> bool:
        """Whether what an ended attempt left behind takes much of what the next one may use."""
        return memory_of(self.pid) > limit_bytes // 2

    def directories_left(self) -> list[Path]:
        """What a dead child has left on the disk. Looks there."""
        return list(self._place.tasks.glob(f"{self.pid}-*"))

    def _evidence(self) -> dict[str, str]:
        seen = 0 if self.current is None else self.current.peak_bytes
        peak = seen or (0 if self._group is None else self._group.peak_bytes())
        return {"peak_bytes": str(peak)} if peak else {}

    def _kernels_part(self) -> str:
        if self._group is not None and self._group.oom_kills():
            return "used more memory than its limit (resources.memory): the kernel ended all of its processes"
        if oom_kills_of_host() > self._oom_kills:
            return "the node ran out of memory: the kernel ended the process that ran the function"
        return ""

    def _count_oom_kills(self) -> None:
        """Where the kernel's counter stands before an attempt; read at most once a second, since it is slow to read."""
        now = self._loop.time()
        if now - self._oom_counted_at >= 1.0:
            self._oom_counted_at = now
            self._oom_kills = oom_kills_of_host()


def child_environment(base: dict[str, str], python: str) -> dict[str, str]:
    """The agent's environment as tasks see it: the node's interpreter first on PATH, and nothing meant for the agent."""
    environment = {name: value for name, value in base.items() if name not in ("SKYWARD_POWEROFF", "PYTHONPATH")}
    programs = str(Path(python).parent)
    path = environment.get("PATH", os.defpath)
    environment["PATH"] = path if path.split(os.pathsep)[0] == programs else f"{programs}{os.pathsep}{path}"
    return environment
