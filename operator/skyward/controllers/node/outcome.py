"""What a create call did, on record. Every write asks first whether the launch still waits for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from skyward.api import Node, NodeStatus, Reason
from skyward.contracts import Transaction
from skyward.controllers.deps import Deps
from skyward.controllers.launches import LaunchBook
from skyward.controllers.records import failed
from skyward.errors import (
    BalanceExhausted,
    CreatedButFailed,
    CredentialsRejected,
    InsufficientCapacity,
    ProviderError,
    QuotaExceeded,
    RateLimited,
    RequestRejected,
)
from skyward.facts import LAUNCH_TRANSITIONS, CoolDown, Instance, InstanceState, Launch, LaunchState
from skyward.kit.catalog import CoolDowns
from skyward.kit.recorder import record_event

_COOL_DOWN_RESYNCS = 6
_OF_THE_ACCOUNT = (BalanceExhausted, CredentialsRejected, RateLimited)
"""Refusals that say nothing about the offering: the next one would be refused alike."""
_REASONS: tuple[tuple[type[ProviderError], Reason], ...] = (
    (InsufficientCapacity, Reason.INSUFFICIENT_CAPACITY),
    (QuotaExceeded, Reason.QUOTA_EXCEEDED),
    (BalanceExhausted, Reason.BALANCE_EXHAUSTED),
    (CredentialsRejected, Reason.CREDENTIALS_REJECTED),
    (RequestRejected, Reason.REQUEST_REJECTED),
    (RateLimited, Reason.BACKING_OFF),
)


class LaunchWriter:
    def __init__(self, deps: Deps, launches: LaunchBook, cool_downs: CoolDowns) -> None:
        self._deps = deps
        self._launches = launches
        self._cool_downs = cool_downs

    async def bind(
        self, launch: Launch, instances: Sequence[Instance], *, complete: bool, adopted: bool = False
    ) -> None:
        """Give the instances, by id, to the launch's nodes that have none, by slot. Leaving nodes get one too: so it is
        deleted. When the answer is complete, nodes that went away empty may be launched anew; surplus instances belong to
        no node and are garbage. Adopted instances were found by listing, the call's answer being lost."""
        event = (Reason.ADOPTED, "its instance was found by the mark of its launch") if adopted else None
        await self._launches.change(lambda tx: self._bind(tx, launch.id, instances, complete, event=event))

    async def rejected(self, launch: Launch, error: ProviderError) -> None:
        """Nothing was made. What was refused is left alone for a while."""
        self.cool_down(launch, error)
        await self._launches.change(lambda tx: self._move(tx, launch.id, LaunchState.REJECTED, str(error), error))

    async def unknown(self, launch: Launch, message: str) -> None:
        await self._launches.change(lambda tx: self._move(tx, launch.id, LaunchState.UNKNOWN, message))

    async def absent(self, launch: Launch, message: str) -> None:
        await self._launches.change(lambda tx: self._absent(tx, launch.id, message))

    async def made_but_failed(self, launch: Launch, error: CreatedButFailed) -> None:
        """The instance is bound to a node that has failed: so the ordinary way of leaving deletes it."""
        provider = launch.request.offering.provider
        useless = Instance(provider, error.instance_id, launch.id, InstanceState.FAILED)
        failure = str(error)
        event = (Reason.LAUNCH_FAILED, failure)
        await self._launches.change(
            lambda tx: self._bind(tx, launch.id, (useless,), True, failure=failure, event=event)
        )

    def sent_again(self, tx: Transaction, launch: Launch) -> Launch | None:
        """The same identity goes out once more. None when the launch was resolved meanwhile."""
        current = tx.launch(launch.id)
        if current is None or LaunchState.SENT not in LAUNCH_TRANSITIONS[current.state]:
            return None
        again = replace(current, state=LaunchState.SENT, attempts=current.attempts + 1, sent_at=self._deps.clock.now())
        tx.put_launch(again)
        return again

    def cool_down(self, launch: Launch, error: ProviderError) -> None:
        """Leave alone what was refused: the offering, or all of the provider."""
        offering = launch.request.offering
        name = offering.provider if isinstance(error, _OF_THE_ACCOUNT) else offering.id
        now = self._deps.clock.now()
        self._cool_downs.add(name, now + self._cool_down_s(launch, error), str(error), reason_of(error), now=now)

    def current_cool_downs(self) -> tuple[CoolDown, ...]:
        return self._cool_downs.current(self._deps.clock.now())

    def _cool_down_s(self, launch: Launch, error: ProviderError) -> float:
        if isinstance(error, RateLimited):
            return error.retry_after_s
        resync_s = self._deps.drivers[launch.request.offering.provider].facts.resync_s
        return min(self._deps.durations.cool_down_s, _COOL_DOWN_RESYNCS * resync_s)

    def _bind(
        self,
        tx: Transaction,
        launch_id: str,
        instances: Sequence[Instance],
        complete: bool,
        *,
        failure: str = "",
        event: tuple[Reason, str] | None = None,
    ) -> Launch | None:
        launch = tx.launch(launch_id)
        if launch is None or LaunchState.BOUND not in LAUNCH_TRANSITIONS[launch.state]:
            return None
        members = _members(tx, launch)
        taken = {node.status.provider_id for node in members}
        empty = [node for node in members if not node.status.provider_id]
        distinct = {one.id: one for one in instances if one.id not in taken}
        free = [distinct[key] for key in sorted(distinct)]
        for node, instance in zip(empty, free, strict=False):
            status = bound_status(node.status, launch, instance, failure)
            tx.put(node.replace(status=failed(status, failure, self._deps.clock.now()) if failure else status))
            if event is not None:
                reason, note = event
                record_event(tx, node, reason, note, now=self._deps.clock.now(), warning=bool(failure))
        if complete:
            for node in empty[len(free) :]:
                tx.put(node.replace(status=node.status.replace(launch="")))
        seen = tuple(sorted({*launch.instances, *(one.id for one in instances)}))
        bound = replace(launch, state=LaunchState.BOUND, instances=seen, message="")
        tx.put_launch(bound)
        return bound

    def _move(
        self, tx: Transaction, launch_id: str, state: LaunchState, message: str, error: ProviderError | None = None
    ) -> Launch | None:
        launch = tx.launch(launch_id)
        if launch is None or launch.state is state or state not in LAUNCH_TRANSITIONS[launch.state]:
            return None
        moved = replace(launch, state=state, message=message)
        tx.put_launch(moved)
        reason = reason_of(error) if error is not None else Reason.OUTCOME_UNKNOWN
        for node in _members(tx, launch)[:1]:  # one event for the call, not one for each node that shares it
            record_event(tx, node, reason, message, now=self._deps.clock.now(), warning=True)
        return moved

    def _absent(self, tx: Transaction, launch_id: str, message: str) -> Launch | None:
        """By way of UNKNOWN, when the operator died before it could write that."""
        launch = tx.launch(launch_id)
        if launch is None:
            return None
        if launch.state is LaunchState.SENT:
            launch = replace(launch, state=LaunchState.UNKNOWN)
            tx.put_launch(launch)
        if LaunchState.ABSENT not in LAUNCH_TRANSITIONS[launch.state]:
            return None
        absent = replace(launch, state=LaunchState.ABSENT, message=message)
        tx.put_launch(absent)
        return absent


def reason_of(error: ProviderError) -> Reason:
    return next((reason for kind, reason in _REASONS if isinstance(error, kind)), Reason.LAUNCH_FAILED)


def _members(tx: Transaction, launch: Launch) -> list[Node]:
    """The nodes that still wait for this launch or live on it, by slot."""
    nodes = (tx.get(Node, key) for key in launch.nodes)
    members = [node for node in nodes if node is not None and node.status.launch == launch.id]
    return sorted(members, key=lambda node: (node.spec.slot, node.key))


def bound_status(status: NodeStatus, launch: Launch, instance: Instance, failure: str) -> NodeStatus:
    offering = launch.request.offering
    return status.replace(
        provider=offering.provider,
        provider_id=instance.id,
        offering=offering.name,
        region=instance.region or offering.region,
        zone=instance.zone or offering.zone,
        capacity_type=offering.capacity_type,
        host_id=instance.host_id or offering.host_id,
        hourly_cost=format_cost(instance.usd_per_hour or offering.usd_per_hour),
        address=instance.address,
        port=instance.port if instance.address else 0,
        failure=failure,
    )


def format_cost(usd_per_hour: float) -> str:
    return f"{usd_per_hour:.4f}".rstrip("0").rstrip(".")
