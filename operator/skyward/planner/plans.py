"""What planners answer: actions and steps with reasons, and when to look again. Data only."""

from __future__ import annotations

from dataclasses import dataclass, field

from skyward.api import Json, Reason, Status
from skyward.facts import Decision, Inputs, Offering

# --- plan_pool -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CreateNode:
    """Add a node record for this slot, made from the pool's current template."""

    slot: int
    reason: Reason
    message: str
    rule: str = "replicas"
    """The rule that chose it, and the numbers it looked at."""
    inputs: Inputs = ()


@dataclass(frozen=True, slots=True)
class RetireNode:
    """Set the node's deletion timestamp and reason; the node controller drains and deletes its instance."""

    node: str
    """Key."""
    reason: Reason
    message: str
    rule: str = "replicas"
    inputs: Inputs = ()


@dataclass(frozen=True, slots=True)
class ForgetNode:
    """Remove the record of a failed node whose instance is proved gone."""

    node: str
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class KeepNode:
    """Give a node up and leave its instance as it is: write why into its status, and take it out of service."""

    node: str
    reason: Reason
    message: str
    rule: str = "keep-on-failure"
    inputs: Inputs = ()


PoolAction = CreateNode | RetireNode | ForgetNode | KeepNode


@dataclass(frozen=True, slots=True)
class ConditionUpdate:
    type: str
    status: Status | None
    """None drops the condition (those that exist only while true)."""
    reason: Reason
    message: str = ""


@dataclass(frozen=True, slots=True)
class NodeCounts:
    """The numbers of a pool's status."""

    nodes: int
    """That hold or may hold an instance, leaving ones included; records of failures are not."""
    ready: int
    available: int
    """Ready for long enough, and taking work."""
    up_to_date: int
    pending: int
    leaving: int


@dataclass(frozen=True, slots=True)
class PoolPlan:
    actions: tuple[PoolAction, ...]
    """Empty when the world is as desired, or when nothing may be concluded; never a part of what must happen together."""
    conditions: tuple[ConditionUpdate, ...]
    counts: NodeCounts
    """As they are before anything of it is done."""
    requeue_after_s: float | None = None
    """Look again then at the latest; None when only a change can alter the plan."""
    decisions: tuple[Decision, ...] = ()
    """Why: one for every action, and all that stand (held, skipped, waited for) in this world."""


# --- plan_node -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StartLaunch:
    """Record a launch of this offering for this node (equal siblings may share it) and send its create call."""

    offering: Offering
    reason: Reason
    message: str
    inputs: Inputs = ()
    """The offerings that were looked at, and why each but one was left out."""
    avoid_hosts: tuple[str, ...] = ()
    """The provider's hosts that it must not land on."""
    options: Json = field(default_factory=dict)
    """What its driver is given: of the manifest's entry by which the offering was found."""


@dataclass(frozen=True, slots=True)
class ResumeLaunch:
    """The launch is prepared, or its outcome unknown: send the identical call again (token providers), or bind what the
    listing shows (`instance_ids`), or, when absence is proved, end the launch as absent."""

    replay: bool
    bind: bool
    absent: bool
    message: str


@dataclass(frozen=True, slots=True)
class AskForInstance:
    """Listings lack the instance: ask its provider for it by its id. The answer is on record for the next plan."""

    message: str


@dataclass(frozen=True, slots=True)
class RunBootstrap:
    """Start or go on with the bootstrap of the node's instance. With `restart`, the agent was lost and is started again."""

    restart: bool
    message: str
    attempt: int = 0
    """Which restart in a row this is, from 1; 0 when it is none."""


@dataclass(frozen=True, slots=True)
class Cordon:
    """Tell the agent to take no new work and mark the node unschedulable."""

    message: str


@dataclass(frozen=True, slots=True)
class Terminate:
    """Release the node's attempts, dismiss its agent, close its channel and ask the provider to delete the instance."""

    message: str


@dataclass(frozen=True, slots=True)
class Finish:
    """The instance is proved gone, or never was: revoke the credentials; a failed node stays as a record, any other is removed."""

    message: str


@dataclass(frozen=True, slots=True)
class FailNode:
    """This node will not become or stay useful: write why into its status. The pool's plan retires it."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do but to look again; the conditions say what it waits for."""


NodeStep = StartLaunch | ResumeLaunch | AskForInstance | RunBootstrap | Cordon | Terminate | Finish | FailNode | Wait


@dataclass(frozen=True, slots=True)
class NodePlan:
    step: NodeStep
    conditions: tuple[ConditionUpdate, ...]
    requeue_after_s: float | None = None
    decisions: tuple[Decision, ...] = ()
    """Why: of the step, and all that stand in this world."""
