"""Poison hosts: a machine that brings down what runs on it is left alone for a while, longer with each failure.

The memory is that of the nodes' own records, and of their launches after those, so it survives restarts. It decays: a
failure that is old enough counts no more. A host that was taken away by its provider, or whose template fails on others
too, is judged like any other: the first failure costs it minutes only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from skyward.api import Node, NodeCondition, Reason, is_true
from skyward.facts import CoolDown, Decision, DecisionKind, HostFailure, ObservedMarket, ShunnedHost
from skyward.planner.endings import epitaph
from skyward.planner.places import since, was_ready

FIRST_S = 600.0
LONGEST_S = 6 * 3600.0
MEMORY_S = 6 * 3600.0
"""A failure counts for so long."""
EARLY_S = 3600.0
"""A node that served longer than this died of something else than its host's being bad from the start."""
RULE = "poison-host"


def host_failure(node: Node) -> HostFailure | None:
    """What this node's record says against its host; None when it says nothing. A loss that the provider announced or owned up
    to is not the host's fault."""
    status = node.status
    why = epitaph(node) if status.host_id else ""
    if not why or is_true(status.conditions, NodeCondition.INTERRUPTED):
        return None
    at = _given_up_at(node)
    if at is None or (was_ready(node) and at - (since(node, NodeCondition.INITIALIZED) or at) > EARLY_S):
        return None
    return HostFailure(status.provider, status.host_id, node.metadata.uid, at, why.strip().splitlines()[0])


def shun(failures: Iterable[HostFailure], now: float) -> tuple[ShunnedHost, ...]:
    """The hosts to leave alone now, by provider and id."""
    by_host: dict[tuple[str, str], list[HostFailure]] = defaultdict(list)
    for failure in failures:
        if failure.at > now - MEMORY_S:
            by_host[failure.provider, failure.host_id].append(failure)
    shunned = []
    for (provider, host_id), found in sorted(by_host.items()):
        newest = max(found, key=lambda failure: (failure.at, failure.node_uid))
        until = newest.at + min(FIRST_S * 2.0 ** min(len(found) - 1, 16), LONGEST_S)
        if until > now:
            shunned.append(ShunnedHost(provider, host_id, until, len(found), newest.message))
    return tuple(shunned)


def without_shunned(market: ObservedMarket) -> ObservedMarket:
    """The market with the offerings of shunned hosts cooling down."""
    shunned = {(host.provider, host.host_id): host for host in market.shunned}
    cools = []
    for offering in market.offerings:
        host = shunned.get((offering.provider, offering.host_id)) if offering.host_id else None
        if host is not None:
            cools.append(CoolDown(offering.id, host.until, _why(host), Reason.HOST_SHUNNED))
    return replace(market, cool_downs=(*market.cool_downs, *cools)) if cools else market


def avoided(market: ObservedMarket, provider: str) -> tuple[str, ...]:
    """Hosts of this provider that a launch must not land on."""
    return tuple(sorted(host.host_id for host in market.shunned if host.provider == provider))


def skips(market: ObservedMarket) -> tuple[Decision, ...]:
    """One for each host that is left out while a node waits for its launch."""
    return tuple(
        Decision(
            DecisionKind.SKIP,
            RULE,
            Reason.HOST_SHUNNED,
            _why(host),
            (("host", host.host_id), ("failures", host.failures)),
            target=f"{host.provider}/{host.host_id}",
        )
        for host in market.shunned
    )


def _why(host: ShunnedHost) -> str:
    nodes = "a node" if host.failures == 1 else f"{host.failures} nodes"
    return f"{nodes} failed on host {host.host_id} lately, the newest: {host.message.rstrip('.')}"


def _given_up_at(node: Node) -> float | None:
    """When it failed; of one that was lost, or fell ill, when it was retired."""
    at = node.status.failed_at or node.metadata.deletion_timestamp
    return at.timestamp() if at is not None else since(node, NodeCondition.CORDONED)
