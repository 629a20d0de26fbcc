"""The agents of one pool, kept by what they could take: a look at a thousand of them costs what it finds.

Whoever changes an agent says so to `place`. Until then an agent stands where it stood, which is why those that are
picked are checked once more; one that could take more than before and was not placed would be passed over.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

from skyward.gateway.peer import AgentPeer

Standing = dict[AgentPeer, None]
"""Agents in the order in which they came to stand here: those that waited longest first."""


class Line:
    def __init__(self, may_lease: Callable[[AgentPeer], bool]) -> None:
        self._may_lease = may_lease
        self._places: dict[AgentPeer, Standing | None] = {}
        self._of_node: dict[str, AgentPeer] = {}
        self._tried: set[AgentPeer] = set()
        """What they leased last came back short, and no more work has come since."""
        self._idle: Standing = {}
        self._ahead: Standing = {}
        """They want work and all their lanes have some."""
        self._idle_tried: Standing = {}
        self._ahead_tried: Standing = {}
        self._donors: Standing = {}
        self._recalling: Standing = {}

    def __len__(self) -> int:
        return len(self._places)

    # --- what changes ----------------------------------------------------------------------------------------------

    def join(self, peer: AgentPeer) -> None:
        self._places[peer] = None
        self._of_node[peer.holder.node_uid] = peer
        self.place(peer)

    def leave(self, peer: AgentPeer) -> None:
        standing = self._places.pop(peer, None)
        if standing is not None:
            del standing[peer]
        if self._of_node.get(peer.holder.node_uid) is peer:
            del self._of_node[peer.holder.node_uid]
        self._tried.discard(peer)
        self._donors.pop(peer, None)
        self._recalling.pop(peer, None)

    def place(self, peer: AgentPeer) -> None:
        """Something about it changed. One that has left is passed over."""
        if peer not in self._places:
            return
        standing, before = self._standing(peer), self._places[peer]
        if standing is not before:
            if before is not None:
                del before[peer]
            if standing is not None:
                standing[peer] = None
            self._places[peer] = standing
        _keep(self._donors, peer, bool(peer.spare) and not peer.is_recalling)
        _keep(self._recalling, peer, peer.is_recalling)

    def news(self, node_uid: str | None) -> None:
        """Work came: for all of them, or for one node alone."""
        if node_uid is None:
            tried = (*self._idle_tried, *self._ahead_tried)
            self._tried.clear()
        else:
            peer = self._of_node.get(node_uid)
            tried = () if peer is None else (peer,)
            self._tried.difference_update(tried)
        for peer in tried:
            self.place(peer)

    # --- who could take work ---------------------------------------------------------------------------------------

    @property
    def takers(self) -> int:
        return len(self._idle) + len(self._ahead)

    def next_taker(self) -> AgentPeer | None:
        """The next one to lease for, those with an idle lane first. It stands nowhere until its lease has ended."""
        while standing := self._idle or self._ahead:
            peer = next(iter(standing))
            if self._standing(peer) is standing:
                peer.is_leasing = True
                self._tried.add(peer)
                self.place(peer)
                return peer
            self.place(peer)
        return None

    def leased(self, peer: AgentPeer, *, more: bool) -> None:
        """Its lease has ended; with `more`, there may be work for it still."""
        peer.is_leasing = False
        if more:
            self._tried.discard(peer)
        self.place(peer)

    # --- who has too much, and who has nothing -----------------------------------------------------------------------

    def donors(self) -> list[AgentPeer]:
        """Those with attempts to spare that were not asked for them yet, most first."""
        return sorted((peer for peer in self._donors if peer.spare), key=lambda peer: -peer.spare)

    def hungry(self, count: int) -> list[AgentPeer]:
        """So many of those that idle, want work and are not about to get some."""
        found: list[AgentPeer] = []
        for peer in chain(self._idle, self._idle_tried):
            if len(found) == count:
                break
            if self._may_lease(peer):
                found.append(peer)
        return found

    def recalling(self) -> tuple[AgentPeer, ...]:
        """Those that were asked to give work back and have not answered."""
        return tuple(self._recalling)

    def _standing(self, peer: AgentPeer) -> Standing | None:
        if peer.want <= 0 or peer.is_leasing or not self._may_lease(peer):
            return None
        if peer in self._tried:
            return self._idle_tried if peer.has_idle_lane else self._ahead_tried
        return self._idle if peer.has_idle_lane else self._ahead


def _keep(standing: Standing, peer: AgentPeer, stands: bool) -> None:
    if stands:
        standing[peer] = None
    else:
        standing.pop(peer, None)
