"""Launch: from a recorded node to a bound instance.

The intent is committed, and survives power loss, before its create call is sent. One launch serves all equal nodes of
the pool that wait for one. What the call answered is written only while the launch still waits for an answer; a call
that is cut off leaves its launch SENT, which is resolved with the same identity, now or by the next operator.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import cache, partial

import structlog

from skyward.api import Node, NodeStatus, Pool
from skyward.contracts import Driver, Transaction
from skyward.controllers.deps import Deps
from skyward.controllers.launches import UNRESOLVED, LaunchBook
from skyward.controllers.limits import LaunchLimits
from skyward.controllers.node.lines import CreateLines
from skyward.controllers.node.outcome import LaunchWriter
from skyward.controllers.observe import Observer
from skyward.controllers.standing import hindrance
from skyward.errors import CreatedButFailed, CredentialsRejected, LaunchRejected, ProviderError, RateLimited
from skyward.facts import Launch, LaunchOutcome, LaunchRequest, LaunchState
from skyward.kit.calls import Calls
from skyward.kit.controller import DONE, After, Next
from skyward.kit.decisions import record_decision
from skyward.kit.recorder import record_event
from skyward.kit.steady import steady
from skyward.planner import ResumeLaunch, StartLaunch, Terms, accepts, launch_decision, room, shopping_of, terms_of

_log = structlog.get_logger()
_LINE_LOOK_S = 5.0
_IN_LINE = After(_LINE_LOOK_S, "as many create calls are under way as may be at once; the end of one wakes")


class Launcher:
    def __init__(
        self,
        deps: Deps,
        launches: LaunchBook,
        observer: Observer,
        writer: LaunchWriter,
        calls: Calls,
        wake: Callable[[str, float], None],
        limits: LaunchLimits,
    ) -> None:
        self._deps = deps
        self._launches = launches
        self._observer = observer
        self._writer = writer
        self._calls = calls
        self._wake = wake
        self._limits = limits
        self._in_flight: set[str] = set()
        self._lines = CreateLines(deps.creates_at_once)

    async def start(self, node: Node, step: StartLaunch) -> Next:
        """Record one launch for this node and its equal siblings, and begin its call, which records the answer."""
        hindered = self._hindrance(node, step.offering.provider)
        if hindered is not None:
            return hindered
        provider, pool_uid = step.offering.provider, node.spec.pool_uid
        if not self._lines.enter(provider, pool_uid, node.key):
            return _IN_LINE
        driver = self._deps.drivers[provider]
        keys = self._waiting_siblings(node, step)
        launch_id = self._deps.ids.uid()
        self._in_flight.add(launch_id)
        launch: Launch | None = None
        try:
            most = driver.facts.max_count
            launch = await self._launches.change(lambda tx: self._record(tx, launch_id, node, keys, step, most))
        finally:
            if launch is None:
                self._in_flight.discard(launch_id)
                self._leave_line(provider, pool_uid)
        self._limits.changed(pool_uid)
        if launch is None:
            # A sibling's launch serves this node, whose answer wakes us; or there is no room for it any more.
            return After(_LINE_LOOK_S, "no launch was recorded for this node")
        return self._begin(node, launch, partial(self._send, driver, launch))

    async def resume(self, node: Node, launch: Launch, step: ResumeLaunch) -> Next:
        """Find out what became of a launch whose call has no answer on record."""
        if launch.id in self._in_flight:
            return DONE
        if step.bind:
            return await self._bind_listed(launch)
        if step.absent:
            _log.info("launch proved absent", launch=launch.id, provider=launch.request.offering.provider)
            await self._writer.absent(launch, step.message)
            return self._told(launch)
        if step.replay:
            return self._again(node, launch)
        return DONE

    def _again(self, node: Node, launch: Launch) -> Next:
        provider = launch.request.offering.provider
        hindered = self._hindrance(node, provider)
        if hindered is not None:
            return hindered
        if not self._lines.enter(provider, launch.pool_uid, node.key):
            return _IN_LINE
        return self._begin(node, launch, partial(self._replay, launch))

    def _hindrance(self, node: Node, provider: str) -> Next | None:
        """Why no create call may be sent for this node now. A listing that may be trusted wakes it."""
        if hindrance(self._deps, provider):
            return DONE
        return self._calls.hindrance(node.key)

    def _begin(self, node: Node, launch: Launch, call: Callable[[], Awaitable[None]]) -> Next:
        """Nobody else resolves the launch until the call has ended, however it did. Its place in line was taken before."""
        provider = launch.request.offering.provider
        self._in_flight.add(launch.id)

        def ended(retry_s: float) -> None:
            self._in_flight.discard(launch.id)
            self._wake(node.key, retry_s)
            self._leave_line(provider, launch.pool_uid)

        lane = f"{launch.pool_uid} {provider}"
        return self._calls.begin(node.key, lane, call, ended)

    def _leave_line(self, provider: str, pool_uid: str) -> None:
        for key in self._lines.leave(provider, pool_uid):
            self._wake(key, 0.0)

    # --- recording the intent ---

    def _waiting_siblings(self, node: Node, step: StartLaunch) -> list[str]:
        """It and those that the same offering is good for: some may have to be on demand, or wait for spot longer."""
        siblings = self._deps.cache.nodes_of(node.spec.pool_uid)
        equal = [one for one in siblings if one.spec.template_hash == node.spec.template_hash]
        waiting = [one for one in equal if needs_launch(one, self._launches.get(one.status.launch))]
        others = [one for one in waiting if one.key != node.key]
        pool = self._deps.cache.get(Pool, f"{node.metadata.namespace}/{node.spec.pool}")
        shopping, now, began = shopping_of(node.spec.template), self._deps.clock.now(), steady(self._deps.clock).began

        @cache
        def takes(terms: Terms) -> bool:
            return accepts(shopping, terms, step.offering, now)

        return [node.key, *(one.key for one in others if takes(terms_of(pool, one, now, began)))]

    def _record(
        self, tx: Transaction, launch_id: str, node: Node, keys: list[str], step: StartLaunch, most: int
    ) -> Launch | None:
        now = self._deps.clock.now()
        left, _ = room(self._limits.exactly(node.spec.pool_uid), step.offering.usd_per_hour)
        members = _members(tx, node, keys, min(most, left)) if left else []
        if not members:
            return None
        request = LaunchRequest(
            launch=launch_id,
            owner=self._deps.store.installation,
            pool_uid=node.spec.pool_uid,
            pool=f"{node.metadata.namespace}/{node.spec.pool}",
            count=len(members),
            offering=step.offering,
            authorized_key=self._deps.authorized_key,
            options=step.options,
            avoid_hosts=step.avoid_hosts,
            epoch=self._deps.leadership.epoch if self._deps.leadership is not None else 0,
        )
        keys_used = tuple(one.key for one in members)
        prepared = Launch(launch_id, node.spec.pool_uid, request, keys_used, LaunchState.PREPARED, 0, now)
        sent = replace(prepared, state=LaunchState.SENT, attempts=1, sent_at=now)
        tx.put_launch(prepared)
        tx.put_launch(sent)
        for one in members:
            tx.put(one.replace(status=_launching(one.status, launch_id, step)))
            record_event(tx, one, step.reason, step.message, now=now)
            record_decision(tx, one, launch_decision(step), now=now)
        return sent

    # --- sending the call ---

    async def _replay(self, launch: Launch, *, unanswered_at: float | None = None) -> None:
        """Send the identical call again. `unanswered_at` as for `_send`; the call before this one, when it is not given."""
        sent = await self._launches.change(lambda tx: self._writer.sent_again(tx, launch))
        if sent is not None:
            driver = self._deps.drivers[sent.request.offering.provider]
            await self._send(driver, sent, unanswered_at=launch.sent_at if unanswered_at is None else unanswered_at)

    async def _send(self, driver: Driver, launch: Launch, *, unanswered_at: float = 0.0) -> None:
        """`unanswered_at`: when an earlier call of this identity was sent that nobody knows the end of."""
        request = launch.request
        log = _log.bind(launch=launch.id, pool=request.pool, offering=request.offering.id, count=request.count)
        log.info("creating instances", attempt=launch.attempts)
        try:
            async with asyncio.timeout(self._deps.durations.create_timeout_s):
                outcome = await driver.create(request)
        except (LaunchRejected, RateLimited) as error:
            log.warning("launch rejected", error=str(error))
            await self._rejected(launch, error, unanswered_at)
        except CreatedButFailed as error:
            log.warning("instance made but failed", error=str(error), instance=error.instance_id)
            await self._writer.made_but_failed(launch, error)
        except (ProviderError, TimeoutError) as error:
            log.warning("launch outcome unknown", error=str(error) or "no answer in time")
            await self._writer.unknown(launch, str(error) or "the provider gave no answer in time")
        else:
            await self._answered(launch, outcome, unanswered_at)
        self._told(launch)

    async def _rejected(self, launch: Launch, error: ProviderError, unanswered_at: float) -> None:
        """What was refused before it was looked at says nothing about an earlier call of the same identity. No refusal does
        while that one may still be on its way: it is waited for, and the question asked again."""
        unread = isinstance(error, RateLimited | CredentialsRejected)
        if unread and launch.attempts > 1:
            self._writer.cool_down(launch, error)
            await self._writer.unknown(launch, str(error))
            return
        on_its_way_s = unanswered_at + self._deps.durations.create_timeout_s - self._deps.clock.now()
        if on_its_way_s > 0:
            await self._deps.clock.sleep(on_its_way_s)
            await self._replay(launch, unanswered_at=unanswered_at)
        else:
            await self._writer.rejected(launch, error)

    async def _answered(self, launch: Launch, outcome: LaunchOutcome, unanswered_at: float) -> None:
        if outcome.instances:
            await self._writer.bind(launch, outcome.instances, complete=True)
            if outcome.rejected is not None:
                self._writer.cool_down(launch, outcome.rejected)
        elif outcome.rejected is not None:
            await self._rejected(launch, outcome.rejected, unanswered_at)
        else:
            await self._writer.unknown(launch, "the provider named neither an instance nor a reason")

    async def _bind_listed(self, launch: Launch) -> Next:
        """Bind what the newest listing shows; while some may still be invisible, only when all are there."""
        listing = self._deps.listings.newest(launch.request.offering.provider)
        instances = self._observer.unbound_instances(launch)
        if listing is None or not instances:
            return DONE
        facts = self._deps.drivers[launch.request.offering.provider].facts
        complete = listing.started_at >= launch.sent_at + facts.absence_s
        if not complete and len(instances) < launch.request.count:
            return After(facts.resync_s, "some of the launch's instances may not be visible yet")
        _log.info("binding listed instances", launch=launch.id, pool=launch.request.pool, count=len(instances))
        await self._writer.bind(launch, instances, complete=complete, adopted=True)
        return DONE  # the nodes' rows changed, which wakes them

    def _told(self, launch: Launch) -> Next:
        """The answer is on record: everybody it concerns looks again."""
        self._deps.listings.poke(launch.request.offering.provider)
        self._limits.changed(launch.pool_uid)
        for key in dict.fromkeys((*launch.nodes, *self._without_launch(launch))):
            self._wake(key, 0.0)
        return DONE

    def _without_launch(self, launch: Launch) -> list[str]:
        """Nodes of the same pool that may have waited for this answer."""
        siblings = self._deps.cache.nodes_of(launch.pool_uid)
        return [one.key for one in siblings if needs_launch(one, self._launches.get(one.status.launch))]


def may_launch(node: Node, launch: Launch | None) -> bool:
    """It has no instance and waits for no answer. Its plan decides whether what its launch made may still show."""
    if node.metadata.deletion_timestamp is not None or node.status.failure or node.status.provider_id:
        return False
    return launch is None or launch.state not in UNRESOLVED


def needs_launch(node: Node, launch: Launch | None) -> bool:
    """Besides, nothing that its launch made can be on its way."""
    return may_launch(node, launch) and (launch is None or launch.state is not LaunchState.BOUND)


def _members(tx: Transaction, asker: Node, keys: list[str], most: int) -> list[Node]:
    """The nodes that share the launch, by slot; none when the asker needs none any more. The asker's key is the first."""
    members: list[Node] = []
    for key in keys:
        node = tx.get(Node, key)
        if node is not None and _may_join(tx, node, asker):
            members.append(node)
        if not members or len(members) == most:
            break
    return sorted(members, key=lambda node: (node.spec.slot, node.key))


def _may_join(tx: Transaction, node: Node, asker: Node) -> bool:
    """As committed now: another reconciler may have launched it, or another object may have its name."""
    launch = tx.launch(node.status.launch) if node.status.launch else None
    if node.metadata.uid == asker.metadata.uid:
        return may_launch(node, launch)
    same = node.spec.pool_uid == asker.spec.pool_uid and node.spec.template_hash == asker.spec.template_hash
    return same and needs_launch(node, launch)


def _launching(status: NodeStatus, launch_id: str, step: StartLaunch) -> NodeStatus:
    return status.replace(
        launch=launch_id,
        offering=step.offering.name,
        region=step.offering.region,
        zone=step.offering.zone,
        capacity_type=step.offering.capacity_type,
        host_id=step.offering.host_id,
        hourly_cost="0",
    )
