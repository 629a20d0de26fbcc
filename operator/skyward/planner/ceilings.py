"""What bounds every launch: the operator's absolute ceilings, counted from what exists, and slow start after a refusal.

No error in a plan, a selector or a manifest gets past the ceilings: they are looked at once more when a launch is
recorded, in the same transaction, and count instances and create calls instead of nodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from skyward.api import Reason
from skyward.facts import Hindrance, Instance, InstanceState, Launch, LaunchState, Limits, Use

CREATE_WINDOW_S = 600.0
REFUSAL_MEMORY_S = 600.0
"""A refused launch slows its pool down no longer than this."""
UNANSWERED = frozenset({LaunchState.PREPARED, LaunchState.SENT, LaunchState.UNKNOWN})
MADE_NOTHING = frozenset({LaunchState.REJECTED, LaunchState.ABSENT})
_PLENTY = 1_000_000
_ROUNDING = 1e-9
_SAID = {
    "pool_instances": "{0} instances of one pool",
    "instances": "{0} instances of all pools",
    "pool_creates": "{0} instances asked for by one pool within ten minutes",
    "creates": "{0} instances asked for by all pools within ten minutes",
    "pool_usd_per_hour": "{0} $/h of one pool",
    "usd_per_hour": "{0} $/h of all pools",
}
"""By the name of the setting."""


def room(limits: Limits, usd_per_hour: float) -> tuple[int, Hindrance | None]:
    """How many instances of this price the pool may ask for now, and why none if that is 0."""
    if limits.allowance == 0:
        message = (
            "after a refusal instances are asked for one, two, four at a time, and the last ones are not answered yet"
        )
        return 0, Hindrance("slow-start", Reason.SLOW_START, message)
    ceilings, own, everywhere = limits.ceilings, limits.own, limits.everywhere
    checks = (
        ("pool_instances", ceilings.pool_instances, own.instances, 1.0),
        ("instances", ceilings.instances, everywhere.instances, 1.0),
        ("pool_creates", ceilings.pool_creates, own.creates, 1.0),
        ("creates", ceilings.creates, everywhere.creates, 1.0),
        ("pool_usd_per_hour", ceilings.pool_usd_per_hour, own.usd_per_hour, usd_per_hour),
        ("usd_per_hour", ceilings.usd_per_hour, everywhere.usd_per_hour, usd_per_hour),
    )
    left = _PLENTY if limits.allowance is None else limits.allowance
    for name, ceiling, used, each in checks:
        left = min(left, _left(ceiling - used, each))
        if left < 1:
            return 0, _reached(name, ceiling)
    return left, None


def _left(free: float, each: float) -> int:
    """What costs nothing is bound by the other ceilings."""
    return int((free + _ROUNDING) // each) if each > 0 else _PLENTY


def _reached(name: str, ceiling: float) -> Hindrance:
    message = (
        f"the operator's ceiling of {_SAID[name].format(f'{ceiling:g}')} leaves no room for one more; "
        f"remove some, or raise SKYWARD_CONTROLLERS__CEILINGS__{name.upper()}"
    )
    return Hindrance("ceiling", Reason.CEILING_REACHED, message, (("setting", name), ("ceiling", ceiling)))


# --- what is counted ---------------------------------------------------------------------------------------------


def use_of(launch: Launch, shown: Sequence[Instance], *, may_hide: bool, now: float) -> Use:
    """What one launch has: instances that the newest listing shows, and those that may exist while none shows them yet."""
    counts = launch.state not in MADE_NOTHING
    living = [instance for instance in shown if instance.state is not InstanceState.GONE]
    expected = launch.request.count if launch.state in UNANSWERED else len(launch.instances) if may_hide else 0
    hidden = max(0, expected - len(shown)) if counts else 0
    price = launch.request.offering.usd_per_hour
    return Use(
        instances=len(living) + hidden,
        creates=launch.request.count if counts and launch.sent_at > now - CREATE_WINDOW_S else 0,
        usd_per_hour=sum(instance.usd_per_hour or price for instance in living) + hidden * price,
    )


def use_of_stray(instances: Iterable[Instance]) -> Use:
    """Of instances that are ours and belong to no launch on record."""
    living = [instance for instance in instances if instance.state is not InstanceState.GONE]
    return Use(instances=len(living), usd_per_hour=sum(instance.usd_per_hour for instance in living))


def launch_allowance(launches: Iterable[Launch], now: float) -> int | None:
    """How many instances a pool may ask for at once; None for as many as it likes. After a launch that made less than was
    asked it is one, then as many more as were made since, less those that are not answered yet."""
    own = tuple(launches)
    fell_short_at = max((launch.created_at for launch in own if _fell_short(launch)), default=None)
    if fell_short_at is None or fell_short_at <= now - REFUSAL_MEMORY_S:
        return None
    made = sum(len(one.instances) for one in own if one.created_at > fell_short_at and one.state is LaunchState.BOUND)
    unanswered = sum(launch.request.count for launch in own if launch.state in UNANSWERED)
    return max(0, made + 1 - unanswered)


def _fell_short(launch: Launch) -> bool:
    if launch.state in MADE_NOTHING:
        return True
    return launch.state is LaunchState.BOUND and len(launch.instances) < launch.request.count
