"""What a user may say about roll-outs and budgets: nonsense is refused with one clear line."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from skyward.api import PoolSpec, template_hash
from skyward.documents import parse_file

ALWAYS = {"nodes": 1}


def spec(**fields: Any) -> PoolSpec:
    return PoolSpec.model_validate({"nodes": 3, "provider": "local", **fields})


@pytest.mark.parametrize(
    ("rollout", "message"),
    [
        ({"maxUnavailable": 0, "maxSurge": "0%"}, "cannot both be 0"),
        ({"strategy": "Recreate", "maxSurge": 1}, "mean nothing with Recreate"),
        ({"strategy": "Recreate", "maxUnavailable": 2}, "mean nothing with Recreate"),
        ({"strategy": "Recreate", "canary": 1}, "canary means nothing with Recreate"),
        ({"strategy": "OnDelete", "canary": "10%"}, "canary means nothing with OnDelete"),
        ({"strategy": "BlueGreen"}, "RollingUpdate"),
        ({"minReady": "5"}, "is not a duration"),
        ({"notBefore": "tomorrow"}, "is not a time with its zone"),
        ({"notBefore": "2026-01-31T22:00:00"}, "is not a time with its zone"),
    ],
    ids=lambda value: "" if isinstance(value, str) else str(value),
)
def test_a_roll_out_that_makes_no_sense_is_refused(rollout: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        spec(rollout=rollout)


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ({}, "Field required"),
        ({"nodes": "many"}, "is not a share"),
        ({**ALWAYS, "reasons": ["Idle"]}, "Idle is not supported by this version; supported: Drifted"),
        ({**ALWAYS, "reasons": ["Underutilized"]}, "Underutilized is not supported"),
        ({**ALWAYS, "schedule": "0 9 * * *"}, "schedule and duration belong together"),
        ({**ALWAYS, "duration": "1h"}, "schedule and duration belong together"),
        ({**ALWAYS, "schedule": "0 9 * * *", "duration": "0s"}, "longer than 0s"),
        ({**ALWAYS, "schedule": "at nine", "duration": "1h"}, "is not a schedule"),
        ({**ALWAYS, "schedule": "0 0 9 * * *", "duration": "1h"}, "wrong number of fields"),
        ({**ALWAYS, "schedule": "0 0 31 2 *", "duration": "1h"}, "is not a schedule"),
    ],
    ids=lambda value: "" if isinstance(value, str) else str(value),
)
def test_a_budget_that_makes_no_sense_is_refused(budget: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        spec(disruption={"budgets": [budget]})


def test_roll_out_and_budgets_replace_no_node() -> None:
    changed = spec(
        rollout={"strategy": "OnDelete", "minReady": "1m", "notBefore": "2026-01-31T22:00:00Z"},
        disruption={
            "budgets": [{"nodes": "10%", "reasons": ["Drifted"], "schedule": "0 22 * * 1-5", "duration": "2h"}]
        },
    )

    assert template_hash(changed) == template_hash(spec())


def test_another_template_leaves_all_else_as_it_is() -> None:
    before = spec(nodes=7, env={"A": "1"}, image={"pip": ["numpy"]}, rollout={"maxSurge": 1})
    other = spec(image={"env": {"B": "2"}}, connection="tunnel")

    changed = before.with_template(other.template())

    assert template_hash(changed) == template_hash(other)
    assert (changed.nodes, changed.env, changed.rollout) == (before.nodes, before.env, before.rollout)


def test_a_manifest_may_give_times_without_quotes_and_is_told_its_line() -> None:
    text = """\
apiVersion: skyward.dev/v1alpha1
kind: Pool
metadata: {name: hello}
spec:
  nodes: 2
  provider: local
  rollout:
    notBefore: 2026-01-31T22:00:00Z
  disruption:
    budgets:
      - nodes: 1
        schedule: "0 9 * * *"
        duration: 8h
        reasons: [Expired]
"""

    parsed = parse_file("a.yaml", text.encode())

    assert [str(problem) for problem in parsed.problems] == [
        "a.yaml:14: spec.disruption.budgets[0].reasons: Expired is not supported by this version; supported: Drifted"
    ]
    assert parse_file("a.yaml", text.replace("Expired", "Drifted").encode()).problems == ()
