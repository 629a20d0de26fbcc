"""Launches and credentials."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from skyward.facts import Launch, LaunchRequest, LaunchState, Offering
from skyward.store import SqlStore, StoreCredentials, memory_store
from tests.store.world import CountingIds, StillClock


def run(scenario: Callable[[SqlStore, StillClock], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        clock = StillClock()
        store = memory_store(clock, CountingIds())
        await scenario(store, clock)
        await store.close()

    asyncio.run(main())


def launch(state: LaunchState = LaunchState.PREPARED) -> Launch:
    request = LaunchRequest(
        launch="l1",
        owner="o",
        pool_uid="u",
        pool="default/hello",
        count=2,
        offering=Offering("local", "process", usd_per_hour=0.5),
        authorized_key="ssh-ed25519 AAAA",
        options={"faults": {"slowBoot": "1s"}},
    )
    return Launch("l1", "u", request, ("default/a", "default/b"), state, 0, 1.5)


def test_a_launch_comes_back_as_it_was_stored() -> None:
    async def scenario(store: SqlStore, clock: StillClock) -> None:
        await store.run(lambda tx: tx.put_launch(launch()), power_safe=True)

        assert await store.read(lambda tx: tx.launch("l1")) == launch()
        assert await store.read(lambda tx: tx.launches()) == (launch(),)
        assert await store.read(lambda tx: tx.launch("l2")) is None

        await store.run(lambda tx: tx.drop_launch("l1"))
        assert await store.read(lambda tx: tx.launches()) == ()

    run(scenario)


@pytest.mark.parametrize(
    ("before", "after", "is_allowed"),
    [
        pytest.param(LaunchState.PREPARED, LaunchState.SENT, True, id="sent after the intent"),
        pytest.param(LaunchState.SENT, LaunchState.UNKNOWN, True, id="the answer was lost"),
        pytest.param(LaunchState.UNKNOWN, LaunchState.SENT, True, id="replay of the same identity"),
        pytest.param(LaunchState.ABSENT, LaunchState.BOUND, True, id="an instance shows up late"),
        pytest.param(LaunchState.UNKNOWN, LaunchState.REJECTED, False, id="ambiguous is not rejected"),
        pytest.param(LaunchState.SENT, LaunchState.ABSENT, False, id="absence needs listings first"),
        pytest.param(LaunchState.REJECTED, LaunchState.SENT, False, id="a rejection is final"),
    ],
)
def test_launches_move_only_as_their_table_says(before: LaunchState, after: LaunchState, is_allowed: bool) -> None:
    async def scenario(store: SqlStore, clock: StillClock) -> None:
        await store.run(lambda tx: tx.put_launch(launch(before)))
        await store.run(lambda tx: tx.put_launch(launch(before)))

        if is_allowed:
            await store.run(lambda tx: tx.put_launch(replace(launch(after), attempts=1)))
        else:
            with pytest.raises(ValueError, match=f"from {before} to {after}"):
                await store.run(lambda tx: tx.put_launch(launch(after)))

        stored = await store.read(lambda tx: tx.launch("l1"))
        assert stored is not None
        assert stored.state is (after if is_allowed else before)

    run(scenario)


def test_a_join_token_works_once_for_its_node_and_in_time() -> None:
    async def scenario(store: SqlStore, clock: StillClock) -> None:
        credentials = StoreCredentials(store, clock, CountingIds(100))
        token = await credentials.issue_join("node-1", valid_s=60)

        assert await credentials.exchange(token, "node-2", "first") is None
        assert await credentials.exchange("guess", "node-1", "first") is None
        assert await credentials.node_of(token) is None
        credential = await credentials.exchange(token, "node-1", "first")
        assert credential is not None
        assert await credentials.node_of(credential) == "node-1"
        assert await credentials.user_of(credential) is None
        assert await credentials.exchange(token, "node-1", "second") is None

        late = await credentials.issue_join("node-3", valid_s=60)
        clock.time += 61
        assert await credentials.exchange(late, "node-3", "first") is None

    run(scenario)


def test_an_incarnation_whose_answer_was_lost_may_exchange_again() -> None:
    async def scenario(store: SqlStore, clock: StillClock) -> None:
        credentials = StoreCredentials(store, clock, CountingIds(100))
        token = await credentials.issue_join("node-1", valid_s=60)
        await credentials.exchange(token, "node-1", "first")

        again = await credentials.exchange(token, "node-1", "first")

        assert again is not None
        assert await credentials.node_of(again) == "node-1"

    run(scenario)


def test_a_new_agent_of_a_node_ends_what_the_old_one_held() -> None:
    async def scenario(store: SqlStore, clock: StillClock) -> None:
        credentials = StoreCredentials(store, clock, CountingIds(100))
        old = await credentials.exchange(await credentials.issue_join("node-1", 60), "node-1", "first")
        assert old is not None
        assert await credentials.node_of(old) == "node-1"

        new = await credentials.exchange(await credentials.issue_join("node-1", 60), "node-1", "second")

        assert new is not None
        assert await credentials.node_of(new) == "node-1"
        assert await credentials.node_of(old) is None

    run(scenario)


def test_a_replaced_user_token_is_worth_nothing_any_more() -> None:
    async def scenario(store: SqlStore, clock: StillClock) -> None:
        credentials = StoreCredentials(store, clock, CountingIds(100))
        await credentials.add_user("alice", "leaked")
        assert await credentials.user_of("leaked") == "alice"

        await credentials.add_user("alice", "fresh")

        assert await credentials.user_of("fresh") == "alice"
        assert await credentials.user_of("leaked") is None

    run(scenario)


def test_a_revoked_subject_is_out_at_once_also_when_it_was_verified_before() -> None:
    async def scenario(store: SqlStore, clock: StillClock) -> None:
        credentials = StoreCredentials(store, clock, CountingIds(100))
        await credentials.add_user("alice", "secret")
        await credentials.add_user("alice", "secret")
        assert await credentials.user_of("secret") == "alice"
        assert await credentials.user_of("other") is None

        await credentials.revoke("alice")

        assert await credentials.user_of("secret") is None

    run(scenario)


def test_the_store_holds_no_token() -> None:
    async def scenario(store: SqlStore, clock: StillClock) -> None:
        credentials = StoreCredentials(store, clock, CountingIds(100))
        await credentials.add_user("alice", "canary-user")
        join = await credentials.issue_join("node-1", 60)
        node = await credentials.exchange(join, "node-1", "first")
        assert node is not None

        dump = "\n".join(store._database.raw.iterdump())

        assert not any(token in dump for token in ("canary-user", join, node))

    run(scenario)
