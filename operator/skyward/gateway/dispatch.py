"""Who gets the next work: leases go where credit is, in slices and in turn, as soon as there is both.

Nothing is polled. A pass over a pool runs when work came, when an agent gave credit, or when a lease came back; an
agent whose lease came back short is left out until the queue says that more came. Agents that idle come first; when
there is nothing for them, work that waits behind something slow at another agent is asked back.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine

import structlog

from skyward.contracts import Clock, TaskQueue
from skyward.gateway.peer import AgentPeer

log = structlog.get_logger()

SLICE = 64
"""The most that one agent gets in one turn."""
RECALL_AFTER_S = 0.005
"""An agent that ended something this recently is not at something slow: what it holds is better left where it is."""
_RECALL_PATIENCE_S = 0.25
"""An agent that does not answer for longer than this keeps nobody from asking another one."""
_RETRY_S = 1.0

Spawn = Callable[[Coroutine[None, None, None]], None]


class Dispatcher:
    def __init__(self, queue: TaskQueue, clock: Clock, *, may_lease: Callable[[AgentPeer], bool], spawn: Spawn) -> None:
        self._queue = queue
        self._clock = clock
        self._may_lease = may_lease
        self._spawn = spawn
        self._pools: dict[str, deque[AgentPeer]] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._waking: set[str] = set()
        self._looking_again: set[str] = set()

    def lock(self, node_uid: str) -> asyncio.Lock:
        """Held while this node's leases change hands: an agent resumes only when no lease for it is under way."""
        return self._locks.setdefault(node_uid, asyncio.Lock())

    def join(self, peer: AgentPeer) -> None:
        self._pools.setdefault(peer.holder.pool, deque()).append(peer)

    def leave(self, peer: AgentPeer) -> None:
        peers = self._pools.get(peer.holder.pool)
        if peers is not None and peer in peers:
            peers.remove(peer)
            if not peers:
                del self._pools[peer.holder.pool]

    def forget(self, node_uid: str) -> None:
        """The node is gone for good."""
        lock = self._locks.get(node_uid)
        if lock is not None and not lock.locked():
            del self._locks[node_uid]

    def work_available(self, pool: str, node_uid: str | None) -> None:
        for peer in self._pools.get(pool, ()):
            if node_uid is None or peer.holder.node_uid == node_uid:
                peer.may_have_work = True
        self.wake(pool)

    def wake(self, pool: str) -> None:
        """Look at this pool at the end of this turn of the loop; many calls make one pass."""
        if pool not in self._waking and pool in self._pools:
            self._waking.add(pool)
            asyncio.get_running_loop().call_soon(self._pass, pool)

    def _pass(self, pool: str) -> None:
        self._waking.discard(pool)
        peers = self._pools.get(pool)
        if peers:
            self._give_out(peers, self._queue.counts(pool)[0])
            if len(peers) > 1:
                self._even_out(pool, peers)

    def _give_out(self, peers: deque[AgentPeer], queued: int) -> None:
        if queued <= 0:
            return
        candidates = sorted(
            (peer for peer in peers if self._is_candidate(peer)), key=lambda peer: not peer.has_idle_lane
        )
        share = min(SLICE, -(-queued // len(candidates))) if candidates else 0
        for peer in candidates:
            if queued <= 0:
                return
            count = min(peer.want, share)
            queued -= count
            peers.remove(peer)
            peers.append(peer)
            peer.is_leasing = True
            peer.may_have_work = False
            self._spawn(self._lease(peer, count))

    def _is_candidate(self, peer: AgentPeer) -> bool:
        return peer.may_have_work and peer.want > 0 and not peer.is_leasing and self._may_lease(peer)

    def _even_out(self, pool: str, peers: deque[AgentPeer]) -> None:
        """For each agent that idles and finds nothing, ask the one with the most to spare for half of it."""
        now = self._clock.monotonic()
        hungry = [peer for peer in peers if peer.want > 0 and peer.has_idle_lane and self._is_left_empty(peer)]
        donors = sorted((peer for peer in peers if peer.spare and not peer.is_recalling), key=lambda peer: -peer.spare)
        if not hungry or not donors:
            return
        asked = sum(peer.is_recalling and now - peer.recalled_at < _RECALL_PATIENCE_S for peer in peers)
        if asked:
            self._look_again(pool, _RECALL_PATIENCE_S)
        hungry = hungry[asked:]
        ready = [peer for peer in donors if now - peer.moved_at >= RECALL_AFTER_S]
        for donor, peer in zip(ready, hungry, strict=False):
            donor.recall(min(peer.want, -(-donor.spare // 2)))
        if len(ready) < min(len(hungry), len(donors)):
            self._look_again(pool, min(peer.moved_at for peer in donors if peer not in ready) + RECALL_AFTER_S - now)

    def _is_left_empty(self, peer: AgentPeer) -> bool:
        return not peer.is_leasing and self._may_lease(peer)

    def _look_again(self, pool: str, delay_s: float) -> None:
        def look() -> None:
            self._looking_again.discard(pool)
            self.wake(pool)

        if pool not in self._looking_again:
            self._looking_again.add(pool)
            asyncio.get_running_loop().call_later(delay_s, look)

    async def _lease(self, peer: AgentPeer, count: int) -> None:
        try:
            async with self.lock(peer.holder.node_uid):
                if peer.connection.is_closed:
                    return
                leases = await self._queue.lease(peer.holder, count)
                # On a connection that broke meanwhile they are delivered to nobody: the next resume finds them.
                if leases:
                    await peer.deliver(leases)
            peer.may_have_work = peer.may_have_work or len(leases) == count
        except Exception:
            log.exception("lease failed", node=peer.holder.node, pool=peer.holder.pool)
            await self._clock.sleep(_RETRY_S)
            peer.may_have_work = True
        finally:
            peer.is_leasing = False
            self.wake(peer.holder.pool)
