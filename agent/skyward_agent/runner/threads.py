"""Lanes that are threads of one process (`executor: thread`), as the agent holds them.

Each thread has a channel and output pipes of its own, handed over when it is opened, so that towards the agent it is a
child like any other. It is asked to end by an exception, raised at the next instruction of Python it comes to. One that does
not heed takes the process with it, and so all others: they died of it, and are tried again.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

from skyward_agent.runner.conversation import ChildEvents, Conversation
from skyward_agent.runner.deaths import died
from skyward_agent.runner.messages import INTERRUPT, OPEN
from skyward_agent.runner.process import ChildPlace
from skyward_agent.runner.tree import kill_trees, tree_of
from skyward_agent.wire import messages as wire
from skyward_agent.wire.messages import AttemptId, Failure

_POLL_S = 0.05
_LOST_S = 0.5
_TAIL_BYTES = 2048
_BYSTANDER = "another task of the same process had to be stopped, and threads end with their process (executor: thread)"
_CODE = (
    "import sys; sys.path.insert(0, sys.argv[3]); from skyward_agent.runner.thread_host import main; "
    "sys.path.append(sys.path.pop(0)); main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[4])"
)


class ThreadHost:
    """The process. `ended` is called once, when it is gone, after its threads were told."""

    def __init__(self, place: ChildPlace, ended: Callable[[ThreadHost], None]) -> None:
        self._place = place
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._threads: dict[str, ThreadChild] = {}
        self._guilty: ThreadChild | None = None
        self._output = b""
        self.is_over = False
        """It ended, or is about to: it takes no more threads."""

    def start(self) -> None:
        """Raises OSError when no process can be made."""
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._pipe, output = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(output, True)
        numbers = [str(theirs.fileno()), str(os.getpid())]
        command = [self._place.python, "-c", _CODE, *numbers, self._place.library, str(self._place.tasks)]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._place.tasks,
                env=self._place.environment,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        except OSError:
            self._control.close()
            os.close(self._pipe)
            raise
        finally:
            theirs.close()
            os.close(output)
        self.pid = self._process.pid
        self._loop.add_reader(self._pipe, self._read)
        try:
            self._pidfd = os.pidfd_open(self.pid)
            self._loop.add_reader(self._pidfd, self._poll_exit)
        except OSError:  # a kernel before 5.3, or a sandbox without it
            self._pidfd = -1
            self._loop.call_later(_POLL_S, self._poll_exit)

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def open(self, thread: ThreadChild, descriptors: tuple[int, int, int, int]) -> None:
        """Have a thread with these: stream, packets, standard output and error. Raises OSError when the process is gone."""
        socket.send_fds(self._control, [f"{OPEN} {thread.key}".encode()], descriptors)
        self._threads[thread.key] = thread

    def interrupt(self, thread: ThreadChild) -> None:
        try:
            self._control.send(f"{INTERRUPT} {thread.key}".encode())
        except OSError:
            pass  # the process is gone; its end tells

    def closed(self, thread: ThreadChild) -> None:
        """This thread has ended."""
        self._threads.pop(thread.key, None)

    def kill(self, guilty: ThreadChild | None = None) -> None:
        """End the process, because of this thread."""
        self._guilty = self._guilty or guilty
        self.is_over = True
        if self.is_alive():
            kill_trees((self.pid,))

    def processes(self) -> int:
        return len(tree_of(self.pid))

    def directories_left(self) -> list[Path]:
        return list(self._place.tasks.glob(f"{self.pid}-*"))

    def _read(self) -> None:
        """What is written past the threads' own streams belongs to no task; its end is evidence."""
        try:
            data = os.read(self._pipe, 64 * 1024)
        except BlockingIOError:
            return
        if not data:
            self._loop.remove_reader(self._pipe)
        self._output = (self._output + data)[-_TAIL_BYTES:]

    def _poll_exit(self) -> None:
        code = self._process.poll()
        if code is None:
            if self._pidfd < 0:
                self._loop.call_later(_POLL_S, self._poll_exit)
            return
        self.is_over = True
        self._read()
        self._loop.remove_reader(self._pipe)
        os.close(self._pipe)
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
        self._control.close()
        for thread in tuple(self._threads.values()):
            is_bystander = self._guilty not in (None, thread)
            thread.host_ended(code, self._output.decode(errors="replace"), is_bystander=is_bystander)
        self._threads.clear()
        self._ended(self)


class ThreadChild(Conversation):
    """One lane's thread. Not started before `start`; after `events.died` it is of no more use."""

    def __init__(self, lane: int, number: int, host: ThreadHost, events: ChildEvents) -> None:
        super().__init__(lane, number, events)
        self.key = f"{lane}-{number}"
        self._host = host
        self._is_gone = False

    @property
    def pid(self) -> int:
        return self._host.pid

    def start(self) -> None:
        """Raises OSError when its process is gone."""
        out_read, out_write = os.pipe2(os.O_CLOEXEC)
        err_read, err_write = os.pipe2(os.O_CLOEXEC)
        try:
            self._host.open(self, (*self._channel.child_ends(), out_write, err_write))
        except OSError:
            self._channel.close()
            os.close(out_read)
            os.close(err_read)
            raise
        finally:
            os.close(out_write)
            os.close(err_write)
        self._converse(out_read, err_read)

    def is_alive(self) -> bool:
        return self._host.is_alive()

    def stop(self, *, kill: bool) -> None:
        """A thread that runs nothing ends with its channel. One that runs something is asked first, and ended by ending the
        process."""
        if self._is_gone:
            return
        if self.current is None:
            self._loop.call_soon(self._end, "stopped by the agent")
        elif kill:
            self._host.kill(self)
        else:
            self._host.interrupt(self)

    def processes(self) -> int:
        return self._host.processes()

    def over_limit(self, limit_bytes: int) -> int | None:
        """Threads share their memory: there is none of one's own to limit."""
        return None

    def is_bloated(self, limit_bytes: int) -> bool:
        return False

    def limit_memory(self, limit_bytes: int | None) -> None:
        return None

    def host_ended(self, code: int, output: str, *, is_bystander: bool) -> None:
        if self._is_gone:
            return
        self._is_gone = True
        unbegun = self._hang_up()
        current = self.current
        tail = "\n".join(part for part in (output, "" if current is None else current.output.tail) if part)
        outcome, failure = died(
            code,
            running=current is not None,
            killed=not is_bystander and code == -9,
            out_of_memory="",
            tail=tail,
            evidence={},
        )
        if is_bystander:
            failure = Failure(outcome, _BYSTANDER, evidence=failure.evidence)
        self._events.died(self, outcome, failure, unbegun)

    def _lost(self) -> None:
        """Most often because the process ends, of which it is told in a moment, with the reason."""
        self._loop.call_later(_LOST_S, self._end, "the thread ended without an answer")

    def _end(self, why: str) -> None:
        """The thread has ended, or does as soon as it sees its channel closed."""
        if self._is_gone:
            return
        self._is_gone = True
        self._host.closed(self)
        unbegun: tuple[AttemptId, ...] = self._hang_up()
        self._events.died(self, wire.CHILD_DIED, Failure(wire.CHILD_DIED, why), unbegun)
