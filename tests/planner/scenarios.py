"""The scenarios whose histories are kept as golden files: roll-outs of every kind, and what comes between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from skyward.api import Pool, to_time
from skyward.api.meta import DO_NOT_DISRUPT, REPLACE, RESTARTED
from tests.builders import NOW, make_pool
from tests.planner.histories import Deed, Scenario
from tests.planner.tiny_world import TinyWorld, hash_of

Act = Callable[[TinyWorld], None]


def _version(version: str, *, broken: bool = False) -> Deed:
    def act(world: TinyWorld) -> None:
        world.edit(image={"env": {"VERSION": version}} if version else {})
        if broken:
            world.broken.add(hash_of(world.pool))

    words = f"the user sets VERSION to {version}" if version else "the user goes back to the first template"
    return (f"{words}, which never becomes ready" if broken else words), act


def _rollout(**rollout: Any) -> Act:
    def act(world: TinyWorld) -> None:
        world.edit(rollout={**world.pool.spec.rollout.model_dump(), **rollout})

    return act


def _pool(nodes: int, **rollout: Any) -> Pool:
    return make_pool(nodes=nodes, rollout=rollout)


def _mark(slot: int, name: str, value: str | None) -> Act:
    return lambda world: world.annotate_node(world.at(slot), name, value)


def _restart(world: TinyWorld) -> None:
    world.annotate(RESTARTED, to_time(world.now).isoformat())


START = _version("2")
CLOSED = {"nodes": 0, "schedule": "6 15 * * *", "duration": "60s"}
"""Tests happen at 15:06:40 UTC: closed for the first twenty seconds."""

SCENARIOS = (
    Scenario("one_by_one", "Without surge, one by one.", _pool(3), {0: START}),
    Scenario(
        "surge",
        "With surge an old node leaves only when a new one serves.",
        _pool(3, maxUnavailable=0, maxSurge=1),
        {0: START},
    ),
    Scenario(
        "surge_and_unavailable",
        "Surge comes before maxUnavailable: a new node serves first.",
        _pool(4, maxUnavailable=1, maxSurge=2),
        {0: START},
    ),
    Scenario("percent", "Half of the nodes at a time.", _pool(4, maxUnavailable="50%"), {0: START}),
    Scenario(
        "canary",
        "One canary must serve for 3 s before the rest goes, two at a time.",
        _pool(4, maxUnavailable=2, canary=1, minReady="3s"),
        {0: START},
    ),
    Scenario(
        "canary_surge",
        "Two canaries beside the old nodes, then the rest.",
        _pool(4, maxSurge="50%", canary=2),
        {0: START},
    ),
    Scenario(
        "canary_broken",
        "A canary that never becomes ready costs one node, and the template stops itself.",
        _pool(4, maxUnavailable=2, canary=1),
        {0: _version("2", broken=True)},
        ticks=60,
        comes_to_rest=False,
    ),
    Scenario(
        "surge_broken",
        "With surge a template that never becomes ready costs no node at all.",
        _pool(3, maxUnavailable=0, maxSurge=1),
        {0: _version("2", broken=True)},
        ticks=60,
        comes_to_rest=False,
    ),
    Scenario(
        "min_ready",
        "Each new node must serve for 4 s before the next old one goes.",
        _pool(3, minReady="4s"),
        {0: START},
        ticks=60,
    ),
    Scenario("recreate", "All old nodes leave before a new one is made.", _pool(3, strategy="Recreate"), {0: START}),
    Scenario(
        "recreate_held",
        "Recreate replaces all or none: one protected node keeps them all.",
        _pool(3, strategy="Recreate"),
        {
            0: ("the user protects the node in slot 1", _mark(1, DO_NOT_DISRUPT, "true")),
            1: START,
            4: ("the user lets it go", _mark(1, DO_NOT_DISRUPT, None)),
        },
    ),
    Scenario(
        "on_delete",
        "Nodes are replaced when a user deletes them or asks for their replacement.",
        _pool(3, strategy="OnDelete"),
        {
            0: START,
            3: ("the user deletes the node in slot 0", lambda world: world.delete_node(world.at(0))),
            10: ("the user annotates the node in slot 2 with replace", _mark(2, REPLACE, "true")),
        },
        comes_to_rest=False,
    ),
    Scenario(
        "not_before",
        "The roll-out begins at the time given; a node lost before is made from the new template.",
        _pool(3, notBefore=to_time(NOW + 25).isoformat()),
        {0: START, 3: ("the machine in slot 1 breaks", lambda world: world.kill(world.at(1)))},
    ),
    Scenario(
        "budget_window",
        "A budget of 0 nodes closes the first twenty seconds; then one node at a time although maxUnavailable allows two.",
        make_pool(nodes=3, max_unavailable=2, disruption={"budgets": [CLOSED, {"nodes": 1}]}),
        {0: START},
        ticks=60,
    ),
    Scenario(
        "do_not_disrupt",
        "A protected node stays until the user lets it go.",
        _pool(3),
        {
            0: ("the user protects the node in slot 1", _mark(1, DO_NOT_DISRUPT, "true")),
            1: START,
            20: ("the user lets it go", _mark(1, DO_NOT_DISRUPT, None)),
        },
    ),
    Scenario(
        "pause",
        "A pause in the middle keeps everything as it is.",
        _pool(3),
        {
            0: START,
            5: ("the user pauses the pool", lambda world: world.edit(paused=True)),
            15: ("the user resumes it", lambda world: world.edit(paused=False)),
        },
    ),
    Scenario(
        "undo", "Going back in the middle replaces only what was replaced.", _pool(4), {0: START, 6: _version("")}
    ),
    Scenario(
        "lost_in_the_middle",
        "A node lost in the middle is made good before the next old one goes.",
        _pool(3),
        {0: START, 5: ("the machine in slot 0 breaks", lambda world: world.kill(world.at(0)))},
    ),
    Scenario(
        "lost_with_surge",
        "With surge, too, a lost node holds the roll-out back.",
        _pool(3, maxSurge=1),
        {0: START, 2: ("the machine in slot 0 breaks", lambda world: world.kill(world.at(0)))},
    ),
    Scenario(
        "scale_in_the_middle",
        "More nodes, and then fewer, while a roll-out goes on.",
        _pool(3),
        {
            0: START,
            5: ("the user wants 5 nodes", lambda world: world.edit(nodes=5)),
            12: ("the user wants 2 nodes", lambda world: world.edit(nodes=2)),
        },
    ),
    Scenario(
        "changed_twice",
        "A second change in the middle: nodes of both older templates give way.",
        _pool(3, maxSurge=1),
        {0: START, 6: _version("3")},
    ),
    Scenario(
        "restart",
        "A restart replaces every node by one of the same template.",
        _pool(3, maxSurge=1),
        {0: ("the user restarts the pool", _restart)},
    ),
    Scenario(
        "strategy_changed",
        "Turning to OnDelete in the middle takes the surplus away and leaves the rest to the user.",
        _pool(3, maxSurge=1),
        {0: START, 6: ("the user sets strategy OnDelete", _rollout(strategy="OnDelete"))},
        comes_to_rest=False,
    ),
    Scenario(
        "failing_template",
        "A failing template is tried three times and then stops.",
        _pool(3),
        {0: _version("2", broken=True)},
        ticks=60,
        comes_to_rest=False,
    ),
    Scenario(
        "failing_template_at_rest",
        "A pool that wants no node is not stalled by its template; wanting some again it is.",
        _pool(2),
        {
            0: _version("2", broken=True),
            45: ("the user scales to nothing", lambda world: world.edit(nodes=0)),
            50: ("the user scales to one", lambda world: world.edit(nodes=1)),
            55: ("the user scales to nothing again", lambda world: world.edit(nodes=0)),
        },
        ticks=60,
    ),
    Scenario(
        "lost_node",
        "A lost node is replaced while the others serve.",
        _pool(3),
        {0: ("the machine in slot 1 breaks", lambda world: world.kill(world.at(1)))},
        ticks=12,
    ),
)
