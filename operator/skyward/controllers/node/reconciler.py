"""The node reconciler: reads the node's picture, asks `plan_node` for one step, takes it, and writes the status once."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import assert_never

import structlog

from skyward.api import Node, NodeStatus, Pool
from skyward.contracts import Transaction
from skyward.controllers.deps import Deps
from skyward.controllers.launches import LaunchBook
from skyward.controllers.limits import LaunchLimits
from skyward.controllers.node.bootstrap import BUSY, BootstrapPhase, with_progress
from skyward.controllers.node.drain import cordon
from skyward.controllers.node.hosts import HostBook
from skyward.controllers.node.launch import Launcher, may_launch
from skyward.controllers.node.lookups import LookUps
from skyward.controllers.node.outcome import LaunchWriter
from skyward.controllers.node.registration import with_session
from skyward.controllers.node.returns import Returns
from skyward.controllers.node.shopping import EMPTY, Shopper, Table
from skyward.controllers.node.termination import Termination
from skyward.controllers.observe import Observer, providers_of
from skyward.controllers.records import failed, same_version, tell_transitions, with_conditions, write_status
from skyward.facts import Limits, ObservedMarket, ObservedNode
from skyward.kit.calls import Calls
from skyward.kit.catalog import PATIENCE_S, Catalog, Offerings
from skyward.kit.controller import DONE, After, Next
from skyward.kit.decisions import DecisionBook, Entry
from skyward.kit.steady import steady
from skyward.kit.work_queue import WorkQueue
from skyward.planner import (
    AskForInstance,
    Cordon,
    FailNode,
    Finish,
    NodePlan,
    NodeRules,
    ResumeLaunch,
    RunBootstrap,
    StartLaunch,
    Terminate,
    Wait,
    plan_node,
    return_due_at,
    spot_again,
    step_decision,
    uses_tunnel,
)

_log = structlog.get_logger()
_NO_MARKET = ObservedMarket((), (), Limits(), ())
_CHANGED = After(0.0, "the node changed while it was looked at")


class NodeReconciler:
    """Waits for the store alone: provider calls and SSH go through `calls`, whose ends wake the node (`queue`)."""

    def __init__(
        self,
        deps: Deps,
        launches: LaunchBook,
        observer: Observer,
        decisions: DecisionBook,
        calls: Calls,
        queue: WorkQueue,
        look_ups: LookUps,
        limits: LaunchLimits,
        catalog: Catalog,
        returns: Returns,
    ) -> None:
        self._deps = deps
        self._catalog = catalog
        self._returns = returns
        self._decisions = decisions
        self._observer = observer
        self._look_ups = look_ups
        self._limits = limits
        self._wake = queue.add_after
        self._clock = steady(deps.clock)
        self._shopper = Shopper(Offerings(catalog, deps.clock, calls, queue.add))
        self._writer = LaunchWriter(deps, launches, catalog.cool_downs)
        self._launcher = Launcher(deps, launches, observer, self._writer, calls, queue.add_after, limits)
        self._bootstrap = BootstrapPhase(deps)
        self._known_rules: dict[tuple[float, tuple[str, ...]], NodeRules] = {}
        self._hosts = HostBook(deps.cache, launches)
        self._termination = Termination(deps, self._bootstrap, calls, queue.add_after)

    async def reconcile(self, key: str) -> Next:
        node = self._deps.cache.get(Node, key)
        if node is None:
            await self._decisions.close(Node, key)
            return DONE
        pool = self._pool_of(node)
        self._look_for_spot(node, pool)
        observed = self._observer.node(node)
        table = self._shopper.table(node) if may_launch(node, observed.launch) else EMPTY
        if table is None:
            return After(PATIENCE_S, "providers are asked what they offer; an answer wakes")
        market = self._market(node, table) if may_launch(node, observed.launch) else _NO_MARKET
        plan = plan_node(observed, pool, market, self._rules(observed), self._deps.clock.now())
        return await self._act(observed, pool, plan)

    async def _act(self, observed: ObservedNode, pool: Pool | None, plan: NodePlan) -> Next:
        node, step = observed.node, plan.step
        status = self._status(observed, plan)
        decided = step_decision(node, step)
        entry = self._decisions.entry(
            node, plan.decisions, () if decided is None else (decided,), now=self._deps.clock.now()
        )
        match step:
            case StartLaunch():
                if not await self._write(node, status, entry):
                    return _CHANGED
                return await self._launcher.start(node, step)
            case ResumeLaunch():
                if not await self._write(node, status, entry) or observed.launch is None:
                    return _CHANGED
                return _sooner(await self._launcher.resume(node, observed.launch, step), plan)
            case AskForInstance():
                if not await self._write(node, status, entry):
                    return _CHANGED
                return _sooner(self._look_ups.ask(node, partial(self._wake, node.key)), plan)
            case RunBootstrap():
                return await self._run_bootstrap(observed, step, status, entry, plan)
            case Cordon():
                spec = cordon(self._deps, pool, node)
                written = await self._replace(node, node.replace(spec=spec, status=status), entry)
            case Terminate():
                hindered = self._termination.hindrance(node)
                if hindered is not None:
                    return hindered  # what it waits for wakes it
                # The record comes first: proof of absence needs a listing that began after deletion was asked for.
                if not await self._write(node, status, entry, power_safe=True):
                    return _CHANGED
                return _sooner(await self._termination.terminate(node, step.message), plan)
            case Finish():
                if self._termination.hindrance(node) == DONE:
                    return DONE  # its delete call still works; the end of that wakes
                written = await self._termination.finish(node, status, step.message, entry)
                if self._keep(entry, written):
                    self._look_ups.forget(node)
            case FailNode():
                _log.warning("node failed", node=node.key, reason=step.reason, error=step.message.splitlines()[0])
                written = await self._write(node, failed(status, step.message, self._deps.clock.now()), entry)
            case Wait():
                written = await self._write(node, status, entry)
            case _:
                assert_never(step)
        return _next(plan) if written else _CHANGED

    async def _run_bootstrap(
        self, observed: ObservedNode, step: RunBootstrap, status: NodeStatus, entry: Entry, plan: NodePlan
    ) -> Next:
        if observed.instance is None or observed.bootstrap.state in BUSY:
            return _next(plan) if await self._write(observed.node, status, entry) else _CHANGED
        if step.restart:
            status = status.replace(restarts=step.attempt)
        if not await self._write(observed.node, status, entry):
            return _CHANGED
        tunnel = uses_tunnel(observed.node.spec.template, self._rules(observed))
        await self._bootstrap.run(observed.node, observed.instance, restart=step.restart, tunnel=tunnel)
        return _next(plan)

    def _status(self, observed: ObservedNode, plan: NodePlan) -> NodeStatus:
        status = with_conditions(observed.node, plan.conditions, self._deps.clock.now())
        status = with_progress(status, observed.bootstrap)
        status = with_session(status, observed.session)
        instance = observed.instance
        if instance is None or instance.id != status.provider_id:
            return status
        if instance.address and (instance.address, instance.port) != (status.address, status.port):
            status = status.replace(address=instance.address, port=instance.port)
        if instance.host_id and instance.host_id != status.host_id:
            status = status.replace(host_id=instance.host_id)
        return status

    async def _write(self, node: Node, status: NodeStatus, entry: Entry, *, power_safe: bool = False) -> bool:
        now = self._deps.clock.now()
        written = await write_status(self._deps.store, node, status, now, entry=entry, power_safe=power_safe)
        return self._keep(entry, written)

    def _keep(self, entry: Entry, written: bool) -> bool:
        if written:
            self._decisions.keep(entry)
        return written

    async def _replace(self, node: Node, changed: Node, entry: Entry) -> bool:
        now = self._deps.clock.now()

        def work(tx: Transaction) -> bool:
            current = tx.get(Node, node.key)
            if current is None or not same_version(current, node):
                return False
            tell_transitions(tx, node, changed.status, now)
            entry.write(tx)
            tx.put(changed)
            return True

        return self._keep(entry, await self._deps.store.run(work))

    def _pool_of(self, node: Node) -> Pool | None:
        pool = self._deps.cache.get(Pool, f"{node.metadata.namespace}/{node.spec.pool}")
        return pool if pool is not None and pool.metadata.uid == node.spec.pool_uid else None

    def _look_for_spot(self, node: Node, pool: Pool | None) -> None:
        """For a node that stands in for one on spot; its table's arrival wakes it."""
        due_at = return_due_at(node, pool, self._clock.began)
        if pool is None or due_at is None or due_at > self._deps.clock.now():
            self._returns.forget(node)
            return
        table = self._shopper.table(node)
        if table is not None:
            market = replace(self._market(node, table), refusals=self._catalog.cool_downs.refusals)
            self._returns.put(node, spot_again(node, pool, market, self._deps.clock.now()))

    def _market(self, node: Node, table: Table) -> ObservedMarket:
        limits = self._limits.about(node.spec.pool_uid)
        shunned = self._hosts.shunned(self._deps.clock.now()) if table.offerings else ()
        return ObservedMarket(
            table.offerings, self._writer.current_cool_downs(), limits, shunned, unlisted=table.unlisted
        )

    def _rules(self, observed: ObservedNode) -> NodeRules:
        """The same for all nodes of the same providers, until a step of the clock."""
        key = self._clock.began, providers_of(observed.node, observed.launch)
        if key not in self._known_rules:
            self._known_rules = {other: rules for other, rules in self._known_rules.items() if other[0] == key[0]}
            self._known_rules[key] = self._make_rules([name for name in key[1] if name in self._deps.drivers])
        return self._known_rules[key]

    def _make_rules(self, names: list[str]) -> NodeRules:
        facts = [self._deps.drivers[name].facts for name in names]
        durations = self._deps.durations
        return NodeRules(
            started_at=self._clock.began,
            has_token=bool(facts) and all(one.has_token for one in facts),
            visibility_s=max((one.visibility_s for one in facts), default=0.0),
            absence_s=max((one.absence_s for one in facts), default=0.0),
            same_host=bool(facts) and all(one.same_host for one in facts),
            create_call_s=durations.create_timeout_s,
            bootstrap_deadline_s=durations.bootstrap_s,
            lease_s=durations.lease_s,
        )


def _next(plan: NodePlan) -> Next:
    if plan.requeue_after_s is None:
        return DONE
    return After(plan.requeue_after_s, "as planned")


def _sooner(following: Next, plan: NodePlan) -> Next:
    return following if isinstance(following, After) else _next(plan)
