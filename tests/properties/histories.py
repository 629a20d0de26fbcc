"""Histories: plan, carry out, let something happen, plan again. Twelve passes of turmoil and more, then calm.

In every pass every law of both planners is asserted, and what only a history can show: no machine is made twice for one node,
none is left behind, no ceiling is passed. When the turmoil ends the pool comes to rest, and then nothing is said any more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from random import Random

from skyward.api import Node, Pool, to_time
from skyward.api.meta import DO_NOT_DISRUPT, KEEP_ON_FAILURE, RECONCILE_REQUESTED, RESTARTED
from skyward.facts import (
    Ceilings,
    CheckState,
    Decision,
    Instance,
    InstanceState,
    LaunchState,
    Limits,
    LookUp,
    Notice,
    ObservedMarket,
    ObservedNode,
    ObservedPool,
    Use,
)
from skyward.planner import (
    REPLACE,
    AskForInstance,
    KeepNode,
    NodeRules,
    NodeStep,
    PoolAction,
    ResumeLaunch,
    StartLaunch,
    Terminate,
    apply_updates,
    classify,
)
from tests.builders import LOCAL, NOW, make_instance, make_launch, make_offering, make_pool
from tests.planner.tiny_world import Machine, TinyWorld, hash_of
from tests.properties.node_laws import check_node
from tests.properties.node_worlds import NodeWorld
from tests.properties.pool_laws import check_pool

TURMOIL = 12
MOST_PASSES = 120
MOST_MACHINES = 9
OFFERING = make_offering()
SHAPES: tuple[dict[str, int | str], ...] = (
    {"max_unavailable": 1, "max_surge": 0},
    {"max_unavailable": 0, "max_surge": 1},
    {"max_unavailable": "50%", "max_surge": 1, "canary": 1},
    {"max_unavailable": 1, "max_surge": 1, "min_ready": "8s"},
    {"strategy": "Recreate"},
    {"strategy": "OnDelete"},
)


@dataclass
class Turmoil(TinyWorld):
    """The tiny world with a provider that answers late, loses answers and cannot always be listed."""

    random: Random = field(default_factory=Random)
    dark: int = 0
    """For so many more passes there is no complete listing."""
    unbound: dict[str, tuple[Instance, float]] = field(default_factory=dict)
    """By launch: a machine that no answer told of, and from when on listings show it."""
    missing: dict[str, float] = field(default_factory=dict)
    answers: dict[str, LookUp] = field(default_factory=dict)
    going: dict[str, int] = field(default_factory=dict)
    said: dict[str, tuple[Decision, ...]] = field(default_factory=dict)
    """What stands of each node, in the newest pass."""
    seen: Counter[str] = field(default_factory=Counter)
    checks: int = 0
    is_calm: bool = False

    # --- what is observed ---

    def observe(self) -> ObservedPool:
        nodes = tuple(self.observe_node(key) for key in self._keys())
        return ObservedPool(self.pool, nodes, synced=not self.dark, unsynced=(LOCAL,) if self.dark else ())

    def observe_node(self, key: str) -> ObservedNode:
        observed = super().observe_node(key)
        node = observed.node
        if self.dark:
            return replace(observed, instance=None, listed_at=None, missing_since=None, looked_up=None)
        if not node.status.provider_id:
            instance, shows_at = self.unbound.get(node.status.launch, (None, 0.0))
            return replace(observed, instance=instance if self.now >= shows_at else None)
        missing_since = self.missing.get(key) if key not in self.machines else None
        return replace(observed, missing_since=missing_since, looked_up=self.answers.get(key))

    @property
    def is_at_rest(self) -> bool:
        return self.is_settled and not self.unbound

    @property
    def machines_alive(self) -> int:
        return len(self.machines) + len(self.unbound)

    # --- one pass ---

    def one_pass(self, step_s: float = 1.0) -> None:
        super().one_pass(step_s)
        self.dark = max(0, self.dark - 1)
        assert self.machines_alive <= MOST_MACHINES, "more machines than the ceiling"

    def _plan_pool(self) -> None:
        observed = self.observe()
        plan = check_pool(observed, self.now, self.random.getrandbits(16))
        self.checks += 1
        self.decisions = plan.decisions
        before = classify(observed)
        for action in plan.actions:
            self.seen[type(action).__name__] += 1
            self._apply(action)
        if observed.synced and not self.pool.spec.paused:
            self._check(before, plan.actions)
        conditions = apply_updates(self.pool.status.conditions, plan.conditions, self.now)
        self.pool = self.pool.replace(status=self.pool.status.replace(conditions=conditions))

    def _apply(self, action: PoolAction) -> None:
        if isinstance(action, KeepNode):
            node = self.nodes[action.node]
            status = node.status.replace(failure=action.message, failed_at=to_time(int(self.now)))
            self.nodes[action.node] = node.replace(status=status)
            return
        super()._apply(action)
        node_or_none = self.nodes.get(getattr(action, "node", ""))
        if node_or_none is not None:
            told = f"{action.reason}: {action.message}"
            self.nodes[node_or_none.key] = node_or_none.replace(status=node_or_none.status.replace(retire_reason=told))

    def _plan_node(self, key: str) -> None:
        observed = self.observe_node(key)
        own = Use(self.machines_alive, 0, 0.0)
        limits = Limits(Ceilings(pool_instances=MOST_MACHINES), own, own)
        world = NodeWorld("", observed, self.pool, ObservedMarket((OFFERING,), limits=limits), self.rules, self.now)
        plan = check_node(world, self.creates)
        self.checks += 1
        self.seen[type(plan.step).__name__] += 1
        self.said[key] = plan.decisions
        node = self.nodes[key]
        conditions = apply_updates(node.status.conditions, plan.conditions, self.now)
        self.nodes[key] = node.replace(status=node.status.replace(conditions=conditions))
        self._take(key, plan.step)

    def _take(self, key: str, step: NodeStep) -> None:
        match step:
            case StartLaunch():
                self._launch(self.nodes[key])
            case ResumeLaunch():
                self._resume(self.nodes[key], step)
            case AskForInstance():
                machine = self.machines.get(key)
                self.answers[key] = LookUp(self.now, machine.instance if machine is not None else None)
            case Terminate():
                if key in self.machines:
                    machine = self.machines[key]
                    machine.instance, machine.session = replace(machine.instance, state=InstanceState.LEAVING), None
                    self.going.setdefault(key, self.random.randint(1, 2))
            case _:
                assert type(step).__name__ != "Finish" or self.nodes[key].status.launch not in self.unbound, (
                    "left behind"
                )
                super()._take(key, step)

    # --- launches ---

    def _launch(self, node: Node) -> None:
        there = node.key in self.machines or node.status.launch in self.unbound
        assert not there, "a second machine for one node"
        fate = 1.0 if self.is_calm else self.random.random()
        if fate > 0.25:
            super()._launch(node)
            return
        self.creates += 1
        launch_id, refused = f"launch-{self.creates}", fate < 0.06
        self.nodes[node.key] = node.replace(status=node.status.replace(launch=launch_id, provider=LOCAL))
        state = LaunchState.REJECTED if refused else LaunchState.UNKNOWN
        self.launches[launch_id] = make_launch([self.nodes[node.key]], launch_id, state, created_at=self.now)
        if not refused and fate < 0.16:
            self._make(launch_id)

    def _make(self, launch_id: str) -> None:
        instance = make_instance(f"instance-{launch_id}", launch_id, InstanceState.STARTING)
        self.unbound[launch_id] = instance, self.now + self.rules.visibility_s

    def _resume(self, node: Node, step: ResumeLaunch) -> None:
        launch = self.launches[node.status.launch]
        if step.absent:
            assert launch.id not in self.unbound, "absent although it made something"
            self.launches[launch.id] = replace(launch, state=LaunchState.ABSENT)
            return
        if step.replay and launch.id not in self.unbound:
            self._make(launch.id)
        instance, _ = self.unbound.pop(launch.id)
        self.launches[launch.id] = replace(launch, state=LaunchState.BOUND, instances=(instance.id,))
        self.nodes[node.key] = node.replace(status=node.status.replace(provider_id=instance.id))
        self.machines[node.key] = Machine(instance)

    def _tick(self) -> None:
        for key in [key for key in self.going if key not in self.machines]:
            del self.going[key]
        for key in self.going:
            self.going[key] -= 1
        for key in [key for key, left in self.going.items() if left <= 0]:
            self.vanish(key)
        super()._tick()

    def _tick_agent(self, node: Node, machine: Machine) -> None:
        super()._tick_agent(node, machine)
        session = machine.session
        if session is not None and session.check is CheckState.UNKNOWN and self.pool.spec.health_check is not None:
            machine.session = replace(session, check=CheckState.PASSING)

    def vanish(self, key: str) -> None:
        """No listing that begins from now on shows it."""
        del self.machines[key]
        self.missing[key] = self.now

    # --- what happens to it ---

    def befall(self) -> None:
        """Something happens, or nothing."""
        if self.random.random() < 0.4:
            return
        everything: tuple[Callable[[], None], ...] = (
            self._edit_template,
            self._scale,
            self._hurt_machine,
            self._hurt_machine,
            self._hurt_agent,
            self._hurt_agent,
            self._ask,
            self._disturb_operator,
        )
        self.random.choice(everything)()

    def _edit_template(self) -> None:
        if self.random.random() < 0.3:
            self.broken.add(hash_of(self.pool))
        self.edit(image={"env": {"VERSION": str(self.random.randint(1, 3))}})

    def _scale(self) -> None:
        self.edit(nodes=self.random.randint(0, 4), paused=self.random.random() < 0.2)

    def _hurt_machine(self) -> None:
        if not self.machines:
            return
        key = self.random.choice(sorted(self.machines))
        machine = self.machines[key]
        match self.random.randrange(3):
            case 0:
                self.kill(
                    key, self.random.choice((InstanceState.FAILED, InstanceState.PREEMPTED, InstanceState.HALTED))
                )
            case 1:
                self.vanish(key)
            case _:
                machine.instance = replace(machine.instance, notice=Notice(self.now + 30, "capacity is needed"))

    def _hurt_agent(self) -> None:
        answering = [key for key, machine in sorted(self.machines.items()) if machine.session is not None]
        if not answering:
            return
        key = self.random.choice(answering)
        session = self.machines[key].session
        assert session is not None
        match self.random.randrange(4):
            case 0 | 1:
                self.silence(key, for_good=self.random.random() < 0.3)
            case 2:
                self.machines[key].session = replace(session, check=CheckState.FAILING, check_message="exit 1")
            case _:
                self.machines[key].held = self.random.randint(0, 2)

    def _ask(self) -> None:
        if self.nodes and self.random.random() < 0.7:
            key = self.random.choice(sorted(self.nodes))
            if self.random.random() < 0.3 and self.nodes[key].metadata.deletion_timestamp is None:
                self.delete_node(key)
            else:
                self.annotate_node(key, self.random.choice((REPLACE, DO_NOT_DISRUPT, KEEP_ON_FAILURE)), "true")
        else:
            name = self.random.choice((RESTARTED, KEEP_ON_FAILURE, DO_NOT_DISRUPT))
            self.annotate(name, to_time(self.now).isoformat() if name == RESTARTED else "true")

    def _disturb_operator(self) -> None:
        if self.random.random() < 0.5:
            self.restart_operator()
        else:
            self.dark = self.random.randint(1, 4)

    def calm_down(self) -> None:
        """Faults stop, and a human lifts what only a human can lift."""
        self.is_calm, self.dark = True, 0
        for machine in self.machines.values():
            machine.silent, machine.held = False, 0
            if machine.session is not None:
                machine.session = replace(machine.session, check=CheckState.PASSING)
        for key in self.nodes:
            self.annotate_node(key, DO_NOT_DISRUPT, None)
            self.annotate_node(key, KEEP_ON_FAILURE, None)
        self.annotate(DO_NOT_DISRUPT, None)
        self.annotate(KEEP_ON_FAILURE, None)
        self.annotate(RECONCILE_REQUESTED, to_time(self.now).isoformat())
        rollout = {"max_unavailable": 1, "max_surge": 1} if self.pool.spec.rollout.strategy == "OnDelete" else {}
        more = {"rollout": rollout} if rollout else {}
        version = {"image": {"env": {"VERSION": "good"}}} if hash_of(self.pool) in self.broken else {}
        self.edit(paused=False, **more, **version)


@dataclass(frozen=True)
class History:
    checks: int
    seen: Counter[str]


def run_history(seed: int) -> History:
    """The same seed tells the same story. Raises AssertionError at the first pass that breaks a law."""
    world = _begin(Random(seed))
    for _ in range(TURMOIL + world.random.randint(0, 6)):
        world.befall()
        world.one_pass(world.random.choice((1.0, 1.0, 3.0, 12.0)))
    deleted = world.random.random() < 0.15
    if deleted:
        world.delete_pool()
    world.calm_down()
    _comes_to_rest(world)
    world.seen["deleted" if deleted else "settled"] += 1
    return History(world.checks, world.seen)


def _begin(random: Random) -> Turmoil:
    checked = {"health_check": {"command": "true"}} if random.random() < 0.4 else {}
    shape = random.choice(SHAPES)
    budgets = {"budgets": [{"nodes": 1}]} if random.random() < 0.2 and "strategy" not in shape else {}
    pool: Pool = make_pool(
        nodes=random.randint(0, 4), rollout=shape, disruption=budgets, drain_timeout="30s", **checked
    )
    lag_s = random.choice((0.0, 0.0, 2.0))
    rules = NodeRules(_began(random), random.random() < 0.6, lag_s, 2 * lag_s, same_host=random.random() < 0.7)
    return Turmoil(pool, rules=rules, random=random, order=random, delays=random)


def _began(random: Random) -> float:
    """When the operator began: just before the story, or long ago."""
    return NOW - random.choice((1, 100))


def _comes_to_rest(world: Turmoil) -> None:
    """As desired, and then, once everything is forgotten, nothing is said or done any more."""
    for _ in range(MOST_PASSES):
        if world.is_at_rest:
            break
        world.one_pass(10.0)
    assert world.is_at_rest, f"does not come to rest: {world.describe()}"
    for _ in range(2):
        world.one_pass(4 * 3600.0)
    before, done = _words(world), len(world.actions)
    world.one_pass(60.0)
    assert len(world.actions) == done, "acts although it is as desired"
    assert tuple(_words(world)) == tuple(before), "writes although it is as desired"


def _words(world: Turmoil) -> Iterator[object]:
    yield from (world.pool.status, world.decisions)
    yield from ((node.status, world.said.get(key)) for key, node in sorted(world.nodes.items()))
