"""The laws of the small guards that stand beside the planners: ceilings, the breaker, lineage."""

from __future__ import annotations

from random import Random

from skyward.facts import (
    Ceilings,
    Instance,
    InstanceState,
    Launch,
    LaunchRequest,
    LaunchState,
    Limits,
    Listing,
    Offering,
    Use,
)
from skyward.kit.lineage import find_doubt
from skyward.planner.breaker import Losses, blocks
from skyward.planner.ceilings import CREATE_WINDOW_S, launch_allowance, room, use_of

_NOW = 1_800_000_000.0
_DOLLARS = (0.0, 0.5, 1.0, 3.0)


def check_guards(seed: int) -> None:
    random = Random(seed)
    _within_the_ceilings(random)
    _counts_what_may_exist(random)
    _asks_for_one_after_a_refusal(random)
    _few_losses_at_once(random)
    _older_records_prove_nothing(random)


def _within_the_ceilings(random: Random) -> None:
    """Whatever is asked for after this, no ceiling is passed that was not passed before."""
    ceilings = Ceilings(*(random.randint(0, 12) for _ in range(6)))
    own, others = (Use(random.randint(0, 6), random.randint(0, 6), random.choice(_DOLLARS)) for _ in range(2))
    everywhere, price = own + others, random.choice(_DOLLARS)
    most, why = room(Limits(ceilings, own, everywhere, random.choice((None, 0, 1, 5))), price)
    assert (most == 0) == (why is not None), "none, and no reason; or a reason, and some"
    more = Use(min(most, 100), min(most, 100), min(most, 100) * price)
    for use, instances, creates, dollars in (
        (own + more, ceilings.pool_instances, ceilings.pool_creates, ceilings.pool_usd_per_hour),
        (everywhere + more, ceilings.instances, ceilings.creates, ceilings.usd_per_hour),
    ):
        assert not most or (use.instances <= instances and use.creates <= creates), "above a ceiling"
        assert not most or not price or use.usd_per_hour <= dollars + 1e-6, "above the ceiling of cost"


def _counts_what_may_exist(random: Random) -> None:
    """Of one launch: all that a listing shows, and as many as may still be hidden."""
    launch = _launch(random)
    shown = tuple(_instance(f"i-{number}", launch.id) for number in range(random.randint(0, 3)))
    may_hide = random.random() < 0.5
    use = use_of(launch, shown, may_hide=may_hide, now=_NOW)
    unanswered = launch.state in (LaunchState.PREPARED, LaunchState.SENT, LaunchState.UNKNOWN)
    least = launch.request.count if unanswered else len(launch.instances) if may_hide else 0
    least = 0 if launch.state in (LaunchState.REJECTED, LaunchState.ABSENT) else least
    assert use.instances >= max(len(shown), least), "what may exist is not counted"
    if unanswered and launch.sent_at > _NOW - CREATE_WINDOW_S:
        assert use.creates == launch.request.count, "a call that may have worked is not counted"


def _asks_for_one_after_a_refusal(random: Random) -> None:
    launches = tuple(_launch(random, number) for number in range(random.randint(1, 4)))
    refused = max((one.created_at for one in launches if one.state is LaunchState.REJECTED), default=0.0)
    later = [one for one in launches if one.created_at > refused]
    if refused > _NOW - 300.0 and not any(one.instances for one in later):
        allowance = launch_allowance(launches, _NOW)
        assert allowance in (0, 1), "asks for many right after a refusal"


def _few_losses_at_once(random: Random) -> None:
    """Of those that fell silent together at most a fifth of a pool, or one, is given up."""
    nodes = random.randint(1, 30)
    silent = random.randint(0, nodes)
    others = random.randint(0, 40)
    own = Losses(tuple(f"n-{number}" for number in range(silent)), nodes)
    fell = own.silent + tuple(f"o-{number}" for number in range(random.randint(0, others)))
    why = blocks(own, Losses(fell, nodes + others))
    if silent > max(1, nodes / 5):
        assert why is not None, "gives up too much of a pool at once"
    if silent and len(fell) >= max(3, (nodes + others) / 2):
        assert why is not None, "gives up although half of everything is silent"


def _older_records_prove_nothing(random: Random) -> None:
    """An operator whose records end before something was launched that still runs never acts on that listing."""
    made = [(f"launch-{number}", random.randint(1, 6)) for number in range(random.randint(1, 8))]
    made.sort(key=lambda launch: launch[1])
    kept = random.randint(0, len(made))
    epoch_before = made[kept - 1][1] if kept else 0
    alive = [one for one in made if random.random() < 0.7]
    listing = Listing("p", tuple(_instance(f"i-{name}", name, epoch) for name, epoch in alive), _NOW, _NOW)
    known = {name for name, _ in made[:kept]}
    doubt = find_doubt(listing, known, has_made=lambda *_: False, epoch_before=epoch_before)
    unknown = [name for name, _ in alive if name not in known]
    assert bool(unknown) == (doubt is not None), f"{unknown} were made after these records: {doubt}"


def _launch(random: Random, number: int = 0) -> Launch:
    count = random.randint(1, 3)
    state = random.choice(tuple(LaunchState))
    at = _NOW - random.choice((1.0, 60.0, 500.0, 700.0)) - number
    instances = tuple(f"i-{number}-{place}" for place in range(count)) if state is LaunchState.BOUND else ()
    request = LaunchRequest("launch", "owner", "pool", "default/pool", count, Offering("p", "small"), "key")
    return Launch(f"launch-{number}", "pool", request, (), state, 1, at, at, instances)


def _instance(key: str, launch: str, epoch: int | None = None) -> Instance:
    return Instance("p", key, launch, InstanceState.UP, epoch=epoch)
