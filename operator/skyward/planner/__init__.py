"""Pure rules: a picture of the world and the time go in, plans with reasons come out."""

from skyward.planner.case import template_providers, uses_tunnel
from skyward.planner.market import OfferingChoice, choose_offering
from skyward.planner.node import plan_node
from skyward.planner.places import REPLACE, Place, classify, is_gone
from skyward.planner.plans import (
    ConditionUpdate,
    Cordon,
    CreateNode,
    FailNode,
    Finish,
    ForgetNode,
    NodePlan,
    NodeStep,
    PoolAction,
    PoolPlan,
    ResumeLaunch,
    RetireNode,
    RunBootstrap,
    StartLaunch,
    Terminate,
    Wait,
)
from skyward.planner.pool import count_nodes, plan_pool
from skyward.planner.pool_conditions import NodeCounts
from skyward.planner.rules import NodeRules
from skyward.planner.updates import apply_updates
from skyward.planner.world import world

__all__ = [
    "REPLACE",
    "ConditionUpdate",
    "Cordon",
    "CreateNode",
    "FailNode",
    "Finish",
    "ForgetNode",
    "NodeCounts",
    "NodePlan",
    "NodeRules",
    "NodeStep",
    "OfferingChoice",
    "Place",
    "PoolAction",
    "PoolPlan",
    "ResumeLaunch",
    "RetireNode",
    "RunBootstrap",
    "StartLaunch",
    "Terminate",
    "Wait",
    "apply_updates",
    "choose_offering",
    "classify",
    "count_nodes",
    "is_gone",
    "plan_node",
    "plan_pool",
    "template_providers",
    "uses_tunnel",
    "world",
]
