"""`plan_node` for a node without an instance: one launch at a time, and no second identity while one is unknown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from skyward.api import NodeCondition, Pool, Reason, Status
from skyward.facts import CoolDown, Launch, LaunchState, ObservedMarket, ObservedNode
from skyward.planner import FailNode, NodePlan, NodeRules, ResumeLaunch, StartLaunch, Wait, plan_node
from tests.builders import (
    NOW,
    make_instance,
    make_launch,
    make_market,
    make_node,
    make_offering,
    make_pool,
    observe_node,
    pending_node,
)

POOL = make_pool()
TOKEN = NodeRules(started_at=NOW - 1000, has_token=True, visibility_s=30, absence_s=60, same_host=True)
LISTING = replace(TOKEN, has_token=False)
RESTARTED = NOW - 1
"""An operator that began after the launch was sent."""


def launching(state: LaunchState, **more: Any) -> ObservedNode:
    node = make_node(POOL, launch="launch-1")
    instance = more.pop("instance", None)
    listed_at = more.pop("listed_at", NOW)
    launch: Launch = make_launch([node], state=state, **more)
    return observe_node(node, launch=launch, instance=instance, listed_at=listed_at)


def plan(observed: ObservedNode, rules: NodeRules = TOKEN, market: ObservedMarket | None = None) -> NodePlan:
    return plan_node(observed, POOL, market or make_market(), rules, NOW)


def test_a_new_node_is_launched() -> None:
    planned = plan(pending_node(POOL))

    assert isinstance(planned.step, StartLaunch)
    assert planned.step.offering == make_offering()


def test_first_sight_shows_every_condition_of_the_way() -> None:
    planned = plan(pending_node(POOL))

    statuses = {update.type: update.status for update in planned.conditions}
    assert statuses[NodeCondition.LAUNCHED] is Status.FALSE
    for type_ in ("Bootstrapped", "Registered", "Initialized", "Ready", "Healthy"):
        assert statuses[type_] is Status.UNKNOWN


def test_waits_for_the_end_of_a_cool_down_and_says_why() -> None:
    cool_down = CoolDown(make_offering().id, NOW + 42, "no slot is free", Reason.INSUFFICIENT_CAPACITY)

    planned = plan(pending_node(POOL), market=make_market(cool_downs=[cool_down]))

    launched = next(update for update in planned.conditions if update.type == NodeCondition.LAUNCHED)
    assert planned.step == Wait()
    assert planned.requeue_after_s == 42
    assert launched.reason is Reason.INSUFFICIENT_CAPACITY
    assert "no slot is free" in launched.message


@pytest.mark.parametrize("state", [LaunchState.REJECTED, LaunchState.ABSENT])
def test_a_launch_that_made_nothing_is_followed_by_a_new_one(state: LaunchState) -> None:
    assert isinstance(plan(launching(state)).step, StartLaunch)


def test_a_proved_rejection_stands_above_a_listing() -> None:
    assert isinstance(plan(launching(LaunchState.REJECTED, instance=make_instance())).step, StartLaunch)


def test_a_prepared_launch_is_sent() -> None:
    step = plan(launching(LaunchState.PREPARED), LISTING).step

    assert isinstance(step, ResumeLaunch)
    assert step.replay


def test_a_call_in_flight_is_waited_for() -> None:
    planned = plan(launching(LaunchState.SENT, created_at=NOW - 5))

    assert planned.step == Wait()
    assert planned.requeue_after_s == TOKEN.create_call_s - 5


def test_a_call_sent_before_the_restart_is_replayed_where_the_provider_knows_the_token() -> None:
    planned = plan(launching(LaunchState.SENT, created_at=NOW - 5), replace(TOKEN, started_at=RESTARTED))

    assert planned.step == ResumeLaunch(True, False, False, "sending the identical create call again")


def test_an_unknown_outcome_is_replayed_ever_more_slowly() -> None:
    soon = plan(launching(LaunchState.UNKNOWN, created_at=NOW - 3, attempts=3))
    later = plan(launching(LaunchState.UNKNOWN, created_at=NOW - 4, attempts=3))

    assert (soon.step, soon.requeue_after_s) == (Wait(), 1.0)
    assert isinstance(later.step, ResumeLaunch)


@pytest.mark.parametrize("state", [LaunchState.SENT, LaunchState.UNKNOWN])
class TestWithoutToken:
    rules = replace(LISTING, started_at=RESTARTED)

    def test_binds_what_the_listing_shows(self, state: LaunchState) -> None:
        observed = launching(state, created_at=NOW - 20, instance=make_instance())

        step = plan(observed, self.rules).step

        assert isinstance(step, ResumeLaunch)
        assert (step.replay, step.bind, step.absent) == (False, True, False)

    def test_never_sends_again(self, state: LaunchState) -> None:
        planned = plan(launching(state, created_at=NOW - 59), self.rules)

        assert planned.step == Wait()
        assert planned.requeue_after_s == 1.0

    def test_is_absent_only_when_a_late_enough_listing_shows_nothing(self, state: LaunchState) -> None:
        step = plan(launching(state, created_at=NOW - 60), self.rules).step

        assert isinstance(step, ResumeLaunch)
        assert (step.replay, step.bind, step.absent) == (False, False, True)

    def test_an_old_listing_proves_nothing(self, state: LaunchState) -> None:
        observed = launching(state, created_at=NOW - 600, listed_at=NOW - 541)

        assert plan(observed, self.rules).step == Wait()

    def test_no_listing_proves_nothing(self, state: LaunchState) -> None:
        assert plan(launching(state, created_at=NOW - 6000, listed_at=None), self.rules).step == Wait()


@pytest.mark.parametrize("state", [LaunchState.ABSENT, LaunchState.BOUND])
def test_an_instance_that_shows_up_late_is_bound_and_not_doubled(state: LaunchState) -> None:
    step = plan(launching(state, instance=make_instance())).step

    assert isinstance(step, ResumeLaunch)
    assert step.bind


def test_a_launch_whose_record_is_missing_fails_the_node() -> None:
    step = plan(observe_node(make_node(POOL, launch="launch-1"))).step

    assert isinstance(step, FailNode)
    assert step.reason is Reason.LAUNCH_FAILED


@pytest.mark.parametrize(
    "observed",
    [
        pytest.param(pending_node(POOL), id="not launched"),
        pytest.param(launching(LaunchState.PREPARED), id="prepared"),
        pytest.param(launching(LaunchState.UNKNOWN), id="unknown"),
        pytest.param(launching(LaunchState.REJECTED), id="rejected"),
    ],
)
@pytest.mark.parametrize(
    "pool", [make_pool(paused=True), make_pool(deleted_at=NOW), None], ids=["paused", "going", "none"]
)
def test_no_create_call_for_a_pool_that_is_paused_or_going(observed: ObservedNode, pool: Pool | None) -> None:
    step = plan_node(observed, pool, make_market(), LISTING, NOW).step

    assert not isinstance(step, StartLaunch)
    assert not (isinstance(step, ResumeLaunch) and step.replay)


# --- while the provider cannot be observed -----------------------------------------------------------------------


@pytest.mark.parametrize("state", [LaunchState.PREPARED, LaunchState.SENT, LaunchState.UNKNOWN])
@pytest.mark.parametrize("rules", [TOKEN, LISTING], ids=["token", "listing"])
def test_no_create_call_is_sent_while_the_provider_cannot_be_observed(rules: NodeRules, state: LaunchState) -> None:
    unobserved = launching(state, listed_at=None)

    planned = plan(unobserved, replace(rules, started_at=RESTARTED))

    assert planned.step == Wait()
    assert planned.requeue_after_s is not None


def test_a_new_node_is_not_launched_while_the_provider_cannot_be_observed() -> None:
    planned = plan(replace(pending_node(POOL), listed_at=None))

    launched = next(update for update in planned.conditions if update.type == NodeCondition.LAUNCHED)
    assert planned.step == Wait()
    assert (launched.status, launched.reason) == (Status.FALSE, Reason.NOT_SYNCED)
    assert [decision.rule for decision in planned.decisions] == ["unsynced"]


def test_after_many_calls_without_an_answer_a_listing_may_prove_a_token_absent_between_two_of_them() -> None:
    rules = replace(TOKEN, started_at=NOW - 10_000)
    unanswered = launching(LaunchState.UNKNOWN, attempts=6, created_at=NOW - 500, sent_at=NOW - 70)

    early = plan(replace(unanswered, listed_at=NOW - 11), rules)
    late = plan(replace(unanswered, listed_at=NOW - 10), rules)

    assert early.step == Wait()
    assert late.step == ResumeLaunch(replay=False, bind=False, absent=True, message=late.step.message)  # type: ignore[union-attr]
    assert [decision.rule for decision in early.decisions] == ["outcome-unknown"]
