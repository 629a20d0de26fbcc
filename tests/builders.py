"""Builders of words and facts for everyone's tests: name what the test is about, the rest is filled in sensibly.

Worlds that cannot occur are refused with ImpossibleWorld, so that no test proves something about nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from skyward.api import (
    FINALIZER,
    POOL_LABEL,
    Condition,
    Node,
    NodeCondition,
    NodeSpec,
    NodeStatus,
    ObjectMeta,
    Pool,
    PoolSpec,
    PoolStatus,
    ProviderSpec,
    Reason,
    Status,
    is_true,
    template_hash,
    to_time,
)
from skyward.facts import (
    AgentSession,
    BootstrapProgress,
    BootstrapState,
    CoolDown,
    Hindrance,
    Instance,
    InstanceState,
    Launch,
    LaunchRequest,
    LaunchState,
    Listing,
    LookUp,
    ObservedMarket,
    ObservedNode,
    ObservedPool,
    Offering,
)

NOW = 1_750_000_000.0
"""When tests happen, unless they say otherwise."""
OWNER = "installation-1"
LOCAL = "local"


class ImpossibleWorld(AssertionError):
    """The test asked for something that cannot be."""


def _require(claim: bool, why: str) -> None:
    if not claim:
        raise ImpossibleWorld(why)


# --- words -----------------------------------------------------------------------------------------------------------


def make_condition(
    type_: str,
    status: Status = Status.TRUE,
    reason: Reason = Reason.PENDING,
    message: str = "",
    *,
    at: float = NOW,
) -> Condition:
    return Condition(type=type_, status=status, reason=reason, message=message, last_transition_time=to_time(at))


def make_pool(
    name: str = "hello",
    nodes: int = 2,
    *,
    namespace: str = "default",
    uid: str | None = None,
    generation: int = 1,
    created_at: float = NOW - 3600,
    deleted_at: float | None = None,
    annotations: dict[str, str] | None = None,
    max_unavailable: int | str = 1,
    max_surge: int | str = 0,
    conditions: Iterable[Condition] = (),
    **spec: Any,
) -> Pool:
    """A pool of the local provider. Further keywords are fields of its spec, by their Python names."""
    if "offerings" not in spec:
        spec.setdefault("providers", ({"name": LOCAL},))
    rollout = {"max_unavailable": max_unavailable, "max_surge": max_surge}
    return Pool(
        metadata=ObjectMeta(
            name=name,
            namespace=namespace,
            uid=uid or f"pool-{name}",
            generation=generation,
            creation_timestamp=to_time(created_at),
            deletion_timestamp=None if deleted_at is None else to_time(deleted_at),
            annotations=annotations or {},
            finalizers=(FINALIZER,),
        ),
        spec=PoolSpec.model_validate({"nodes": nodes, "rollout": rollout, **spec}),
        status=PoolStatus(conditions=tuple(conditions)),
    )


def make_node(
    pool: Pool,
    slot: int = 0,
    *,
    suffix: str = "",
    created_at: float = NOW - 600,
    deleted_at: float | None = None,
    retire_reason: str = "",
    annotations: dict[str, str] | None = None,
    template: str | None = None,
    unschedulable: bool = False,
    launch: str = "",
    provider_id: str = "",
    failure: str = "",
    conditions: Iterable[Condition] = (),
    **status: Any,
) -> Node:
    """A node of this pool's current template, or of the template hash given. Further keywords are fields of its status."""
    _require(slot >= 0, "slots count from 0")
    _require(bool(launch) or not provider_id, "an instance comes from a launch")
    _require(deleted_at is None or deleted_at >= created_at, "a node cannot leave before it was made")
    _require(set(status) <= set(NodeStatus.model_fields), f"a node's status has no {', '.join(status)}")
    name = f"{pool.metadata.name}-{slot}-{suffix or f'n{slot:04d}'}"
    current = template_hash(pool.spec)
    return Node(
        metadata=ObjectMeta(
            name=name,
            namespace=pool.metadata.namespace,
            uid=f"node-{name}",
            creation_timestamp=to_time(created_at),
            deletion_timestamp=None if deleted_at is None else to_time(deleted_at),
            labels={POOL_LABEL: pool.metadata.name},
            annotations=annotations or {},
            finalizers=(FINALIZER,),
        ),
        spec=NodeSpec(
            pool=pool.metadata.name,
            pool_uid=pool.metadata.uid,
            slot=slot,
            template_hash=template or current,
            template=pool.spec.template(),
            unschedulable=unschedulable,
        ),
        status=NodeStatus().replace(
            launch=launch,
            provider_id=provider_id,
            provider=LOCAL if launch else "",
            failure=failure,
            retire_reason=retire_reason,
            conditions=tuple(conditions),
            **status,
        ),
    )


def ready_conditions(*, at: float = NOW - 300) -> tuple[Condition, ...]:
    """The conditions of a node that has come all the way."""
    return (
        make_condition(NodeCondition.LAUNCHED, reason=Reason.LAUNCHED, at=at),
        make_condition(NodeCondition.BOOTSTRAPPED, reason=Reason.BOOTSTRAPPED, at=at),
        make_condition(NodeCondition.REGISTERED, reason=Reason.REGISTERED, at=at),
        make_condition(NodeCondition.INITIALIZED, reason=Reason.INITIALIZED, at=at),
        make_condition(NodeCondition.HEALTHY, reason=Reason.HEARTBEATING, at=at),
        make_condition(NodeCondition.READY, reason=Reason.READY, at=at),
    )


# --- facts -----------------------------------------------------------------------------------------------------------


def make_offering(name: str = "host", provider: str = LOCAL, usd_per_hour: float = 0.0, **more: Any) -> Offering:
    return Offering(provider=provider, name=name, usd_per_hour=usd_per_hour, **more)


def make_market(*offerings: Offering, cool_downs: Iterable[CoolDown] = ()) -> ObservedMarket:
    """One local offering when none is given."""
    return ObservedMarket(offerings=offerings or (make_offering(),), cool_downs=tuple(cool_downs))


def make_launch(
    nodes: Iterable[Node],
    id: str = "launch-1",
    state: LaunchState = LaunchState.BOUND,
    *,
    created_at: float = NOW - 500,
    sent_at: float | None = None,
    attempts: int | None = None,
    instances: Iterable[str] = (),
    offering: Offering | None = None,
    message: str = "",
) -> Launch:
    """A launch of these nodes. Sent right after it was made, unless it is only prepared."""
    members = tuple(nodes)
    _require(bool(members), "a launch is for at least one node")
    _require(len({node.spec.pool_uid for node in members}) == 1, "a launch is for one pool")
    prepared = state is LaunchState.PREPARED
    _require(not (prepared and sent_at), "a prepared launch was not sent")
    _require(sent_at is None or sent_at >= created_at, "a launch is recorded before it is sent")
    first = members[0]
    request = LaunchRequest(
        launch=id,
        owner=OWNER,
        pool_uid=first.spec.pool_uid,
        pool=f"{first.metadata.namespace}/{first.spec.pool}",
        count=len(members),
        offering=offering or make_offering(),
        authorized_key="ssh-ed25519 AAAA test",
    )
    return Launch(
        id=id,
        pool_uid=first.spec.pool_uid,
        request=request,
        nodes=tuple(node.key for node in members),
        state=state,
        attempts=attempts if attempts is not None else (0 if prepared else 1),
        created_at=created_at,
        sent_at=0.0 if prepared else (created_at if sent_at is None else sent_at),
        instances=tuple(instances),
        message=message,
    )


def make_instance(
    id: str = "instance-1",
    launch: str | None = "launch-1",
    state: InstanceState = InstanceState.UP,
    *,
    provider: str = LOCAL,
    created_at: float = NOW - 490,
    **more: Any,
) -> Instance:
    reachable = {"address": "127.0.0.1", "port": 2200, "host_key": "ssh-ed25519 AAAA host"}
    return Instance(
        provider=provider,
        id=id,
        launch=launch,
        state=state,
        created_at=created_at,
        **({**reachable, **more} if state is InstanceState.UP else more),
    )


def make_listing(*instances: Instance, provider: str = LOCAL, at: float = NOW) -> Listing:
    _require(all(instance.provider == provider for instance in instances), "a listing is of one provider")
    _require(len({instance.id for instance in instances}) == len(instances), "a provider's ids are unique")
    return Listing(provider=provider, instances=instances, started_at=at, ended_at=at)


def make_session(node: Node, *, connected: bool = True, ready: bool = True, **more: Any) -> AgentSession:
    _require(connected or not ready, "an agent that is away does not ask for work")
    more.setdefault("since", NOW - 200)
    more.setdefault("last_heartbeat", NOW)
    return AgentSession(
        node_uid=node.metadata.uid, incarnation="incarnation-1", connected=connected, ready=ready, **more
    )


# --- observations ----------------------------------------------------------------------------------------------------


def observe_node(
    node: Node,
    *,
    launch: Launch | None = None,
    instance: Instance | None = None,
    listed_at: float | None = NOW,
    bootstrap: BootstrapProgress | BootstrapState | None = None,
    session: AgentSession | None = None,
    held: int = 0,
    missing_since: float | None = None,
    looked_up: LookUp | None = None,
    blocked: Hindrance | None = None,
) -> ObservedNode:
    if launch is not None:
        _require(node.status.launch == launch.id, f"{node.key} does not name {launch.id}")
        _require(node.key in launch.nodes, f"{launch.id} is not for {node.key}")
    if instance is not None:
        _require(listed_at is not None, "an instance is seen in a listing")
        _require(node.status.provider_id in ("", instance.id), f"{node.key} is bound to another instance")
        _require(bool(node.status.launch), "an instance comes from a launch")
        _require(instance.launch in (None, node.status.launch), f"{instance.id} is of another launch")
    if session is not None:
        _require(session.node_uid == node.metadata.uid, "an agent is of one node")
        _require(bool(node.status.launch), "an agent runs on an instance")
    _require(held >= 0, "an agent holds some work or none")
    _require(missing_since is None or (instance is None and listed_at is not None), "a listing shows it or lacks it")
    _require(missing_since is None or (listed_at or 0.0) >= missing_since, "listings lack it up to the newest")
    progress = BootstrapProgress(state=bootstrap) if isinstance(bootstrap, BootstrapState) else bootstrap
    return ObservedNode(
        node=node,
        launch=launch,
        instance=instance,
        listed_at=listed_at,
        bootstrap=progress or BootstrapProgress(),
        session=session,
        held=held,
        missing_since=missing_since,
        looked_up=looked_up,
        blocked=blocked,
    )


def observe_pool(
    pool: Pool, nodes: Iterable[ObservedNode | Node] = (), *, synced: bool = True, unsynced: Iterable[str] = ()
) -> ObservedPool:
    observed = tuple(one if isinstance(one, ObservedNode) else observe_node(one) for one in nodes)
    _require(all(one.node.spec.pool_uid == pool.metadata.uid for one in observed), "a node of another pool")
    keys = [one.node.key for one in observed]
    _require(len(set(keys)) == len(keys), "two nodes of one name")
    slots = [one.node.spec.slot for one in observed if one.node.metadata.deletion_timestamp is None]
    _require(len(set(slots)) == len(slots), "two live nodes in one slot")
    missing = tuple(unsynced) or (() if synced else tuple(provider.name for provider in pool.spec.providers))
    _require(synced is not bool(missing), "synced means that no provider is missing")
    return ObservedPool(pool=pool, nodes=observed, synced=synced, unsynced=missing)


# --- nodes at a known place ------------------------------------------------------------------------------------------


def ready_node(pool: Pool, slot: int = 0, *, since: float = NOW - 300, held: int = 0, **more: Any) -> ObservedNode:
    """Everything is well: instance up, agent connected and asking for work."""
    launch_id = more.pop("launch", f"launch-{slot}")
    more.setdefault("provider_id", f"instance-{slot}")
    node = make_node(pool, slot, launch=launch_id, conditions=ready_conditions(at=since), address="127.0.0.1", **more)
    return observe_node(
        node,
        launch=make_launch([node], launch_id, instances=[node.status.provider_id]),
        instance=make_instance(node.status.provider_id, launch_id),
        bootstrap=BootstrapState.DONE,
        session=make_session(node, since=since),
        held=held,
    )


def pending_node(pool: Pool, slot: int = 0, **more: Any) -> ObservedNode:
    """Just recorded: no launch yet."""
    return observe_node(make_node(pool, slot, **more))


def failed_node(pool: Pool, slot: int = 0, *, at: float = NOW - 60, gone: bool = True, **more: Any) -> ObservedNode:
    """It failed at that time before it was ever ready and was retired; its instance is proved gone, or not yet."""
    terminating = make_condition(
        NodeCondition.TERMINATING,
        Status.FALSE if gone else Status.TRUE,
        Reason.GONE if gone else Reason.TERMINATING,
        at=at,
    )
    more.setdefault("failure", "step pip failed: no such package")
    more.setdefault("created_at", at - 100)
    more.setdefault("suffix", f"f{int(at) % 10000:04d}")
    node = make_node(pool, slot, deleted_at=at, conditions=(terminating,), **more)
    _require(not is_true(node.status.conditions, NodeCondition.READY), "a failed node is not ready")
    return observe_node(node)


def provider_specs(*names: str, weights: Iterable[int] = ()) -> tuple[ProviderSpec, ...]:
    """Providers by name, also those that this version does not support yet."""
    given = tuple(weights) or (0,) * len(names)
    return tuple(
        ProviderSpec.model_construct(name=name, weight=weight) for name, weight in zip(names, given, strict=True)
    )
