"""The laws of the small guards and of the template's hash, over many random cases."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.properties.ending_laws import check_ending
from tests.properties.guard_laws import check_guards
from tests.properties.template_laws import check_template

CASES = 3_000


@pytest.mark.parametrize("check", [check_guards, check_template, check_ending])
def test_every_law_holds_in_every_case(check: Callable[[int], None]) -> None:
    for seed in range(CASES):
        try:
            check(seed)
        except AssertionError as error:
            raise AssertionError(f"case {seed}: {error}") from error
