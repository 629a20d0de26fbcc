"""Pure rules: a picture of the world and the time go in, plans with reasons come out."""

from skyward.api.meta import REPLACE
from skyward.planner.adoption import AdoptInstance, plan_adoption
from skyward.planner.breaker import Losses, Patience, blocks, excused_until, silent_since
from skyward.planner.case import uses_tunnel
from skyward.planner.ceilings import CREATE_WINDOW_S, UNANSWERED, launch_allowance, room, use_of, use_of_stray
from skyward.planner.decided import (
    LAUNCH_RULE,
    MERE_STEPS,
    action_decision,
    launch_decision,
    pool_decisions,
    sentence,
    step_decision,
)
from skyward.planner.endings import epitaph
from skyward.planner.hosts import MEMORY_S as HOST_MEMORY_S
from skyward.planner.hosts import host_failure, shun
from skyward.planner.market import OfferingChoice, choose_offering
from skyward.planner.node import plan_node
from skyward.planner.places import Place, classify, is_gone
from skyward.planner.plans import (
    AskForInstance,
    ConditionUpdate,
    Cordon,
    CreateNode,
    FailNode,
    Finish,
    ForgetNode,
    KeepNode,
    NodeCounts,
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
from skyward.planner.pool import plan_pool
from skyward.planner.proof import must_show_at, shown_at
from skyward.planner.returning import return_due_at, spot_again
from skyward.planner.rules import NodeRules
from skyward.planner.shopping import Shopping, Terms, shopping_of, terms_of
from skyward.planner.sifting import accepts, relevant, sift
from skyward.planner.updates import apply_updates
from skyward.planner.world import world

__all__ = [
    "CREATE_WINDOW_S",
    "HOST_MEMORY_S",
    "LAUNCH_RULE",
    "MERE_STEPS",
    "REPLACE",
    "UNANSWERED",
    "AdoptInstance",
    "AskForInstance",
    "ConditionUpdate",
    "Cordon",
    "CreateNode",
    "FailNode",
    "Finish",
    "ForgetNode",
    "KeepNode",
    "Losses",
    "NodeCounts",
    "NodePlan",
    "NodeRules",
    "NodeStep",
    "OfferingChoice",
    "Patience",
    "Place",
    "PoolAction",
    "PoolPlan",
    "ResumeLaunch",
    "RetireNode",
    "RunBootstrap",
    "Shopping",
    "StartLaunch",
    "Terminate",
    "Terms",
    "Wait",
    "accepts",
    "action_decision",
    "apply_updates",
    "blocks",
    "choose_offering",
    "classify",
    "epitaph",
    "excused_until",
    "host_failure",
    "is_gone",
    "launch_allowance",
    "launch_decision",
    "must_show_at",
    "plan_adoption",
    "plan_node",
    "plan_pool",
    "pool_decisions",
    "relevant",
    "return_due_at",
    "room",
    "sentence",
    "shopping_of",
    "shown_at",
    "shun",
    "sift",
    "silent_since",
    "spot_again",
    "step_decision",
    "terms_of",
    "use_of",
    "use_of_stray",
    "uses_tunnel",
    "world",
]
