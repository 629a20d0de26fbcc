"""Nodes that are lost, fall ill, or are taken away."""

from __future__ import annotations

import asyncio

from skyward.facts import InstanceState
from tests.simulation.cloud import Machine
from tests.simulation.hosts import Host
from tests.sweep.stage import Stage
from tests.sweep.story import Book

LOSING = Book()
_CHECK = "healthCheck: {command: test, interval: 5s}"


async def _begin(stage: Stage, nodes: int = 2) -> Host:
    """The host of the oldest machine, once all are ready."""
    stage.apply(nodes)
    await stage.settled()
    return stage.hosts.host(stage.machine().id)


async def _without(stage: Stage, machine: Machine) -> None:
    await stage.until(lambda: not stage.cloud.is_alive(machine))
    await stage.settled()


@LOSING.story()
async def a_machine_is_taken_by_its_provider(stage: Stage) -> None:
    await _begin(stage)
    machine = stage.machine()
    stage.cloud.lose(machine, InstanceState.PREEMPTED)
    await _without(stage, machine)


@LOSING.story()
@LOSING.story(profile="token")
async def a_machine_vanishes(stage: Stage) -> None:
    await _begin(stage)
    machine = stage.machine()
    stage.cloud.vanish(machine)
    await asyncio.sleep(5)
    await stage.settled()


@LOSING.story()
async def a_machine_is_stopped_at_the_console(stage: Stage) -> None:
    await _begin(stage)
    machine = stage.machine()
    stage.cloud.lose(machine, InstanceState.HALTED)
    await _without(stage, machine)


@LOSING.story()
async def a_bootstrap_fails_once(stage: Stage) -> None:
    stage.script.order("bootstrap-fails")
    await _begin(stage)


@LOSING.story()
async def a_host_shows_another_key(stage: Stage) -> None:
    stage.script.order("host-key")
    await _begin(stage)


@LOSING.story()
async def an_agent_dies_and_is_started_again(stage: Stage) -> None:
    host = await _begin(stage)
    host.agents[0].kill()
    await stage.until(lambda: bool(host.agents))
    await stage.settled()


@LOSING.story()
async def a_host_is_rebooted(stage: Stage) -> None:
    host = await _begin(stage)
    host.reboot(20)
    await stage.until(lambda: bool(host.agents))
    await stage.settled()


@LOSING.story()
async def a_host_is_cut_off_for_a_while(stage: Stage) -> None:
    host = await _begin(stage)
    host.cut_off(90)
    await asyncio.sleep(95)
    await stage.settled()


@LOSING.story()
async def an_unhealthy_node_is_replaced(stage: Stage) -> None:
    stage.says["check"] = "passing"
    stage.apply(2, more=(_CHECK,))
    await stage.settled()
    machine = stage.machine()
    stage.says_there[machine.id] = {"check": "failing", "check_message": "no such device"}
    await _without(stage, machine)


@LOSING.story()
async def a_loss_is_announced(stage: Stage) -> None:
    await _begin(stage)
    machine = stage.machine()
    stage.says_there[machine.id] = {"notice_at": stage.now + 60.0, "notice": "spot interruption"}
    await asyncio.sleep(60)
    if stage.cloud.is_alive(machine):
        stage.cloud.lose(machine, InstanceState.PREEMPTED)
    await _without(stage, machine)


@LOSING.story()
async def a_failed_node_is_kept_for_a_look(stage: Stage) -> None:
    stage.script.order("bootstrap-fails")
    stage.apply(1, annotations=(("keep-on-failure", "true"),))
    await stage.until(lambda: len(stage.ready()) == 1 and len(stage.ours()) == 2)
    await asyncio.sleep(15)


@LOSING.story()
async def a_kept_node_goes_when_nobody_needs_it_any_more(stage: Stage) -> None:
    await a_failed_node_is_kept_for_a_look(stage)
    stage.change(annotations=())
    await stage.settled()


@LOSING.story()
async def no_provider_answers_for_a_while(stage: Stage) -> None:
    await _begin(stage)
    stage.network.brown_out = True
    stage.change(nodes=3)
    await asyncio.sleep(40)
    stage.network.brown_out = False
    await stage.settled()
