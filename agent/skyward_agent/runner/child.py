"""The child process: waits for an attempt, runs it, answers, and is there for the next.

Started as `python -c … <descriptor> <agent's pid> <directory>`; it lives until its socket closes or the agent dies.
User code runs in the main thread, so that signals and event loops work as in a script of the user's own.
"""

from __future__ import annotations

import faulthandler
import os
import socket
import sys
from collections.abc import Iterator

from skyward_agent.runner import facade
from skyward_agent.runner.execution import Functions, execute
from skyward_agent.runner.isolation import Isolation, high_descriptor, set_process_traits
from skyward_agent.runner.messages import CHANNEL_LOST, FunctionEnded, RunFunction, RunnerReady
from skyward_agent.wire import messages as wire
from skyward_agent.wire.frames import decode, encode
from skyward_agent.wire.messages import Failure
from skyward_agent.wire.stream import FrameSplitter, joined

_READ_BYTES = 1024 * 1024


def main(descriptor: int, parent: int, base_directory: str) -> None:
    """Serve one agent over one inherited socket. Never returns normally."""
    if not set_process_traits(parent):
        os._exit(0)
    channel = socket.socket(fileno=high_descriptor(descriptor))
    os.close(descriptor)
    channel.setblocking(True)
    sys.argv[1:] = []
    faulthandler.enable()
    facade.install()
    isolation = Isolation(base_directory)
    os.register_at_fork(after_in_child=channel.close)
    pid = os.getpid()
    functions = Functions()
    _send(channel, RunnerReady(pid))
    for run in _runs(channel):
        ended = _run(run, functions, isolation)
        if os.getpid() != pid:
            os._exit(0)  # a fork of this process made by the function, which returned from it as well
        _send(channel, ended)
        if ended.clean:
            isolation.put_away(run.directory)
    os._exit(0)


def _run(run: RunFunction, functions: Functions, isolation: Isolation) -> FunctionEnded:
    functions.take_in(run)
    try:
        isolation.enter(run.directory, run.env)
    except (OSError, ValueError) as error:  # no room for a directory, or an impossible name of a variable
        message = f"the node could not prepare the task's directory and environment: {error}"
        isolation.leave()
        return FunctionEnded(wire.CHILD_DIED, b"", Failure(wire.CHILD_DIED, message), 0.0, clean=False)
    ending = execute(run, functions)
    clean = isolation.leave() and ending.outcome != wire.OUT_OF_MEMORY
    return FunctionEnded(ending.outcome, ending.value, ending.failure, ending.seconds, clean)


def _runs(channel: socket.socket) -> Iterator[RunFunction]:
    """Attempts as they come, until the agent closes its end."""
    splitter = FrameSplitter()
    while True:
        try:
            data = channel.recv(_READ_BYTES)
        except OSError:
            os._exit(CHANNEL_LOST)
        if not data:
            return
        for frame in splitter.feed(data):
            yield decode(frame)


def _send(channel: socket.socket, message: RunnerReady | FunctionEnded) -> None:
    try:
        for piece in joined(encode(message)):
            channel.sendall(piece)
    except OSError:
        os._exit(CHANNEL_LOST)
