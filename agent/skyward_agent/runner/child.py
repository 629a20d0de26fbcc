"""The child process: takes up an attempt, runs it, answers, and goes on to the next.

Started as `python -c … <stream> <packets> <agent's pid> <directory>`; it lives until its channel closes or the agent dies.
User code runs in the main thread, so that signals and event loops work as in a script of the user's own.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import time

from skyward_agent.runner import facade
from skyward_agent.runner.channel import ChildChannel
from skyward_agent.runner.execution import Functions, execute
from skyward_agent.runner.isolation import Isolation, high_descriptor, set_process_traits
from skyward_agent.runner.messages import CHANNEL_LOST, FunctionEnded, RunFunction, RunnerReady
from skyward_agent.runner.outlet import Outlet
from skyward_agent.runner.parcels import Parcels
from skyward_agent.wire import messages as wire
from skyward_agent.wire.messages import Failure


def main(stream: int, packets: int, parent: int, base_directory: str) -> None:
    """Serve one agent over two inherited sockets. Never returns normally."""
    if not set_process_traits(parent):
        os._exit(0)
    channel = ChildChannel(high_descriptor(stream), high_descriptor(packets))
    os.close(stream)
    os.close(packets)
    sys.argv[1:] = []
    faulthandler.enable()
    facade.install()
    parcels = Parcels(base_directory)
    isolation = Isolation(base_directory)
    outlet = Outlet(channel, parcels, isolation.has_written)
    os.register_at_fork(after_in_child=channel.close)
    try:
        _serve(channel, isolation, parcels, outlet)
    except EOFError:
        os._exit(0)
    except OSError:
        os._exit(CHANNEL_LOST)


def _serve(channel: ChildChannel, isolation: Isolation, parcels: Parcels, outlet: Outlet) -> None:
    pid = os.getpid()
    functions = Functions()
    env: dict[str, str] = {}
    channel.say(RunnerReady(pid))
    while True:
        run = channel.next()
        env = env if run.env is None else run.env
        ended = _run(run, env, functions, isolation, parcels, outlet)
        if os.getpid() != pid:
            os._exit(0)  # a fork of this process made by the function, which returned from it as well
        channel.say(ended)
        if ended.wrote or not ended.clean:
            channel.hear()  # Drained; one that is not clean is ended here
        isolation.put_away()


def _run(
    run: RunFunction,
    env: dict[str, str],
    functions: Functions,
    isolation: Isolation,
    parcels: Parcels,
    outlet: Outlet,
) -> FunctionEnded:
    began = time.monotonic()
    functions.take_in(run)
    try:
        isolation.enter(env)
    except (OSError, ValueError) as error:  # no room for a directory, or an impossible name of a variable
        message = f"the node could not prepare the task's directory and environment: {error}"
        isolation.leave()
        return FunctionEnded(wire.CHILD_DIED, b"", Failure(wire.CHILD_DIED, message), 0.0, clean=False)
    ending = execute(run, functions, parcels, outlet)
    clean = isolation.leave() and ending.outcome != wire.OUT_OF_MEMORY
    return FunctionEnded(
        ending.outcome,
        ending.value,
        ending.failure,
        ending.seconds,
        clean,
        busy_s=time.monotonic() - began,
        wrote=clean and isolation.has_output(),
    )
