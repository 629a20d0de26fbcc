"""The end of a pool: its row goes last, when nothing that could cost money can be left of it."""

from __future__ import annotations

from skyward.api import FINALIZER, Node, Pool, Reason
from skyward.contracts import Transaction
from skyward.controllers.deps import Deps
from skyward.controllers.garbage.tombstones import Burial, write_burial
from skyward.controllers.launches import UNRESOLVED, LaunchBook
from skyward.controllers.pool.revisions import drop_revisions
from skyward.facts import Decision, DecisionKind, InstanceState, Launch, Listing
from skyward.kit.decisions import record_decision
from skyward.kit.recorder import record_event
from skyward.kit.steady import steady

GONE = Decision(DecisionKind.RETIRE, "proved-gone", Reason.GONE, "the pool and everything it had are gone")


def hindrance(deps: Deps, launches: LaunchBook, pool: Pool) -> str | None:
    """Why the pool cannot go yet although it has no nodes left; None when a complete listing of every provider that it used
    proves that none of its launches has an instance."""
    others = _other_finalizers(pool)
    if others:
        return f"waiting for {', '.join(others)} to be taken off"
    own = launches.of_pool(pool.metadata.uid)
    unresolved = [launch.id for launch in own if launch.state in UNRESOLVED]
    if unresolved:
        return f"the outcome of {len(unresolved)} create calls is not known yet"
    for provider in sorted({launch.request.offering.provider for launch in own}):
        mine = [launch for launch in own if launch.request.offering.provider == provider]
        reason = _still_there(deps, pool, provider, mine)
        if reason is not None:
            deps.listings.poke(provider)
            return reason
    return None


async def remove_pool(deps: Deps, launches: LaunchBook, pool: Pool) -> bool:
    """Drop the finalizer, and with it the row; its launches stay as tombstones. False when a node, another pool or another
    finalizer is found."""
    await deps.queue.drop_pool(pool.key)
    own = tuple(launch for launch in launches.of_pool(pool.metadata.uid) if not launch.gone_at)
    now = deps.clock.now()
    burial = Burial(bury=own, raise_=(), drop=())
    buried: list[Launch] = []

    def work(tx: Transaction) -> bool:
        current = tx.get(Pool, pool.key)
        if current is None or current.metadata.uid != pool.metadata.uid or current.metadata.deletion_timestamp is None:
            return False
        if _other_finalizers(current):
            return False
        if any(node.spec.pool_uid == pool.metadata.uid for node in tx.list(Node, pool.metadata.namespace)):
            return False
        buried.extend(write_burial(tx, burial, steady(deps.clock).age_now))
        record_event(tx, current, Reason.GONE, GONE.message, now=now)
        record_decision(tx, current, GONE, now=now)
        drop_revisions(tx, current)
        tx.delete(current)
        return True

    removed = await deps.store.run(work, power_safe=True)
    if removed:
        launches.learn(buried)
    return removed


def _other_finalizers(pool: Pool) -> tuple[str, ...]:
    """What else keeps the row: intake's mark that the document is not out of its file yet, or a user's own."""
    return tuple(name for name in pool.metadata.finalizers if name != FINALIZER)


def _still_there(deps: Deps, pool: Pool, provider: str, launches: list[Launch]) -> str | None:
    listing = deps.listings.newest(provider)
    if listing is None or not deps.listings.fresh(provider, deps.clock.now()):
        return f"waiting for a complete listing of {provider}"
    ids = {launch.id for launch in launches}
    # Some providers show for an hour what is gone.
    alive = (one for one in listing.instances if one.state is not InstanceState.GONE)
    left = sorted(instance.id for instance in alive if instance.launch in ids)
    if left:
        return f"{provider} still has {', '.join(left)}"
    return None if _shows_all(deps, pool, listing, launches) else f"waiting for a newer listing of {provider}"


def _shows_all(deps: Deps, pool: Pool, listing: Listing, launches: list[Launch]) -> bool:
    """Everything that these launches made, before the pool was deleted or after, must be visible in this listing."""
    driver = deps.drivers.get(listing.provider)
    if driver is None:
        return False
    visible_at = max(launch.sent_at for launch in launches) + driver.facts.visibility_s
    deleted = pool.metadata.deletion_timestamp
    return listing.started_at >= max(visible_at, deleted.timestamp() if deleted is not None else 0.0)
