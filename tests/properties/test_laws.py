"""The laws of the planners over many random worlds: 50,000 checks. `hack/properties --checks N` runs any other number."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyward.api import Pool
from skyward.planner import CreateNode, classify, plan_pool
from skyward.planner.failures import judge
from tests.properties.volume import Batch, Kind, run_batch, split
from tests.properties.worlds import random_world

CHECKS = 50_000
SIZE = 2_500
POOL = {"CreateNode", "RetireNode", "ForgetNode", "failure-backoff", "launch-before-drain", "do-not-disrupt", "canary"}
NODE = {"StartLaunch", "ResumeLaunch", "RunBootstrap", "FailNode", "Terminate", "Finish", "Cordon", "AskForInstance"}
ALWAYS_SEEN = {Kind.POOL: POOL, Kind.NODE: NODE, Kind.HISTORY: {"history settled", "history StartLaunch"}}
"""In the first batch: without them the worlds are too tame to prove anything."""


@pytest.mark.slow
@pytest.mark.parametrize("batch", tuple(split(CHECKS, 0, SIZE)), ids=lambda batch: f"{batch.kind}-{batch.first}")
def test_every_law_holds_in_every_world(batch: Batch) -> None:
    report = run_batch(batch)

    assert report.violations == []
    assert batch.first or set(report.seen) >= ALWAYS_SEEN[batch.kind]


def test_a_world_is_the_same_whenever_it_is_made() -> None:
    first, again = (run_batch(Batch(Kind.HISTORY, 7, 1)) for _ in range(2))

    assert first.seen == again.seen
    assert first.checks == again.checks


@settings(max_examples=200, deadline=None)
@given(st.integers(min_value=0, max_value=2**32), st.floats(min_value=0, max_value=400))
def test_a_stopped_template_starts_again_only_by_a_human(seed: int, later_s: float) -> None:
    observed, now = random_world(seed)
    calm: Pool = observed.pool.replace(metadata=observed.pool.metadata.replace(annotations={}))
    observed = replace(observed, pool=calm)
    if not judge(calm, classify(observed), now).stopped:
        return

    plan = plan_pool(observed, now + later_s)

    assert not any(isinstance(action, CreateNode) for action in plan.actions)
