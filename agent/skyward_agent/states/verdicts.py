"""How an attempt ends that its child did not end itself."""

from __future__ import annotations

from skyward_agent.states.stimuli import ChildDied, MemoryExceeded, ProcessesExceeded
from skyward_agent.wire import messages as wire
from skyward_agent.wire.messages import AttemptId, Failure, Lease, Report
from skyward_agent.wire.records import record


@record(frozen=True, slots=True)
class Verdict:
    """How the attempt of a stopping lane ends, whatever its child still says."""

    outcome: str
    failure: Failure


def cancelled(reason: str) -> Verdict:
    return Verdict(wire.CANCELLED, Failure(wire.CANCELLED, reason or "cancelled"))


def timed_out(lease: Lease) -> Verdict:
    message = f"ran past its timeout of {lease.timeout_s or 0.0:g} s and was stopped"
    return Verdict(wire.TIMED_OUT, Failure(wire.TIMED_OUT, message))


def out_of_memory(said: MemoryExceeded) -> Verdict:
    message = f"used more memory than its limit of {said.limit_bytes // 2**20} MiB (resources.memory) and was stopped"
    evidence = {"limit_bytes": str(said.limit_bytes), "peak_bytes": str(said.peak_bytes)}
    return Verdict(wire.OUT_OF_MEMORY, Failure(wire.OUT_OF_MEMORY, message, evidence=evidence))


def too_many_processes(said: ProcessesExceeded) -> Verdict:
    message = f"started {said.count} processes, more than the {said.limit} that one task may have, and was stopped"
    evidence = {"limit_processes": str(said.limit), "processes": str(said.count)}
    return Verdict(wire.CHILD_DIED, Failure(wire.CHILD_DIED, message, evidence=evidence))


def at_death(attempt: AttemptId, verdict: Verdict | None, said: ChildDied) -> Report:
    """The report of an attempt whose child is gone: as the verdict says, else as it died; with the evidence of both."""
    verdict = verdict or Verdict(said.outcome, said.failure)
    failure = verdict.failure
    evidence = {**said.failure.evidence, **failure.evidence}
    failure = Failure(failure.type, failure.message, failure.traceback, evidence=evidence)
    return Report(attempt, verdict.outcome, failure=failure, seconds=said.seconds)
