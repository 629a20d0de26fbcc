"""Why a node is no longer what its pool wants: asked for by a user, or because of a difference that is named field by field."""

from __future__ import annotations

from dataclasses import dataclass, field

from skyward.api import Json, Node, Pool, Reason, template_hash
from skyward.api.differences import diff_spec
from skyward.api.meta import DO_NOT_DISRUPT, REPLACE, RESTARTED
from skyward.planner.annotations import is_asked, parse_time

_SHOWN_CHANGES = 3
UNNAMED = "the pool's template changed since it was made"


@dataclass(frozen=True, slots=True)
class Drift:
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a pool wants of its nodes, found once for all of them."""

    template_hash: str
    template: Json
    restarted_at: float | None
    """Nodes that were made before are to be replaced."""
    restarts_at: float | None
    """A restart that was asked for with a time that lies ahead (another clock's) counts from then on."""
    is_protected: bool
    """No node is to be replaced by our own choice."""
    _named: dict[str, str] = field(default_factory=dict, compare=False, repr=False)
    """Differences by template hash: nodes of one template differ alike."""

    @staticmethod
    def of(pool: Pool, now: float) -> Wanted:
        asked = parse_time(pool.metadata.annotations.get(RESTARTED, ""))
        counts = asked is not None and asked <= now
        return Wanted(
            template_hash=template_hash(pool.spec),
            template=pool.spec.template(),
            restarted_at=asked if counts else None,
            restarts_at=None if counts else asked,
            is_protected=is_asked(pool.metadata.annotations, DO_NOT_DISRUPT),
        )

    def drift(self, node: Node, instance_drift: str, better: str = "") -> Drift | None:
        """The first reason to replace this node; None when it is as wanted. `instance_drift` is what its driver says, `better` why
        another machine would serve."""
        if is_asked(node.metadata.annotations, REPLACE):
            return Drift(Reason.REPLACE_REQUESTED, "a user asked for its replacement")
        if instance_drift:
            return Drift(Reason.INSTANCE_DRIFTED, f"its instance changed: {instance_drift}")
        if node.spec.template_hash != self.template_hash:
            return Drift(Reason.TEMPLATE_CHANGED, self._difference(node))
        created = node.metadata.creation_timestamp
        if self.restarted_at is not None and created is not None and created.timestamp() < self.restarted_at:
            return Drift(Reason.RESTART_REQUESTED, "a user asked for new nodes after it was made")
        return Drift(Reason.SPOT_AVAILABLE, better) if better else None

    def _difference(self, node: Node) -> str:
        hash_ = node.spec.template_hash
        if hash_ not in self._named:
            self._named[hash_] = _difference(node.spec.template, self.template)
        return self._named[hash_]


def _difference(old: Json, new: Json) -> str:
    """Like `image.env.A: "1" → "2"`; the first few of many."""
    changes = diff_spec(old, new, "") if old else ()
    if not changes:
        return UNNAMED
    more = len(changes) - _SHOWN_CHANGES
    shown = "; ".join(str(change) for change in changes[:_SHOWN_CHANGES])
    return f"{shown}; and {more} more" if more > 0 else shown
