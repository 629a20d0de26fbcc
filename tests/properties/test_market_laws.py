"""The laws of shopping, over many random markets."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.properties.market_laws import check_market, check_share

CASES = 3_000


@pytest.mark.parametrize(("check", "cases"), [(check_market, CASES), (check_share, 300)])
def test_every_law_holds_in_every_market(check: Callable[[int], None], cases: int) -> None:
    for seed in range(cases):
        try:
            check(seed)
        except AssertionError as error:
            raise AssertionError(f"case {seed}: {error}") from error
