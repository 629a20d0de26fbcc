"""Adoption: what is ours and unknown to the records is told on the Source, and taken over once somebody accepts it.

Accepting is an annotation of the Source that names the hash of exactly those instances. Each one then has a launch on
record; those whose pool wants them become nodes, which are bootstrapped anew because nobody knows the credentials of
their agents; the rest is garbage by the ordinary rules.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import structlog

from skyward.api import (
    Node,
    Pool,
    Reason,
    Source,
    SourceCondition,
    SourceStatus,
    Status,
    drop_condition,
    set_condition,
    to_time,
)
from skyward.api.meta import ADOPTED
from skyward.contracts import Change, Transaction
from skyward.controllers.deps import Deps
from skyward.controllers.launches import LaunchBook
from skyward.controllers.node.outcome import bound_status
from skyward.controllers.pool.records import PoolWriter
from skyward.errors import SkyError
from skyward.facts import Instance, Launch, LaunchRequest, LaunchState, Offering
from skyward.kit.lineage import Doubt
from skyward.kit.recorder import record_event
from skyward.kit.waiting import wait_for
from skyward.planner import AdoptInstance, CreateNode, plan_adoption

_log = structlog.get_logger()
_RETRY_S = 5.0


@dataclass(frozen=True, slots=True)
class _Adopted:
    launches: tuple[Launch, ...]
    nodes: int


class Adopter:
    """A component. Does nothing as long as nothing is doubted."""

    name = "adoption"

    def __init__(self, deps: Deps, launches: LaunchBook) -> None:
        self._deps = deps
        self._launches = launches
        self._writer = PoolWriter(deps.ids)
        self._wake = asyncio.Event()

    async def run(self, ready: Callable[[], None]) -> None:
        stop = self._deps.store.subscribe(self._changed)
        self._deps.listings.subscribe(lambda _: self._wake.set())
        ready()
        try:
            while True:
                await wait_for(self._wake, None)
                self._wake.clear()
                await self._pass()
        finally:
            stop()

    def _changed(self, changes: Sequence[Change]) -> None:
        if any(isinstance(change.object, Source) for change in changes):
            self._wake.set()

    async def _pass(self) -> None:
        try:
            await self._look()
        except SkyError as error:
            _log.warning("adoption failed, it is tried again", error=str(error))
            await self._deps.clock.sleep(_RETRY_S)
            self._wake.set()

    async def _look(self) -> None:
        found = (self._deps.listings.doubt(name) for name in sorted(self._deps.drivers))
        doubts = [doubt for doubt in found if doubt is not None]
        for source in await self._deps.store.read(lambda tx: tx.list(Source)):
            accepted = next((one for one in doubts if one.hash == source.metadata.annotations.get(ADOPTED)), None)
            if accepted is not None:
                await self._adopt(accepted)
                doubts.remove(accepted)
        if await self._deps.store.read(lambda tx: any(_told(source, doubts) != source for source in tx.list(Source))):
            await self._deps.store.run(lambda tx: self._tell(tx, doubts))

    # --- telling ---

    def _tell(self, tx: Transaction, doubts: Sequence[Doubt]) -> None:
        now = self._deps.clock.now()
        for source in tx.list(Source):
            told = _told(source, doubts)
            if told == source:
                continue
            conditions = drop_condition(told.status.conditions, SourceCondition.RECORDS_CURRENT)
            message = " ".join(str(doubt) for doubt in doubts)
            if doubts:
                conditions = set_condition(
                    source.status.conditions,
                    SourceCondition.RECORDS_CURRENT,
                    Status.FALSE,
                    Reason.LINEAGE_UNKNOWN,
                    message,
                    now=to_time(now),
                )
                record_event(tx, source, Reason.LINEAGE_UNKNOWN, message, now=now, warning=True)
            tx.put(told.replace(status=told.status.replace(conditions=conditions)))

    # --- adopting ---

    async def _adopt(self, doubt: Doubt) -> None:
        if self._deps.leadership is not None:
            await self._deps.leadership.raise_above(doubt.epoch)
        adopted = await self._deps.store.run(lambda tx: self._record(tx, doubt), power_safe=True)
        self._launches.learn(adopted.launches)
        self._deps.listings.poke(doubt.provider)
        if adopted.launches:
            _log.warning("instances adopted", provider=doubt.provider, hash=doubt.hash, nodes=adopted.nodes)

    def _record(self, tx: Transaction, doubt: Doubt) -> _Adopted:
        """Until the next listing is judged the doubt still stands: what was adopted since then is left as it is."""
        now = self._deps.clock.now()
        instances = [one for one in doubt.instances if tx.launch(_launch_id(one)) is None]
        pools = {pool.key: pool for pool in tx.list(Pool)}
        plan = plan_adoption(instances, pools, tx.list(Node))
        launches = {launch.id: launch for launch in self._launches_of(instances, pools, now)}
        members: dict[str, list[str]] = {}
        for action in plan:
            node = self._node(tx, pools[action.pool], action, launches[_launch_id(action.instance)], now)
            members.setdefault(node.status.launch, []).append(node.key)
        for launch_id, keys in members.items():
            launches[launch_id] = _with_nodes(launches[launch_id], keys)
        for launch in launches.values():
            tx.put_launch(launch)
        return _Adopted(tuple(launches.values()), len(plan))

    def _node(self, tx: Transaction, pool: Pool, action: AdoptInstance, launch: Launch, now: float) -> Node:
        message = f"instance {action.instance.id} was there before these records and is taken over"
        node = self._writer.new_node(tx, pool, CreateNode(action.slot, Reason.ADOPTED, message), now)
        status = bound_status(node.status.replace(launch=launch.id), launch, action.instance, "")
        node = tx.put(node.replace(status=status))
        record_event(tx, node, Reason.ADOPTED, message, now=now)
        return node

    def _launches_of(self, instances: Iterable[Instance], pools: dict[str, Pool], now: float) -> Iterable[Launch]:
        """One record for each launch that the instances name; each instance that names none gets one of its own."""
        by_launch: dict[str, list[Instance]] = {}
        for instance in instances:
            by_launch.setdefault(_launch_id(instance), []).append(instance)
        for launch_id, made in by_launch.items():
            yield self._launch(launch_id, made, pools.get(made[0].pool), now)

    def _launch(self, launch_id: str, instances: Sequence[Instance], pool: Pool | None, now: float) -> Launch:
        first = instances[0]
        pool_uid = pool.metadata.uid if pool is not None else ""
        offering = Offering(first.provider, first.offering, first.region, first.zone, usd_per_hour=first.usd_per_hour)
        request = LaunchRequest(
            launch=launch_id,
            owner=self._deps.store.installation,
            pool_uid=pool_uid,
            pool=first.pool,
            count=len(instances),
            offering=offering,
            authorized_key="",
            epoch=first.epoch or 0,
        )
        ids = tuple(sorted(one.id for one in instances))
        return Launch(
            launch_id, pool_uid, request, (), LaunchState.BOUND, 1, now, min(first.created_at, now), ids, "adopted"
        )


def _launch_id(instance: Instance) -> str:
    return instance.launch or f"adopted {instance.provider} {instance.id}"


def _with_nodes(launch: Launch, keys: Sequence[str]) -> Launch:
    return replace(launch, nodes=tuple(keys))


def _told(source: Source, doubts: Sequence[Doubt]) -> Source:
    """The source as it names these doubts, its condition aside."""
    hashes = tuple(doubt.hash for doubt in doubts)
    status: SourceStatus = source.status.replace(adoptable=hashes)
    return source.replace(status=status)
