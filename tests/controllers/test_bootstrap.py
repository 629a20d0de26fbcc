"""What a node is given so that its agent can call home, and what becomes of it."""

from __future__ import annotations

import asyncio
import json

import pytest

from skyward.api import Node, NodeCondition, is_true
from tests.whole.world import World, condition, run_world


def test_a_node_gets_the_agent_and_its_own_identity() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=2)
        await world.settled()

        node = (await world.nodes())[0]
        request = world.bootstrapper.requests[node.metadata.uid]
        files = {path: (data, mode) for path, data, mode in request.files}
        assert files[".skyward/agent.pyz"] == (b"agent", 0o644)
        identity, mode = files[".skyward/agent.json"]
        assert mode == 0o600
        token = json.loads(identity).pop("join_token")
        assert json.loads(identity) == {
            "node": node.metadata.uid,
            "name": node.metadata.name,
            "endpoint": "127.0.0.1:1",
            "server_name": "skyward-operator",
            "ca": "CA",
            "join_token": token,
        }
        assert request.provider_id == node.status.provider_id
        assert request.host_key == "ssh-ed25519 AAAA"

    run_world(story)


@pytest.mark.parametrize(("connection", "tunnel"), [("auto", True), ("tunnel", True), ("direct", False)])
def test_the_tunnel_follows_the_connection_that_the_node_was_made_with(connection: str, tunnel: bool) -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=1, connection=connection)
        await world.settled()

        [node] = await world.nodes()
        assert world.bootstrapper.requests[node.metadata.uid].tunnel is tunnel

    run_world(story)


def test_a_failed_step_is_readable_in_the_record_of_the_node() -> None:
    async def story(world: World) -> None:
        await world.start()
        world.machines.failing_bootstraps = 1
        await world.apply(nodes=1)
        await world.until(lambda: _has_failure(world))
        [failed] = [node for node in await world.nodes() if node.status.failure]
        assert failed.status.failure.endswith("no such package")
        assert condition(failed, NodeCondition.BOOTSTRAPPED) == "False/BootstrapFailed"
        await world.settled()

        assert any("step pip failed" in event.note for event in await world.events())

    run_world(story)


def test_phases_and_the_host_key_stay_in_the_status_after_a_restart() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=1)
        await world.settled()
        await world.restart()
        await asyncio.sleep(60)

        [node] = await world.nodes()
        assert [phase.name for phase in node.status.phases] == ["environment"]
        assert node.status.host_key_fingerprint == "SHA256:x"
        assert node.status.agent_version == "1"

    run_world(story)


def test_an_agent_that_dies_again_and_again_gives_its_node_up() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=1)
        await world.settled()
        [first] = await world.nodes()
        for _ in range(5):
            agent = world.machines.agents[first.metadata.uid]
            if agent.alive and agent.instance in world.cloud.alive:
                world.machines.kill_agent(first.metadata.uid)
            await asyncio.sleep(60)
        await world.settled()

        assert first.metadata.uid not in {node.metadata.uid for node in await world.nodes() if _is_ready(node)}

    run_world(story)


def test_a_join_token_is_issued_for_every_new_start_of_the_agent() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=1)
        await world.settled()
        [node] = await world.nodes()
        before = _token(world, node)
        world.machines.kill_agent(node.metadata.uid)
        await asyncio.sleep(5)
        await world.settled()

        assert _token(world, node) != before

    run_world(story)


def _token(world: World, node: Node) -> str:
    request = world.bootstrapper.requests[node.metadata.uid]
    identity = next(data for path, data, _ in request.files if path.endswith("agent.json"))
    return str(json.loads(identity)["join_token"])


def _is_ready(node: Node) -> bool:
    return is_true(node.status.conditions, NodeCondition.READY)


async def _has_failure(world: World) -> bool:
    return any(node.status.failure for node in await world.nodes())
