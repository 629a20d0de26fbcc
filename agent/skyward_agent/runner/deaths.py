"""Why a process ended, in words and as an outcome: what its status, its last output and the kernel's counters tell."""

from __future__ import annotations

import signal

from skyward_agent.runner.messages import CHANNEL_LOST
from skyward_agent.wire import messages as wire
from skyward_agent.wire.messages import Failure


def died(
    code: int, *, running: bool, killed: bool, out_of_memory: str, tail: str, evidence: dict[str, str]
) -> tuple[str, Failure]:
    """Outcome and failure of what ran there. `out_of_memory` is the kernel's part in it, should it have ended the process for
    memory; `killed` when the agent ended it. The status is added to the evidence."""
    tail = tail.strip()
    proof = {"last_output": tail} if tail else {}
    proof |= evidence
    proof["signal" if code < 0 else "exit_code"] = signal_name(-code) if code < 0 else str(code)
    if code == -signal.SIGKILL and not killed and out_of_memory:
        return wire.OUT_OF_MEMORY, Failure(wire.OUT_OF_MEMORY, out_of_memory, evidence=proof)
    message = "stopped by the agent" if killed else _epitaph(code, running, tail)
    return wire.CHILD_DIED, Failure(wire.CHILD_DIED, message, evidence=proof)


def _epitaph(code: int, running: bool, tail: str) -> str:
    if not running:
        return f"the runner ended with {code}: {tail.splitlines()[-1] if tail else 'it said nothing'}"
    if code < 0:
        return f"the process that ran the function was ended by {signal_name(-code)}"
    if code == CHANNEL_LOST:
        return "the function closed the channel between its process and the agent"
    return f"the process that ran the function exited with status {code} without an answer"


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def oom_kills_of_host() -> int:
    """How often the kernel has ended a process for memory since it booted."""
    try:
        with open("/proc/vmstat") as file:
            return next((int(line.split()[1]) for line in file if line.startswith("oom_kill ")), 0)
    except OSError:
        return 0
