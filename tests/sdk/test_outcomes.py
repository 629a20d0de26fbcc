"""What a caller gets for an outcome."""

from __future__ import annotations

import pytest

from skyward.errors import ChildDied, NodeLost, OutOfMemory, TaskError
from skyward.sdk.outcomes import decode
from skyward_agent.wire.messages import DEAD_LETTER, Failure, Result


@pytest.mark.parametrize("kind", [ChildDied, NodeLost, OutOfMemory])
def test_a_dead_letter_is_the_error_of_its_last_attempt(kind: type[TaskError]) -> None:
    evidence = {"outcome": kind.__name__, "attempts": "3", "node": "n", "signal": "SIGKILL"}
    failure = Failure(DEAD_LETTER, "given up after 3 attempts", evidence=evidence)

    _, error = decode(Result("t", 0, DEAD_LETTER, 3, "n", failure=failure), "train")

    assert type(error) is kind
    assert str(error) == "train on node n, attempt 3: given up after 3 attempts (signal: SIGKILL)"
