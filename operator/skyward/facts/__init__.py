"""What providers and nodes reported: frozen pictures that planners read and plugs make."""

from skyward.facts.accelerators import Accelerator, identify
from skyward.facts.decision import Decision, DecisionKind, DecisionRecord, Inputs, Revision
from skyward.facts.health import CheckState, HealthCheck, HostFailure, Notice, ShunnedHost
from skyward.facts.instance import Instance, InstanceState, Listing
from skyward.facts.launch import (
    LAUNCH_TRANSITIONS,
    Launch,
    LaunchOutcome,
    LaunchRequest,
    LaunchState,
)
from skyward.facts.limits import Ceilings, Hindrance, Limits, Use
from skyward.facts.observed import CoolDown, LookUp, ObservedMarket, ObservedNode, ObservedPool
from skyward.facts.offering import ON_DEMAND, SPOT, Offering, Supply
from skyward.facts.progress import AgentSession, BootstrapProgress, BootstrapRequest, BootstrapState, NodeConfig

__all__ = [
    "LAUNCH_TRANSITIONS",
    "ON_DEMAND",
    "SPOT",
    "Accelerator",
    "AgentSession",
    "BootstrapProgress",
    "BootstrapRequest",
    "BootstrapState",
    "Ceilings",
    "CheckState",
    "CoolDown",
    "Decision",
    "DecisionKind",
    "DecisionRecord",
    "HealthCheck",
    "Hindrance",
    "HostFailure",
    "Inputs",
    "Instance",
    "InstanceState",
    "Launch",
    "LaunchOutcome",
    "LaunchRequest",
    "LaunchState",
    "Limits",
    "Listing",
    "LookUp",
    "NodeConfig",
    "Notice",
    "ObservedMarket",
    "ObservedNode",
    "ObservedPool",
    "Offering",
    "Revision",
    "ShunnedHost",
    "Supply",
    "Use",
    "identify",
]
