"""Who gets the next work: leases go where credit is, in slices and in turn, as soon as there is both.

Nothing is polled. A pass over a pool runs when work came, when an agent gave credit, or when a lease came back; an
agent whose lease came back short is left out until the queue says that more came. Agents that idle come first; when
there is nothing for them, work that waits behind something slow at another agent is asked back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

import structlog

from skyward.contracts import Clock, TaskQueue
from skyward.gateway.line import Line
from skyward.gateway.peer import AgentPeer

log = structlog.get_logger()

SLICE = 64
"""The most that one agent gets in one turn."""
RECALL_AFTER_S = 0.005
"""An agent that ended something this recently is not at something slow: what it holds is better left where it is."""
_SHORTEST_LOOK_S = 0.001
"""What is left of a time, by rounding, may be too little to make the clock move: without this one would look again for ever."""
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
        self._pools: dict[str, Line] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._waking: set[str] = set()
        self._looking_again: set[str] = set()

    def lock(self, node_uid: str) -> asyncio.Lock:
        """Held while this node's leases change hands: an agent resumes only when no lease for it is under way."""
        return self._locks.setdefault(node_uid, asyncio.Lock())

    def join(self, peer: AgentPeer) -> None:
        line = self._pools.get(peer.holder.pool)
        if line is None:
            line = self._pools[peer.holder.pool] = Line(self._may_lease)
        line.join(peer)

    def leave(self, peer: AgentPeer) -> None:
        line = self._pools.get(peer.holder.pool)
        if line is not None:
            line.leave(peer)
            if not line:
                del self._pools[peer.holder.pool]

    def changed(self, peer: AgentPeer) -> None:
        """What it could take may be another than before."""
        line = self._pools.get(peer.holder.pool)
        if line is not None:
            line.place(peer)
            self.wake(peer.holder.pool)

    def forget(self, node_uid: str) -> None:
        """The node is gone for good."""
        lock = self._locks.get(node_uid)
        if lock is not None and not lock.locked():
            del self._locks[node_uid]

    def work_available(self, pool: str, node_uid: str | None) -> None:
        line = self._pools.get(pool)
        if line is not None:
            line.news(node_uid)
            self.wake(pool)

    def wake(self, pool: str) -> None:
        """Look at this pool at the end of this turn of the loop; many calls make one pass."""
        if pool not in self._waking and pool in self._pools:
            self._waking.add(pool)
            asyncio.get_running_loop().call_soon(self._pass, pool)

    def _pass(self, pool: str) -> None:
        self._waking.discard(pool)
        line = self._pools.get(pool)
        if line is not None:
            self._give_out(line, self._queue.counts(pool)[0])
            if len(line) > 1:
                self._even_out(pool, line)

    def _give_out(self, line: Line, queued: int) -> None:
        share = min(SLICE, -(-queued // max(1, line.takers)))
        while queued > 0:
            peer = line.next_taker()
            if peer is None:
                return
            count = min(peer.want, share)
            queued -= count
            self._spawn(self._lease(line, peer, count))

    def _even_out(self, pool: str, line: Line) -> None:
        """For each agent that idles and finds nothing, ask the one with the most to spare for half of it."""
        if not line.hungry(1):
            return
        donors = line.donors()
        if not donors:
            return
        now = self._clock.monotonic()
        asked = sum(now - peer.recalled_at < _RECALL_PATIENCE_S for peer in line.recalling())
        if asked:
            self._look_again(pool, _RECALL_PATIENCE_S)
        hungry = line.hungry(asked + len(donors))[asked:]
        ready = [peer for peer in donors if now - peer.moved_at >= RECALL_AFTER_S]
        for donor, peer in zip(ready, hungry, strict=False):
            donor.recall(min(peer.want, -(-donor.spare // 2)))
            line.place(donor)
        if len(ready) < min(len(hungry), len(donors)):
            self._look_again(pool, min(peer.moved_at for peer in donors if peer not in ready) + RECALL_AFTER_S - now)

    def _look_again(self, pool: str, delay_s: float) -> None:
        def look() -> None:
            self._looking_again.discard(pool)
            self.wake(pool)

        if pool not in self._looking_again:
            self._looking_again.add(pool)
            asyncio.get_running_loop().call_later(max(delay_s, _SHORTEST_LOOK_S), look)

    async def _lease(self, line: Line, peer: AgentPeer, count: int) -> None:
        more = False
        try:
            async with self.lock(peer.holder.node_uid):
                if peer.connection.is_closed:
                    return
                leases = await self._queue.lease(peer.holder, count)
                # On a connection that broke meanwhile they are delivered to nobody: the next resume finds them.
                if leases:
                    await peer.deliver(leases)
            more = len(leases) == count
        except Exception:
            log.exception("lease failed", node=peer.holder.node, pool=peer.holder.pool)
            await self._clock.sleep(_RETRY_S)
            more = True
        finally:
            line.leased(peer, more=more)
            self.wake(peer.holder.pool)
