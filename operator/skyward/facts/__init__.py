"""What providers and nodes reported: frozen pictures that planners read and plugs make."""

from skyward.facts.decision import Decision, DecisionKind, DecisionRecord, Inputs, Revision
from skyward.facts.instance import Instance, InstanceState, Listing
from skyward.facts.launch import (
    LAUNCH_TRANSITIONS,
    Launch,
    LaunchOutcome,
    LaunchRequest,
    LaunchState,
    Offering,
)
from skyward.facts.observed import CoolDown, ObservedMarket, ObservedNode, ObservedPool
from skyward.facts.progress import AgentSession, BootstrapProgress, BootstrapRequest, BootstrapState, NodeConfig

__all__ = [
    "LAUNCH_TRANSITIONS",
    "AgentSession",
    "BootstrapProgress",
    "BootstrapRequest",
    "BootstrapState",
    "CoolDown",
    "Decision",
    "DecisionKind",
    "DecisionRecord",
    "Inputs",
    "Instance",
    "InstanceState",
    "Launch",
    "LaunchOutcome",
    "LaunchRequest",
    "LaunchState",
    "Listing",
    "NodeConfig",
    "ObservedMarket",
    "ObservedNode",
    "ObservedPool",
    "Offering",
    "Revision",
]
