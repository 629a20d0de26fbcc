"""The process whose threads are lanes (`executor: thread`): it opens threads as it is told, and ends with its agent.

What belongs to a process is shared: directory, environment, signals, what is left behind. Each thread has its own output and
its own place among the nodes; both follow it into the coroutines that it starts, not into threads of its own.
"""

from __future__ import annotations

import ctypes
import os
import socket
import sys
import threading
import time
from contextvars import ContextVar
from typing import Any, TextIO

from skyward_agent.runner import facade
from skyward_agent.runner.channel import ChildChannel
from skyward_agent.runner.execution import Ending, Functions, execute
from skyward_agent.runner.isolation import high_descriptor, line_buffered, set_process_traits, unread
from skyward_agent.runner.messages import OPEN, FunctionEnded, RunFunction, RunnerReady
from skyward_agent.runner.outlet import Outlet
from skyward_agent.runner.parcels import Parcels
from skyward_agent.wire import messages as wire
from skyward_agent.wire.messages import Failure
from skyward_agent.wire.world import INFO_OF_THREAD, INFO_VARIABLE

_out: ContextVar[TextIO | None] = ContextVar("skyward_stdout", default=None)
_err: ContextVar[TextIO | None] = ContextVar("skyward_stderr", default=None)


def main(control: int, parent: int, base_directory: str) -> None:
    """Serve one agent until it closes the control socket. Never returns normally."""
    if not set_process_traits(parent):
        os._exit(0)
    agent = socket.socket(fileno=high_descriptor(control))
    os.close(control)
    sys.argv[1:] = []
    facade.install()
    directory = f"{base_directory}/{os.getpid()}-threads"
    os.mkdir(directory, 0o700)  # noqa: PTH102 - as its siblings do
    os.chdir(directory)
    streams: Any = (_Routed(_out, sys.stdout), _Routed(_err, sys.stderr))
    sys.stdout, sys.stderr = streams
    _listen(agent, _Shared(streams[0], streams[1], Parcels(base_directory, has_own_directory=False)))
    os._exit(0)


def _listen(agent: socket.socket, shared: _Shared) -> None:
    lanes: dict[str, _Lane] = {}
    while True:
        data, descriptors, _, _ = socket.recv_fds(agent, 256, 4, socket.MSG_CMSG_CLOEXEC)
        if not data:
            return
        word, _, key = data.decode().partition(" ")
        if word == OPEN:
            lanes[key] = _Lane(key, descriptors, shared)
            lanes[key].start()
        elif key in lanes:
            lanes[key].interrupt()
        lanes = {key: lane for key, lane in lanes.items() if lane.is_alive()}


class _Routed:
    """`sys.stdout` or `sys.stderr`: the stream of the lane whose thread or coroutine asks."""

    def __init__(self, own: ContextVar[TextIO | None], other: TextIO) -> None:
        self._own = own
        self._other = other

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own.get() or self._other, name)


class _Shared:
    """What the lanes have in common."""

    def __init__(self, out: TextIO, err: TextIO, parcels: Parcels) -> None:
        self._streams = (out, err)
        self.parcels = parcels
        self._lock = threading.Lock()
        self._variables: dict[str, str] = {}

    def use(self, env: dict[str, str]) -> None:
        """The variables of image and pool, which are the same for all, and the streams, should a task have replaced them."""
        with self._lock:
            if env != self._variables:
                for name in self._variables.keys() - env.keys():
                    os.environ.pop(name, None)
                os.environ.update(env)
                self._variables = env
            sys.stdout, sys.stderr = self._streams


class _Lane(threading.Thread):
    """It takes up an attempt, runs it, answers, and goes on to the next."""

    def __init__(self, key: str, descriptors: list[int], shared: _Shared) -> None:
        super().__init__(name=f"lane {key}", daemon=True)
        stream, packets, out, err = descriptors
        self._channel = ChildChannel(stream, packets)
        self._pipes = (out, err)
        self._streams = (line_buffered(out), line_buffered(err))
        self._shared = shared
        self._deciding = threading.Lock()
        self._runs_user_code = False

    def interrupt(self) -> None:
        """Raise SystemExit in what it runs, at the next instruction of Python it comes to."""
        with self._deciding:  # only there: our own code would leave half an answer
            if self._runs_user_code:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(self.ident or 0), ctypes.py_object(SystemExit)
                )

    def run(self) -> None:
        """Until the channel closes, or it was interrupted after all user code had ended."""
        try:
            self._serve()
        except (EOFError, OSError, SystemExit):
            pass
        finally:
            self._channel.close()
            for pipe in self._pipes:
                os.close(pipe)

    def _serve(self) -> None:
        _out.set(self._streams[0])
        _err.set(self._streams[1])
        functions = Functions()
        self._outlet = Outlet(self._channel, self._shared.parcels, self._has_written)
        env: dict[str, str] = {}
        pid = os.getpid()
        self._channel.say(RunnerReady(pid))
        while True:
            run: RunFunction = self._channel.next()
            env = env if run.env is None else run.env
            ended = self._take_up(run, env, functions)
            if os.getpid() != pid:
                os._exit(0)  # a fork made by the function, which returned from it as well
            self._channel.say(ended)
            if ended.wrote:
                self._channel.hear()  # Drained

    def _take_up(self, run: RunFunction, env: dict[str, str], functions: Functions) -> FunctionEnded:
        began = time.monotonic()
        functions.take_in(run)
        INFO_OF_THREAD.set(env.get(INFO_VARIABLE))
        self._shared.use({name: value for name, value in env.items() if name != INFO_VARIABLE})
        ending = _refused(run.refusal) if run.refusal else self._execute(run, functions)
        wrote = self._has_written()
        return FunctionEnded(
            ending.outcome,
            ending.value,
            ending.failure,
            ending.seconds,
            clean=not any(stream.closed for stream in self._streams),
            busy_s=time.monotonic() - began,
            wrote=wrote,
        )

    def _has_written(self) -> bool:
        for stream in self._streams:
            if not stream.closed:
                stream.flush()
        return any(unread(pipe) for pipe in self._pipes)

    def _execute(self, run: RunFunction, functions: Functions) -> Ending:
        with self._deciding:
            self._runs_user_code = True
        ending = execute(run, functions, self._shared.parcels, self._outlet)
        with self._deciding:
            self._runs_user_code = False
        return ending


def _refused(reason: str) -> Ending:
    return Ending(wire.FAILED, failure=Failure("RequestRejected", reason))
