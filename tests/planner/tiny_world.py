"""A tiny world around both planners: rows, a cloud that needs one tick per state, and agents. One pass is: the pool's plan
applied, then one step of every node, then one tick of the cloud. No clock, no chance but the test's own: faults are done by
the test, and the order of things is fixed unless it brings a `Random`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from random import Random

from skyward.api import Node, NodeSpec, ObjectMeta, Pool, Status, find, is_true, template_hash, to_time
from skyward.facts import (
    AgentSession,
    BootstrapProgress,
    BootstrapState,
    Decision,
    Instance,
    InstanceState,
    Launch,
    LaunchState,
    LookUp,
    ObservedNode,
    ObservedPool,
)
from skyward.planner import (
    Cordon,
    CreateNode,
    FailNode,
    Finish,
    NodeRules,
    NodeStep,
    PoolAction,
    ResumeLaunch,
    RetireNode,
    RunBootstrap,
    StartLaunch,
    Terminate,
    Wait,
    apply_updates,
    plan_node,
    plan_pool,
)
from skyward.planner.bounds import Availability, bounds
from skyward.planner.places import Member, Place, classify
from tests.builders import LOCAL, NOW, make_instance, make_launch, make_market, make_node

RULES = NodeRules(started_at=NOW - 1, has_token=True, visibility_s=0, absence_s=0, same_host=True)
REPLACEMENT = {"TemplateChanged", "ReplaceRequested", "RestartRequested", "InstanceDrifted"}
VOLUNTARY = {"TooManyNodes", *REPLACEMENT}


@dataclass
class Machine:
    """One node's part of the outside world."""

    instance: Instance
    bootstrap: BootstrapState = BootstrapState.IDLE
    session: AgentSession | None = None
    held: int = 0
    silent: bool = False
    """Its agent does not connect, however often it is started."""
    boots: int = 1
    """Ticks until it is up."""


@dataclass
class TinyWorld:
    pool: Pool
    now: float = NOW
    rules: NodeRules = RULES
    broken: set[str] = field(default_factory=set)
    """Template hashes whose bootstrap fails."""
    nodes: dict[str, Node] = field(default_factory=dict)
    launches: dict[str, Launch] = field(default_factory=dict)
    machines: dict[str, Machine] = field(default_factory=dict)
    """By node key."""
    order: Random | None = None
    """Shuffles nodes wherever they are looked at one after the other."""
    delays: Random | None = None
    """How long machines take to boot: nodes become ready in any order."""
    decisions: tuple[Decision, ...] = ()
    """Those that stand, of the newest pass."""
    actions: list[PoolAction] = field(default_factory=list)
    made: int = 0
    creates: int = 0

    # --- what a test does ---

    def edit(self, **spec: object) -> None:
        changed = self.pool.spec.model_validate({**self.pool.spec.model_dump(), **spec})
        generation = self.pool.metadata.generation + 1
        self.pool = self.pool.replace(spec=changed, metadata=self.pool.metadata.replace(generation=generation))

    def annotate(self, name: str, value: str | None) -> None:
        self.pool = self.pool.replace(metadata=_annotated(self.pool.metadata, name, value))

    def annotate_node(self, key: str, name: str, value: str | None) -> None:
        node = self.nodes[key]
        self.nodes[key] = node.replace(metadata=_annotated(node.metadata, name, value))

    def delete_node(self, key: str) -> None:
        node = self.nodes[key]
        self.nodes[key] = node.replace(metadata=node.metadata.replace(deletion_timestamp=to_time(self.now)))

    def delete_pool(self) -> None:
        self.pool = self.pool.replace(metadata=self.pool.metadata.replace(deletion_timestamp=to_time(self.now)))

    def kill(self, key: str, state: InstanceState = InstanceState.FAILED) -> None:
        machine = self.machines[key]
        machine.instance = replace(machine.instance, state=state)
        machine.session = None

    def silence(self, key: str, *, for_good: bool = False) -> None:
        machine = self.machines[key]
        assert machine.session is not None
        machine.session = replace(machine.session, connected=False, ready=False, since=self.now)
        machine.silent = for_good

    def restart_operator(self) -> None:
        """Everything in memory is gone: sessions and channels. Agents come back with the next tick."""
        self.rules = replace(self.rules, started_at=self.now)
        for machine in self.machines.values():
            machine.session = None
            machine.bootstrap = BootstrapState.IDLE

    def run(self, passes: int) -> None:
        for _ in range(passes):
            self.one_pass()

    def run_until_settled(self, most: int, step_s: float = 1.0) -> int:
        """Passes until the pool is as desired and nobody is on the way in or out."""
        for number in range(most):
            if self.is_settled:
                return number
            self.one_pass(step_s)
        assert self.is_settled, f"not settled after {most} passes: {self.describe()}"
        return most

    # --- what a test asks ---

    @property
    def is_settled(self) -> bool:
        live = [member for member in classify(self.observe()) if member.place is not Place.GONE]
        if self.pool.metadata.deletion_timestamp is not None:
            return not self.nodes and not self.machines
        good = all(member.place is Place.READY and not member.outdated for member in live)
        return good and len(live) == self.pool.spec.nodes == len(self.machines)

    def at(self, slot: int) -> str:
        """Key of the node that stands in this slot."""
        return next(one.key for one in classify(self.observe()) if one.place.stands and one.slot == slot)

    def places(self) -> Counter[str]:
        return Counter(member.place.value for member in classify(self.observe()))

    def condition(self, type_: str) -> Status | None:
        found = find(self.pool.status.conditions, type_)
        return None if found is None else found.status

    def describe(self) -> str:
        return f"{dict(self.places())} of {self.pool.spec.nodes}, {len(self.machines)} instances"

    # --- one pass ---

    def one_pass(self, step_s: float = 1.0) -> None:
        self._plan_pool()
        for key in self._keys():
            self._plan_node(key)
        self._tick()
        self.now += step_s

    def observe(self) -> ObservedPool:
        return ObservedPool(self.pool, tuple(self.observe_node(key) for key in self._keys()), synced=True)

    def _keys(self) -> list[str]:
        keys = sorted(self.nodes)
        if self.order is not None:
            self.order.shuffle(keys)
        return keys

    def observe_node(self, key: str) -> ObservedNode:
        node, machine = self.nodes[key], self.machines.get(key)
        is_missing = bool(node.status.provider_id) and machine is None
        return ObservedNode(
            node=node,
            launch=self.launches.get(node.status.launch),
            instance=machine.instance if machine and node.status.provider_id else None,
            listed_at=self.now,
            missing_since=self.now if is_missing else None,
            looked_up=LookUp(self.now, None) if is_missing else None,
            bootstrap=BootstrapProgress(machine.bootstrap if machine else BootstrapState.IDLE),
            session=machine.session if machine else None,
            held=machine.held if machine else 0,
        )

    def _plan_pool(self) -> None:
        before = classify(self.observe())
        plan = plan_pool(self.observe(), self.now)
        self.decisions = plan.decisions
        for action in plan.actions:
            self._apply(action)
        self.actions.extend(plan.actions)
        self._check(before, plan.actions)
        conditions = apply_updates(self.pool.status.conditions, plan.conditions, self.now)
        self.pool = self.pool.replace(status=self.pool.status.replace(conditions=conditions))
        again = plan_pool(self.observe(), self.now)
        assert not again.actions, f"planned again at the same instant: {again.actions}"

    def _check(self, before: tuple[Member, ...], actions: tuple[PoolAction, ...]) -> None:
        limits, available = bounds(self.pool.spec), Availability.of(self.pool.spec, self.now)
        after = classify(self.observe())
        slots = [member.slot for member in after if member.place.stands]
        assert len(slots) == len(set(slots)), "two nodes stand in one slot"
        if self.pool.metadata.deletion_timestamp is not None:
            return
        assert len(slots) <= limits.ceiling, "above nodes + maxSurge"
        working = {member.key: member for member in before if member.place is Place.READY}
        taken = [one for one in actions if isinstance(one, RetireNode) and one.node in working]
        if any(action.reason in VOLUNTARY for action in taken):
            ready = sum(member.place is Place.READY for member in after)
            assert ready >= limits.floor, "below nodes - maxUnavailable by our own choice"
        if self.pool.spec.rollout.strategy == "Recreate" and any(isinstance(one, CreateNode) for one in actions):
            live = [member for member in before if member.place is not Place.GONE]
            assert not any(member.outdated for member in live), "two templates at once"
        replaced = [working[action.node] for action in taken if action.reason in REPLACEMENT]
        assert not any(member.is_protected for member in replaced), "took what must not be disrupted"
        left = sum(available.holds(member) for member in after)
        floor = limits.nodes if limits.surge else limits.floor
        assert not replaced or left >= floor, "an old node was replaced with too few that serve"

    def _apply(self, action: PoolAction) -> None:
        match action:
            case CreateNode():
                self.made += 1
                node = make_node(self.pool, action.slot, suffix=f"{self.made:04d}", created_at=self.now)
                self.nodes[node.key] = node
            case RetireNode():
                node = self.nodes[action.node]
                assert node.metadata.deletion_timestamp is None, "retired twice"
                metadata = node.metadata.replace(deletion_timestamp=to_time(self.now))
                self.nodes[action.node] = node.replace(metadata=metadata)
            case _:
                del self.nodes[action.node]

    def _plan_node(self, key: str) -> None:
        plan = plan_node(self.observe_node(key), self.pool, make_market(), self.rules, self.now)
        node = self.nodes[key]
        conditions = apply_updates(node.status.conditions, plan.conditions, self.now)
        self.nodes[key] = node.replace(status=node.status.replace(conditions=conditions))
        self._take(key, plan.step)

    def _take(self, key: str, step: NodeStep) -> None:
        node = self.nodes[key]
        match step:
            case StartLaunch():
                self._launch(node)
            case RunBootstrap(restart=restart):
                self.machines[key].bootstrap = BootstrapState.RUNNING
                restarts = node.status.restarts + restart
                self.nodes[key] = node.replace(status=node.status.replace(restarts=restarts))
            case Cordon():
                spec: NodeSpec = node.spec.replace(unschedulable=True)
                self.nodes[key] = node.replace(spec=spec)
            case FailNode(message=message):
                status = node.status.replace(failure=message, failed_at=to_time(int(self.now)))
                self.nodes[key] = node.replace(status=status)
            case Terminate():
                self.machines.pop(key, None)
            case Finish():
                assert key not in self.machines, "finished while its instance lives"
                if not node.status.failure:
                    del self.nodes[key]
            case Wait() | ResumeLaunch():
                pass

    def _launch(self, node: Node) -> None:
        assert node.key not in self.machines, "a second instance for one node"
        self.creates += 1
        launch_id, instance_id = f"launch-{self.creates}", f"instance-{self.creates}"
        status = node.status.replace(launch=launch_id, provider=LOCAL, provider_id=instance_id)
        self.nodes[node.key] = node.replace(status=status)
        self.launches[launch_id] = make_launch(
            [self.nodes[node.key]], launch_id, LaunchState.BOUND, created_at=self.now, instances=[instance_id]
        )
        self.machines[node.key] = Machine(
            make_instance(instance_id, launch_id, InstanceState.STARTING),
            boots=1 if self.delays is None else self.delays.randint(1, 6),
        )

    def _tick(self) -> None:
        for key, machine in self.machines.items():
            if machine.instance.state is InstanceState.STARTING:
                machine.boots -= 1
                if machine.boots <= 0:
                    machine.instance = replace(machine.instance, state=InstanceState.UP)
            elif machine.instance.state is InstanceState.UP:
                self._tick_agent(self.nodes[key], machine)

    def _tick_agent(self, node: Node, machine: Machine) -> None:
        if machine.bootstrap is BootstrapState.RUNNING:
            fails = node.spec.template_hash in self.broken
            machine.bootstrap = BootstrapState.FAILED if fails else BootstrapState.DONE
            return
        came_home = machine.bootstrap is BootstrapState.DONE or is_true(node.status.conditions, "Registered")
        lost = machine.session is not None and not machine.session.connected
        if came_home and not machine.silent and (machine.session is None or (lost and node.status.restarts)):
            machine.session = AgentSession(node.metadata.uid, "1", True, self.now, self.now, ready=True)


def _annotated(metadata: ObjectMeta, name: str, value: str | None) -> ObjectMeta:
    annotations = {key: text for key, text in metadata.annotations.items() if key != name}
    return metadata.replace(annotations=annotations if value is None else {**annotations, name: value})


def hash_of(pool: Pool) -> str:
    return template_hash(pool.spec)
