"""The agents of one pool: who is next, and what it costs to find out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import cast

import pytest

from skyward.contracts import Holder
from skyward.gateway.line import Line
from skyward.gateway.peer import AgentPeer


@dataclass(eq=False)
class Agent:
    """As much of an agent's connection as its place in the line depends on."""

    name: str
    want: int = 1
    has_idle_lane: bool = True
    spare: int = 0
    is_leasing: bool = False
    is_recalling: bool = False
    is_allowed: bool = True
    asked: int = 0
    holder: Holder = field(init=False)

    def __post_init__(self) -> None:
        self.holder = Holder(self.name, self.name, "default/hello", "i1")


def may_lease(peer: AgentPeer) -> bool:
    agent = cast(Agent, peer)
    agent.asked += 1
    return agent.is_allowed


def in_line(*agents: Agent) -> Line:
    line = Line(may_lease)
    for agent in agents:
        line.join(cast(AgentPeer, agent))
    return line


def taken(line: Line, count: int = 9) -> str:
    """The names of so many that are next, each leasing from then on."""
    found = (line.next_taker() for _ in range(count))
    return names(peer for peer in found if peer is not None)


def names(peers: Iterable[AgentPeer]) -> str:
    return "".join(cast(Agent, peer).name for peer in peers)


def place(line: Line, agent: Agent) -> None:
    line.place(cast(AgentPeer, agent))


def leased(line: Line, agent: Agent, *, more: bool) -> None:
    line.leased(cast(AgentPeer, agent), more=more)


def test_idle_agents_come_before_those_that_lease_ahead_and_each_is_asked_once() -> None:
    line = in_line(Agent("a", has_idle_lane=False), Agent("b"), Agent("c", want=0), Agent("d"))

    assert line.takers == 3
    assert taken(line) == "bda"
    assert line.takers == 0


def test_agents_take_turns() -> None:
    a, b, c = agents = Agent("a"), Agent("b"), Agent("c")
    line = in_line(*agents)

    assert taken(line, 1) == "a"
    leased(line, a, more=True)
    assert taken(line, 2) == "bc"
    leased(line, c, more=True)
    leased(line, b, more=True)
    assert taken(line) == "acb"


def test_an_agent_that_becomes_idle_waits_behind_those_that_are() -> None:
    a, b = Agent("a", has_idle_lane=False), Agent("b")
    line = in_line(a, b)

    a.has_idle_lane = True
    place(line, a)

    assert taken(line) == "ba"


def test_an_agent_that_found_nothing_is_left_out_until_work_comes() -> None:
    a, b = Agent("a"), Agent("b")
    line = in_line(a, b)
    taken(line)
    leased(line, a, more=False)
    leased(line, b, more=False)
    assert taken(line) == ""

    line.news("b")
    assert taken(line) == "b"

    line.news(None)
    assert taken(line) == "a"


@pytest.mark.parametrize("node", [None, "a"], ids=["for all", "for its node"])
def test_work_that_comes_during_a_lease_counts(node: str | None) -> None:
    a = Agent("a")
    line = in_line(a)
    taken(line)

    line.news(node)
    leased(line, a, more=False)

    assert taken(line) == "a"


def test_an_agent_that_may_take_nothing_is_passed_over_until_it_may_again() -> None:
    a, b = Agent("a"), Agent("b")
    line = in_line(a, b)
    a.is_allowed = False  # nobody said so
    assert taken(line) == "b"

    a.is_allowed = True
    place(line, a)

    assert taken(line) == "a"


def test_an_agent_that_left_stands_nowhere_whatever_comes_after() -> None:
    a = Agent("a", spare=2)
    line = in_line(a)
    taken(line)

    line.leave(cast(AgentPeer, a))
    leased(line, a, more=True)
    line.news("a")

    assert (taken(line), line.donors(), line.hungry(1), len(line)) == ("", [], [], 0)


def test_a_nodes_second_connection_is_not_forgotten_with_its_first() -> None:
    first, second = Agent("a"), Agent("a")
    line = in_line(first, second)
    taken(line)
    leased(line, second, more=False)

    line.leave(cast(AgentPeer, first))
    line.news("a")

    assert taken(line) == "a"


def test_the_one_with_the_most_to_spare_gives_first_and_nobody_is_asked_twice() -> None:
    a, b, c = Agent("a", spare=1), Agent("b", spare=5), Agent("c", spare=3)
    line = in_line(a, b, c)

    c.is_recalling = True
    place(line, c)
    a.spare = 0  # it reported meanwhile

    assert names(line.donors()) == "b"
    assert names(line.recalling()) == "c"


def test_the_hungry_idle_want_work_and_are_about_to_get_none() -> None:
    untried, tried, leasing = Agent("a"), Agent("b"), Agent("c")
    line = in_line(leasing, tried, untried, Agent("d", has_idle_lane=False), Agent("e", want=0))
    taken(line, 2)
    leased(line, tried, more=False)

    assert names(line.hungry(9)) == "ab"
    assert names(line.hungry(1)) == "a"


def test_a_call_to_an_idle_pool_of_a_thousand_looks_at_few_agents() -> None:
    agents = [Agent(str(number)) for number in range(1_000)]
    line = in_line(*agents)
    asked = sum(agent.asked for agent in agents)

    line.news(None)
    peer = line.next_taker()
    assert peer is not None
    line.leased(peer, more=True)
    line.hungry(1)
    line.donors()

    assert sum(agent.asked for agent in agents) - asked < 5
