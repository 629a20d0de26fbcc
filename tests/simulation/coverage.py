"""Named places that a set of runs must reach. One that is never reached means that the faults no longer reach it either, and
that whatever is checked there is checked by nobody."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

POINTS = frozenset(
    {
        # create calls, and what became of them
        "launch bound by its answer",
        "launch bound by a listing",
        "launch unknown",
        "launch rejected",
        "launch absent",
        "launch sent again",
        "launch of several nodes",
        "launch bound to fewer than it asked for",
        "launch that a later operator resolved",
        "launch bound to a node that was leaving",
        "surplus machine deleted",
        "machine deleted that no node knew",
        "foreign machine alive in the end",
        "create refused for lack of capacity",
        "machine made and of no use",
        # machines
        "machine taken by its provider",
        "machine stopped from outside",
        "machine deleted from outside",
        "machine that never starts deleted",
        "machine deleted while unreachable",
        "machine gone in the listing, and its agent answers",
        "delete asked again",
        # deaths
        "death before a create call",
        "death between sent and bound",
        "death with a create call done and not answered",
        "death with a delete call done and not answered",
        "death before a commit",
        "death after a commit",
        "death during a bootstrap",
        "death with work leased",
        "death with a pool being deleted",
        "death with a node being deleted",
        "death right after a start",
        "operator stopped in good order",
        # nodes
        "node ready",
        "node failed",
        "node replaced after a loss",
        "bootstrap done",
        "bootstrap failed",
        "bootstrap timed out",
        "host key refused",
        "agent started again",
        "agent superseded by its double",
        "agent back at a new operator",
        "node drained",
        # pools
        "pool rolled out",
        "pool scaled to nothing",
        "pool removed",
        "pool declared again under a new uid",
        "pool not synced",
        "template stopped itself",
        "remediation blocked",
        "remediation open again",
        "deletion held",
        "deletion approved",
        # rolling out
        "node replaced with a canary first",
        "node replaced under Recreate",
        "node replaced once others had been ready for a while",
        "node replaced for a restart",
        "rollout waited for its time",
        "rollout waited for its budget",
        "rollout left to its user",
        "pool paused and resumed",
        "broken template taken back",
        # records
        "older records restored",
        "records begun anew",
        "unknown machines adopted",
        # listings that lie, ceilings, and what is said again
        "machine left out of a listing",
        "launch held by a ceiling",
        "report said again long after",
        # beginnings
        "agent dead before its first word",
        "agent started again before its first word",
        "create broke off halfway",
        # hosts and health
        "node left before its announced loss",
        "loss announced by the agent alone",
        "health check failed on a node",
        "node repaired for its health check",
        "launch kept off a bad host",
        # people at the API
        "node deleted by its user",
        "node changed by its user",
        "failed node kept for a look",
        "manifest written for a user",
        "pool deleted through the API",
        # manifests
        "manifest refused",
        "manifest good again",
        "source missing",
        "source busy",
        # tasks
        "item succeeded",
        "item failed",
        "item cancelled",
        "item tried again",
        "item given up after its last attempt",
        "item lost with its node",
        "at-most-once leased",
        "broadcast done",
        "rank replaced",
        "item tried again after a pause",
        "results read",
        "report made up",
        "submit repeated",
        "report of a superseded attempt dropped",
        "work of a deleted pool cancelled",
        # the store and time
        "commit refused by a full disk",
        "operator frozen",
        "operator ended because another leads",
        "leadership taken over",
        "wall clock jumped",
    }
)


class Coverage:
    def __init__(self) -> None:
        self.points: Counter[str] = Counter()

    def reach(self, point: str) -> None:
        assert point in POINTS, f"{point!r} is not a known point"
        self.points[point] += 1


def missing(points: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(POINTS - set(points)))
