"""Slow start and self-stop: a template whose nodes fail is tried less and less often, and one that never worked not at all.

A failure is a node that was given up before it was ever ready. Its row stays as a record until it no longer tells
anything. A node that is lost after it was ready says nothing against its template and does not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from skyward.api import Node, NodeCondition, Pool, Reason, template_hash
from skyward.api.meta import RECONCILE_REQUESTED
from skyward.planner.annotations import parse_time
from skyward.planner.memory import remembered_until
from skyward.planner.places import Member, Place, since, was_ready
from skyward.planner.plans import ForgetNode

STOP_AFTER = 3
"""So many failures of a template that was never ready stop it."""
KEPT = 6
"""Records of failed nodes that a pool keeps, of those that were never ready and of those that were; no more are counted."""
FIRST_DELAY_S = 10.0
LONGEST_DELAY_S = 300.0
SLOW_START_S = 600.0
"""So long after a failure no more nodes are made at once than became ready since, and one."""


@dataclass(frozen=True, slots=True)
class Failures:
    """What the records say about the pool's current template."""

    consecutive: int = 0
    """Failures since a node of this template last became ready."""
    stopped: bool = False
    hold_until: float | None = None
    """No create before then; None when nothing failed."""
    message: str = ""
    """Why the newest one failed."""
    asks_at: float | None = None
    """When a reconcile-requested-at annotation that lies in the future comes to count."""
    successes: int = 0
    """Nodes of this template that became ready since the newest failure, as long as slow start goes on."""

    def allowance(self, pending: int, now: float) -> int | None:
        """How many nodes may be made now; None means as many as are wanted. After a failure one is tried, and as they become
        ready one, two, four … may come up at once."""
        if self.consecutive == 0:
            return max(0, self.successes + 1 - pending) if self.successes else None
        waits = self.stopped or pending > 0 or (self.hold_until is not None and now < self.hold_until)
        return 0 if waits else 1


def judge(pool: Pool, members: Sequence[Member], now: float) -> Failures:
    hash_ = template_hash(pool.spec)
    own = [member for member in members if member.node.spec.template_hash == hash_]
    excused_until, asks_at = _excused(pool, now)
    last_ready = max((_ready_at(member.node) for member in own), default=0.0)
    counted = [
        (failed_at(member.node, now), member.key, member.node.status.failure)
        for member in own
        if member.node.status.failure and not was_ready(member.node)
    ]
    recent = sorted(failure for failure in counted if failure[0] > max(last_ready, excused_until))[-KEPT:]
    if not recent:
        newest = max((at for at, _, _ in counted if at > max(excused_until, now - SLOW_START_S)), default=None)
        return Failures(asks_at=asks_at, successes=_successes(own, newest, pool.spec.nodes))
    newest_at, _, message = recent[-1]
    delay = min(FIRST_DELAY_S * 2.0 ** (len(recent) - 1), LONGEST_DELAY_S)
    return Failures(
        consecutive=len(recent),
        stopped=len(recent) >= STOP_AFTER and not any(was_ready(member.node) for member in own),
        hold_until=newest_at + delay,
        message=first_line(message),
        asks_at=asks_at,
    )


def forget(pool: Pool, members: Sequence[Member], failures: Failures, now: float) -> tuple[ForgetNode, ...]:
    """The records that no longer tell anything: of another template, made good by a later node, or too many."""
    gone = [member.node for member in members if member.place is Place.GONE]
    if not gone:
        return ()
    hash_ = template_hash(pool.spec)
    records = sorted(gone, key=lambda node: (-failed_at(node, now), node.key))
    ready_at = {member.key: _ready_at(member.node) for member in members if member.node.spec.template_hash == hash_}
    kept = {False: 0, True: 0}
    actions: list[ForgetNode] = []
    for node in records:
        later = any(at > failed_at(node, now) for key, at in ready_at.items() if key != node.key)
        slows_down = failures.successes > 0 and not was_ready(node)
        if remembered_until(node) > now and kept[was_ready(node)] < KEPT:
            kept[was_ready(node)] += 1
        elif node.spec.template_hash != hash_:
            actions.append(
                ForgetNode(node.key, Reason.TEMPLATE_CHANGED, "the template it failed with is no longer used")
            )
        elif later and not slows_down:
            actions.append(ForgetNode(node.key, Reason.READY, "a later node of the same template became ready"))
        elif kept[was_ready(node)] >= KEPT:
            actions.append(ForgetNode(node.key, Reason.GONE, f"the newest {KEPT} failed nodes are kept"))
        else:
            kept[was_ready(node)] += 1
    return tuple(actions)


def forgets_at(members: Sequence[Member], now: float) -> float | None:
    """When the next record of a failed node has nothing more to tell."""
    times = (remembered_until(member.node) for member in members if member.place is Place.GONE)
    return min((time for time in times if time > now), default=None)


def failed_at(node: Node, now: float) -> float:
    """When it was given up: in whole seconds, so that the answer is the same before and after it is retired."""
    if node.status.failed_at is not None:
        return node.status.failed_at.timestamp()
    # A record of a version that did not write that down: one that was kept for a look was cordoned then.
    cordoned = since(node, NodeCondition.CORDONED) if node.status.failure else None
    if cordoned is not None:
        return cordoned
    deleted = node.metadata.deletion_timestamp
    return float(int(now)) if deleted is None else deleted.timestamp()


def first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else "no reason was given"


def _ready_at(node: Node) -> float:
    return (since(node, NodeCondition.INITIALIZED) or 0.0) if was_ready(node) else 0.0


def _successes(own: Sequence[Member], failed_at: float | None, nodes: int) -> int:
    """Since that failure; 0 when slow start no longer keeps anything back: enough are ready, or all that are wanted."""
    if failed_at is None:
        return 0
    successes = sum(_ready_at(member.node) > failed_at for member in own)
    ready = sum(member.place is Place.READY for member in own)
    return 0 if successes + 1 >= nodes or ready >= nodes else successes


def _excused(pool: Pool, now: float) -> tuple[float, float | None]:
    """Until when failures are excused by the user, and when a request that lies ahead (another clock's time) will count."""
    asked = parse_time(pool.metadata.annotations.get(RECONCILE_REQUESTED, ""))
    if asked is None:
        return 0.0, None
    return (asked, None) if asked <= now else (0.0, asked)
